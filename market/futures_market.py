"""Public market data of derivatives, as Binance's USDⓈ-M endpoints give it."""

from collections.abc import Callable
from typing import Any

import numpy as np

from lake.intervals import MINUTE
from market.book import BUY, SELL
from market.candles import CLOSE, HIGH, INTERVALS, LOW, OPEN
from market.contracts import PERPETUAL
from market.errors import Refused, illegal
from market.futures_desk import FuturesDesk
from market.futures_info import contract_type, symbol_row
from market.futures_past import OPEN_INTEREST_STEP
from market.futures_reports import price_of, quantity_of
from market.limits import USDM
from market.parameters import Parameters
from market.reports import amount, milliseconds
from market.signing import wall_ms
from market.tickers import book_ticker, rolling, ticker
from market.trades import AGG_FIRST, AGG_LAST, TRADE_BUYER_IS_MAKER, TRADE_ID, TRADE_LOTS, TRADE_PRICE, TRADE_TIME

INTEREST_PERIODS = {"5m": 1, "15m": 3, "30m": 6, "1h": 12, "2h": 24, "4h": 48, "6h": 72, "12h": 144, "1d": 288}
"""Of `openInterestHist`, in samples."""
DEPTHS = (5, 10, 20, 50, 100, 500, 1000)


