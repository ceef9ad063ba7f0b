"""Volatility of volatility: how unsteady the 12-bar volatility was over 48 bars, relative to its mean.

Coefficient of variation: sample deviation over mean of the last 48 sample deviations of 12 log returns. 0 where nothing
moved. NaN until warm. Source: pandas' rolling `std` and `mean`.

State: 0 bars seen; 1 last close; 2… moments of the last 12 returns (17 places); 19… window of 48 volatilities (96).
"""

import math

from feature_store.rolling import MOMENTS, log_return, moments, push
from feature_store.view import CLOSE, NAN, FeatureView, Floats, Output, kernel
from feature_store.windows import squares_about_mean, total

SHORT, LENGTH = 12, 48
LAST, RETURNS = 1, 2
WINDOW = RETURNS + MOMENTS + SHORT


@kernel
def update(state: Floats, bar: Floats, out: Floats) -> None:
    count = int(state[0])
    last = state[LAST]
    state[LAST] = bar[CLOSE]
    state[0] = count + 1.0
    out[0] = NAN
    if count == 0:
        return
    _, squares = moments(state, RETURNS, SHORT, log_return(bar[CLOSE], last))
    if count < SHORT:
        return
    start = push(state, WINDOW, LENGTH, count - SHORT, math.sqrt(squares / (SHORT - 1)))
    if count < SHORT + LENGTH - 1:
        return
    mean = total(state, start, LENGTH) / LENGTH
    deviation = math.sqrt(squares_about_mean(state, start, LENGTH) / (LENGTH - 1))
    out[0] = deviation / mean if mean > 0.0 else 0.0


VOL_OF_VOL = FeatureView(
    name="vol_of_vol",
    version=1,
    inputs=("close",),
    warm_up=SHORT + LENGTH,
    state_size=WINDOW + 2 * LENGTH,
    update=update,
    outputs=(
        Output(
            f"vol_of_vol_{SHORT}_{LENGTH}",
            "fraction",
            f"Deviation over mean of the last {LENGTH} volatilities of {SHORT} returns; 0 if nothing moved.",
        ),
    ),
)
