"""Kraken's frames: spot (v1: arrays `[id, data…, channel, pair]`, https://docs.kraken.com/api/docs/websocket-v1) and
futures (https://docs.kraken.com/api/docs/futures-api/websocket). A spot book's update carries a CRC-32 of its ten best
levels (lake/wire/books.py); a futures book counts `seq` per product.
"""

import polars as pl

from lake.wire import symbols
from lake.wire.frames import LEVELS, Events, Feed, Kind, exploded, milliseconds

_S, _I = pl.String(), pl.Int64()
_TAIL = r',"((?:[a-z]+)(?:-\d+)?)","([^"]+)"\]$'

_CHANNEL = pl.col("payload").str.extract(_TAIL).str.replace(r"-\d+$", "")
_EVENT = pl.when(pl.col("payload").str.contains(r'"event"\s*:')).then(pl.lit("event"))
TAG = pl.coalesce(_CHANNEL, _EVENT)
_STAMP = r'"(\d{10})\.(\d{6})"'
CLOCK = pl.concat_str(pl.col("payload").str.extract(_STAMP, 1), pl.col("payload").str.extract(_STAMP, 2)).cast(pl.Int64)


def _object(inner: str) -> pl.Expr:
    """`[id, data…, channel, pair]` as an object; two objects of a book's update become one."""
    data = pl.col("payload").str.replace(r"^\[\d+,", "").str.replace(_TAIL, "")
    symbol = pl.col("payload").str.extract(_TAIL, 2)
    return pl.concat_str(pl.lit('{"symbol":"'), symbol, pl.lit('","' + inner + '":'), data, pl.lit("}"))


def _seconds(text: pl.Expr) -> pl.Expr:
    """Seconds with six decimals as text, in microseconds, exactly."""
    return text.str.replace(".", "", literal=True).cast(pl.Int64, strict=False)


def _trades(rows: pl.DataFrame) -> Events:
    """Arrays: price, volume, time, side, order type, text. Kraken gives no ids: time and place make one."""
    long = rows.explode("data", empty_as_null=False).with_columns(position=pl.int_range(pl.len()).over("row"))

    def cell(at: int) -> pl.Expr:
        return pl.col("data").list.get(at, null_on_oob=True)

    return {"trade": long.select(
        "row", "position", "symbol", time=_seconds(cell(2)), aggregate=False, price=cell(0), quantity=cell(1),
        trade_id=pl.concat_str(cell(2), pl.lit("-"), cell(0), pl.lit("-"), cell(1), pl.lit("-"), pl.col("position")),
        side=cell(3).replace_strict({"b": "buy", "s": "sell"}, default=None),
    )}  # fmt: skip


def _newest(side: str) -> pl.Expr:
    return pl.col(side).list.eval(_seconds(pl.element().list.get(2, null_on_oob=True))).list.max()


def _book(rows: pl.DataFrame) -> Events:
    book = rows.select("row", "symbol", pl.col("data").struct.unnest())
    sides = {"bids": pl.coalesce("bs", "b"), "asks": pl.coalesce("as", "a")}
    sides = {name: column.fill_null([]) for name, column in sides.items()}
    return {"book": book.with_columns(**sides).select(
        "row", "symbol", "bids", "asks", time=pl.max_horizontal(_newest("bids"), _newest("asks")), checksum="c",
        is_snapshot=pl.col("as").is_not_null() | pl.col("bs").is_not_null(),
    )}  # fmt: skip


def _ticker(rows: pl.DataFrame) -> Events:
    """`a` and `b`: price, whole lots, lots. A ticker tells no time."""
    ticker = rows.select("row", "symbol", pl.col("data").struct.unnest())
    return {"quote": ticker.select(
        "row", "symbol", bid=pl.col("b").list.get(0), bid_quantity=pl.col("b").list.get(2), ask=pl.col("a").list.get(0),
        ask_quantity=pl.col("a").list.get(2),
    )}  # fmt: skip


def _spread(rows: pl.DataFrame) -> Events:
    def cell(at: int) -> pl.Expr:
        return pl.col("data").list.get(at)

    return {"quote": rows.select(
        "row", "symbol", time=_seconds(cell(2)), bid=cell(0), bid_quantity=cell(3), ask=cell(1), ask_quantity=cell(4)
    )}  # fmt: skip


