"""The events of Binance's spot market streams, rendered from the exchange, and the names of the streams."""

import re
from typing import Any, NamedTuple

from lake.intervals import MINUTE
from market import book as books
from market.book import BUY, SELL
from market.candles import BUY_LOTS, BUY_UNITS, CLOSE, FIRST_ID, HIGH, INTERVALS, LOTS, LOW, OPEN, QUOTE_UNITS, TRADES
from market.exchange import Exchange
from market.filters import AVERAGE_MINUTES
from market.reports import amount, milliseconds, price_text, quantity_text
from market.tickers import WINDOWS
from market.trades import (
    AGG_FIRST,
    AGG_INSTRUMENT,
    AGG_LAST,
    TRADE_BUYER_IS_MAKER,
    TRADE_ID,
    TRADE_LOTS,
    TRADE_PRICE,
    TRADE_TIME,
)

Event = dict[str, Any]

_KINDS = re.compile(
    r"(?P<plain>trade|aggTrade|bookTicker|miniTicker|ticker|avgPrice)|kline_(?P<interval>\w+)|ticker_(?P<window>\w+)"
    r"|depth(?P<levels>5|10|20)?(@(?P<cadence>100|1000)ms)?",
    re.ASCII,
)
_ARRAYS = re.compile(r"!(?P<kind>miniTicker|ticker(_(?P<window>\w+))?)@arr", re.ASCII)


class Stream(NamedTuple):
    """A stream's name, taken apart."""

    symbol: str
    """As in the name, in lower case; empty for the streams of all symbols."""
    kind: str
    """trade, aggTrade, bookTicker, kline, depth, levels, ticker, miniTicker, avgPrice."""
    argument: str = ""
    """The kline's interval, the ticker's window, the partial book's levels."""
    fast: bool = False
    """Depth every 100 ms instead of every second."""


def parse_stream(name: str) -> Stream | None:
    """Take a stream's name apart; None where no such stream exists, whatever the symbol."""
    every = _ARRAYS.fullmatch(name)
    if every:
        window = every["window"] or ""
        known = not window or window in WINDOWS
        return Stream("", every["kind"].partition("_")[0], window) if known else None
    symbol, _, kind = name.partition("@")
    found = _KINDS.fullmatch(kind)
    if not found:
        return None
    if found["plain"]:
        return Stream(symbol, found["plain"])
    if found["interval"]:
        return Stream(symbol, "kline", found["interval"]) if found["interval"] in INTERVALS else None
    if found["window"]:
        return Stream(symbol, "ticker", found["window"]) if found["window"] in WINDOWS else None
    return Stream(symbol, "levels" if found["levels"] else "depth", found["levels"] or "", found["cadence"] == "100")


def trade_event(exchange: Exchange, row: list[int]) -> Event:
    """The event of `@trade` from a row of the tape."""
    i = row[books.TAPE_INSTRUMENT]
    symbol = exchange.contracts[i].venue_symbol
    return {
        "e": "trade", "E": milliseconds(exchange.time), "s": symbol, "t": row[books.TAPE_ID],
        "p": price_text(exchange, i, row[books.TAPE_PRICE]), "q": quantity_text(exchange, i, row[books.TAPE_LOTS]),
        "T": milliseconds(row[books.TAPE_TIME]), "m": bool(row[books.TAPE_BUYER_IS_MAKER]), "M": True,
    }  # fmt: skip


def aggregate_event(exchange: Exchange, row: list[int]) -> Event:
    """The event of `@aggTrade` from a row of `market.trades`."""
    i = row[AGG_INSTRUMENT]
    return {
        "e": "aggTrade", "E": milliseconds(exchange.time), "s": exchange.contracts[i].venue_symbol, "a": row[TRADE_ID],
        "p": price_text(exchange, i, row[TRADE_PRICE]), "q": quantity_text(exchange, i, row[TRADE_LOTS]),
        "f": row[AGG_FIRST], "l": row[AGG_LAST], "T": milliseconds(row[TRADE_TIME]),
        "m": bool(row[TRADE_BUYER_IS_MAKER]), "M": True,
    }  # fmt: skip


