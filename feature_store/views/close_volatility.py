"""Close-to-close volatility over lengths beyond `default_5m`: sample deviation of one-bar log returns, per bar.

Multiply by the square root of the bars in a year to annualise. NaN until warm. Source: pandas' rolling `std`.

State: 0 last close; 1… moments of the last 12 returns (17 places); 18… of the last 288 (293).
"""

import math

from feature_store.rolling import MOMENTS, log_return, moments
from feature_store.view import CLOSE, NAN, FeatureView, Floats, Output, kernel

SHORT, LONG = 12, 288
LAST, SHORT_WINDOW = 0, 1
LONG_WINDOW = SHORT_WINDOW + MOMENTS + SHORT


@kernel
def update(state: Floats, bar: Floats, out: Floats) -> None:
    last = state[LAST]
    state[LAST] = bar[CLOSE]
    out[0] = out[1] = NAN
    if last == 0.0:
        return
    change = log_return(bar[CLOSE], last)
    _, squares = moments(state, SHORT_WINDOW, SHORT, change)
    out[0] = math.sqrt(squares / (SHORT - 1))
    _, squares = moments(state, LONG_WINDOW, LONG, change)
    out[1] = math.sqrt(squares / (LONG - 1))


CLOSE_VOLATILITY = FeatureView(
    name="close_volatility",
    version=1,
    inputs=("close",),
    warm_up=LONG + 1,
    state_size=LONG_WINDOW + MOMENTS + LONG,
    update=update,
    outputs=tuple(
        Output(f"realized_vol_{n}", "log", f"Sample deviation of the last {n} one-bar log returns, per bar.")
        for n in (SHORT, LONG)
    ),
)
