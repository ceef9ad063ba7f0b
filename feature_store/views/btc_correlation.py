"""Correlation with and beta to BTC: log returns of the last 60 bars for which both closes were known in time.

Pearson's correlation; beta = covariance / variance of BTC's returns (Sharpe, 1963). A bar without BTC's close is NaN
and counts as absent: the next return of both spans it. 0 where either does not vary. Source: pandas' `corr`, `cov`.

State: 0, 1 last closes; 2… comoments of 60 pairs of returns.
"""

from feature_store.comoments import PAIR, correlation, pair_of_returns, slope_on_x
from feature_store.view import BTC_CLOSE, CLOSE, FeatureView, Floats, Output, kernel

LENGTH = 60


@kernel
def update(state: Floats, bar: Floats, out: Floats) -> None:
    xx, yy, xy = pair_of_returns(state, 0, LENGTH, bar[CLOSE], bar[BTC_CLOSE])
    out[0] = correlation(xx, yy, xy)
    out[1] = slope_on_x(xx, xy)


_NAN = "until warm, and where BTC's bar is absent or late"

BTC_CORRELATION = FeatureView(
    name="btc_correlation",
    version=1,
    inputs=("close", "btc_close"),
    warm_up=LENGTH + 1,
    state_size=PAIR + 2 * LENGTH,
    update=update,
    outputs=(
        Output(f"corr_btc_{LENGTH}", "-1 to 1", f"Correlation with BTC of {LENGTH} log returns.", _NAN),
        Output(f"beta_btc_{LENGTH}", "ratio", f"Slope on BTC's of {LENGTH} log returns.", _NAN),
    ),
)