def kline_event(exchange: Exchange, i: int, interval: str, number: int, closed: bool) -> Event:
    """The event of `@kline_<interval>` for the bar of that number since the history's start."""
    symbol = exchange.contracts[i].venue_symbol
    bar = exchange.candles.aggregated(i, interval, number, 1)[0].tolist()
    length = INTERVALS[interval] * MINUTE
    opened = exchange.candles.start + number * length
    traded = bar[TRADES] > 0
    return {
        "e": "kline", "E": milliseconds(exchange.time), "s": symbol,
        "k": {
            "t": milliseconds(opened), "T": milliseconds(opened + length) - 1, "s": symbol, "i": interval,
            "f": bar[FIRST_ID] if traded else -1, "L": bar[FIRST_ID] + bar[TRADES] - 1 if traded else -1,
            "o": price_text(exchange, i, bar[OPEN]), "c": price_text(exchange, i, bar[CLOSE]),
            "h": price_text(exchange, i, bar[HIGH]), "l": price_text(exchange, i, bar[LOW]),
            "v": quantity_text(exchange, i, bar[LOTS]), "n": bar[TRADES], "x": closed,
            "q": amount(bar[QUOTE_UNITS]), "V": quantity_text(exchange, i, bar[BUY_LOTS]),
            "Q": amount(bar[BUY_UNITS]), "B": "0",
        },
    }  # fmt: skip


def average_price_event(exchange: Exchange, i: int) -> Event:
    """The event of `@avgPrice`."""
    return {
        "e": "avgPrice", "E": milliseconds(exchange.time), "s": exchange.contracts[i].venue_symbol,
        "i": f"{AVERAGE_MINUTES}m", "w": price_text(exchange, i, exchange.candles.average_price(i, AVERAGE_MINUTES)),
        "T": milliseconds(exchange.time),
    }  # fmt: skip


def book_ticker_event(exchange: Exchange, i: int, best: list[str]) -> Event:
    """The event of `@bookTicker`."""
    bid, bid_quantity, ask, ask_quantity = best
    return {
        "u": exchange.update_id(i), "s": exchange.contracts[i].venue_symbol,
        "b": bid, "B": bid_quantity, "a": ask, "A": ask_quantity,
    }  # fmt: skip


def levels_event(exchange: Exchange, i: int, levels: int) -> Event:
    """The event of `@depth5`, `@depth10` and `@depth20`: the best levels themselves."""
    sides = [
        [
            [price_text(exchange, i, p), quantity_text(exchange, i, q)]
            for p, q in exchange.depth(i, side, levels).tolist()
        ]
        for side in (BUY, SELL)
    ]
    return {"lastUpdateId": exchange.update_id(i), "bids": sides[BUY], "asks": sides[SELL]}


class Depth:
    """What the listeners of one book know, so that the next event holds the levels that differ."""

    def __init__(self, exchange: Exchange, i: int) -> None:
        self._exchange, self._i = exchange, i
        self._last_id = exchange.update_id(i)
        self._sides = [self._levels(BUY), self._levels(SELL)]

    def _levels(self, side: int) -> dict[int, int]:
        rows: list[list[int]] = self._exchange.depth(self._i, side, 1_000_000).tolist()
        return {price: lots for price, lots in rows}  # noqa: C416 - pairs come as lists

    def difference(self) -> Event | None:
        """The `depthUpdate` event since the last call, or None if the book did not change."""
        exchange, i = self._exchange, self._i
        update_id = exchange.update_id(i)
        if update_id == self._last_id:
            return None
        changes = []
        for side in (BUY, SELL):
            before, now = self._sides[side], self._levels(side)
            changed = [(price, lots) for price, lots in now.items() if before.get(price) != lots]
            changed += [(price, 0) for price in before if price not in now]
            changes.append([[price_text(exchange, i, p), quantity_text(exchange, i, q)] for p, q in changed])
            self._sides[side] = now
        event = {
            "e": "depthUpdate", "E": milliseconds(exchange.time), "s": exchange.contracts[i].venue_symbol,
            "U": self._last_id + 1, "u": update_id, "b": changes[BUY], "a": changes[SELL],
        }  # fmt: skip
        self._last_id = update_id
        return event
