"""DeFi around the instrument: growth of value locked, loan to value, flow of stablecoins.

Source: formulas written here; a flow is the growth of the supply.

State: 0 bars seen; 1… rings of the last 7 values locked and of 7 supplies.
"""

from feature_store.inputs import place
from feature_store.series_windows import growth
from feature_store.view import HOLES, UNKNOWN, FeatureView, Floats, Output, kernel

TVL = place("tvl")
LOAN_TO_VALUE = place("loan_to_value")
STABLECOIN_SUPPLY = place("stablecoin_supply")
LENGTH = 7


@kernel
def update(state: Floats, bar: Floats, out: Floats) -> None:
    count = int(state[0])
    out[0], out[1] = bar[TVL], bar[LOAN_TO_VALUE]
    out[2] = growth(state, 1, LENGTH, count, bar[TVL])
    out[3] = growth(state, 1 + LENGTH, LENGTH, count, bar[STABLECOIN_SUPPLY])
    state[0] = count + 1.0


DEFI = FeatureView(
    name="defi",
    version=1,
    inputs=("tvl", "loan_to_value", "stablecoin_supply"),
    warm_up=LENGTH + 1,
    state_size=1 + 2 * LENGTH,
    update=update,
    outputs=(
        Output("tvl_1", "usd", "Value locked.", UNKNOWN),
        Output("loan_to_value_1", "fraction", "Borrowed over deposited.", UNKNOWN),
        Output(
            f"tvl_growth_{LENGTH}",
            "log",
            f"ln(value locked / that {LENGTH} bars before).",
            HOLES,
        ),
        Output(
            f"stablecoin_flow_{LENGTH}",
            "log",
            f"ln(stablecoin supply / that {LENGTH} bars before).",
            HOLES,
        ),
    ),
)
