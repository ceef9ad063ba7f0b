"""What an event view reads: one row per book update or trade, with the best ten levels of either side as they stand.

A level that the book lacks has price NaN and quantity 0; a row that is no trade has trade price NaN, the rest 0. Prices
are in quote, quantities in base.
"""

from typing import Final

LEVELS: Final = 10
TIME: Final = 0
"""Event time of the row, UTC microseconds."""
BID_PRICE: Final = 1
BID_QUANTITY: Final = BID_PRICE + LEVELS
ASK_PRICE: Final = BID_QUANTITY + LEVELS
ASK_QUANTITY: Final = ASK_PRICE + LEVELS
TRADE_PRICE: Final = ASK_QUANTITY + LEVELS
TRADE_QUANTITY: Final = TRADE_PRICE + 1
TRADE_SIDE: Final = TRADE_PRICE + 2
"""1 where the taker bought, -1 where it sold, 0 on a row that is no trade."""
BUCKET: Final = TRADE_PRICE + 3
"""The instrument's volume bucket in base, for VPIN; a setting, the same on every row."""
WIDTH: Final = BUCKET + 1

BOOK_INPUTS: Final = (
    "time", "bid_price", "bid_quantity", "ask_price", "ask_quantity", "trade_price", "trade_quantity", "trade_side",
    "bucket",
)  # fmt: skip