class FuturesMarket:
    """The public handlers."""

    def __init__(self, desk: FuturesDesk, symbols: dict[str, int]) -> None:
        self._desk, self._exchange, self._world = desk, desk.exchange, desk.world
        self._symbols = symbols

    def routes(self) -> dict[str, Callable[[Parameters], object]]:
        paths: dict[str, Callable[[Parameters], object]] = {
            "ping": lambda parameters: {},
            "time": lambda parameters: {"serverTime": wall_ms()},
            "exchangeInfo": self._exchange_info,
            "depth": self._depth,
            "trades": self._trades,
            "historicalTrades": self._trades,
            "aggTrades": self._aggregates,
            "klines": self._klines,
            "continuousKlines": self._continuous_klines,
            "markPriceKlines": self._mark_klines,
            "indexPriceKlines": self._index_klines,
            "premiumIndexKlines": self._premium_klines,
            "premiumIndex": self._premium_index,
            "fundingRate": self._funding_rate,
            "fundingInfo": self._funding_info,
            "openInterest": self._open_interest,
            "ticker/24hr": self._ticker,
            "ticker/price": self._price,
            "ticker/bookTicker": self._book_ticker,
            "indexInfo": lambda parameters: [],
        }
        return {
            **{f"/fapi/v1/{name}": serve for name, serve in paths.items()},
            "/fapi/v2/ticker/price": self._price,
            "/futures/data/openInterestHist": self._interest_past,
        }

    # -- contracts, books and trades ------------------------------------------------------------------------------

    def _exchange_info(self, parameters: Parameters) -> object:
        exchange, most = self._exchange, USDM.weight_per_minute
        return {
            "timezone": "UTC", "serverTime": wall_ms(), "futuresType": "U_MARGINED",
            "rateLimits": [
                {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": most},
                {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": 1200},
                {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 300},
            ],
            "exchangeFilters": [],
            "assets": [{"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "0"}],
            "symbols": [
                symbol_row(exchange.contracts[i], self._status(i), exchange.time, exchange.candles.start)
                for i in parameters.symbols()
            ],
        }  # fmt: skip

    def _status(self, i: int) -> str:
        return "CLOSE" if i - self._world.first in self._world.settled else self._exchange.status(i)

    def _depth(self, parameters: Parameters) -> object:
        i, limit = parameters.symbol(), parameters.limit(500, 1000)
        if limit not in DEPTHS:
            raise Refused(-4021, f"Invalid depth limit: expected one of {', '.join(map(str, DEPTHS))}.")
        contract, now = self._exchange.contracts[i], milliseconds(self._exchange.time)
        bids, asks = (
            [
                [price_of(contract, price), quantity_of(contract, lots)]
                for price, lots in self._exchange.depth(i, side, limit).tolist()
            ]
            for side in (BUY, SELL)
        )
        return {"lastUpdateId": self._exchange.update_id(i), "E": now, "T": now, "bids": bids, "asks": asks}

    def _trades(self, parameters: Parameters) -> object:
        i, limit = parameters.symbol(), parameters.limit(500, 1000)
        rows = self._exchange.trade_log.trades[i].page(limit, parameters.whole("fromId"), None, None)
        contract = self._exchange.contracts[i]
        return [
            {
                "id": row[TRADE_ID], "price": price_of(contract, row[TRADE_PRICE]),
                "qty": quantity_of(contract, row[TRADE_LOTS]),
                "quoteQty": amount(self._exchange.units(i, row[TRADE_PRICE], row[TRADE_LOTS])),
                "time": milliseconds(row[TRADE_TIME]), "isBuyerMaker": bool(row[TRADE_BUYER_IS_MAKER]),
            }
            for row in rows
        ]  # fmt: skip

    def _aggregates(self, parameters: Parameters) -> object:
        i, limit = parameters.symbol(), parameters.limit(500, 1000)
        start, end = _microseconds(parameters)
        rows = self._exchange.trade_log.aggregates[i].page(limit, parameters.whole("fromId"), start, end)
        contract = self._exchange.contracts[i]
        return [
            {
                "a": row[TRADE_ID], "p": price_of(contract, row[TRADE_PRICE]),
                "q": quantity_of(contract, row[TRADE_LOTS]), "f": row[AGG_FIRST], "l": row[AGG_LAST],
                "T": milliseconds(row[TRADE_TIME]), "m": bool(row[TRADE_BUYER_IS_MAKER]),
            }
            for row in rows
        ]  # fmt: skip

    # -- bars -----------------------------------------------------------------------------------------------------

    def _klines(self, parameters: Parameters) -> object:
        return self._page(parameters, parameters.symbol())

    def _continuous_klines(self, parameters: Parameters) -> object:
        pair, wanted = parameters.needed("pair"), parameters.needed("contractType")
        for i in self._desk.derivatives:
            contract = self._exchange.contracts[i]
            held = (contract.instrument.base + contract.instrument.quote, contract_type(contract, self._exchange.time))
            if held == (pair, wanted):
                return self._page(parameters, i)
        raise Refused(-1121, "Invalid symbol.")

    def _page(self, parameters: Parameters, i: int) -> bytes:
        interval, limit = parameters.interval(), parameters.limit(500, 1500)
        start, end = parameters.whole("startTime"), parameters.whole("endTime")
        return self._exchange.candles.page(i, interval, start, end, limit)

    def _mark_klines(self, parameters: Parameters) -> object:
        i = parameters.symbol()
        k = i - self._world.first
        values = self._world.marks.values[k]
        return self._price_klines(parameters, *_from_closes(values, float(self._world.mark[k])))

    def _index_klines(self, parameters: Parameters) -> object:
        coin = self._coin(parameters.needed("pair"))
        tick = float(self._exchange.contracts[coin].instrument.price_tick)
        bars = self._exchange.candles.bars[coin]
        return self._price_klines(parameters, *(bars[:, field] * tick for field in (OPEN, HIGH, LOW, CLOSE)))

    def _premium_klines(self, parameters: Parameters) -> object:
        """Mark over index at the end of every minute."""
        i = parameters.symbol()
        k, coin = i - self._world.first, self._coin_of(i)
        tick = float(self._exchange.contracts[coin].instrument.price_tick)
        marks = self._world.marks.values[k]
        index = self._exchange.candles.bars[coin, : len(marks), CLOSE] * tick
        return self._price_klines(parameters, *_from_closes(marks / index - 1, self._world.premium(k)))

    def _price_klines(self, parameters: Parameters, *prices: Any) -> object:
        """Bars of something that has a price every minute and no volume: open, high, low, close, [minutes] each."""
        interval, limit = parameters.interval(), parameters.limit(500, 1500)
        start, end = _microseconds(parameters)
        step, candles = INTERVALS[interval], self._exchange.candles
        length, last = step * MINUTE, (candles.minutes - 1) // step
        first = 0 if start is None else max(0, -(-(start - candles.start) // length))
        final = last if end is None else min(last, (end - candles.start) // length)
        numbers = range(first, min(final + 1, first + limit))
        if start is None:
            numbers = range(max(0, final + 1 - limit), final + 1)
        rows = []
        for number in numbers:
            part = slice(number * step, (number + 1) * step)
            opened = milliseconds(candles.start + number * length)
            values = (prices[0][part][0], prices[1][part].max(), prices[2][part].min(), prices[3][part][-1])
            texts = [f"{float(value):.8f}" for value in values]
            rows.append(
                [opened, *texts, "0", opened + length // 1000 - 1, "0", len(prices[0][part]) * 60, "0", "0", "0"]
            )
        return rows

    def _coin(self, pair: str) -> int:
        """Number of the spot pair that is the index of `pair`."""
        for i, contract in enumerate(self._exchange.contracts):
            if not contract.is_derivative and contract.venue_symbol == pair:
                return i
        raise Refused(-1121, "Invalid symbol.")

    def _coin_of(self, i: int) -> int:
        instrument = self._exchange.contracts[i].instrument
        return self._coin(instrument.base + instrument.quote)

    # -- marks, funding, open interest ----------------------------------------------------------------------------

    def premium_row(self, i: int) -> dict[str, Any]:
        """A row of `premiumIndex`."""
        world, k, contract = self._world, i - self._world.first, self._exchange.contracts[i]
        perpetual = contract.kind == PERPETUAL
        return {
            "symbol": contract.venue_symbol, "markPrice": f"{world.mark[k]:.8f}",
            "indexPrice": f"{world.index[k]:.8f}", "estimatedSettlePrice": f"{world.index[k]:.8f}",
            "lastFundingRate": f"{world.funding_estimate(k):.8f}" if perpetual else "",
            "interestRate": "0.00010000" if perpetual else "",
            "nextFundingTime": milliseconds(world.next_funding()) if perpetual else 0,
            "time": milliseconds(self._exchange.time),
        }  # fmt: skip

    def _premium_index(self, parameters: Parameters) -> object:
        return self._one_or_all(parameters, self.premium_row)

    def _funding_rate(self, parameters: Parameters) -> object:
        chosen, limit = parameters.symbols(), parameters.limit(100, 1000)
        start, end = _microseconds(parameters)
        rows = [
            (payment.time, i, payment)
            for i in chosen
            for payment in self._world.funding[i - self._world.first]
            if (start is None or payment.time >= start) and (end is None or payment.time <= end)
        ]
        rows.sort(key=lambda row: row[:2])
        return [
            {
                "symbol": self._exchange.contracts[i].venue_symbol, "fundingTime": milliseconds(time),
                "fundingRate": f"{payment.rate:.8f}", "markPrice": f"{payment.mark:.8f}",
            }
            for time, i, payment in (rows[-limit:] if start is None else rows[:limit])
        ]  # fmt: skip

    def _funding_info(self, parameters: Parameters) -> object:
        return [
            {
                "symbol": self._exchange.contracts[i].venue_symbol, "adjustedFundingRateCap": "0.02000000",
                "adjustedFundingRateFloor": "-0.02000000", "fundingIntervalHours": 8, "disclaimer": False,
            }
            for i in self._desk.derivatives
            if self._exchange.contracts[i].kind == PERPETUAL
        ]  # fmt: skip

    def _open_interest(self, parameters: Parameters) -> object:
        i = parameters.symbol()
        lots = int(self._world.interest()[i - self._world.first])
        contract = self._exchange.contracts[i]
        now = milliseconds(self._exchange.time)
        return {"openInterest": quantity_of(contract, lots), "symbol": contract.venue_symbol, "time": now}

    def _interest_past(self, parameters: Parameters) -> object:
        i, period, limit = parameters.symbol(), parameters.needed("period"), parameters.limit(30, 500)
        if period not in INTEREST_PERIODS:
            raise illegal("period", ", ".join(INTEREST_PERIODS))
        start, end = _microseconds(parameters)
        k, step, contract = i - self._world.first, INTEREST_PERIODS[period], self._exchange.contracts[i]
        lots, marks = self._world.open_interest.values[k], self._world.marks.values[k]
        rows = []
        for n in range(0, len(lots), step):
            time = self._exchange.candles.start + n * OPEN_INTEREST_STEP
            if (start is None or time >= start) and (end is None or time <= end):
                mark = marks[max(0, min(len(marks) - 1, n * OPEN_INTEREST_STEP // MINUTE - 1))]
                coins = float(lots[n]) * float(contract.instrument.quantity_step)
                rows.append({
                    "symbol": contract.venue_symbol, "sumOpenInterest": f"{coins:.8f}",
                    "sumOpenInterestValue": f"{coins * mark:.8f}", "CMCCirculatingSupply": "0",
                    "timestamp": milliseconds(time),
                })  # fmt: skip
        return rows[-limit:] if start is None else rows[:limit]

    # -- tickers --------------------------------------------------------------------------------------------------

    def _one_or_all(self, parameters: Parameters, row: Callable[[int], dict[str, Any]]) -> object:
        rows = [row(i) for i in parameters.symbols()]
        return rows if parameters.text("symbol") is None else rows[0]

    def _ticker(self, parameters: Parameters) -> object:
        unwanted = ("prevClosePrice", "bidPrice", "bidQty", "askPrice", "askQty")

        def row(i: int) -> dict[str, Any]:
            found = ticker(self._exchange, i, rolling(self._exchange, i), True, True)
            return {name: value for name, value in found.items() if name not in unwanted}

        return self._one_or_all(parameters, row)

    def _price(self, parameters: Parameters) -> object:
        def row(i: int) -> dict[str, Any]:
            last = int(self._exchange.candles.bars[i, -1, CLOSE])
            contract, now = self._exchange.contracts[i], milliseconds(self._exchange.time)
            return {"symbol": contract.venue_symbol, "price": price_of(contract, last), "time": now}

        return self._one_or_all(parameters, row)

    def _book_ticker(self, parameters: Parameters) -> object:
        names = ("bidPrice", "bidQty", "askPrice", "askQty")

        def row(i: int) -> dict[str, Any]:
            best = dict(zip(names, book_ticker(self._exchange, i), strict=True))
            symbol, now = self._exchange.contracts[i].venue_symbol, milliseconds(self._exchange.time)
            return {"symbol": symbol} | best | {"time": now, "lastUpdateId": self._exchange.update_id(i)}

        return self._one_or_all(parameters, row)


def _microseconds(parameters: Parameters) -> tuple[int | None, int | None]:
    """`startTime` and `endTime` in µs."""
    start, end = parameters.whole("startTime"), parameters.whole("endTime")
    return None if start is None else start * 1000, None if end is None else end * 1000


def _from_closes(closes: Any, now: float) -> tuple[Any, Any, Any, Any]:
    """Open, high, low, close of minutes of which only the ends are known, and of the running one."""
    ends = np.append(closes, now)
    opens = np.concatenate((ends[:1], ends[:-1]))
    return opens, np.maximum(opens, ends), np.minimum(opens, ends), ends
