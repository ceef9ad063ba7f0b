"""Fractal pivots (Williams, 1995): a high above the two highs on either side, a low below the two lows.

A pivot counts from the close of the second bar after it, never earlier. Looked for among the last 96 bars; where there
is none, the window's highest high (lowest low) stands in. Ages count bars since the pivot's own. NaN until warm.

State: 0 bars seen; 1… window of 96 highs (192 places); 193… of 96 lows.
"""

from feature_store.rolling import log_return, push
from feature_store.view import CLOSE, HIGH, LOW, NAN, FeatureView, Floats, Output, kernel

SIDE, LENGTH = 2, 96
HIGHS = 1
LOWS = HIGHS + 2 * LENGTH


@kernel
def latest(state: Floats, start: int, sign: float) -> int:
    """Index in the window of the newest confirmed pivot, a high for sign 1, a low for -1; else of the extreme."""
    best = LENGTH - 1
    for i in range(LENGTH - 1 - SIDE, SIDE - 1, -1):
        value, is_pivot = sign * state[start + i], True
        for j in range(1, SIDE + 1):
            if sign * state[start + i - j] >= value or sign * state[start + i + j] >= value:
                is_pivot = False
                break
        if is_pivot:
            return i
    for i in range(LENGTH - 1, -1, -1):
        if sign * state[start + i] > sign * state[start + best]:
            best = i
    return best


@kernel
def update(state: Floats, bar: Floats, out: Floats) -> None:
    count = int(state[0])
    highs = push(state, HIGHS, LENGTH, count, bar[HIGH])
    lows = push(state, LOWS, LENGTH, count, bar[LOW])
    state[0] = count + 1.0
    out[0] = out[1] = out[2] = out[3] = NAN
    if count + 1 < LENGTH:
        return
    top, bottom = latest(state, highs, 1.0), latest(state, lows, -1.0)
    out[0] = log_return(bar[CLOSE], state[highs + top])
    out[1] = log_return(bar[CLOSE], state[lows + bottom])
    out[2] = LENGTH - 1.0 - top
    out[3] = LENGTH - 1.0 - bottom


_LENGTHS = f"{SIDE}_{LENGTH}"

PIVOTS = FeatureView(
    name="pivots",
    version=1,
    inputs=("high", "low", "close"),
    warm_up=LENGTH,
    state_size=LOWS + 2 * LENGTH,
    update=update,
    outputs=(
        Output(f"pivot_high_distance_{_LENGTHS}", "log", "ln(close / newest confirmed pivot high)."),
        Output(f"pivot_low_distance_{_LENGTHS}", "log", "ln(close / newest confirmed pivot low)."),
        Output(f"pivot_high_age_{_LENGTHS}", "bars", "Bars since that pivot high; at least 2 if it is one."),
        Output(f"pivot_low_age_{_LENGTHS}", "bars", "Bars since that pivot low; at least 2 if it is one."),
    ),
)
