"""Binance's frames: spot, USDⓈ-M and COIN-M, bare or combined, and the REST answers recorded beside them.

Field names: https://developers.binance.com/docs (spot, derivatives: market streams). Spot's bookTicker and REST depth
name no kind, the latter no symbol either: the stream it was stored under does, as in rest:depth:BTCUSDT.
"""

from dataclasses import replace

import polars as pl

from lake.wire import symbols
from lake.wire.frames import LEVELS, Events, Feed, Kind, milliseconds

_S, _I, _B = pl.String(), pl.Int64(), pl.Boolean()

_PRIVATE = (
    "executionReport", "outboundAccountPosition", "balanceUpdate", "listStatus", "eventStreamTerminated",
    "ORDER_TRADE_UPDATE", "ACCOUNT_UPDATE", "ACCOUNT_CONFIG_UPDATE", "MARGIN_CALL", "TRADE_LITE", "ALGO_UPDATE",
    "listenKeyExpired", "serverShutdown", "contractInfo", "24hrMiniTicker", "externalLockUpdate",
)  # fmt: skip
"""Known, and no market data that has a table."""

_BODY = pl.col("payload").str.strip_chars()
_EVENT = _BODY.str.extract(r'"e"\s*:\s*"(\w+)"')
_SIGN = _BODY.str.extract(
    r'"(lastUpdateId|result|error|openInterest|sumOpenInterest|lastFundingRate|fundingRate|closePrice)"'
)
_QUOTE = pl.when(_BODY.str.contains(r'"B"\s*:')).then(pl.lit("bookTicker"))
_REST_TRADE = pl.when(pl.col("stream").str.starts_with("rest:aggTrades:")).then(pl.lit("restAggTrade"))
TAG = pl.coalesce(_REST_TRADE, _EVENT, _SIGN, _QUOTE)

CLOCK = (
    pl.coalesce(
        pl.col("payload").str.extract(r'"E"\s*:\s*(\d{13})'),
        pl.col("payload").str.extract(r'"(?:T|time|timestamp|fundingTime)"\s*:\s*(\d{13})'),
    ).cast(pl.Int64)
    * 1_000
)


def _inside(fields: dict[str, pl.DataType], required: bool = True) -> dict[str, pl.DataType]:
    """The shape of an event, bare or inside a combined frame."""
    return {"data": pl.Struct(fields), **fields}


def _event(rows: pl.DataFrame) -> pl.DataFrame:
    """The event's fields, whether it came bare or combined."""
    inner = rows.schema["data"]
    assert isinstance(inner, pl.Struct)
    fields = [pl.coalesce(pl.col("data").struct.field(f.name), pl.col(f.name)).alias(f.name) for f in inner.fields]
    return rows.select("row", "stream", *fields)


def _taker(column: str = "m") -> pl.Expr:
    """The taker's side: where the buyer is the maker, the taker sells."""
    return pl.when(pl.col(column)).then(pl.lit("sell")).when(~pl.col(column)).then(pl.lit("buy"))


def _trade(rows: pl.DataFrame) -> Events:
    """A trade; what futures report as NA, INSURANCE_FUND or ADL is no trade of the market."""
    market = _event(rows).filter(pl.col("X").fill_null("MARKET") == "MARKET")
    return {"trade": market.select(
        "row", symbol="s", time=milliseconds("T"), trade_id="t", aggregate=False, price="p", quantity="q", side=_taker()
    )}  # fmt: skip


def _aggregate(rows: pl.DataFrame) -> Events:
    return {"trade": _event(rows).select(
        "row", symbol="s", time=milliseconds("T"), trade_id="a", aggregate=True, price="p", quantity="q", side=_taker()
    )}  # fmt: skip


def _rest_aggregate(rows: pl.DataFrame) -> Events:
    return {"trade": rows.select(
        "row", symbol=_stream_symbol(), time=milliseconds("T"), trade_id="a", aggregate=True, price="p", quantity="q",
        side=_taker(),
    )}  # fmt: skip


def _stream_symbol() -> pl.Expr:
    return pl.col("stream").str.extract(r"^rest:[^:]+:(.+)$")


def _diff(rows: pl.DataFrame) -> Events:
    return {"book": _event(rows).select(
        "row", symbol="s", time=milliseconds("E"), first_id="U", last_id="u", previous_id="pu", is_snapshot=False,
        bids="b", asks="a",
    )}  # fmt: skip


def _snapshot(rows: pl.DataFrame) -> Events:
    return {"book": rows.select(
        "row", symbol=pl.coalesce("symbol", _stream_symbol()), time=milliseconds("E"), last_id="lastUpdateId",
        is_snapshot=True, bids="bids", asks="asks",
    )}  # fmt: skip


def _quote(rows: pl.DataFrame) -> Events:
    return {"quote": _event(rows).select(
        "row", symbol="s", time=milliseconds("E"), bid="b", bid_quantity="B", ask="a", ask_quantity="A"
    )}  # fmt: skip


def _ticker(rows: pl.DataFrame) -> Events:
    """Spot's 24-hour ticker carries a quote, futures' does not."""
    quoted = _event(rows).filter(pl.col("b").is_not_null())
    return {"quote": quoted.select(
        "row", symbol="s", time=milliseconds("E"), bid="b", bid_quantity="B", ask="a", ask_quantity="A"
    )}  # fmt: skip


