"""Hurst exponent by rescaled range (Mandelbrot and Wallis, 1969) over the last 256 log returns.

For each block length of 16 to 256: the mean over blocks of (range of cumulated deviations) / (population deviation);
the exponent is the slope of its logarithm against that of the length. 0.5 means no memory, which is also the value
where nothing moved. Short blocks bias it upwards (Lo, 1991): compare it with itself, not with 0.5. NaN until warm.

State: 0 bars seen; 1 last close; 2… window of 256 returns (512 places).
"""

import math

from feature_store.rolling import log_return, mean_offset, push
from feature_store.view import CLOSE, NAN, FeatureView, Floats, Output, kernel
from feature_store.windows import slope

LENGTH = 256
BLOCKS = (16, 32, 64, 128, 256)
LAST, WINDOW = 1, 2


@kernel
def rescaled_range(state: Floats, start: int, length: int) -> float:
    """R/S of one block; 0 where nothing varied."""
    origin, offset = state[start], mean_offset(state, start, length)
    level = top = bottom = squares = 0.0
    for i in range(start, start + length):
        difference = (state[i] - origin) - offset
        squares += difference * difference
        level += difference
        top, bottom = max(top, level), min(bottom, level)
    return (top - bottom) / math.sqrt(squares / length) if squares > 0.0 else 0.0


@kernel
def exponent(state: Floats, start: int) -> float:
    n = x = y = xx = xy = 0.0
    for k in range(len(BLOCKS)):
        ranges = blocks = 0.0
        for block in range(start, start + LENGTH, BLOCKS[k]):
            one = rescaled_range(state, block, BLOCKS[k])
            ranges += one
            blocks += 1.0 if one > 0.0 else 0.0
        if blocks > 0.0:
            size, width = math.log(BLOCKS[k]), math.log(ranges / blocks)
            n, x, y, xx, xy = n + 1.0, x + size, y + width, xx + size * size, xy + size * width
    return slope(n, x, y, xx, xy) if n > 1.0 else 0.5


@kernel
def update(state: Floats, bar: Floats, out: Floats) -> None:
    count = int(state[0])
    last = state[LAST]
    state[LAST] = bar[CLOSE]
    state[0] = count + 1.0
    out[0] = NAN
    if count == 0:
        return
    start = push(state, WINDOW, LENGTH, count - 1, log_return(bar[CLOSE], last))
    if count >= LENGTH:
        out[0] = exponent(state, start)


HURST = FeatureView(
    name="hurst",
    version=1,
    inputs=("close",),
    warm_up=LENGTH + 1,
    state_size=WINDOW + 2 * LENGTH,
    update=update,
    outputs=(
        Output(f"hurst_{LENGTH}", "exponent", f"Rescaled-range exponent of {LENGTH} log returns; 0.5 if none moved."),
    ),
)
