"""Kernels that several views share: a window of the last n values, its mean and moments; Wilder's and the EMA's step.

A window of n values takes 2n places: each value is written twice, n apart, so that the last n always lie side by side,
oldest first. Sliding sums look at their window seldom and keep a ring of n places with a cursor instead: it counts the
first n values, then runs round from n to 2n - 1. Sums are of differences to a value inside the window, which keep the
digits that a sum of prices loses.
"""

import math

from feature_store.view import NAN, Floats, kernel

TOLERANCE = 1e-12
"""Largest relative error that a sliding sum of squares may carry."""
ROUNDING = 4.5e-16
"""Four times the relative error of one operation: what one step adds, as a share of the terms it adds up."""
MEAN = 4
"""Places that `mean` needs before its ring."""
MOMENTS = 5
"""Places that `moments` needs before its ring."""


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
def turned(cursor: int, length: int) -> float:
    """The cursor of a full ring, one value on."""
    return cursor + 1.0 if cursor + 1 < 2 * length else 1.0 * length


@kernel
def mean(state: Floats, at: int, length: int, value: float) -> float:
    """Take a value; return the last `length` values' mean, NaN before there are as many.

    Exactly the value where all are equal. State at `at`: origin, sum of the differences to it, rounding bound, cursor,
    then the ring: 4 + length places. The sum slides and is taken afresh as those of `moments`.
    """
    cursor, ring, share = int(state[at + 3]), at + MEAN, 1.0 / length
    if cursor < length:
        state[ring + cursor], state[at + 3] = value, cursor + 1.0
        if cursor + 1 < length:
            return NAN
    else:
        place = ring + cursor - length
        change = value - state[place]
        total = state[at + 1] + change
        bound = state[at + 2] + (abs(total) + abs(change))
        state[place], state[at + 1], state[at + 2], state[at + 3] = value, total, bound, turned(cursor, length)
        result = state[at] + total * share
        if bound * ROUNDING <= abs(result) * TOLERANCE:
            return result
    origin = state[ring]
    total = 0.0
    for i in range(ring, ring + length):
        total += state[i] - origin
    state[at], state[at + 1], state[at + 2] = origin, total, abs(total)
    return origin + total * share


@kernel
def moments(state: Floats, at: int, length: int, value: float) -> tuple[float, float]:
    """Take a value; return the last `length` values' mean and sum of squares about it.

    NaN before `length` values; exactly the value and 0 where all are equal. State at `at`: origin, sum and sum of
    squares of the differences to it, rounding bound, cursor, then the ring: 5 + length places.

    The sums slide along with the window. Their rounding errors are bounded on the way, and as soon as the bound is
    above `TOLERANCE` of the result (a spike has left, the values have drifted off, nothing varies) both are taken
    afresh over the window, from an origin inside it: their cancellation is then at most a factor of `length`.
    """
    cursor, ring, share = int(state[at + 4]), at + MOMENTS, 1.0 / length
    if cursor < length:
        state[ring + cursor], state[at + 4] = value, cursor + 1.0
        if cursor + 1 < length:
            return NAN, NAN
    else:
        place, origin = ring + cursor - length, state[at]
        new, old = value - origin, state[place] - origin
        new_square, old_square = new * new, old * old
        total = state[at + 1] + (new - old)
        squares = state[at + 2] + (new_square - old_square)
        bound = state[at + 3] + (squares + new_square + old_square)
        state[place], state[at + 4] = value, turned(cursor, length)
        state[at + 1], state[at + 2], state[at + 3] = total, squares, bound
        offset = total * share
        squares -= total * offset
        if bound * ROUNDING <= squares * TOLERANCE:
            return origin + offset, squares
    origin = state[ring]
    total = squares = 0.0
    for i in range(ring, ring + length):
        difference = state[i] - origin
        total += difference
        squares += difference * difference
    state[at], state[at + 1], state[at + 2], state[at + 3] = origin, total, squares, squares
    return origin + total * share, max(squares - total * total * share, 0.0)


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
    """log(value / past): the series of 2·artanh for moves of up to 2 %, exact to 2e-16 there, else the library's."""
    z = (value - past) / (value + past)
    square = z * z
    if square > 1e-4:
        return math.log1p((value - past) / past)
    return 2.0 * (z + z * square * (1.0 / 3.0 + square * (1.0 / 5.0 + square * (1.0 / 7.0))))
