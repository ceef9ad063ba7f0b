"""Purged, embargoed, anchored walk-forward.

    |-- train 1 ------------|purge|embargo|== test 1 ==|
    |-- train 2 --------------------------|purge|embargo|== test 2 ==|

A model only ever trains on the past of its test block. Purge: the last training label has ended before the embargo
begins (a label reaches lag + horizon bars past its decision). Embargo: at least one more horizon of nothing, for what
the labels' autocorrelation still carries across. Test blocks start at 00:00 UTC, touch each other and never overlap.
See Lopez de Prado, Advances in Financial Machine Learning, chapter 7.
"""

import itertools
from dataclasses import dataclass

import numpy as np

from lake.intervals import DAY, format_time
from training.errors import NotEnoughHistory
from training.panel import Ints


@dataclass(frozen=True, slots=True)
class WalkForward:
    """How the history is cut."""

    first_train_days: int = 55
    """Least history before the first test block."""
    fold_days: int = 25
    """Rough length of a test block; the model is refitted this often."""
    min_test_days: int = 120
    """Out-of-sample days the gate asks for."""
    embargo_bars: int = 12
    """Bars of nothing between the last training label's end and the test block; at least the horizon."""


@dataclass(frozen=True, slots=True)
class Fold:
    """Indices of decision bars, half-open."""

    number: int
    train_start: int
    train_stop: int
    test_start: int
    test_stop: int


def walk_forward(
    open_times: Ints, first_bar: int, lag: int, horizon: int, plan: WalkForward = WalkForward(), min_days: int = 1
) -> list[Fold]:
    """Cut the grid into folds whose test blocks are whole UTC days and cover everything after the first training set.

    Args:
        open_times: [bars] dense grid, µs.
        first_bar: first bar that can be trained on (features warm).
        lag, horizon: of the labels; together with the plan's embargo they set the gap.
        plan: see its fields.
        min_days: fewest out-of-sample days that are worth anything to the caller.

    Raises:
        NotEnoughHistory: says how many days there are and how many it takes.
        ValueError: the embargo is shorter than the horizon.
    """
    if plan.embargo_bars < horizon:
        raise ValueError(f"embargo of {plan.embargo_bars} bars is shorter than the horizon of {horizon}")
    gap = lag + horizon + plan.embargo_bars
    step = int(open_times[1] - open_times[0]) if len(open_times) > 1 else DAY
    warm = int(open_times[0]) + first_bar * step
    earliest = warm + plan.first_train_days * DAY + gap * step
    begin, end = -(-earliest // DAY) * DAY, (int(open_times[-1]) + step) // DAY * DAY
    days = (end - begin) // DAY
    if days < min_days:
        raise NotEnoughHistory(
            f"walk-forward needs {plan.first_train_days} days of warm features and {min_days} more: "
            f"features are warm from {format_time(warm)}, the last whole day ends {format_time(end)}, which leaves "
            f"{max(0, days)} out-of-sample days. Ingest more history."
        )
    count = max(1, round(days / plan.fold_days))
    edges = begin + (np.arange(count + 1) * days // count) * DAY
    bars = [int((edge - open_times[0]) // step) for edge in edges]
    return [
        Fold(number + 1, first_bar, start - gap, start, stop)
        for number, (start, stop) in enumerate(itertools.pairwise(bars))
    ]
