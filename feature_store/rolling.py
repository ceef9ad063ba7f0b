"""Kernels that several views share: a window of the last n values, its mean and moments; Wilder's and the EMA's step.

A window of n values takes 2n places: each value is written twice, n apart, so that the last n always lie side by side,
oldest first. Sums are of differences to a value inside the window, which keep the digits that a sum of prices loses.
"""

import math

from feature_store.view import NAN, Floats, kernel

TOLERANCE = 1e-12
"""Largest relative error that a sliding sum of squares may carry."""
ROUNDING = 4.5e-16
"""Four times the relative error of one operation: what one step adds, as a share of the terms it adds up."""
MOMENTS = 4
"""Places that `moments` needs before its window."""


@kernel
def push(state: Floats, at: int, length: int, count: int, value: float) -> int:
    """Write the count-th value (from 0) into the window at `at`; return where its last `length` values start."""
    place = count % length
    state[at + place] = value
    state[at + place + length] = value
    return at + place + 1


@kernel
def mean_offset(state: Floats, start: int, length: int) -> float:
    """Mean of a window's values less its oldest value; four partial sums keep the processor busy, in a fixed order."""
    origin = state[start]
    a = b = c = d = 0.0
    whole = length - length % 4
    for i in range(start, start + whole, 4):
        a += state[i] - origin
        b += state[i + 1] - origin
        c += state[i + 2] - origin
        d += state[i + 3] - origin
    for i in range(start + whole, start + length):
        a += state[i] - origin
    return ((a + b) + (c + d)) / length


@kernel
def moments(state: Floats, at: int, length: int, count: int, value: float) -> tuple[float, float]:
    """Take the count-th value (from 0); return the last `length` values' mean and sum of squares about it.

    NaN before `length` values; exactly the value and 0 where all are equal. State at `at`: origin, sum and sum of
    squares of the differences to it, rounding bound, then the window (2·length): 4 + 2·length places.

    The sums slide along with the window. Their rounding errors are bounded on the way, and as soon as the bound is
    above `TOLERANCE` of the result (a spike has left, the values have drifted off, nothing varies) both are taken
    afresh over the window, from an origin inside it: their cancellation is then at most a factor of `length`.
    """
    window = at + MOMENTS
    old = state[window + count % length] - state[at]
    start = push(state, window, length, count, value)
    if count + 1 < length:
        return NAN, NAN
    if count + 1 > length:
        new = value - state[at]
        state[at + 1] += new - old
        state[at + 2] += new * new - old * old
        state[at + 3] += state[at + 2] + new * new + old * old
        mean = state[at + 1] / length
        squares = state[at + 2] - state[at + 1] * mean
        if state[at + 3] * ROUNDING <= squares * TOLERANCE:
            return state[at] + mean, squares
    origin = state[start]
    total = squares = 0.0
    for i in range(start, start + length):
        difference = state[i] - origin
        total += difference
        squares += difference * difference
    state[at] = origin
    state[at + 1] = total
    state[at + 2] = squares
    state[at + 3] = squares
    return origin + total / length, max(squares - total * total / length, 0.0)


@kernel
def smooth(state: Floats, at: int, length: int, weight: float, value: float) -> float:
    """One step of an exponential average; NaN before `length` values. State at `at`: values seen, sum or average.

    The first average is the plain mean of the first `length` values, as in TA-Lib; then it moves by `weight` towards
    each value: 2 / (length + 1) for an EMA, 1 / length for Wilder's.
    """
    seen = state[at]
    if seen >= length:
        state[at + 1] += weight * (value - state[at + 1])
        return state[at + 1]
    state[at] = seen + 1.0
    state[at + 1] += value
    if seen + 1.0 < length:
        return NAN
    state[at + 1] /= length
    return state[at + 1]


@kernel
def log_return(value: float, past: float) -> float:
    """log(value / past), with full precision for the smallest moves."""
    return math.log1p((value - past) / past)
