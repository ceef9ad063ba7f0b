"""Spot's public REST answers under /api/v3: filters, books, trades, candles and tickers of one venue."""

import re
from typing import TYPE_CHECKING, Any

from market import reports
from market.book import BUY, SELL
from market.candles import CLOSE
from market.errors import Refused
from market.filters import AVERAGE_MINUTES, exchange_info
from market.parameters import Parameters
from market.signing import wall_ms
from market.tickers import DAY_MINUTES, book_ticker, rolling, ticker
from market.trades import (
    AGG_FIRST,
    AGG_LAST,
    TRADE_BUYER_IS_MAKER,
    TRADE_ID,
    TRADE_LOTS,
    TRADE_PRICE,
    TRADE_TIME,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from market.exchange import Exchange

_WINDOW = re.compile(r"([1-9]|[1-5][0-9])m|([1-9]|1[0-9]|2[0-3])h|([1-7])d", re.ASCII)
"""Windows of `GET /api/v3/ticker`: 1m to 59m, 1h to 23h, 1d to 7d."""


class MarketData:
    """The handlers, over one exchange."""

    def __init__(self, exchange: "Exchange") -> None:
        self._exchange = exchange

    def handlers(self) -> "dict[str, Callable[[Parameters], object]]":
        """By path under /api/v3; `klines` answers bytes and stands in `klines`."""
        return {
            "ping": lambda parameters: {},
            "time": lambda parameters: {"serverTime": wall_ms()},
            "exchangeInfo": self._exchange_info,
            "depth": self._depth,
            "trades": self._trades,
            "historicalTrades": self._historical_trades,
            "aggTrades": self._aggregate_trades,
            "avgPrice": self._average_price,
            "ticker/24hr": self._day_ticker,
            "ticker/tradingDay": self._trading_day,
            "ticker": self._window_ticker,
            "ticker/bookTicker": self._book_ticker,
            "ticker/price": self._price,
        }

    def klines(self, parameters: Parameters) -> bytes:
        i, interval, limit = parameters.symbol(), parameters.interval(), parameters.limit(500, 1000)
        start, end = parameters.whole("startTime"), parameters.whole("endTime")
        return self._exchange.candles.page(i, interval, start, end, limit)

    def _exchange_info(self, parameters: Parameters) -> object:
        chosen = parameters.symbols()
        status = [self._exchange.status(i) for i in chosen]
        return exchange_info([self._exchange.filters[i] for i in chosen], wall_ms(), status)

    def _depth(self, parameters: Parameters) -> object:
        i, limit = parameters.symbol(), parameters.limit(100, 5000)
        bids, asks = (
            [
                [reports.price_text(self._exchange, i, price), reports.quantity_text(self._exchange, i, lots)]
                for price, lots in self._exchange.depth(i, side, limit).tolist()
            ]
            for side in (BUY, SELL)
        )
        return {"lastUpdateId": self._exchange.update_id(i), "bids": bids, "asks": asks}

    # -- trades ---------------------------------------------------------------------------------------------------

    def _trades(self, parameters: Parameters) -> object:
        i, limit = parameters.symbol(), parameters.limit(500, 1000)
        return [self._trade(i, row) for row in self._exchange.trade_log.trades[i].page(limit, None, None, None)]

    def _historical_trades(self, parameters: Parameters) -> object:
        """From an id on; trades older than what is remembered are gone, as is the simulated history's tape."""
        i, limit, first = parameters.symbol(), parameters.limit(500, 1000), parameters.whole("fromId")
        return [self._trade(i, row) for row in self._exchange.trade_log.trades[i].page(limit, first, None, None)]

    def _trade(self, i: int, row: list[int]) -> dict[str, Any]:
        price, lots = row[TRADE_PRICE], row[TRADE_LOTS]
        return {
            "id": row[TRADE_ID],
            "price": reports.price_text(self._exchange, i, price),
            "qty": reports.quantity_text(self._exchange, i, lots),
            "quoteQty": reports.amount(self._exchange.units(i, price, lots)),
            "time": reports.milliseconds(row[TRADE_TIME]),
            "isBuyerMaker": bool(row[TRADE_BUYER_IS_MAKER]),
            "isBestMatch": True,
        }

    def _aggregate_trades(self, parameters: Parameters) -> object:
        i, limit, first = parameters.symbol(), parameters.limit(500, 1000), parameters.whole("fromId")
        start, end = parameters.whole("startTime"), parameters.whole("endTime")
        if first is not None and (start is not None or end is not None):
            raise Refused(-1128, "Combination of optional parameters invalid.")
        rows = self._exchange.trade_log.aggregates[i].page(
            limit, first, None if start is None else start * 1000, None if end is None else end * 1000 + 999
        )
        return [self._aggregate(i, row) for row in rows]

    def _aggregate(self, i: int, row: list[int]) -> dict[str, Any]:
        return {
            "a": row[TRADE_ID],
            "p": reports.price_text(self._exchange, i, row[TRADE_PRICE]),
            "q": reports.quantity_text(self._exchange, i, row[TRADE_LOTS]),
            "f": row[AGG_FIRST],
            "l": row[AGG_LAST],
            "T": reports.milliseconds(row[TRADE_TIME]),
            "m": bool(row[TRADE_BUYER_IS_MAKER]),
            "M": True,
        }

    # -- tickers --------------------------------------------------------------------------------------------------

    def _each(self, parameters: Parameters, row: "Callable[[int], dict[str, Any]]") -> object:
        """One row where one symbol was asked for, else a list."""
        rows = [row(i) for i in parameters.symbols()]
        return rows if parameters.text("symbol") is None else rows[0]

    def _tickers(self, parameters: Parameters, minutes: int, quotes: bool) -> object:
        kind = parameters.text("type") or "FULL"
        if kind not in ("FULL", "MINI"):
            raise Refused(-1139, "Invalid ticker type.")
        exchange = self._exchange
        return self._each(
            parameters, lambda i: ticker(exchange, i, rolling(exchange, i, minutes), kind == "FULL", quotes)
        )

    def _day_ticker(self, parameters: Parameters) -> object:
        return self._tickers(parameters, DAY_MINUTES, quotes=True)

    def _trading_day(self, parameters: Parameters) -> object:
        """Since the last midnight UTC."""
        minute = self._exchange.candles.minutes - 1  # the history starts at a midnight
        return self._tickers(self._one_or_several(parameters), minute % DAY_MINUTES + 1, quotes=False)

    def _window_ticker(self, parameters: Parameters) -> object:
        window = parameters.text("windowSize") or "1d"
        if not _WINDOW.fullmatch(window):
            raise Refused(-1130, "Data sent for parameter 'windowSize' is not valid.")
        minutes = int(window[:-1]) * {"m": 1, "h": 60, "d": DAY_MINUTES}[window[-1]]
        return self._tickers(self._one_or_several(parameters), minutes, quotes=False)

    @staticmethod
    def _one_or_several(parameters: Parameters) -> Parameters:
        if parameters.text("symbol") is None and parameters.text("symbols") is None:
            raise Refused(-1102, "Param 'symbol' or 'symbols' must be sent, but both were empty/null!")
        return parameters

    def _average_price(self, parameters: Parameters) -> object:
        i = parameters.symbol()
        price = reports.price_text(self._exchange, i, self._exchange.candles.average_price(i, AVERAGE_MINUTES))
        return {"mins": AVERAGE_MINUTES, "price": price, "closeTime": reports.milliseconds(self._exchange.time)}

    def _book_ticker(self, parameters: Parameters) -> object:
        names = ("bidPrice", "bidQty", "askPrice", "askQty")
        return self._each(
            parameters,
            lambda i: {"symbol": self._symbol(i)} | dict(zip(names, book_ticker(self._exchange, i), strict=True)),
        )

    def _price(self, parameters: Parameters) -> object:
        last = self._exchange.candles.bars[:, -1, CLOSE].tolist()
        return self._each(
            parameters,
            lambda i: {"symbol": self._symbol(i), "price": reports.price_text(self._exchange, i, last[i])},
        )

    def _symbol(self, i: int) -> str:
        return self._exchange.contracts[i].venue_symbol
