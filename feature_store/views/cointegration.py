"""Cointegration residual to BTC and ETH: how far ln(close) lies above the line that 288 bars fit to the reference.

First step of Engle and Granger (Co-integration and Error Correction, 1987) over a rolling window: ln(close) = a + h ·
ln(reference) + e by least squares; h is the hedge ratio, e of the newest bar the residual. Both are 0 where the
reference did not vary. A bar without the reference's close is NaN and counts as absent. Source: numpy's `polyfit`.

State, for BTC and then ETH: comoments of 288 pairs of log closes (586 places).
"""

import math

from feature_store.comoments import COMOMENTS, comoments, residual, slope_on_x
from feature_store.view import BTC_CLOSE, CLOSE, ETH_CLOSE, NAN, FeatureView, Floats, Output, kernel

LENGTH = 288
SIZE = COMOMENTS + 2 * LENGTH


@kernel
def fit(state: Floats, at: int, close: float, reference: float, out: Floats) -> None:
    """Residual and hedge ratio; NaN until warm and without a reference."""
    out[0] = out[1] = NAN
    if math.isnan(reference):
        return
    x, y = math.log(reference), math.log(close)
    xx, _, xy = comoments(state, at, LENGTH, x, y)
    hedge = slope_on_x(xx, xy)
    out[0] = residual(state, at, LENGTH, x, y, hedge)
    out[1] = hedge


@kernel
def update(state: Floats, bar: Floats, out: Floats) -> None:
    fit(state, 0, bar[CLOSE], bar[BTC_CLOSE], out[0:2])
    fit(state, SIZE, bar[CLOSE], bar[ETH_CLOSE], out[2:4])


def _outputs(reference: str) -> tuple[Output, Output]:
    nan = f"until warm, and where {reference}'s bar is absent or late"
    name = reference.lower()
    return (
        Output(
            f"coint_residual_{name}_{LENGTH}", "log", f"ln(close) less its line on {reference}, {LENGTH} bars.", nan
        ),
        Output(f"hedge_ratio_{name}_{LENGTH}", "ratio", f"Slope of that line on ln({reference}).", nan),
    )


COINTEGRATION = FeatureView(
    name="cointegration",
    version=1,
    inputs=("close", "btc_close", "eth_close"),
    warm_up=LENGTH,
    state_size=2 * SIZE,
    update=update,
    outputs=_outputs("BTC") + _outputs("ETH"),
)
