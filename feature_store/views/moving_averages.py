"""Simple and exponential moving average of the close.

State: 0 bars seen; 1… window of 20 closes (40 places); 41 the EMA's count and average.
"""

from feature_store.rolling import mean_offset, push, smooth
from feature_store.view import CLOSE, NAN, FeatureView, Floats, Output, kernel

LENGTH = 20
WINDOW = 1
EMA = WINDOW + 2 * LENGTH


@kernel
def update(state: Floats, bar: Floats, out: Floats) -> None:
    count = int(state[0])
    close = bar[CLOSE]
    start = push(state, WINDOW, LENGTH, count, close)
    state[0] = count + 1.0
    out[0] = state[start] + mean_offset(state, start, LENGTH) if count + 1 >= LENGTH else NAN
    out[1] = smooth(state, EMA, LENGTH, 2.0 / (LENGTH + 1), close)


MOVING_AVERAGES = FeatureView(
    name="moving_averages",
    version=1,
    inputs=("close",),
    warm_up=LENGTH,
    state_size=EMA + 2,
    update=update,
    outputs=(
        Output(f"sma_{LENGTH}", "quote", f"Mean of the last {LENGTH} closes."),
        Output(f"ema_{LENGTH}", "quote", f"EMA of the close, weight 2/{LENGTH + 1}, begun with the mean of {LENGTH}."),
    ),
)
