"""Order-book imbalance at depths of 1, 5 and 10 levels: (bids - asks) / (bids + asks) by quantity.

1 where only bids stand, -1 where only asks, 0 where the book is empty. Source: Cartea, Jaimungal and Penalva,
Algorithmic and High-Frequency Trading, 2015, chapter 12.

State: none.
"""

from feature_store.book_inputs import ASK_QUANTITY, BID_QUANTITY
from feature_store.view import FeatureView, Floats, Output, kernel

DEPTHS = (1, 5, 10)


@kernel
def update(state: Floats, row: Floats, out: Floats) -> None:
    bids = asks = 0.0
    level = 0
    for k in range(len(DEPTHS)):
        while level < DEPTHS[k]:
            bids += row[BID_QUANTITY + level]
            asks += row[ASK_QUANTITY + level]
            level += 1
        out[k] = (bids - asks) / (bids + asks) if bids + asks > 0.0 else 0.0


BOOK_IMBALANCE = FeatureView(
    name="book_imbalance",
    version=1,
    inputs=("bid_quantity", "ask_quantity"),
    warm_up=1,
    state_size=0,
    update=update,
    outputs=tuple(
        Output(f"book_imbalance_{n}", "-1 to 1", f"Bids less asks over both, quantity of {n} levels.", "never")
        for n in DEPTHS
    ),
)
