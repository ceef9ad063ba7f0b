"""Kernels over a window that `feature_store.rolling.push` keeps: its sum, extremes and a line through points.

Each walks the whole window on every bar: windows are short, nothing drifts, and no bar of the past leaves a trace.
"""

from feature_store.rolling import mean_offset
from feature_store.view import Floats, kernel


@kernel
def total(state: Floats, start: int, length: int) -> float:
    """Sum of a window, in four partial sums and a fixed order; exact to the last digits where no signs differ."""
    a = b = c = d = 0.0
    whole = length - length % 4
    for i in range(start, start + whole, 4):
        a += state[i]
        b += state[i + 1]
        c += state[i + 2]
        d += state[i + 3]
    for i in range(start + whole, start + length):
        a += state[i]
    return (a + b) + (c + d)


@kernel
def highest(state: Floats, start: int, length: int) -> float:
    """Largest value of a window."""
    found = state[start]
    for i in range(start + 1, start + length):
        if state[i] > found:
            found = state[i]
    return found


@kernel
def lowest(state: Floats, start: int, length: int) -> float:
    """Smallest value of a window."""
    found = state[start]
    for i in range(start + 1, start + length):
        if state[i] < found:
            found = state[i]
    return found


@kernel
def squares_about_mean(state: Floats, start: int, length: int) -> float:
    """Sum of squares of a window about its mean, in two passes; exactly 0 where all are equal."""
    origin, offset = state[start], mean_offset(state, start, length)
    squares = 0.0
    for i in range(start, start + length):
        difference = (state[i] - origin) - offset
        squares += difference * difference
    return squares


@kernel
def slope(n: float, x: float, y: float, xx: float, xy: float) -> float:
    """Slope of the least-squares line through n points, from the sums of x, y, x² and xy; at least two different x."""
    return (n * xy - x * y) / (n * xx - x * x)
