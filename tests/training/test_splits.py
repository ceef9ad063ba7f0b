"""Train and test never touch, whatever the plan."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.intervals import DAY, MINUTE
from training.errors import NotEnoughHistory
from training.splits import WalkForward, walk_forward

MONDAY = 1_672_617_600 * 1_000_000


def grid(days: float, start: int = MONDAY) -> np.ndarray:
    return start + np.arange(int(days * 288), dtype=np.int64) * 5 * MINUTE


@given(
    days=st.floats(20.0, 260.0),
    offset=st.integers(0, 287),
    warm=st.integers(0, 600),
    first=st.integers(5, 60),
    fold=st.integers(1, 40),
    horizon=st.integers(1, 48),
    extra=st.integers(0, 100),
    lag=st.integers(1, 3),
)
def test_no_training_label_ever_reaches_a_test_block(
    days: float, offset: int, warm: int, first: int, fold: int, horizon: int, extra: int, lag: int
) -> None:
    times = grid(days, MONDAY + offset * 5 * MINUTE)
    plan = WalkForward(first, fold, embargo_bars=horizon + extra)
    try:
        folds = walk_forward(times, warm, lag, horizon, plan)
    except NotEnoughHistory:
        return
    for f in folds:
        last_label_end = f.train_stop - 1 + lag + horizon
        assert last_label_end < f.test_start - (horizon + extra - 1)  # purged, and the embargo kept
        assert times[f.train_stop - 1] - times[f.train_start] >= first * DAY - 10 * MINUTE
        assert times[f.test_start] % DAY == 0
        assert f.test_stop <= len(times)
    for before, after in itertools.pairwise(folds):
        assert before.test_stop == after.test_start and before.train_start == after.train_start


def test_180_days_give_at_least_120_out_of_sample() -> None:
    folds = walk_forward(grid(180), 500, 2, 12)
    assert (folds[-1].test_stop - folds[0].test_start) // 288 >= 120
    assert len(folds) == 5


def test_too_little_history_says_how_much_there_is() -> None:
    with pytest.raises(NotEnoughHistory, match="leaves 3 out-of-sample days") as error:
        walk_forward(grid(60), 500, 2, 12, WalkForward(), min_days=120)
    assert error.value.exit_code == 69


def test_an_embargo_shorter_than_the_horizon_is_refused() -> None:
    with pytest.raises(ValueError, match="shorter than the horizon"):
        walk_forward(grid(180), 500, 2, 24, WalkForward())
