"""Directional movement (Wilder, 1978), seeded as in TA-Lib: sums of the first 13 moves, then Wilder's sum.

+DI and -DI say which way the range grows, ADX how one-sided that has been. 0 where nothing moved. NaN until warm.

State: 0 bars seen; 1 last high; 2 low; 3 close; 4 sum of +DM; 5 of -DM; 6 of true ranges; 7 ADX (count, average).
"""

from feature_store.rolling import smooth
from feature_store.view import CLOSE, HIGH, LOW, NAN, FeatureView, Floats, Output, kernel

LENGTH = 14
LAST_HIGH, LAST_LOW, LAST_CLOSE, UP, DOWN, RANGE, AVERAGE = 1, 2, 3, 4, 5, 6, 7


@kernel
def update(state: Floats, bar: Floats, out: Floats) -> None:
    count = int(state[0])
    up, down = bar[HIGH] - state[LAST_HIGH], state[LAST_LOW] - bar[LOW]
    true_range = max(bar[HIGH], state[LAST_CLOSE]) - min(bar[LOW], state[LAST_CLOSE])
    state[LAST_HIGH], state[LAST_LOW], state[LAST_CLOSE] = bar[HIGH], bar[LOW], bar[CLOSE]
    state[0] = count + 1.0
    out[0] = out[1] = out[2] = NAN
    if count == 0:
        return
    kept = (LENGTH - 1.0) / LENGTH if count >= LENGTH else 1.0
    state[UP] = state[UP] * kept + (up if up > down and up > 0.0 else 0.0)
    state[DOWN] = state[DOWN] * kept + (down if down > up and down > 0.0 else 0.0)
    state[RANGE] = state[RANGE] * kept + true_range
    if count < LENGTH:
        return
    plus = 100.0 * state[UP] / state[RANGE] if state[RANGE] > 0.0 else 0.0
    minus = 100.0 * state[DOWN] / state[RANGE] if state[RANGE] > 0.0 else 0.0
    index = 100.0 * abs(plus - minus) / (plus + minus) if plus + minus > 0.0 else 0.0
    out[0] = smooth(state, AVERAGE, LENGTH, 1.0 / LENGTH, index)
    out[1] = plus
    out[2] = minus


ADX = FeatureView(
    name="adx",
    version=1,
    inputs=("high", "low", "close"),
    warm_up=2 * LENGTH,
    state_size=AVERAGE + 2,
    update=update,
    outputs=(
        Output(f"adx_{LENGTH}", "0-100", "Wilder's average of |+DI - -DI| over their sum."),
        Output(f"plus_di_{LENGTH}", "0-100", f"Upward moves of the high over the true range, {LENGTH} bars."),
        Output(f"minus_di_{LENGTH}", "0-100", f"Downward moves of the low over the true range, {LENGTH} bars."),
    ),
)
