"""Kernels that several views share: a window of the last n values, its sum and moments; Wilder's and the EMA's step.

A window of n values takes 2n places: each value is written twice, n apart, so that the last n always lie side by side,
oldest first. Sums are taken afresh over the window on every bar: nothing accumulates, so a crash or a volume spike
leaves no error behind after it has left the window, and the value depends on the window's values alone. Four partial
sums in a fixed order let the processor work in parallel and round the same on every machine.
"""

import math

from feature_store.view import NAN, Floats, kernel


@kernel
def push(state: Floats, at: int, length: int, count: int, value: float) -> int:
    """Write the count-th value (from 0) into the window at `at`; return where its last `length` values start."""
    place = count % length
    state[at + place] = value
    state[at + place + length] = value
    return at + place + 1


@kernel
def mean_offset(state: Floats, start: int, length: int) -> float:
    """Mean of a window's values less its oldest value: the differences keep the digits that a sum of prices loses."""
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
def moments(state: Floats, start: int, length: int) -> tuple[float, float]:
    """`mean_offset` and the sum of squares about the mean; exactly 0 and 0 where all values are equal.

    One pass, safe because differences are taken from one of the window's own values: the two sums then cancel by at
    most a factor of `length`, however large the values or the spikes among them.
    """
    origin = state[start]
    s0 = s1 = s2 = s3 = q0 = q1 = q2 = q3 = 0.0
    whole = length - length % 4
    for i in range(start, start + whole, 4):
        d0 = state[i] - origin
        d1 = state[i + 1] - origin
        d2 = state[i + 2] - origin
        d3 = state[i + 3] - origin
        s0 += d0
        s1 += d1
        s2 += d2
        s3 += d3
        q0 += d0 * d0
        q1 += d1 * d1
        q2 += d2 * d2
        q3 += d3 * d3
    for i in range(start + whole, start + length):
        d0 = state[i] - origin
        s0 += d0
        q0 += d0 * d0
    total = (s0 + s1) + (s2 + s3)
    return total / length, max((q0 + q1) + (q2 + q3) - total * total / length, 0.0)


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
