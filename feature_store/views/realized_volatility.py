"""Realized volatility: sample deviation of one-bar log returns, per bar (not annualised).

State: 0 bars seen; 1 last close; 2… moments of the last 60 returns (124 places).
"""

import math

from feature_store.rolling import MOMENTS, log_return, moments
from feature_store.view import CLOSE, NAN, FeatureView, Floats, Output, kernel

LENGTH = 60
LAST, WINDOW = 1, 2


@kernel
def update(state: Floats, bar: Floats, out: Floats) -> None:
    count = int(state[0])
    last = state[LAST]
    state[LAST] = bar[CLOSE]
    state[0] = count + 1.0
    if count == 0:
        out[0] = NAN
        return
    _, squares = moments(state, WINDOW, LENGTH, count - 1, log_return(bar[CLOSE], last))
    out[0] = math.sqrt(squares / (LENGTH - 1))


REALIZED_VOLATILITY = FeatureView(
    name="realized_volatility",
    version=1,
    inputs=("close",),
    warm_up=LENGTH + 1,
    state_size=WINDOW + MOMENTS + 2 * LENGTH,
    update=update,
    outputs=(
        Output(f"realized_vol_{LENGTH}", "log", f"Sample deviation of the last {LENGTH} one-bar log returns, per bar."),
    ),
)
