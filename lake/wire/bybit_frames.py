"""Bybit's v5 public frames: https://bybit-exchange.github.io/docs/v5/websocket/public. Spot, linear and inverse share
the format and even the symbols: the feed tells them apart. A ticker's delta holds only the fields that changed.
"""

from dataclasses import replace

import polars as pl

from lake.wire import symbols
from lake.wire.frames import LEVELS, Events, Feed, Kind, exploded, lower, milliseconds

_S, _I, _B = pl.String(), pl.Int64(), pl.Boolean()
_INTERVALS = {
    "1": "1m", "3": "3m", "5": "5m", "15": "15m", "30": "30m", "60": "1h", "120": "2h", "240": "4h", "360": "6h",
    "720": "12h", "D": "1d", "W": "1w", "M": "1M",
}  # fmt: skip

_TOPIC = pl.col("payload").str.extract(r'"topic"\s*:\s*"(\w+)')
_CONTROL = pl.when(pl.col("payload").str.contains(r'"op"\s*:')).then(pl.lit("op"))
TAG = pl.coalesce(_TOPIC, _CONTROL)
CLOCK = pl.col("payload").str.extract(r'"ts"\s*:\s*(\d{13})').cast(pl.Int64) * 1_000


def _trades(rows: pl.DataFrame) -> Events:
    return {"trade": exploded(rows, "data").select(
        "row", "position", symbol="s", time=milliseconds("T"), trade_id="i", aggregate=False, price="p", quantity="v",
        side=lower("S"),
    )}  # fmt: skip


def _book(rows: pl.DataFrame) -> Events:
    return {"book": rows.select("row", "ts", "type", pl.col("data").struct.unnest()).select(
        "row", symbol="s", time=milliseconds("ts"), first_id="u", last_id="u",
        is_snapshot=(pl.col("type") == "snapshot") | (pl.col("u") == 1), bids="b", asks="a",
    )}  # fmt: skip


def _ticker(rows: pl.DataFrame) -> Events:
    """Quote, open interest and mark where the frame has all of their fields, as every snapshot has."""
    ticker = rows.select("row", "ts", pl.col("data").struct.unnest()).with_columns(time=milliseconds("ts"))
    return {
        "quote": ticker.drop_nulls(["bid1Price", "ask1Price"]).select(
            "row", "symbol", "time", bid="bid1Price", bid_quantity="bid1Size", ask="ask1Price", ask_quantity="ask1Size"
        ),
        "open_interest": ticker.drop_nulls("openInterest").select(
            "row", "symbol", "time", quantity="openInterest", value="openInterestValue"
        ),
        "mark": ticker.drop_nulls("markPrice").select(
            "row", "symbol", "time", mark_price="markPrice", index_price="indexPrice", funding_rate="fundingRate",
            next_funding_time=milliseconds("nextFundingTime"),
        ),
    }  # fmt: skip


def _bars(rows: pl.DataFrame) -> Events:
    bars = exploded(rows.with_columns(symbol=pl.col("topic").str.extract(r"\.([^.]+)$")), "data")
    return {"bar": bars.select(
        "row", "position", "symbol", "open", "high", "low", "close", "volume", time=milliseconds("start"),
        timeframe=pl.col("interval").replace_strict(_INTERVALS, default=None), close_time=milliseconds("end") + 1_000,
        quote_volume="turnover", closed="confirm",
    )}  # fmt: skip


def _liquidations(rows: pl.DataFrame) -> Events:
    """Bybit names the side of the position: a liquidated long is bought, and closed by a sale."""
    closing = pl.col("S").replace_strict({"Buy": "sell", "Sell": "buy"}, default=None)
    return {"liquidation": exploded(rows, "data").select(
        "row", "position", symbol="s", time=milliseconds("T"), side=closing, price="p", quantity="v"
    )}  # fmt: skip


_TICKER = {
    "symbol": _S, "bid1Price": _S, "bid1Size": _S, "ask1Price": _S, "ask1Size": _S, "markPrice": _S, "indexPrice": _S,
    "openInterest": _S, "openInterestValue": _S, "fundingRate": _S, "nextFundingTime": _S,
}  # fmt: skip
_KLINE = {
    "start": _I, "end": _I, "interval": _S, "open": _S, "high": _S, "low": _S, "close": _S, "volume": _S,
    "turnover": _S, "confirm": _B,
}  # fmt: skip
_DEPTH = pl.Struct({"s": _S, "b": LEVELS, "a": LEVELS, "u": _I})
_TRADE = {"T": _I, "s": _S, "S": _S, "v": _S, "p": _S, "i": _S}
_TRADE_KIND = Kind({"data": pl.List(pl.Struct(_TRADE))}, _trades, "trade")

KINDS: dict[str, Kind | None] = {
    "publicTrade": _TRADE_KIND,
    "trade": _TRADE_KIND,
    "orderbook": Kind({"ts": _I, "type": _S, "data": _DEPTH}, _book, "book"),
    "tickers": Kind({"ts": _I, "data": pl.Struct(_TICKER)}, _ticker, "quote open_interest mark"),
    "kline": Kind({"topic": _S, "data": pl.List(pl.Struct(_KLINE))}, _bars, "bar"),
    "allLiquidation": Kind(
        {"data": pl.List(pl.Struct({"T": _I, "s": _S, "S": _S, "v": _S, "p": _S}))}, _liquidations, "liquidation"
    ),
    **dict.fromkeys(("op", "execution", "order", "position", "wallet", "greeks", "dcp")),
}

BYBIT_SPOT = Feed("bybit_spot", "bybit", TAG, KINDS, symbols.spot, CLOCK)
BYBIT_LINEAR = replace(BYBIT_SPOT, name="bybit_linear", unify=symbols.bybit_linear)
BYBIT_INVERSE = replace(BYBIT_SPOT, name="bybit_inverse", unify=symbols.bybit_inverse)
