"""What ccxt says of any exchange, as frames: feed `ccxt_<exchange id>`, stream `rest:<kind>`, text as `payload` makes.

The payload is ccxt's unified structure (https://docs.ccxt.com/#/README?id=market-data) with the exchange's own answer
in `info`, and two things that a market's description tells: `unit` of quantities and, for trades, `aggregate`.
"""

from functools import cache
from typing import Any

import orjson
import polars as pl

from lake.wire.frames import LEVELS, Events, Feed, Kind, milliseconds

PREFIX = "ccxt_"
_S, _I, _F, _B = pl.String(), pl.Int64(), pl.Float64(), pl.Boolean()
_AGGREGATE = {"a", "f", "l"}
"""What Binance's aggregates alone have: their id, their first and last trade."""


def payload(row: dict[str, Any], market: dict[str, Any], when: int) -> str:
    """The text of one unified structure; `when`, in ms, stands where the exchange tells no time."""
    info = row.get("info")
    aggregate = isinstance(info, dict) and info.keys() >= _AGGREGATE
    head = {"timestamp": int(row.get("timestamp") or when), "unit": unit(market), "aggregate": aggregate}
    return orjson.dumps(head | {key: value for key, value in row.items() if key != "timestamp"}).decode()


def unit(market: dict[str, Any]) -> str:
    """ccxt gives quantities of contract markets in contracts: of one base each, or not."""
    if not market.get("contract"):
        return "base"
    return "base" if market.get("linear") and market.get("contractSize") == 1 else "contracts"


def _symbol() -> pl.Expr:
    return pl.concat_str("symbol", pl.lit("|"), "unit")


def _trades(rows: pl.DataFrame) -> Events:
    return {"trade": rows.select(
        "row", "aggregate", "price", "side", symbol=_symbol(), time=milliseconds("timestamp"), trade_id="id",
        quantity="amount",
    )}  # fmt: skip


def _books(rows: pl.DataFrame) -> Events:
    return {"book": rows.select(
        "row", "bids", "asks", symbol=_symbol(), time=milliseconds("timestamp"), last_id="nonce", is_snapshot=True
    )}  # fmt: skip


def _tickers(rows: pl.DataFrame) -> Events:
    """A ticker without both sides is none."""
    quoted = rows.drop_nulls(["bid", "ask"])
    return {"quote": quoted.select(
        "row", "bid", "ask", symbol=_symbol(), time=milliseconds("timestamp"), bid_quantity="bidVolume",
        ask_quantity="askVolume",
    )}  # fmt: skip


def _funding(rows: pl.DataFrame) -> Events:
    return {"funding": rows.select("row", symbol=_symbol(), time=milliseconds("timestamp"), rate="fundingRate")}


def _open_interest(rows: pl.DataFrame) -> Events:
    return {"open_interest": rows.select(
        "row", symbol=_symbol(), time=milliseconds("timestamp"), quantity="openInterestAmount",
        value="openInterestValue",
    )}  # fmt: skip


def _marks(rows: pl.DataFrame) -> Events:
    return {"mark": rows.select(
        "row", symbol=_symbol(), time=milliseconds("timestamp"), mark_price="markPrice", index_price="indexPrice",
        funding_rate="fundingRate", next_funding_time=milliseconds("fundingTimestamp"),
    )}  # fmt: skip


_HEAD = {"timestamp": _I, "unit": _S, "symbol": _S}
KINDS: dict[str, Kind | None] = {
    "trades": Kind(_HEAD | {"aggregate": _B, "id": _S, "price": _F, "amount": _F, "side": _S}, _trades, "trade"),
    "books": Kind(_HEAD | {"bids": LEVELS, "asks": LEVELS, "nonce": _I}, _books, "book"),
    "tickers": Kind(_HEAD | {"bid": _F, "bidVolume": _F, "ask": _F, "askVolume": _F}, _tickers, "quote"),
    "funding": Kind(_HEAD | {"fundingRate": _F}, _funding, "funding"),
    "open_interest": Kind(_HEAD | {"openInterestAmount": _F, "openInterestValue": _F}, _open_interest, "open_interest"),
    "marks": Kind(
        _HEAD | {"markPrice": _F, "indexPrice": _F, "fundingRate": _F, "fundingTimestamp": _I}, _marks, "mark"
    ),
}


def _unify(symbol: str) -> tuple[str, str]:
    unified, _, quantity_unit = symbol.partition("|")
    if "/" not in unified:
        raise ValueError(f"{unified!r}: expected BASE/QUOTE")
    return unified, quantity_unit


@cache
def ccxt_feed(exchange: str, venue: str) -> Feed:
    """The feed of an exchange by its ccxt id; `venue` is its name in instrument ids."""
    tag = pl.col("stream").str.extract(r"^rest:(?:history:)?(\w+)$")
    clock = pl.col("payload").str.extract(r'^\{"timestamp":(\d{13})').cast(pl.Int64) * 1_000
    return Feed(PREFIX + exchange, venue, tag, KINDS, _unify, clock)
