"""Bid-ask spread and microprice, from the best level of either side.

Microprice: the best prices weighted by the other side's quantity (Gatheral and Oomen, 2010), told as its distance from
the mid price. NaN while a side is empty.

State: none.
"""

from feature_store.book_inputs import ASK_PRICE, ASK_QUANTITY, BID_PRICE, BID_QUANTITY
from feature_store.view import FeatureView, Floats, Output, kernel

BPS = 1e4


@kernel
def update(state: Floats, row: Floats, out: Floats) -> None:
    bid, ask, bids, asks = row[BID_PRICE], row[ASK_PRICE], row[BID_QUANTITY], row[ASK_QUANTITY]
    mid = 0.5 * (bid + ask)
    out[0] = ask - bid
    out[1] = BPS * (ask - bid) / mid
    out[2] = BPS * ((ask - bid) * bids / (bids + asks) - (mid - bid)) / mid


_NAN = "while a side of the book is empty"

BOOK_PRICES = FeatureView(
    name="book_prices",
    version=1,
    inputs=("bid_price", "bid_quantity", "ask_price", "ask_quantity"),
    warm_up=1,
    state_size=0,
    update=update,
    outputs=(
        Output("spread_1", "quote", "Best ask less best bid.", _NAN),
        Output("spread_bps_1", "bps", "Spread over the mid price.", _NAN),
        Output("microprice_distance_bps_1", "bps", "Microprice less mid price, over the mid price.", _NAN),
    ),
)
