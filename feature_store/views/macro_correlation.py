"""Correlation with and beta to reference series: the whole market's capitalisation, and changes of the term spread.

Log returns of the close against log returns of the capitalisation, and against differences of the spread, over the last
60 bars where both were known. 0 where either does not vary. Source: pandas' `corr` and `cov`.

State: 0… pair of returns (132 places); 132, 133 last close and spread; 134… comoments (130 places).
"""

import math

from feature_store.comoments import PAIR, comoments, correlation, pair_of_returns, slope_on_x
from feature_store.inputs import place
from feature_store.view import CLOSE, HOLES, NAN, FeatureView, Floats, Output, kernel

TOTAL_MARKET_CAP = place("total_market_cap")
TERM_SPREAD = place("term_spread")
LENGTH = 60
SPREADS = PAIR + 2 * LENGTH


@kernel
def update(state: Floats, bar: Floats, out: Floats) -> None:
    xx, yy, xy = pair_of_returns(state, 0, LENGTH, bar[CLOSE], bar[TOTAL_MARKET_CAP])
    out[0], out[1] = correlation(xx, yy, xy), slope_on_x(xx, xy)
    out[2] = NAN
    spread, last = bar[TERM_SPREAD], state[SPREADS]
    if math.isnan(spread):
        return
    if last > 0.0:
        change, move = spread - state[SPREADS + 1], math.log(bar[CLOSE] / last)
        xx, yy, xy = comoments(state, SPREADS + 2, LENGTH, change, move)
        out[2] = correlation(xx, yy, xy)
    state[SPREADS], state[SPREADS + 1] = bar[CLOSE], spread


MACRO_CORRELATION = FeatureView(
    name="macro_correlation",
    version=1,
    inputs=("close", "total_market_cap", "term_spread"),
    warm_up=LENGTH + 1,
    state_size=2 * SPREADS,
    update=update,
    outputs=(
        Output(
            f"corr_market_{LENGTH}",
            "-1 to 1",
            "Correlation with the market's capitalisation.",
            HOLES,
        ),
        Output(
            f"beta_market_{LENGTH}",
            "ratio",
            f"Slope on the market's capitalisation, {LENGTH} returns.",
            HOLES,
        ),
        Output(
            f"corr_term_spread_{LENGTH}",
            "-1 to 1",
            f"Correlation of {LENGTH} returns with the spread's changes.",
            HOLES,
        ),
    ),
)
