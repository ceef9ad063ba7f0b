"""A small bidirectional LSTM over the last two hours of feature rows.

Why: trees see one row. A recurrent network sees how the ratios moved, and it is the smallest member of the family the
larger sequence models belong to; what holds for it (export, parity, gate) holds for them. Bidirectional costs nothing
here: the whole window is in the past of the decision.

It is trained by Lightning on CPU or GPU, whichever there is, and exported by torch.onnx with its preprocessing inside.
"""

import logging
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from training.labels import Floats, round_trip_cost
from training.panel import Samples
from training.scale_free import CLIP, VOLATILITY_FLOOR, ScaleFree, scale_free

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what deterministic recurrence on a GPU needs

NAME = "bilstm"
WHY = "A small bidirectional LSTM over two hours of feature rows."
IMPORTANCE_ROWS = 2_000


@dataclass(frozen=True, slots=True)
class Config:
    """Small on purpose: there is little to learn and much noise to learn by heart."""

    window: int = 24
    """Feature rows per prediction: two hours of 5m bars."""
    stride: int = 12
    """One decision in so many is trained on: labels that do not overlap."""
    hidden: int = 16
    """Units per direction."""
    dropout: float = 0.3
    """Before the head."""
    epochs: int = 4
    """Passes over the training rows."""
    batch_rows: int = 256
    """Rows per step."""
    learning_rate: float = 2e-3
    """Peak of the one-cycle schedule."""
    weight_decay: float = 1e-2
    """Of AdamW."""
    target_clip: float = 4.0
    """Labels beyond so many standard deviations are pulled in."""


class Network(nn.Module):
    """Raw feature rows in, expected net return out; everything between is part of the exported graph."""

    def __init__(self, config: Config, scaling: ScaleFree, horizon: int, cost: float) -> None:
        super().__init__()
        self.root_horizon, self.cost = float(np.sqrt(horizon)), cost
        for name in ("numerator", "denominator", "constant", "shift", "scale", "floor", "volatility"):
            self.register_buffer(name, torch.from_numpy(getattr(scaling, name)))  # float64
        self.recurrent = nn.LSTM(len(scaling.names), config.hidden, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(2 * config.hidden, 1)

    def inputs(self, features: Tensor) -> Tensor:
        """[batch, window, k] float64 → [batch, window, m] float32, as ScaleFree.inputs."""
        top = features @ self.numerator + self.shift
        bottom = torch.maximum(features @ self.denominator + self.constant, self.floor)
        return torch.clamp(top / bottom * self.scale, -CLIP, CLIP).float()

    def deviations(self, inputs: Tensor) -> Tensor:
        """[batch, window, m] → [batch, 1]: expected gross return in standard deviations of the horizon."""
        states, _ = self.recurrent(inputs / 3.0)  # [batch, window, 2·hidden]
        return self.head(self.dropout(states.mean(dim=1)))

    def forward(self, features: Tensor) -> Tensor:
        """[batch, window, k] float64 → [batch, 1] float32: expected net return."""
        deviations = self.deviations(self.inputs(features)).double()
        volatility = torch.clamp(features[:, -1] @ self.volatility, min=VOLATILITY_FLOOR)  # [batch, 1]
        return (deviations * (volatility * self.root_horizon) - self.cost).float()


class Regression(L.LightningModule):
    """Squared error on clipped deviations, AdamW, one cycle."""

    def __init__(self, network: Network, config: Config, steps: int) -> None:
        super().__init__()
        self.network, self.config, self.steps = network, config, steps

    def training_step(self, batch: tuple[Tensor, Tensor], _index: int) -> Tensor:
        inputs, target = batch
        return nn.functional.mse_loss(self.network.deviations(inputs), target)

    def configure_optimizers(self) -> dict[str, Any]:
        config = self.config
        optimizer = torch.optim.AdamW(self.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, total_steps=self.steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


@dataclass(frozen=True)
class FittedBiLstm:
    """The network, on the CPU, in evaluation mode."""

    network: Network
    window: int
    shares: dict[str, float]

    def predict(self, features: Floats) -> Floats:
        """See training.models.Fitted."""
        with torch.no_grad():
            result: Floats = self.network(torch.from_numpy(np.ascontiguousarray(features)))[:, 0].double().numpy()
        return result

    def export(self, path: Path) -> None:
        """See training.models.Fitted."""
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it misses torchvision, which nothing here needs
        example = torch.zeros(2, self.window, len(self.network.numerator), dtype=torch.float64)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter warns about its own dependencies
            program = torch.onnx.export(
                self.network, (example,), dynamo=True, verbose=False, optimize=True, input_names=["features"],
                output_names=["prediction"], dynamic_shapes={"features": {0: torch.export.Dim("batch")}},
            )  # fmt: skip
        if program is None:
            raise RuntimeError("torch.onnx.export gave no program")
        program.save(str(path), external_data=False)

    def importance(self) -> dict[str, float]:
        """Share of the mean absolute gradient of the prediction, over input deviations of training rows."""
        return self.shares


def fit(config: Config, train: Samples, seed: int, threads: int) -> FittedBiLstm:
    """Fit on labelled windows; on one device, the same rows and seed give the same weights."""
    scaling = scale_free(train.feature_names)
    cost = round_trip_cost(train.cost_bps_per_side)
    deviations = (train.labels + cost) / (scaling.volatility_of(train.features[:, -1]) * np.sqrt(train.horizon))
    target = np.clip(deviations, -config.target_clip, config.target_clip).astype(np.float32)[:, None]
    inputs = torch.from_numpy(scaling.inputs(train.features).astype(np.float32))
    torch.set_num_threads(threads)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Network(config, scaling, train.horizon, cost)
        batches = DataLoader(
            TensorDataset(inputs, torch.from_numpy(target)), config.batch_rows, shuffle=True, drop_last=True,
            generator=torch.Generator().manual_seed(seed),
        )  # fmt: skip
        if not len(batches):
            batches = DataLoader(batches.dataset, config.batch_rows)
        _train(Regression(network, config, config.epochs * len(batches)), batches, config)
    network = network.cpu().eval()
    return FittedBiLstm(network, config.window, _importance(network, inputs, scaling.names))


def _train(module: Regression, batches: DataLoader[tuple[Tensor, ...]], config: Config) -> None:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)  # it greets every fit
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning advises on workers and batches of runs this small
        trainer = L.Trainer(
            max_epochs=config.epochs, accelerator="auto", devices=1, deterministic=True, logger=False,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
            gradient_clip_val=1.0,
        )  # fmt: skip
        trainer.fit(module, batches)


def _importance(network: Network, inputs: Tensor, names: tuple[str, ...]) -> dict[str, float]:
    sample = inputs[:: max(1, len(inputs) // IMPORTANCE_ROWS)].clone().requires_grad_(True)
    network.deviations(sample).sum().backward()
    if sample.grad is None:
        raise RuntimeError("the network's prediction does not depend on its inputs")
    weight = sample.grad.abs().sum(dim=1).mean(dim=0) * sample.detach().flatten(0, 1).std(dim=0)
    share = (weight / weight.sum().clamp(min=1e-12)).tolist()
    return dict(zip(names, share, strict=True))
