"""Kernels that several views share: a window of the last n values, its sum, its spread; Wilder's and the EMA's recursion.

A window of n values takes 2n places: each value is written twice, n apart, so that the last n always lie side by side,
oldest first. Sums are taken afresh over the window on every bar: nothing accumulates, so a crash or a volume spike
leaves no error behind after it has left the window, and the value depends on the window's values alone. Four partial
sums in a fixed order let the processor work in parallel and round the same on every machine.
"""

import math

from feature_store.view import NAN, Floats, kernel


@kernel
def push(state: Floats, at: int, length: int, count: int, value: float) -> int:
    """Write the count-th value (from 0) into the window at `at`; return where the window of the last `length` starts."""
    place = count % length
    state[at + place] = value
    state[at + place + length] = value
    return at + place + 1


@kernel
def offset_sum(state: Floats, start: int, length: int, origin: float) -> float:
    """Sum of `value − origin` over a window. With an origin inside the data the sum keeps its small digits."""
    a = b = c = d = 0.0
    whole = length - length % 4
    for i in range(start, start + whole, 4):
        a += state[i] - origin
        b += state[i + 1] - origin
        c += state[i + 2] - origin
        d += state[i + 3] - origin
    for i in range(start + whole, start + length):
        a += state[i] - origin
    return (a + b) + (c + d)


@kernel
def squares_sum(state: Floats, start: int, length: int, origin: float, mean: float) -> float:
    """Sum of `(value − origin − mean)²` over a window; exactly zero where all values are the same."""
    a = b = c = d = 0.0
    whole = length - length % 4
    for i in range(start, start + whole, 4):
        p = state[i] - origin - mean
        q = state[i + 1] - origin - mean
        r = state[i + 2] - origin - mean
        s = state[i + 3] - origin - mean
        a += p * p
        b += q * q
        c += r * r
        d += s * s
    for i in range(start + whole, start + length):
        p = state[i] - origin - mean
        a += p * p
    return (a + b) + (c + d)


@kernel
def smooth(state: Floats, at: int, length: int, weight: float, value: float) -> float:
    """One step of an exponential average at `at`: [values seen up to length, sum or average]; NaN before `length` values.

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
