"""Kernels over a window of pairs: sums of squares and products about the means, sliding with their rounding bounded.

As `feature_store.rolling.moments`, for two values at once. The error of a sum of products is at most the geometric mean
of those of the two sums of squares (Cauchy and Schwarz), so the two bounds hold for it as well.
"""

import math

from feature_store.rolling import ROUNDING, TOLERANCE, log_return, turned
from feature_store.view import NAN, Floats, kernel

COMOMENTS = 10
"""Places that `comoments` needs before its two rings."""
OX, OY, SX, SY, SXX, SYY, SXY, BOUND_X, BOUND_Y, CURSOR = range(10)


@kernel
def comoments(state: Floats, at: int, length: int, x: float, y: float) -> tuple[float, float, float]:
    """Take a pair; return sums of squares of x and y about their means over `length` pairs, and of their products.

    NaN before `length` pairs. State at `at`: origins, sums, sums of squares and products of the differences to the
    origins, rounding bounds, cursor, then the rings of x and of y: 10 + 2·length places. Taken afresh once a bound is
    above `TOLERANCE`.
    """
    cursor, ring, share = int(state[at + CURSOR]), at + COMOMENTS, 1.0 / length
    if cursor < length:
        state[ring + cursor], state[ring + cursor + length], state[at + CURSOR] = x, y, cursor + 1.0
        if cursor + 1 < length:
            return NAN, NAN, NAN
    else:
        place, origin_x, origin_y = ring + cursor - length, state[at + OX], state[at + OY]
        new_x, old_x, new_y, old_y = (
            x - origin_x,
            state[place] - origin_x,
            y - origin_y,
            state[place + length] - origin_y,
        )
        state[place], state[place + length], state[at + CURSOR] = x, y, turned(cursor, length)
        old_xx, new_xx, old_yy, new_yy = old_x * old_x, new_x * new_x, old_y * old_y, new_y * new_y
        state[at + SX] += new_x - old_x
        state[at + SY] += new_y - old_y
        state[at + SXY] += new_x * new_y - old_x * old_y
        sxx, syy = state[at + SXX] + (new_xx - old_xx), state[at + SYY] + (new_yy - old_yy)
        state[at + SXX], state[at + SYY] = sxx, syy
        bound_x, bound_y = state[at + BOUND_X] + (sxx + new_xx + old_xx), state[at + BOUND_Y] + (syy + new_yy + old_yy)
        state[at + BOUND_X], state[at + BOUND_Y] = bound_x, bound_y
        xx, yy, xy = about_means(state, at, share)
        if bound_x * ROUNDING <= xx * TOLERANCE and bound_y * ROUNDING <= yy * TOLERANCE:
            return xx, yy, xy
    refresh(state, at, length, ring, ring + length)
    return about_means(state, at, share)


@kernel
def about_means(state: Floats, at: int, share: float) -> tuple[float, float, float]:
    """The three sums about the means; those of squares not below 0."""
    x, y = state[at + SX], state[at + SY]
    squares = max(state[at + SXX] - x * x * share, 0.0), max(state[at + SYY] - y * y * share, 0.0)
    return squares[0], squares[1], state[at + SXY] - x * y * share


@kernel
def refresh(state: Floats, at: int, length: int, x: int, y: int) -> None:
    """Sums over the whole rings at `x` and `y`, about their first pair."""
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
def correlation(xx: float, yy: float, xy: float) -> float:
    """Pearson's, within [-1, 1]; 0 where x or y does not vary; NaN before there are enough pairs."""
    squares = xx * yy
    return 0.0 if squares == 0.0 else min(max(xy / math.sqrt(squares), -1.0), 1.0)


@kernel
def slope_on_x(xx: float, xy: float) -> float:
    """Slope of the least-squares line of y on x; 0 where x does not vary."""
    return 0.0 if xx == 0.0 else xy / xx


@kernel
def residual(state: Floats, at: int, length: int, x: float, y: float, slope: float) -> float:
    """How far the pair lies above the line of that slope through the window's means."""
    dx = (x - state[at + OX]) - state[at + SX] / length
    dy = (y - state[at + OY]) - state[at + SY] / length
    return dy - slope * dx


@kernel
def pair_of_returns(state: Floats, at: int, length: int, close: float, reference: float) -> tuple[float, float, float]:
    """Take two closes; `comoments` of the last `length` pairs of log returns between bars that have both closes.

    NaN in `reference` leaves the state as it is: the next return of both then spans the gap. State at `at`: the last
    two closes, then `comoments` with the reference as x: 2 + 10 + 2·length places.
    """
    if math.isnan(reference):
        return NAN, NAN, NAN
    last, last_reference = state[at], state[at + 1]
    state[at], state[at + 1] = close, reference
    if last == 0.0:
        return NAN, NAN, NAN
    return comoments(state, at + 2, length, log_return(reference, last_reference), log_return(close, last))


PAIR = 2 + COMOMENTS
"""Places that `pair_of_returns` needs before its rings."""
