"""Simple and exponential moving average of the close.

State: 0… mean of the last 20 closes (24 places); 24 the EMA's count and average.
"""

from feature_store.rolling import MEAN, mean, smooth
from feature_store.view import CLOSE, FeatureView, Floats, Output, kernel

LENGTH = 20
EMA = MEAN + LENGTH


@kernel
def update(state: Floats, bar: Floats, out: Floats) -> None:
    close = bar[CLOSE]
    out[0] = mean(state, 0, LENGTH, close)
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
