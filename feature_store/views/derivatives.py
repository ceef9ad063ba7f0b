"""Derivatives around the instrument: funding, basis, open interest's change, implied volatility, skew, term slope.

Basis: ln(mark / index) of the perpetual. The rest as the newest observation told it. Source: formulas written here.

State: 0 bars seen; 1… a ring of the last 288 open interests.
"""

import math

from feature_store.inputs import place
from feature_store.view import HOLES, NAN, UNKNOWN, FeatureView, Floats, Output, kernel

FUNDING_RATE = place("funding_rate")
PERPETUAL_MARK = place("perpetual_mark")
INDEX_PRICE = place("index_price")
OPEN_INTEREST = place("open_interest")
IMPLIED_VOLATILITY = place("implied_volatility")
SKEW_25_DELTA = place("skew_25_delta")
TERM_SLOPE = place("term_slope")
LENGTH = 288
RING = 1


@kernel
def update(state: Floats, bar: Floats, out: Floats) -> None:
    count = int(state[0])
    out[0] = bar[FUNDING_RATE]
    out[1] = math.log(bar[PERPETUAL_MARK] / bar[INDEX_PRICE])
    past, now = state[RING + count % LENGTH], bar[OPEN_INTEREST]
    out[2] = math.log(now / past) if count >= LENGTH and past > 0.0 and now > 0.0 else NAN
    out[3], out[4], out[5] = bar[IMPLIED_VOLATILITY], bar[SKEW_25_DELTA], bar[TERM_SLOPE]
    state[RING + count % LENGTH] = now
    state[0] = count + 1.0


DERIVATIVES = FeatureView(
    name="derivatives",
    version=1,
    inputs=(
        "funding_rate",
        "perpetual_mark",
        "index_price",
        "open_interest",
        "implied_volatility",
        "skew_25_delta",
        "term_slope",
    ),
    warm_up=LENGTH + 1,
    state_size=RING + LENGTH,
    update=update,
    outputs=(
        Output(
            "funding_rate_1",
            "fraction per interval",
            "Newest settled funding rate.",
            UNKNOWN,
        ),
        Output("basis_1", "log", "ln(mark / index) of the perpetual.", UNKNOWN),
        Output(
            f"open_interest_change_{LENGTH}",
            "log",
            f"ln(open interest / that {LENGTH} bars before).",
            HOLES,
        ),
        Output(
            "implied_vol_30d",
            "fraction a year",
            "At-the-money implied volatility, 30 days.",
            UNKNOWN,
        ),
        Output(
            "skew_25d_30d",
            "fraction a year",
            "25-delta put volatility less the call's, 30 days.",
            UNKNOWN,
        ),
        Output(
            "term_slope_90d",
            "fraction a year",
            "At-the-money volatility of 90 days less that of 30.",
            UNKNOWN,
        ),
    ),
)