def _bar(rows: pl.DataFrame) -> Events:
    bars = _event(rows).select("row", "s", pl.col("k").struct.unnest())
    return {"bar": bars.select(
        "row", symbol="s", time=milliseconds("t"), timeframe="i", close_time=milliseconds("T") + 1_000, open="o",
        high="h", low="l", close="c", volume="v", quote_volume="q", trade_count="n", closed="x",
    )}  # fmt: skip


def _liquidation(rows: pl.DataFrame) -> Events:
    orders = _event(rows).select("row", pl.col("o").struct.unnest())
    return {"liquidation": orders.select(
        "row", symbol="s", time=milliseconds("T"), side=pl.col("S").str.to_lowercase(), price="p", average_price="ap",
        quantity="q",
    )}  # fmt: skip


def _mark(rows: pl.DataFrame) -> Events:
    return {"mark": _event(rows).select(
        "row", symbol="s", time=milliseconds("E"), mark_price="p", index_price="i", funding_rate="r",
        next_funding_time=pl.when(pl.col("T") > 0).then(milliseconds("T")),
    )}  # fmt: skip


def _premium(rows: pl.DataFrame) -> Events:
    """GET premiumIndex."""
    return {"mark": rows.select(
        "row", "symbol", time=milliseconds("time"), mark_price="markPrice", index_price="indexPrice",
        funding_rate="lastFundingRate",
        next_funding_time=pl.when(pl.col("nextFundingTime") > 0).then(milliseconds("nextFundingTime")),
    )}  # fmt: skip


def _funding(rows: pl.DataFrame) -> Events:
    """A row of GET fundingRate."""
    return {"funding": rows.select(
        "row", "symbol", time=milliseconds("fundingTime"), rate="fundingRate", mark_price="markPrice"
    )}  # fmt: skip


def _open_interest(rows: pl.DataFrame) -> Events:
    """GET openInterest."""
    return {"open_interest": rows.select("row", "symbol", time=milliseconds("time"), quantity="openInterest")}


_TRADED: dict[str, pl.DataType] = {"s": _S, "T": _I, "p": _S, "q": _S, "m": _B}
_KLINE = pl.Struct({"t": _I, "T": _I, "i": _S, "o": _S, "h": _S, "l": _S, "c": _S, "v": _S, "q": _S, "n": _I, "x": _B})
_ORDER = pl.Struct({"s": _S, "S": _S, "q": _S, "p": _S, "ap": _S, "T": _I})
_BEST: dict[str, pl.DataType] = {"s": _S, "E": _I, "b": _S, "B": _S, "a": _S, "A": _S}
_DEPTH: dict[str, pl.DataType] = {"s": _S, "E": _I, "U": _I, "u": _I, "pu": _I, "b": LEVELS, "a": LEVELS}

KINDS: dict[str, Kind | None] = {
    "trade": Kind(_inside(_TRADED | {"t": _S, "X": _S}), _trade, "trade"),
    "aggTrade": Kind(_inside(_TRADED | {"a": _S}), _aggregate, "trade"),
    "restAggTrade": Kind({"T": _I, "p": _S, "q": _S, "m": _B, "a": _S}, _rest_aggregate, "trade"),
    "depthUpdate": Kind(_inside(_DEPTH), _diff, "book"),
    "lastUpdateId": Kind(
        {"symbol": _S, "lastUpdateId": _I, "E": _I, "bids": LEVELS, "asks": LEVELS}, _snapshot, "book"
    ),
    "bookTicker": Kind(_inside(_BEST), _quote, "quote"),
    "24hrTicker": Kind(_inside(_BEST), _ticker, "quote"),
    "kline": Kind(_inside({"s": _S, "k": _KLINE}), _bar, "bar"),
    "forceOrder": Kind(_inside({"o": _ORDER}), _liquidation, "liquidation"),
    "markPriceUpdate": Kind(_inside({"s": _S, "E": _I, "p": _S, "i": _S, "r": _S, "T": _I}), _mark, "mark"),
    "lastFundingRate": Kind(
        {"symbol": _S, "time": _I, "markPrice": _S, "indexPrice": _S, "lastFundingRate": _S, "nextFundingTime": _I},
        _premium,
        "mark",
    ),
    "fundingRate": Kind({"symbol": _S, "fundingTime": _I, "fundingRate": _S, "markPrice": _S}, _funding, "funding"),
    "openInterest": Kind({"symbol": _S, "time": _I, "openInterest": _S}, _open_interest, "open_interest"),
    "result": None,
    "error": None,
    **dict.fromkeys(_PRIVATE),
}

BINANCE = Feed("binance", "binance", TAG, KINDS, symbols.spot, CLOCK)
BINANCE_USDM = replace(BINANCE, name="binance_usdm", unify=symbols.binance_usdm)
BINANCE_COINM = replace(BINANCE, name="binance_coinm", unify=symbols.binance_coinm)
ANDINA = replace(BINANCE, name="andina", venue="andina")
"""The embedded market's second venue speaks the same language."""
