"""Detrended fluctuation analysis, first order (Peng et al., 1994), of the last 256 log returns.

The profile of cumulated returns, which is the log price, is cut into boxes of 8 to 64 bars and a line taken off each;
alpha is the slope of the logarithm of the root mean square that remains against that of the box length. 0.5 means no
memory, which is also the value where a box length leaves nothing. The returns' mean only tilts the profile and drops
out. NaN until warm.

State: 0 bars seen; 1… window of 256 log closes (512 places).
"""

import math

from feature_store.rolling import push
from feature_store.view import CLOSE, NAN, FeatureView, Floats, Output, kernel
from feature_store.windows import slope

LENGTH = 256
BOXES = (8, 16, 32, 64)
WINDOW = 1


@kernel
def remainder(state: Floats, start: int, length: int) -> float:
    """Sum of squares about the least-squares line through `length` values."""
    y = yy = xy = 0.0
    middle = 0.5 * (length - 1)
    for i in range(length):
        value = state[start + i] - state[start]
        y += value
        yy += value * value
        xy += (i - middle) * value
    xx = length * (length * length - 1.0) / 12.0
    return max((yy - y * y / length) - xy * xy / xx, 0.0)


@kernel
def alpha(state: Floats, start: int) -> float:
    x = y = xx = xy = 0.0
    for k in range(len(BOXES)):
        squares = 0.0
        for box in range(start, start + LENGTH, BOXES[k]):
            squares += remainder(state, box, BOXES[k])
        if squares == 0.0:
            return 0.5
        size, width = math.log(BOXES[k]), 0.5 * math.log(squares / LENGTH)
        x, y, xx, xy = x + size, y + width, xx + size * size, xy + size * width
    return slope(len(BOXES), x, y, xx, xy)


@kernel
def update(state: Floats, bar: Floats, out: Floats) -> None:
    count = int(state[0])
    start = push(state, WINDOW, LENGTH, count, math.log(bar[CLOSE]))
    state[0] = count + 1.0
    out[0] = alpha(state, start) if count + 1 >= LENGTH else NAN


DETRENDED_FLUCTUATION = FeatureView(
    name="detrended_fluctuation",
    version=1,
    inputs=("close",),
    warm_up=LENGTH,
    state_size=WINDOW + 2 * LENGTH,
    update=update,
    outputs=(Output(f"dfa_{LENGTH}", "exponent", f"DFA-1 exponent of {LENGTH} log returns; 0.5 if none moved."),),
)
