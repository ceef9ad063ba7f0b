"""Relative strength index (Wilder, New Concepts in Technical Trading Systems, 1978).

100 where nothing fell; 50 where nothing moved at all, which TA-Lib calls 0 and which says neither strong nor weak.

State: 0 bars seen; 1 last close; 2 average gain (count, average); 4 average loss (count, average).
"""

from feature_store.rolling import smooth
from feature_store.view import CLOSE, NAN, FeatureView, Floats, Output, kernel

LENGTH = 14
LAST, GAIN, LOSS = 1, 2, 4


@kernel
def update(state: Floats, bar: Floats, out: Floats) -> None:
    change = bar[CLOSE] - state[LAST]
    state[LAST] = bar[CLOSE]
    if state[0] == 0.0:
        state[0] = 1.0
        out[0] = NAN
        return
    gain = smooth(state, GAIN, LENGTH, 1.0 / LENGTH, max(change, 0.0))
    loss = smooth(state, LOSS, LENGTH, 1.0 / LENGTH, max(-change, 0.0))
    out[0] = 50.0 if gain + loss == 0.0 else 100.0 * (gain / (gain + loss))


RSI = FeatureView(
    name="rsi",
    version=1,
    inputs=("close",),
    warm_up=LENGTH + 1,
    state_size=LOSS + 2,
    update=update,
    outputs=(
        Output(f"rsi_{LENGTH}", "0-100", f"Wilder's RSI of the close over {LENGTH} changes; 50 if nothing moved."),
    ),
)
