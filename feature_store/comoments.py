"""Kernels over a window of pairs: sums of squares and products about the means, sliding with their rounding bounded.

As `feature_store.rolling.moments`, for two values at once. The error of a sum of products is at most the geometric mean
of those of the two sums of squares (Cauchy and Schwarz), so the two bounds hold for it as well.
"""

import math

from feature_store.rolling import ROUNDING, TOLERANCE, push
from feature_store.view import Floats, kernel

COMOMENTS = 9
"""Places that `comoments` needs before its two windows."""
OX, OY, SX, SY, SXX, SYY, SXY, BOUND_X, BOUND_Y = range(9)


@kernel
def comoments(state: Floats, at: int, length: int, count: int, x: float, y: float) -> bool:
    """Take the count-th pair (from 0); True once there are `length`: `spread_x`, `spread_y`, `product` may be read.

    State at `at`: origins, sums, sums of squares and products of the differences to the origins, rounding bounds, then
    the windows of x and of y (2·length each): 9 + 4·length places. Taken afresh once a bound is above `TOLERANCE`.
    """
    window = at + COMOMENTS
    place = count % length
    old_x = state[window + place] - state[at + OX]
    old_y = state[window + 2 * length + place] - state[at + OY]
    start = push(state, window, length, count, x)
    push(state, window + 2 * length, length, count, y)
    if count + 1 < length:
        return False
    if count + 1 > length:
        new_x, new_y = x - state[at + OX], y - state[at + OY]
        state[at + SX] += new_x - old_x
        state[at + SY] += new_y - old_y
        state[at + SXX] += new_x * new_x - old_x * old_x
        state[at + SYY] += new_y * new_y - old_y * old_y
        state[at + SXY] += new_x * new_y - old_x * old_y
        state[at + BOUND_X] += state[at + SXX] + new_x * new_x + old_x * old_x
        state[at + BOUND_Y] += state[at + SYY] + new_y * new_y + old_y * old_y
        sound_x = state[at + BOUND_X] * ROUNDING <= spread_x(state, at, length) * TOLERANCE
        if sound_x and state[at + BOUND_Y] * ROUNDING <= spread_y(state, at, length) * TOLERANCE:
            return True
    refresh(state, at, length, start, start + 2 * length)
    return True


@kernel
def refresh(state: Floats, at: int, length: int, x: int, y: int) -> None:
    """Sums over the whole window, about its oldest pair."""
    origin_x, origin_y = state[x], state[y]
    sx = sy = sxx = syy = sxy = 0.0
    for i in range(length):
        dx, dy = state[x + i] - origin_x, state[y + i] - origin_y
        sx += dx
        sy += dy
        sxx += dx * dx
        syy += dy * dy
        sxy += dx * dy
    state[at + OX], state[at + OY], state[at + SX], state[at + SY] = origin_x, origin_y, sx, sy
    state[at + SXX], state[at + SYY], state[at + SXY] = sxx, syy, sxy
    state[at + BOUND_X], state[at + BOUND_Y] = sxx, syy


@kernel
def spread_x(state: Floats, at: int, length: int) -> float:
    """Sum of squares of x about its mean; not below 0."""
    return max(state[at + SXX] - state[at + SX] * state[at + SX] / length, 0.0)


@kernel
def spread_y(state: Floats, at: int, length: int) -> float:
    """Sum of squares of y about its mean; not below 0."""
    return max(state[at + SYY] - state[at + SY] * state[at + SY] / length, 0.0)


@kernel
def product(state: Floats, at: int, length: int) -> float:
    """Sum of products of x and y about their means."""
    return state[at + SXY] - state[at + SX] * state[at + SY] / length


@kernel
def correlation(state: Floats, at: int, length: int) -> float:
    """Pearson's, within [-1, 1]; 0 where x or y does not vary."""
    squares = spread_x(state, at, length) * spread_y(state, at, length)
    return min(max(product(state, at, length) / math.sqrt(squares), -1.0), 1.0) if squares > 0.0 else 0.0


@kernel
def slope_on_x(state: Floats, at: int, length: int) -> float:
    """Slope of the least-squares line of y on x; 0 where x does not vary."""
    squares = spread_x(state, at, length)
    return product(state, at, length) / squares if squares > 0.0 else 0.0


@kernel
def residual(state: Floats, at: int, length: int, x: float, y: float) -> float:
    """How far the pair lies above that line."""
    dx = (x - state[at + OX]) - state[at + SX] / length
    dy = (y - state[at + OY]) - state[at + SY] / length
    return dy - slope_on_x(state, at, length) * dx


@kernel
def pair_of_returns(state: Floats, at: int, length: int, close: float, reference: float) -> bool:
    """Take two closes; True once there are `length` pairs of log returns between bars that have both closes.

    NaN in `reference` leaves the state as it is: the next return of both then spans the gap. State at `at`: pairs of
    closes seen, the last two closes, then `comoments` with the reference as x: 3 + 9 + 4·length places.
    """
    if math.isnan(reference):
        return False
    count = int(state[at])
    last, last_reference = state[at + 1], state[at + 2]
    state[at], state[at + 1], state[at + 2] = count + 1.0, close, reference
    if count == 0:
        return False
    x, y = math.log1p((reference - last_reference) / last_reference), math.log1p((close - last) / last)
    return comoments(state, at + 3, length, count - 1, x, y)


PAIR = 3 + COMOMENTS
"""Places that `pair_of_returns` needs before its windows."""