_PARTS = pl.Struct({"as": LEVELS, "bs": LEVELS, "a": LEVELS, "b": LEVELS, "c": _S})
_ARRAYS = pl.List(pl.List(_S))
_MERGED = _object("data").str.replace_all(r"\]\},\{", "],")

KINDS: dict[str, Kind | None] = {
    "trade": Kind({"symbol": _S, "data": _ARRAYS}, _trades, "trade", _object("data")),
    "book": Kind({"symbol": _S, "data": _PARTS}, _book, "book", _MERGED),
    "ticker": Kind(
        {"symbol": _S, "data": pl.Struct({"a": pl.List(_S), "b": pl.List(_S)})}, _ticker, "quote", _object("data")
    ),
    "spread": Kind({"symbol": _S, "data": pl.List(_S)}, _spread, "quote", _object("data")),
    "event": None,
    "ohlc": None,
}

KRAKEN = Feed("kraken", "kraken", TAG, KINDS, symbols.kraken, CLOCK)


def _futures_trade(rows: pl.DataFrame) -> Events:
    trades = rows.select(
        "row", "position", "price", "side", "type", symbol="product_id", time=milliseconds("time"), trade_id="uid",
        aggregate=False, quantity="qty",
    )  # fmt: skip
    return {"trade": trades, "liquidation": trades.filter(pl.col("type") == "liquidation")}


def _one_trade(rows: pl.DataFrame) -> Events:
    return _futures_trade(rows.with_columns(position=0))


def _earlier_trades(rows: pl.DataFrame) -> Events:
    """What was traded before the subscription, newest first."""
    return _futures_trade(exploded(rows, "trades"))


def _futures_snapshot(rows: pl.DataFrame) -> Events:
    def side(name: str) -> pl.Expr:
        level = pl.element().struct
        return pl.col(name).list.eval(pl.concat_list(level.field("price"), level.field("qty")))

    return {"book": rows.select(
        "row", symbol="product_id", time=milliseconds("timestamp"), first_id="seq", last_id="seq", is_snapshot=True,
        bids=side("bids"), asks=side("asks"),
    )}  # fmt: skip


def _futures_change(rows: pl.DataFrame) -> Events:
    """One level a frame."""
    level = pl.concat_list("price", "qty").list.eval(pl.element().implode())

    def side(name: str) -> pl.Expr:
        return pl.when(pl.col("side") == name).then(level).otherwise(pl.lit([], LEVELS))

    return {"book": rows.select(
        "row", symbol="product_id", time=milliseconds("timestamp"), first_id="seq", last_id="seq",
        previous_id=pl.col("seq") - 1, is_snapshot=False, bids=side("buy"), asks=side("sell"),
    )}  # fmt: skip


def _futures_quote(rows: pl.DataFrame) -> Events:
    """`ticker_lite` tells neither time nor quantities."""
    return {"quote": rows.drop_nulls(["bid", "ask"]).select("row", "bid", "ask", symbol="product_id")}


_FTRADE = dict.fromkeys(("product_id", "uid", "side", "type", "qty", "price"), _S) | {"time": _I}
_FLEVELS = pl.List(pl.Struct({"price": _S, "qty": _S}))
_FEED = pl.col("payload").str.extract(r'^\{"feed"\s*:\s*"(\w+)"')

FUTURES_KINDS: dict[str, Kind | None] = {
    "trade": Kind(_FTRADE, _one_trade, "trade liquidation"),
    "trade_snapshot": Kind({"trades": pl.List(pl.Struct(_FTRADE))}, _earlier_trades, "trade liquidation"),
    "book": Kind(
        {"product_id": _S, "timestamp": _I, "seq": _I, "side": _S, "price": _S, "qty": _S}, _futures_change, "book"
    ),
    "book_snapshot": Kind(
        {"product_id": _S, "timestamp": _I, "seq": _I, "bids": _FLEVELS, "asks": _FLEVELS}, _futures_snapshot, "book"
    ),
    "ticker_lite": Kind({"product_id": _S, "bid": _S, "ask": _S}, _futures_quote, "quote"),
    "event": None,
    "heartbeat": None,
}
_FUTURES_CLOCK = pl.col("payload").str.extract(r'"(?:timestamp|time)"\s*:\s*(\d{13})').cast(pl.Int64) * 1_000
KRAKEN_FUTURES = Feed(
    "kraken_futures", "kraken", pl.coalesce(_FEED, _EVENT), FUTURES_KINDS, symbols.kraken_futures, _FUTURES_CLOCK
)
