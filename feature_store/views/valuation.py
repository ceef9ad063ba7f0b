"""What the network is valued at: market capitalisation, dominance, NVT and MVRV.

NVT signal (Kalichkin, 2018): market capitalisation over the mean of 28 bars' on-chain transfer volume. MVRV (Mahmudov
and Puell, 2018): market value over realised value.

State: 0 bars seen; 1… window of 28 transfer volumes (56 places).
"""

from feature_store.inputs import place
from feature_store.series_windows import mean
from feature_store.view import HOLES, NAN, UNKNOWN, FeatureView, Floats, Output, kernel

MARKET_CAP = place("market_cap")
DOMINANCE = place("dominance")
MVRV = place("mvrv")
TRANSFER_VOLUME = place("transfer_volume")
LENGTH = 28


@kernel
def update(state: Floats, bar: Floats, out: Floats) -> None:
    count = int(state[0])
    out[0], out[1], out[2] = bar[MARKET_CAP], bar[DOMINANCE], bar[MVRV]
    volume = mean(state, 1, LENGTH, count, bar[TRANSFER_VOLUME])
    out[3] = bar[MARKET_CAP] / volume if volume > 0.0 else NAN
    state[0] = count + 1.0


VALUATION = FeatureView(
    name="valuation",
    version=1,
    inputs=("market_cap", "dominance", "mvrv", "transfer_volume"),
    warm_up=LENGTH,
    state_size=1 + 2 * LENGTH,
    update=update,
    outputs=(
        Output("market_cap_1", "usd", "Market capitalisation.", UNKNOWN),
        Output("dominance_1", "fraction", "Share of all coins' capitalisation.", UNKNOWN),
        Output("mvrv_1", "ratio", "Market value over realised value.", UNKNOWN),
        Output(
            f"nvt_{LENGTH}",
            "days",
            f"Capitalisation over the mean daily transfer volume of {LENGTH} bars.",
            HOLES,
        ),
    ),
)
