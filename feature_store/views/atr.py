"""Average true range (Wilder, 1978), seeded as in TA-Lib with the mean of the first true ranges.

True range = the larger of high and the last close, minus the smaller of low and the last close.

State: 0 bars seen; 1 last close; 2 average (count, average).
"""

from feature_store.rolling import smooth
from feature_store.view import CLOSE, HIGH, LOW, NAN, FeatureView, Floats, Output, kernel

LENGTH = 14
LAST, AVERAGE = 1, 2


@kernel
def update(state: Floats, bar: Floats, out: Floats) -> None:
    last = state[LAST]
    state[LAST] = bar[CLOSE]
    if state[0] == 0.0:
        state[0] = 1.0
        out[0] = NAN
        return
    true_range = max(bar[HIGH], last) - min(bar[LOW], last)
    out[0] = smooth(state, AVERAGE, LENGTH, 1.0 / LENGTH, true_range)


ATR = FeatureView(
    name="atr",
    version=1,
    inputs=("high", "low", "close"),
    warm_up=LENGTH + 1,
    state_size=AVERAGE + 2,
    update=update,
    outputs=(Output(f"atr_{LENGTH}", "quote", f"Wilder's average of the true range over {LENGTH} bars."),),
)
