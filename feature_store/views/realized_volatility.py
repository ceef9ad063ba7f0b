"""Realized volatility: sample deviation of one-bar log returns, per bar (not annualised).

State: 0 last close; 1… moments of the last 60 returns.
"""

import math

from feature_store.rolling import MOMENTS, log_return, moments
from feature_store.view import CLOSE, NAN, FeatureView, Floats, Output, kernel

LENGTH = 60
LAST, WINDOW = 0, 1


@kernel
def update(state: Floats, bar: Floats, out: Floats) -> None:
    last = state[LAST]
    state[LAST] = bar[CLOSE]
    if last == 0.0:
        out[0] = NAN
        return
    _, squares = moments(state, WINDOW, LENGTH, log_return(bar[CLOSE], last))
    out[0] = math.sqrt(squares * (1.0 / (LENGTH - 1)))


REALIZED_VOLATILITY = FeatureView(
    name="realized_volatility",
    version=1,
    inputs=("close",),
    warm_up=LENGTH + 1,
    state_size=WINDOW + MOMENTS + LENGTH,
    update=update,
    outputs=(
        Output(f"realized_vol_{LENGTH}", "log", f"Sample deviation of the last {LENGTH} one-bar log returns, per bar."),
    ),
)
