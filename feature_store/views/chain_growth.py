"""On-chain activity and address growth: addresses and transactions of a day against those of 7 bars before.

Source: formulas written here; daily bars make it weekly growth.

State: 0 bars seen; 1… rings of the last 7 addresses and of 7 transactions.
"""

from feature_store.inputs import place
from feature_store.series_windows import growth
from feature_store.view import HOLES, UNKNOWN, FeatureView, Floats, Output, kernel

ACTIVE_ADDRESSES = place("active_addresses")
TRANSACTIONS = place("transactions")
LENGTH = 7


@kernel
def update(state: Floats, bar: Floats, out: Floats) -> None:
    count = int(state[0])
    out[0] = growth(state, 1, LENGTH, count, bar[ACTIVE_ADDRESSES])
    out[1] = growth(state, 1 + LENGTH, LENGTH, count, bar[TRANSACTIONS])
    out[2] = bar[TRANSACTIONS] / bar[ACTIVE_ADDRESSES]
    state[0] = count + 1.0


CHAIN_GROWTH = FeatureView(
    name="chain_growth",
    version=1,
    inputs=("active_addresses", "transactions"),
    warm_up=LENGTH + 1,
    state_size=1 + 2 * LENGTH,
    update=update,
    outputs=(
        Output(
            f"address_growth_{LENGTH}",
            "log",
            f"ln(active addresses / those {LENGTH} bars before).",
            HOLES,
        ),
        Output(
            f"transaction_growth_{LENGTH}",
            "log",
            f"ln(transactions / those {LENGTH} bars before).",
            HOLES,
        ),
        Output("activity_1", "ratio", "Transactions per active address.", UNKNOWN),
    ),
)
