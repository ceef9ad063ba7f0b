"""What venues say over WebSocket and REST: frames as received (bronze); trades, books and quotes (silver).

Books and quotes keep `connection` and `sequence`: an order book is rebuilt from the frames of one connection in the
order of their receipt. Quantities are in the unit that `unit` names: contracts of a venue that trades contracts are
not converted here, since a contract's size is no part of the message.
"""

import pyarrow as pa

from lake.intervals import HOUR
from lake.table import TIME, Check, Column, Table

_TEXT = pa.string()
_NUMBER = pa.float64()

RAW_FRAMES = Table(
    name="raw_frames_v1",
    layer="bronze",
    description="Every WebSocket frame and order-book snapshot as received; what the recorder itself did, too.",
    owner="data",
    columns=(
        Column("venue", _TEXT, "The feed, e.g. binance, binance_usdm, bybit_linear: it names the wire format."),
        Column("connection", _TEXT, "One connection of one recorder, one imported file, or one REST history."),
        Column("sequence", pa.int64(), "Order of receipt within the connection."),
        Column("event_time", TIME, "The time that the frame itself tells; the market time where it tells none."),
        Column("market_time", TIME, "The market's clock at receipt: when its content was known."),
        Column("received_time", TIME, "Wall clock of receipt."),
        Column("stream", _TEXT, "ws, rest:depth:SYMBOL, rest:KIND:SYMBOL, or recorder: what the recorder did."),
        Column("payload", _TEXT, "The text exactly as received."),
        Column("payload_hash", _TEXT, "SHA-256 of the payload, hex."),
        Column("day", _TEXT, "YYYY-MM-DD of event_time."),
        Column("run_id", _TEXT, "Which run stored it.", content=False),
    ),
    key=("venue", "connection", "sequence"),
    time_column="event_time",
    freshness=2 * HOUR,
    partition=("venue", "day"),
    writer="delta-rs",
)

HEAD = (
    Column("instrument", _TEXT, "Instrument id."),
    Column("event_time", TIME, "When it happened, by the venue; the market time of receipt where it tells none."),
    Column("available_time", TIME, "When we could have known it: the market time of receipt, never before the event."),
)
TAIL = (
    Column("payload_hash", _TEXT, "The bronze frame it was read from."),
    Column("day", _TEXT, "YYYY-MM-DD of event_time."),
)
UNIT = Column("unit", _TEXT, "Of quantities: base, quote or contracts.")
_PLACE = (
    Column("connection", _TEXT, "Connection of the frame."),
    Column("sequence", pa.int64(), "Place of the frame in its connection."),
)


def positive(*names: str) -> Check:
    """A rule that each column is a finite number above zero."""
    sql = " AND ".join(f"coalesce({n} > 0 AND {n} < 1e12, false)" for n in names)
    return Check(f"{' or '.join(names)} is missing, zero, negative or not finite", sql)


def not_negative(*names: str) -> Check:
    """A rule that each column is a finite number not below zero."""
    sql = " AND ".join(f"coalesce({n} >= 0 AND {n} < 1e18, false)" for n in names)
    return Check(f"{' or '.join(names)} is missing, negative or not finite", sql)


KNOWN_AFTER = Check("available before it happened", "coalesce(available_time >= event_time, false)")

TRADES = Table(
    name="trades_v1",
    layer="silver",
    description="Trades, one row each; `aggregate` tells one taker order's fills at one price from single trades.",
    owner="data",
    columns=(
        *HEAD,
        Column("trade_id", _TEXT, "The venue's id; made of frame and place where the venue has none."),
        Column("aggregate", pa.bool_(), "True for Binance's aggTrade: never mix both kinds, they tell the same twice."),
        Column("price", _NUMBER, "Traded price.", "quote"),
        Column("quantity", _NUMBER, "Traded quantity.", "unit"),
        UNIT,
        Column("side", _TEXT, "Of the taker: buy or sell."),
        *TAIL,
    ),
    key=("instrument", "aggregate", "trade_id"),
    time_column="event_time",
    freshness=2 * HOUR,
    partition=("day",),
    checks=(
        positive("price", "quantity"),
        Check("side is not buy or sell", "coalesce(side IN ('buy', 'sell'), false)"),
        KNOWN_AFTER,
    ),
)

BOOK_CHANGES = Table(
    name="book_changes_v1",
    layer="silver",
    description="Order-book snapshots and changes, one row per level, with the venue's update ids.",
    owner="data",
    columns=(
        *HEAD,
        *_PLACE,
        Column("position", pa.int32(), "Place within the frame: bids first, each side in the order sent."),
        Column("first_id", pa.int64(), "First update id of the message; null where the venue has none.", nullable=True),
        Column("last_id", pa.int64(), "Last update id of the message; null where the venue has none.", nullable=True),
        Column("previous_id", pa.int64(), "last_id of the message before, where the venue tells it.", nullable=True),
        Column("is_snapshot", pa.bool_(), "The levels replace the whole book."),
        Column("side", _TEXT, "bid or ask."),
        Column("price", _NUMBER, "Price of the level.", "quote"),
        Column("quantity", _NUMBER, "New quantity of the level; zero removes it.", "unit"),
        UNIT,
        *TAIL,
    ),
    key=("instrument", "connection", "sequence", "position"),
    time_column="event_time",
    freshness=2 * HOUR,
    partition=("day",),
    checks=(
        positive("price"),
        not_negative("quantity"),
        Check("side is not bid or ask", "coalesce(side IN ('bid', 'ask'), false)"),
        KNOWN_AFTER,
    ),
)

_LADDER = pa.list_(pa.float64())

BOOKS = Table(
    name="books_v1",
    layer="silver",
    description="The best 20 levels a side of every order-book snapshot, fetched by REST or sent by the stream.",
    owner="data",
    columns=(
        *HEAD,
        Column("bid_prices", _LADDER, "Best first.", "quote"),
        Column("bid_quantities", _LADDER, "Beside bid_prices.", "unit"),
        Column("ask_prices", _LADDER, "Best first.", "quote"),
        Column("ask_quantities", _LADDER, "Beside ask_prices.", "unit"),
        UNIT,
        *TAIL,
    ),
    key=("instrument", "event_time"),
    time_column="event_time",
    freshness=2 * HOUR,
    partition=("day",),
    checks=(
        Check("a side is missing", "bid_prices IS NOT NULL AND ask_prices IS NOT NULL"),
        KNOWN_AFTER,
    ),
)

QUOTES = Table(
    name="quotes_v1",
    layer="silver",
    description="Best bid and ask, from quote streams and tickers.",
    owner="data",
    columns=(
        *HEAD,
        *_PLACE,
        Column("position", pa.int32(), "Place within the frame."),
        Column("bid", _NUMBER, "Best bid.", "quote"),
        Column("bid_quantity", _NUMBER, "Null where the ticker has none.", "unit", nullable=True),
        Column("ask", _NUMBER, "Best ask.", "quote"),
        Column("ask_quantity", _NUMBER, "Null where the ticker has none.", "unit", nullable=True),
        UNIT,
        *TAIL,
    ),
    key=("instrument", "connection", "sequence", "position"),
    time_column="event_time",
    freshness=2 * HOUR,
    partition=("day",),
    checks=(positive("bid", "ask"), Check("bid is above ask", "coalesce(bid <= ask, false)"), KNOWN_AFTER),
)
