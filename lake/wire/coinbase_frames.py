"""Coinbase's Advanced Trade frames: https://docs.cdp.coinbase.com/advanced-trade/docs/ws-channels. `sequence_num`
counts the frames of a connection over all channels: a missing number is a gap of everything.
"""

import polars as pl

from lake.wire import symbols
from lake.wire.frames import Events, Feed, Kind, exploded, iso_time, lower

_S, _I = pl.String(), pl.Int64()

_TYPE = pl.when(pl.col("payload").str.contains(r'"type"\s*:\s*"error"')).then(pl.lit("error"))
TAG = pl.coalesce(pl.col("payload").str.extract(r'"channel"\s*:\s*"(\w+)"'), _TYPE)
_STAMP = pl.col("payload").str.extract(r'"timestamp"\s*:\s*"(\d{4}-[^"]+?Z)"')
CLOCK = (
    _STAMP.str.replace(r"(\.\d{6})\d*Z$", "${1}Z")
    .str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="us", strict=False)
    .dt.epoch("us")
)


def _inner(rows: pl.DataFrame, what: str) -> pl.DataFrame:
    """One row per element of every event's list."""
    events = exploded(rows, "events").drop("position")
    long = events.explode(what, empty_as_null=False).drop_nulls(what)
    return long.with_columns(position=pl.int_range(pl.len()).over("row")).unnest(what)


def _trades(rows: pl.DataFrame) -> Events:
    return {"trade": _inner(rows, "trades").select(
        "row", "position", "trade_id", "price", symbol="product_id", time=iso_time("time"), aggregate=False,
        quantity="size", side=lower("side"),
    )}  # fmt: skip


def _book(rows: pl.DataFrame) -> Events:
    def side(name: str) -> pl.Expr:
        level = pl.element().struct
        of_side = pl.concat_list(level.field("price_level"), level.field("new_quantity"))
        return pl.col("updates").list.eval(of_side.filter(level.field("side") == name))

    return {"book": exploded(rows, "events").select(
        "row", "position", symbol="product_id", time=iso_time("timestamp"), is_snapshot=pl.col("type") == "snapshot",
        bids=side("bid"), asks=side("offer"),
    )}  # fmt: skip


def _tickers(rows: pl.DataFrame) -> Events:
    return {"quote": _inner(rows, "tickers").select(
        "row", "position", symbol="product_id", time=iso_time("timestamp"), bid="best_bid",
        bid_quantity="best_bid_quantity", ask="best_ask", ask_quantity="best_ask_quantity",
    )}  # fmt: skip


def _bars(rows: pl.DataFrame) -> Events:
    """Five-minute bars; the channel does not say which is closed: a bar is where a later one stands beside it."""
    opened = pl.col("start").cast(pl.Int64, strict=False) * 1_000_000
    bars = _inner(rows, "candles").with_columns(time=opened)
    return {"bar": bars.select(
        "row", "position", "time", "open", "high", "low", "close", "volume", symbol="product_id",
        timeframe=pl.lit("5m"), close_time=pl.col("time") + 300_000_000,
        closed=iso_time("timestamp") >= pl.col("time") + 300_000_000,
    )}  # fmt: skip


def _shape(**fields: pl.DataType) -> dict[str, pl.DataType]:
    return {"timestamp": _S, "events": pl.List(pl.Struct(fields))}


def _texts(*names: str) -> pl.DataType:
    return pl.List(pl.Struct(dict.fromkeys(names, _S)))


KINDS: dict[str, Kind | None] = {
    "market_trades": Kind(
        _shape(trades=_texts("product_id", "trade_id", "price", "size", "time", "side")), _trades, "trade"
    ),
    "l2_data": Kind(
        _shape(type=_S, product_id=_S, updates=_texts("side", "price_level", "new_quantity")), _book, "book"
    ),
    "ticker": Kind(
        _shape(tickers=_texts("product_id", "best_bid", "best_bid_quantity", "best_ask", "best_ask_quantity")),
        _tickers,
        "quote",
    ),
    "candles": Kind(
        _shape(candles=_texts("start", "open", "high", "low", "close", "volume", "product_id")), _bars, "bar"
    ),
    **dict.fromkeys(("subscriptions", "heartbeats", "error", "status", "user")),
}
KINDS["ticker_batch"] = KINDS["ticker"]

COINBASE = Feed("coinbase", "coinbase", TAG, KINDS, symbols.dashed, CLOCK)
