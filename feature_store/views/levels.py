"""Distance to support and resistance: the nearest levels at which the price turned within the last 288 bars.

A level is the high of a bar above the five highs on either side, or the low of one below the five lows; it counts from
the close of the fifth bar after it. Resistance is the nearest level above the close, else the highest high of the last
288 bars; support the nearest one below, else the lowest low. Both are 0 or more. NaN until warm. Source: written here.

State: 0 bars seen; 1… window of 288 highs (576 places); 577… of lows; 1153… of confirmed high levels, 0 where none;
1729… of low levels.
"""

from feature_store.rolling import log_return, push
from feature_store.view import CLOSE, HIGH, LOW, NAN, FeatureView, Floats, Output, kernel
from feature_store.windows import highest, lowest

SIDE, LENGTH = 5, 288
HIGHS = 1
LOWS = HIGHS + 2 * LENGTH
TOPS = LOWS + 2 * LENGTH
BOTTOMS = TOPS + 2 * LENGTH


@kernel
def turn(state: Floats, start: int, sign: float) -> float:
    """The value five from the end of a window if it is above (below, for -1) all five on either side, else 0."""
    at = start + LENGTH - 1 - SIDE
    for j in range(1, SIDE + 1):
        if sign * state[at - j] >= sign * state[at] or sign * state[at + j] >= sign * state[at]:
            return 0.0
    return state[at]


@kernel
def update(state: Floats, bar: Floats, out: Floats) -> None:
    count = int(state[0])
    close = bar[CLOSE]
    highs = push(state, HIGHS, LENGTH, count, bar[HIGH])
    lows = push(state, LOWS, LENGTH, count, bar[LOW])
    known = count >= 2 * SIDE
    tops = push(state, TOPS, LENGTH, count, turn(state, highs, 1.0) if known else 0.0)
    bottoms = push(state, BOTTOMS, LENGTH, count, turn(state, lows, -1.0) if known else 0.0)
    state[0] = count + 1.0
    out[0] = out[1] = NAN
    if count + 1 < LENGTH:
        return
    above, below = max(highest(state, highs, LENGTH), close), min(lowest(state, lows, LENGTH), close)
    for i in range(LENGTH):
        for level in (state[tops + i], state[bottoms + i]):
            if close < level < above:
                above = level
            if below < level < close:
                below = level
    out[0] = log_return(above, close)
    out[1] = log_return(close, below)


LEVELS = FeatureView(
    name="levels",
    version=1,
    inputs=("high", "low", "close"),
    warm_up=LENGTH,
    state_size=BOTTOMS + 2 * LENGTH,
    update=update,
    outputs=(
        Output(f"resistance_distance_{SIDE}_{LENGTH}", "log", "ln(nearest level above / close)."),
        Output(f"support_distance_{SIDE}_{LENGTH}", "log", "ln(close / nearest level below)."),
    ),
)
