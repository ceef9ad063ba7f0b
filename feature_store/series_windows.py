"""Kernels over a window of a series that may have holes: growth over n bars and the mean of n bars."""

import math

from feature_store.rolling import mean_offset, push
from feature_store.view import NAN, Floats, kernel


@kernel
def growth(state: Floats, at: int, length: int, count: int, value: float) -> float:
    """ln(value / that `length` bars before); NaN until warm, and where either is not above 0. A ring."""
    place = at + count % length
    past = state[place]
    state[place] = value
    return math.log(value / past) if count >= length and value > 0.0 and past > 0.0 else NAN


@kernel
def mean(state: Floats, at: int, length: int, count: int, value: float) -> float:
    """Mean of the last `length` values; NaN until warm, and while one is unknown. A window of 2·length."""
    start = push(state, at, length, count, value)
    return state[start] + mean_offset(state, start, length) if count + 1 >= length else NAN
