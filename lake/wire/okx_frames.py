"""OKX's v5 public frames: https://www.okx.com/docs-v5/en/#order-book-trading-market-data. Until 2023 a book's frames
had a checksum and no ids; now they have seqId and prevSeqId. Both are read.
"""

import polars as pl

from lake.wire import symbols
from lake.wire.frames import LEVELS, Events, Feed, Kind, exploded, milliseconds

_S, _I = pl.String(), pl.Int64()

_CHANNEL = pl.col("payload").str.extract(r'"channel"\s*:\s*"([\w-]+)"')
_EVENT = pl.col("payload").str.extract(r'"event"\s*:\s*"(\w+)"').is_not_null()
_BARS = _CHANNEL.str.replace(r"^candle\w+$", "candle")
TAG = pl.when(_EVENT | (pl.col("payload") == "pong")).then(pl.lit("event")).otherwise(_BARS)
CLOCK = pl.col("payload").str.extract(r'"ts"\s*:\s*"(\d{13})"').cast(pl.Int64) * 1_000
_FRAMES = {"1H": "1h", "2H": "2h", "4H": "4h", "6H": "6h", "12H": "12h", "1D": "1d", "1W": "1w"}


def _rows(rows: pl.DataFrame) -> pl.DataFrame:
    return exploded(rows.with_columns(channel_symbol=pl.col("arg").struct.field("instId")), "data")


def _trades(rows: pl.DataFrame) -> Events:
    return {"trade": _rows(rows).select(
        "row", "position", "side", symbol="instId", time=milliseconds("ts"), trade_id="tradeId", aggregate=False,
        price="px", quantity="sz",
    )}  # fmt: skip


def _book(rows: pl.DataFrame) -> Events:
    whole = pl.col("action").fill_null("snapshot") == "snapshot"
    return {"book": _rows(rows).select(
        "row", "position", "checksum", "bids", "asks", symbol="channel_symbol", time=milliseconds("ts"),
        first_id="seqId", last_id="seqId", previous_id="prevSeqId", is_snapshot=whole,
    )}  # fmt: skip


def _best(rows: pl.DataFrame) -> Events:
    """`bbo-tbt`: a book of one level."""

    def best(side: str, at: int) -> pl.Expr:
        return pl.col(side).list.first().list.get(at, null_on_oob=True)

    return {"quote": _rows(rows).select(
        "row", "position", symbol="channel_symbol", time=milliseconds("ts"), bid=best("bids", 0),
        bid_quantity=best("bids", 1), ask=best("asks", 0), ask_quantity=best("asks", 1),
    )}  # fmt: skip


def _ticker(rows: pl.DataFrame) -> Events:
    return {"quote": _rows(rows).filter(pl.col("bidPx") != "", pl.col("askPx") != "").select(
        "row", "position", symbol="instId", time=milliseconds("ts"), bid="bidPx", bid_quantity="bidSz", ask="askPx",
        ask_quantity="askSz",
    )}  # fmt: skip


def _bars(rows: pl.DataFrame) -> Events:
    """Arrays: open time, open, high, low, close, volume, its value in coin and in quote, confirmed."""
    frame = pl.col("arg").struct.field("channel").str.strip_prefix("candle")
    bars = rows.with_columns(symbol=pl.col("arg").struct.field("instId"), frame=frame.replace(_FRAMES))
    long = bars.explode("data", empty_as_null=False).with_columns(position=pl.int_range(pl.len()).over("row"))

    def cell(at: int) -> pl.Expr:
        return pl.col("data").list.get(at, null_on_oob=True)

    opened = cell(0).cast(pl.Int64, strict=False) * 1_000
    length = pl.col("frame").replace_strict(_LENGTHS, default=None, return_dtype=pl.Int64)
    return {"bar": long.select(
        "row", "position", "symbol", time=opened, timeframe="frame", close_time=opened + length, open=cell(1),
        high=cell(2), low=cell(3), close=cell(4), volume=cell(5), quote_volume=cell(7), closed=cell(8) == "1",
    )}  # fmt: skip


def _open_interest(rows: pl.DataFrame) -> Events:
    return {"open_interest": _rows(rows).select(
        "row", "position", symbol="instId", time=milliseconds("ts"), quantity="oi"
    )}  # fmt: skip


def _mark(rows: pl.DataFrame) -> Events:
    return {
        "mark": _rows(rows).select("row", "position", symbol="instId", time=milliseconds("ts"), mark_price="markPx")
    }


def _liquidations(rows: pl.DataFrame) -> Events:
    closed = exploded(_rows(rows).select("row", "instId", "details"), "details")
    return {"liquidation": closed.select(
        "row", "position", "side", symbol="instId", time=milliseconds("ts"), price="bkPx", quantity="sz"
    )}  # fmt: skip


_LENGTHS = {
    "1m": 60, "3m": 180, "5m": 300, "15m": 900, "30m": 1_800, "1h": 3_600, "2h": 7_200, "4h": 14_400, "6h": 21_600,
    "12h": 43_200, "1d": 86_400, "1w": 604_800,
}  # fmt: skip
_LENGTHS = {name: seconds * 1_000_000 for name, seconds in _LENGTHS.items()}
_ARG = pl.Struct({"channel": _S, "instId": _S})


def _shape(**fields: pl.DataType) -> dict[str, pl.DataType]:
    return {"arg": _ARG, "action": _S, "data": pl.List(pl.Struct(fields))}


_BOOK = Kind(_shape(asks=LEVELS, bids=LEVELS, ts=_S, checksum=_I, seqId=_I, prevSeqId=_I), _book, "book")
_TEXTS = dict.fromkeys(("instId", "ts"), _S)

KINDS: dict[str, Kind | None] = {
    "trades": Kind(_shape(**_TEXTS, tradeId=_S, px=_S, sz=_S, side=_S), _trades, "trade"),
    **dict.fromkeys(("books", "books5", "books-l2-tbt", "books50-l2-tbt"), _BOOK),
    "bbo-tbt": Kind(_shape(asks=LEVELS, bids=LEVELS, ts=_S), _best, "quote"),
    "tickers": Kind(_shape(**_TEXTS, askPx=_S, askSz=_S, bidPx=_S, bidSz=_S), _ticker, "quote"),
    "candle": Kind({"arg": _ARG, "data": pl.List(pl.List(_S))}, _bars, "bar"),
    "open-interest": Kind(_shape(**_TEXTS, oi=_S), _open_interest, "open_interest"),
    "mark-price": Kind(_shape(**_TEXTS, markPx=_S), _mark, "mark"),
    "liquidation-orders": Kind(
        _shape(instId=_S, details=pl.List(pl.Struct({"side": _S, "bkPx": _S, "sz": _S, "ts": _S}))),
        _liquidations,
        "liquidation",
    ),
    **dict.fromkeys(
        ("event", "account", "positions", "orders", "orders-algo", "sprd-orders", "instruments", "index-tickers",
         "opt-summary", "estimated-price", "funding-rate", "status")
    ),
}  # fmt: skip

OKX = Feed("okx", "okx", TAG, KINDS, symbols.okx, CLOCK)
