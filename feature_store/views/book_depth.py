"""Depth of the book: queue at the best prices, depth of ten levels, depth-weighted price and slope of either side.

Slope: least-squares line through the mid price of cumulative quantity on distance from the mid, base per basis point;
steep is deep (after Naes and Skjeltorp, Order Book Characteristics and the Volume-Volatility Relation, 2006, who take
means of local slopes). A level that the book lacks counts as absent.

State: none.
"""

import math

from feature_store.book_inputs import ASK_PRICE, ASK_QUANTITY, BID_PRICE, BID_QUANTITY, LEVELS
from feature_store.view import FeatureView, Floats, Output, kernel

BPS = 1e4


@kernel
def side(row: Floats, price: int, quantity: int, mid: float) -> tuple[float, float, float]:
    """Quantity, quantity times distance from mid (quote), and slope of one side."""
    depth = weighted = product = squares = 0.0
    for level in range(LEVELS):
        if not math.isnan(row[price + level]):
            distance = row[price + level] - mid
            depth += row[quantity + level]
            weighted += row[quantity + level] * distance
            away = BPS * abs(distance) / mid
            product += away * depth
            squares += away * away
    return depth, weighted, product / squares


@kernel
def update(state: Floats, row: Floats, out: Floats) -> None:
    mid = 0.5 * (row[BID_PRICE] + row[ASK_PRICE])
    bids, bids_weighted, bid_slope = side(row, BID_PRICE, BID_QUANTITY, mid)
    asks, asks_weighted, ask_slope = side(row, ASK_PRICE, ASK_QUANTITY, mid)
    out[0], out[1] = row[BID_QUANTITY], row[ASK_QUANTITY]
    out[2], out[3] = bids, asks
    out[4] = BPS * (bids_weighted + asks_weighted) / (bids + asks) / mid
    out[5], out[6] = bid_slope, ask_slope


_NAN = "while a side of the book is empty"

BOOK_DEPTH = FeatureView(
    name="book_depth",
    version=1,
    inputs=("bid_price", "bid_quantity", "ask_price", "ask_quantity"),
    warm_up=1,
    state_size=0,
    update=update,
    outputs=(
        Output("queue_bid_1", "base", "Quantity at the best bid.", "never"),
        Output("queue_ask_1", "base", "Quantity at the best ask.", "never"),
        Output(f"depth_bid_{LEVELS}", "base", f"Quantity of the best {LEVELS} bids.", "never"),
        Output(f"depth_ask_{LEVELS}", "base", f"Quantity of the best {LEVELS} asks.", "never"),
        Output(
            f"depth_price_distance_bps_{LEVELS}",
            "bps",
            "Quantity-weighted price of both sides less mid, over mid.",
            _NAN,
        ),
        Output(f"book_slope_bid_{LEVELS}", "base per bp", "Cumulative quantity of bids per distance from mid.", _NAN),
        Output(f"book_slope_ask_{LEVELS}", "base per bp", "Cumulative quantity of asks per distance from mid.", _NAN),
    ),
)
