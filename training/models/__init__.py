"""One file per model. Each has `NAME`, a frozen `Config`, and `fit(config, train, seed, threads) -> Fitted`.

To add one: copy a file, register it in `MODELS`. It then trains, is judged and reaches live like the others.
"""

import importlib
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Protocol

from lake.errors import UsageError
from training.labels import Floats
from training.panel import Samples


class Predictor(Protocol):
    """Whatever predicts: a fitted model, or a bundle's graph."""

    def predict(self, features: Floats) -> Floats:
        """[rows, window, k] raw feature columns → [rows] expected net return over the horizon, a fraction."""
        ...


class Fitted(Predictor, Protocol):
    """A trained model."""

    def export(self, path: Path) -> None:
        """Write the ONNX file of the bundle contract (lake/bundle.py): the same numbers from the same columns."""
        ...

    def importance(self) -> dict[str, float]:
        """Share of each input in the prediction, summing to one."""
        ...


class ModelConfig(Protocol):
    """What every model's Config has."""

    @property
    def window(self) -> int: ...

    @property
    def stride(self) -> int: ...


class Model(Protocol):
    """A model module."""

    NAME: str
    WHY: str
    Config: Any

    def fit(self, config: Any, train: Samples, seed: int, threads: int) -> Fitted: ...


MODELS = {"gbm": "training.models.gbm", "bilstm": "training.models.bilstm"}


def model(name: str) -> Model:
    """Import a model by name.

    Raises:
        UsageError: no such model; lists what there is.
    """
    if name not in MODELS:
        raise UsageError(f"unknown model {name!r}: expected one of {', '.join(MODELS)}")
    module: Any = importlib.import_module(MODELS[name])
    return module


def configure(module: Model, assignments: list[str]) -> Any:
    """The model's Config with `key=value` texts applied.

    Raises:
        UsageError: unknown key, or a value that does not fit the field's type.
    """
    config = module.Config()
    known = {f.name: type(getattr(config, f.name)) for f in fields(config)}
    for text in assignments:
        key, equals, value = text.partition("=")
        if not equals or key not in known:
            raise UsageError(f"--set {text!r}: expected key=value with key one of {', '.join(known)}")
        try:
            parsed = value.lower() in ("1", "true", "yes") if known[key] is bool else known[key](value)
        except ValueError:
            raise UsageError(f"--set {text!r}: {key} takes a {known[key].__name__}") from None
        config = replace(config, **{key: parsed})
    return config
