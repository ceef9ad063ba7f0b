"""Fit, predict, move on: the procedure that is judged, and the final model it registers.

Each fold's model sees only its training bars; so do the policy's parameters that go with it. What is judged is the
procedure (model, Config, seed) on days none of its models had seen. What is registered is the same procedure once
more, on all bars up to the end less the purge.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from market.policy import PolicyParameters
from training import evaluate
from training.errors import NotEnoughHistory
from training.evaluate import Track
from training.labels import Floats, round_trip_cost
from training.models import Fitted, Model, Predictor
from training.panel import Ints, Panel, Samples, complete_windows, first_usable, samples, windows
from training.splits import Fold, WalkForward, walk_forward

Report = Callable[[str, int, int], None]
"""Told (what, done, total) as the work goes on."""

PREDICT_ROWS = 20_000


@dataclass(frozen=True)
class FoldResult:
    """One fold: its cut, its policy, how the model did inside its test block."""

    fold: Fold
    policy: PolicyParameters
    train_rows: int
    correlation: float
    """Between prediction and label over the test block's bars, all instruments pooled."""
    seconds: float


@dataclass(frozen=True)
class Experiment:
    """Everything a run produced."""

    model: Fitted
    """Trained on everything: the one that is registered."""
    policy: PolicyParameters
    """Of that model."""
    folds: list[FoldResult]
    predictions: Floats
    """[instruments, bars] out of sample; NaN elsewhere."""
    candidate: Track
    flat: Track
    buy_and_hold: Track
    market: Track
    """The equally weighted market, by which another run recognises the same days."""
    trained_until: int
    """End of the last label the registered model has seen, µs."""


def run(
    panel: Panel, module: Model, config: Any, seed: int, threads: int, plan: WalkForward, report: Report | None = None
) -> Experiment:
    """Walk forward over the panel, then fit the model to be registered.

    Raises:
        NotEnoughHistory: fewer out-of-sample days than the plan's minimum.
    """
    tell = report or (lambda what, done, total: None)
    first = first_usable(panel, config.window)
    folds = walk_forward(panel.open_times, first, panel.lag, panel.horizon, plan, plan.min_test_days)
    predictions = np.full(panel.labels.shape, np.nan)
    which = np.zeros(len(panel.open_times), dtype=np.int64)
    results = []
    for fold in folds:
        tell(f"fold {fold.number}", fold.number - 1, len(folds) + 1)
        began = time.monotonic()
        train = samples(panel, fold.train_start, fold.train_stop, config.window, config.stride)
        fitted = fit(module, config, train, seed, threads)
        policy = choose_policy(fitted, train)
        block = slice(fold.test_start, fold.test_stop)
        predictions[:, block] = predict(panel, fitted, fold.test_start, fold.test_stop, config.window)
        which[block] = fold.number - 1
        score = correlation(predictions[:, block], panel.labels[:, block])
        results.append(FoldResult(fold, policy, len(train), score, time.monotonic() - began))
    tell("final model", len(folds), len(folds) + 1)
    stop = len(panel.open_times) - panel.lag - panel.horizon
    train = samples(panel, first, stop, config.window, config.stride)
    final = fit(module, config, train, seed, threads)
    start, end = folds[0].test_start, folds[-1].test_stop
    experiment = Experiment(
        model=final,
        policy=choose_policy(final, train),
        folds=results,
        predictions=predictions,
        candidate=evaluate.simulate(panel, predictions, [r.policy for r in results], which, start, end),
        flat=evaluate.flat(panel, start, end),
        buy_and_hold=evaluate.buy_and_hold(panel, start, end),
        market=evaluate.market(panel, start, end),
        trained_until=int(panel.open_times[-1]),
    )
    tell("final model", len(folds) + 1, len(folds) + 1)
    return experiment


def fit(module: Model, config: Any, train: Samples, seed: int, threads: int) -> Fitted:
    """Fit, or say that there is nothing to fit on."""
    if not len(train):
        raise NotEnoughHistory("no labelled row with complete features to train on: ingest more history.")
    return module.fit(config, train, seed, threads)


def choose_policy(fitted: Fitted, train: Samples) -> PolicyParameters:
    """Scale the policy to the model, on its own training rows.

    Full weight at one deviation of the gross prediction (docs/market.md), but not below the cost of a round trip: a
    model that hardly dares to predict must not have its noise scaled up into full positions.
    """
    cost = round_trip_cost(train.cost_bps_per_side)
    gross = predict_rows(fitted, train.features) + cost
    return PolicyParameters(full_weight_return=max(float(np.sqrt(np.mean(gross**2))), cost))


def predict(panel: Panel, fitted: Predictor, start: int, stop: int, window: int) -> Floats:
    """[instruments, stop - start]; NaN where the window is not complete. A bar's value depends on its window alone."""
    usable = complete_windows(panel, window)[:, start:stop]
    result = np.full(usable.shape, np.nan)
    for i in range(len(panel.instruments)):
        bars: Ints = np.flatnonzero(usable[i])
        for begin in range(0, len(bars), PREDICT_ROWS):
            part = bars[begin : begin + PREDICT_ROWS]
            result[i, part] = fitted.predict(windows(panel, i, part + start, window))
    return result


def predict_rows(fitted: Predictor, features: Floats) -> Floats:
    """Predict many rows in parts that fit into memory."""
    parts = [fitted.predict(features[k : k + PREDICT_ROWS]) for k in range(0, len(features), PREDICT_ROWS)]
    return np.concatenate(parts)


def correlation(predictions: Floats, labels: Floats) -> float:
    """Pearson, over the pairs that exist; zero where one of them does not vary."""
    both = np.isfinite(predictions) & np.isfinite(labels)
    a, b = predictions[both], labels[both]
    if len(a) < 2 or np.ptp(a) == 0.0 or np.ptp(b) == 0.0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])
