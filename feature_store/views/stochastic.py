"""Slow stochastic (Lane): where the close lies in the range of 14 bars, smoothed over 3 bars, and once more.

A range of no width counts as 50, the middle, where TA-Lib says 0. NaN until warm.

State: 0 bars seen; 1… window of 14 highs (28 places); 29… of 14 lows; 57… of 3 raw values (6); 63… of 3 K (6).
"""

from feature_store.rolling import push
from feature_store.view import CLOSE, HIGH, LOW, NAN, FeatureView, Floats, Output, kernel
from feature_store.windows import highest, lowest, total

LENGTH, SMOOTHING = 14, 3
HIGHS = 1
LOWS = HIGHS + 2 * LENGTH
RAW = LOWS + 2 * LENGTH
SMOOTH = RAW + 2 * SMOOTHING


@kernel
def update(state: Floats, bar: Floats, out: Floats) -> None:
    count = int(state[0])
    highs = push(state, HIGHS, LENGTH, count, bar[HIGH])
    lows = push(state, LOWS, LENGTH, count, bar[LOW])
    state[0] = count + 1.0
    out[0] = out[1] = NAN
    seen = count - LENGTH + 1  # raw values before this bar's
    if seen < 0:
        return
    top, bottom = highest(state, highs, LENGTH), lowest(state, lows, LENGTH)
    raw = 100.0 * (bar[CLOSE] - bottom) / (top - bottom) if top > bottom else 50.0
    start = push(state, RAW, SMOOTHING, seen, raw)
    if seen < SMOOTHING - 1:
        return
    out[0] = total(state, start, SMOOTHING) / SMOOTHING
    start = push(state, SMOOTH, SMOOTHING, seen - SMOOTHING + 1, out[0])
    if seen >= 2 * (SMOOTHING - 1):
        out[1] = total(state, start, SMOOTHING) / SMOOTHING


STOCHASTIC = FeatureView(
    name="stochastic",
    version=1,
    inputs=("high", "low", "close"),
    warm_up=LENGTH + 2 * (SMOOTHING - 1),
    state_size=SMOOTH + 2 * SMOOTHING,
    update=update,
    outputs=(
        Output(
            f"stoch_k_{LENGTH}_{SMOOTHING}", "0-100", f"Close in the range of {LENGTH} bars, mean of {SMOOTHING} bars."
        ),
        Output(f"stoch_d_{LENGTH}_{SMOOTHING}_{SMOOTHING}", "0-100", f"Mean of the last {SMOOTHING} values of K."),
    ),
)
