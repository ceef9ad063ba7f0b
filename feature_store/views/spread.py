"""Spread to BTC and ETH as a z-score: ln(close / reference close) against its last 288 known values.

Sample deviation; 0 where the spread did not vary. A bar without the reference's close is NaN and counts as absent.
Source: Gatev, Goetzmann and Rouwenhorst, Pairs Trading, 2006; pandas' rolling `mean` and `std`.

State, for BTC and then ETH: moments of 288 spreads (293 places).
"""

import math

from feature_store.rolling import MOMENTS, moments
from feature_store.view import BTC_CLOSE, CLOSE, ETH_CLOSE, NAN, FeatureView, Floats, Output, kernel

LENGTH = 288
SIZE = MOMENTS + LENGTH


@kernel
def score(state: Floats, at: int, close: float, reference: float) -> float:
    """Z-score of the newest spread; NaN until warm and without a reference."""
    if math.isnan(reference):
        return NAN
    spread = math.log(close / reference)
    mean, squares = moments(state, at, LENGTH, spread)
    return 0.0 if squares == 0.0 else (spread - mean) / math.sqrt(squares / (LENGTH - 1))


@kernel
def update(state: Floats, bar: Floats, out: Floats) -> None:
    out[0] = score(state, 0, bar[CLOSE], bar[BTC_CLOSE])
    out[1] = score(state, SIZE, bar[CLOSE], bar[ETH_CLOSE])


SPREAD = FeatureView(
    name="spread",
    version=1,
    inputs=("close", "btc_close", "eth_close"),
    warm_up=LENGTH,
    state_size=2 * SIZE,
    update=update,
    outputs=tuple(
        Output(
            f"spread_z_{reference.lower()}_{LENGTH}",
            "deviations",
            f"ln(close / {reference}'s) less its mean of {LENGTH} bars, over their sample deviation.",
            f"until warm, and where {reference}'s bar is absent or late",
        )
        for reference in ("BTC", "ETH")
    ),
)
