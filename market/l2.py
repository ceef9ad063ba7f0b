"""A book of price levels without single orders, as market data shows it: compiled, in ticks and lots.

Each side is an array sorted so that the best level is last; nearly all changes are near the best, so few rows move.
`Levels` is plain arrays: whoever holds it may read, only the functions below write.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from market.kernel import njit

Integers = NDArray[np.int64]

BID, ASK = 0, 1
TICK, LOTS = 0, 1
# Columns of an update: side, price in ticks, new quantity in lots (0 removes the level).
UPDATE_SIDE, UPDATE_TICK, UPDATE_LOTS, UPDATE_FIELDS = range(4)


class Levels(NamedTuple):
    """Both sides of one book."""

    rows: Integers
    """[side, capacity, 2]: tick and lots, best last."""
    counts: Integers
    """[2]: levels held on each side."""


def new_levels(capacity: int = 16_384) -> Levels:
    """An empty book."""
    return Levels(np.zeros((2, capacity, 2), np.int64), np.zeros(2, np.int64))


def with_room(levels: Levels, updates: int) -> Levels:
    """The same book with room for so many more levels a side; the compiled code never grows an array."""
    needed = int(levels.counts.max()) + updates
    if needed <= levels.rows.shape[1]:
        return levels
    rows = np.zeros((2, 2 * needed, 2), np.int64)
    rows[:, : levels.rows.shape[1]] = levels.rows
    return Levels(rows, levels.counts)


@njit(cache=True, nogil=True)
def set_level(levels: Any, side: int, tick: int, lots: int) -> None:
    """Set the quantity at a price; zero removes it, and removing what is not there does nothing."""
    rows, count = levels.rows[side], levels.counts[side]
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        worse = rows[middle, TICK] < tick if side == BID else rows[middle, TICK] > tick
        if worse:
            low = middle + 1
        else:
            high = middle
    held = low < count and rows[low, TICK] == tick
    if held and lots > 0:
        rows[low, LOTS] = lots
    elif held:
        for k in range(low, count - 1):
            rows[k, TICK], rows[k, LOTS] = rows[k + 1, TICK], rows[k + 1, LOTS]
        levels.counts[side] = count - 1
    elif lots > 0:
        for k in range(count, low, -1):
            rows[k, TICK], rows[k, LOTS] = rows[k - 1, TICK], rows[k - 1, LOTS]
        rows[low, TICK], rows[low, LOTS] = tick, lots
        levels.counts[side] = count + 1


@njit(cache=True, nogil=True)
def apply_updates(levels: Any, updates: Any, start: int, end: int) -> None:
    """Apply rows [start, end) of `updates` in order."""
    for k in range(start, end):
        set_level(levels, updates[k, UPDATE_SIDE], updates[k, UPDATE_TICK], updates[k, UPDATE_LOTS])


@njit(cache=True, nogil=True)
def best(levels: Any, side: int) -> tuple[int, int]:
    """Tick and lots of the best level; (-1, 0) of an empty side."""
    count = levels.counts[side]
    if count == 0:
        return -1, 0
    return int(levels.rows[side, count - 1, TICK]), int(levels.rows[side, count - 1, LOTS])


@njit(cache=True, nogil=True)
def clear(levels: Any) -> None:
    """Forget every level."""
    levels.counts[:] = 0


def depth(levels: Levels, side: int, limit: int) -> Integers:
    """[levels, 2]: ticks and lots, best first."""
    count = int(levels.counts[side])
    return levels.rows[side, max(0, count - limit) : count][::-1].copy()
