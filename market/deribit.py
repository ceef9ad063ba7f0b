"""Options over HTTP in Deribit's format, under /api/v2: public methods alone, as GET or as JSON-RPC by POST.

The options are quoted and not traded: volume, open interest and the list of trades stay empty, and every private method
answers `not_implemented` (10033). Times are milliseconds of the market clock; usIn, usOut and get_time are wall time.
docs/market-derivatives.md tells what is served and how the surface is made.
"""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from lake.errors import BitacoraError
from lake.intervals import DAY, MINUTE
from market.candles import CLOSE
from market.option_chain import Carry, Chain, Listing, index_carry
from market.option_reports import described, levels, summary, ticker

if TYPE_CHECKING:
    from market.venue import Venue

CURRENCIES = {"BTC": "Bitcoin", "ETH": "Ethereum"}
RESOLUTIONS = {"60": MINUTE, "3600": 60 * MINUTE, "43200": DAY // 2, "1D": DAY}
"""Of `get_volatility_index_data`; "1" (a second) is not served: bars are the finest memory of the past."""
MOST_CANDLES = 1000


class Failed(BitacoraError):
    """A request answered with a JSON-RPC error; HTTP 400, as Deribit does."""

    def __init__(self, code: int, message: str, **data: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.data = code, message, data


def invalid(name: str, reason: str) -> Failed:
    return Failed(-32602, "Invalid params", reason=reason, param=name)


class Deribit:
    """The handlers over one venue's spot prices."""

    def __init__(self, venue: "Venue", carry: Carry = index_carry) -> None:
        """`carry` gives ln(forward / index) of a coin and an expiry (µs); without it forwards are the index."""
        self._venue, self._exchange = venue, venue.exchange
        self._rows = {
            instrument.base: i
            for i, instrument in reversed(list(enumerate(venue.exchange.instruments)))
            if instrument.symbol == f"{instrument.base}/USDT" and instrument.base in CURRENCIES
        }
        self._chains = {
            base: Chain(base, venue.exchange.candles, i, self.index, carry) for base, i in sorted(self._rows.items())
        }

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/v2/{scope}/{method}", self._get),
            web.post("/api/v2/{scope}/{method}", self._get),
            web.post("/api/v2", self._post),
            web.post("/api/v2/", self._post),
        ]

    def index(self, base: str) -> float:
        """Dollars of one coin now: the middle of the spot book, or the last price where a side is empty."""
        i, exchange = self._rows[base], self._exchange
        best = [exchange.depth(i, side, 1).tolist() for side in (0, 1)]
        tick = float(exchange.instruments[i].price_tick)
        if best[0] and best[1]:
            return float(best[0][0][0] + best[1][0][0]) / 2 * tick
        return int(exchange.candles.bars[i, exchange.candles.minutes - 1, CLOSE]) * tick

    # -- transport ------------------------------------------------------------------------------------------------

    async def _get(self, request: web.Request) -> web.Response:
        method, values = "/".join(request.match_info.values()), dict[str, Any](request.query)
        try:
            values |= (await self._body(request)).get("params", {}) if request.method == "POST" else {}
        except Failed as error:
            return _rendered(time.time_ns(), None, error)
        return self._answer(method, values, None)

    async def _post(self, request: web.Request) -> web.Response:
        try:
            body = await self._body(request)
        except Failed as error:
            return _rendered(time.time_ns(), None, error)
        method, values = body.get("method"), body.get("params", {})
        if not isinstance(method, str) or not isinstance(values, dict):
            return _rendered(time.time_ns(), body.get("id"), Failed(-32600, "Invalid Request"))
        return self._answer(method, values, body.get("id"))

    async def _body(self, request: web.Request) -> dict[str, Any]:
        try:
            body = orjson.loads(await request.read() or b"{}")
        except orjson.JSONDecodeError:
            raise Failed(-32700, "Parse error") from None
        if not isinstance(body, dict) or not isinstance(body.get("params", {}), dict):
            raise Failed(-32600, "Invalid Request")
        return body

    def _answer(self, method: str, values: Mapping[str, Any], number: object) -> web.Response:
        received = time.time_ns()
        try:
            self._venue.catch_up()
            return _rendered(received, number, self._serve(method, {k: str(v) for k, v in values.items()}))
        except Failed as error:
            return _rendered(received, number, error)
        finally:
            self._venue.publish()

    def _serve(self, method: str, values: dict[str, str]) -> object:
        if method.startswith("private/"):
            raise Failed(10033, "not_implemented", reason="options are quoted here and not traded", method=method)
        serve = {
            "test": lambda values: {"version": "1.2.26"},
            "get_time": lambda values: time.time_ns() // 1_000_000,
            "status": lambda values: {"locked": "false" if self._exchange.trading else "true", "locked_indices": []},
            "get_currencies": self._currencies,
            "get_instruments": self._instruments,
            "get_instrument": self._instrument,
            "get_expirations": self._expirations,
            "get_book_summary_by_currency": self._summaries,
            "get_book_summary_by_instrument": self._summary_of,
            "ticker": self._ticker,
            "get_order_book": self._book,
            "get_index_price": self._index_price,
            "get_index_price_names": lambda values: [f"{base.lower()}_usd" for base in self._chains],
            "get_volatility_index_data": self._volatility_index,
            "get_historical_volatility": self._historical_volatility,
            "get_delivery_prices": self._delivery_prices,
            "get_last_trades_by_currency": self._no_trades,
            "get_last_trades_by_instrument": self._no_trades,
            "get_last_trades_by_instrument_and_time": self._no_trades,
        }.get(method.removeprefix("public/"))
        if serve is None or not method.startswith("public/"):
            raise Failed(-32601, "Method not found", method=method)
        return serve(values)

    # -- parameters -----------------------------------------------------------------------------------------------

    def _chain(self, values: dict[str, str]) -> Chain:
        currency = _needed(values, "currency").upper()
        if currency not in self._chains:
            raise invalid("currency", f"expected one of {', '.join(self._chains)}")
        return self._chains[currency]

    def _option(self, values: dict[str, str]) -> tuple[Chain, Listing, int]:
        """The chain, its listing and the row of `instrument_name`."""
        name = _needed(values, "instrument_name")
        chain = self._chains.get(name.partition("-")[0])
        if chain is not None:
            listing = chain.listing(self._exchange.time)
            if name in listing.names:
                return chain, listing, listing.names.index(name)
        raise Failed(-32602, "Invalid params", reason="wrong format or not listed", param="instrument_name")

    # -- methods --------------------------------------------------------------------------------------------------

    def _currencies(self, values: dict[str, str]) -> object:
        return [
            {
                "currency": base, "currency_long": CURRENCIES[base], "coin_type": CURRENCIES[base].upper(),
                "network_currency": base, "withdrawal_fee": 0.0, "min_withdrawal_fee": 0.0, "network_fee": 0.0,
                "min_confirmations": 1, "fee_precision": 4, "decimals": 6, "apr": 0.0, "withdrawal_priorities": [],
                "in_cross_collateral_pool": False,
            }
            for base in self._chains
        ]  # fmt: skip

    def _instruments(self, values: dict[str, str]) -> object:
        if values.get("kind", "option") != "option" or values.get("expired", "false").lower() == "true":
            return []
        chosen = values.get("currency", "any")
        chains = self._chains.values() if chosen.lower() == "any" else [self._chain(values)]
        return [
            described(chain.base, listing, n)
            for chain in chains
            for listing in [chain.listing(self._exchange.time)]
            for n in range(len(listing.names))
        ]

    def _instrument(self, values: dict[str, str]) -> object:
        chain, listing, n = self._option(values)
        return described(chain.base, listing, n)

    def _expirations(self, values: dict[str, str]) -> object:
        chain = self._chain(values)
        names = dict.fromkeys(expiry.name for expiry in chain.listing(self._exchange.time).expiry)
        return {chain.base.lower(): {"option": list(names)}}

    def _summaries(self, values: dict[str, str]) -> object:
        chain = self._chain(values)
        if values.get("kind", "option") != "option":
            return []
        listing = chain.listing(self._exchange.time)
        quotes = chain.quotes(self._exchange.time)
        return [summary(chain.base, listing, quotes, n) for n in range(len(listing.names))]

    def _summary_of(self, values: dict[str, str]) -> object:
        chain, listing, n = self._option(values)
        return [summary(chain.base, listing, chain.quotes(self._exchange.time), n)]

    def _ticker(self, values: dict[str, str]) -> object:
        chain, listing, n = self._option(values)
        return ticker(chain.base, listing, chain.quotes(self._exchange.time), n)

    def _book(self, values: dict[str, str]) -> object:
        depth = _whole(values, "depth", 20)
        chain, listing, n = self._option(values)
        quotes = chain.quotes(self._exchange.time)
        bids, asks = (levels(chain.base, quotes, n, side)[:depth] for side in (-1, 1))
        change = self._exchange.time // 1000
        return {**ticker(chain.base, listing, quotes, n), "bids": bids, "asks": asks, "change_id": change}

    def _index_price(self, values: dict[str, str]) -> object:
        base = _needed(values, "index_name").upper().removesuffix("_USD")
        if base not in self._chains:
            raise invalid("index_name", f"expected one of {', '.join(f'{b.lower()}_usd' for b in self._chains)}")
        price = round(self.index(base), 2)
        return {"index_price": price, "estimated_delivery_price": price}

    def _volatility_index(self, values: dict[str, str]) -> object:
        chain, resolution = self._chain(values), _needed(values, "resolution")
        if resolution not in RESOLUTIONS:
            raise invalid("resolution", f"expected one of {', '.join(RESOLUTIONS)}")
        start, end = (_whole(values, name) * 1000 for name in ("start_timestamp", "end_timestamp"))
        end = min(end, self._exchange.time)
        step = RESOLUTIONS[resolution]
        first = max(start, end - MOST_CANDLES * step)
        data = chain.volatility.dvol(first, end, step)
        return {"data": data, "continuation": first // 1000 if first > max(start, chain.start) else None}

    def _historical_volatility(self, values: dict[str, str]) -> object:
        return self._chain(values).volatility.realised()

    def _delivery_prices(self, values: dict[str, str]) -> object:
        base = _needed(values, "index_name").upper().removesuffix("_USD")
        chain = self._chain({"currency": base})
        data = chain.delivery_prices()
        offset, count = _whole(values, "offset", 0), _whole(values, "count", 10)
        return {"data": data[offset : offset + min(count, 1000)], "records_total": len(data)}

    def _no_trades(self, values: dict[str, str]) -> object:
        if "instrument_name" in values:
            self._option(values)
        else:
            self._chain(values)
        return {"trades": [], "has_more": False}


def _rendered(received: int, number: object, result: object) -> web.Response:
    answer: dict[str, Any] = {"jsonrpc": "2.0"}
    if number is not None:
        answer["id"] = number
    status = 200
    if isinstance(result, Failed):
        answer["error"] = {"message": result.message, "code": result.code, "data": result.data or None}
        status = 400
    else:
        answer["result"] = result
    now = time.time_ns()
    answer |= {"usIn": received // 1000, "usOut": now // 1000, "usDiff": (now - received) // 1000, "testnet": True}
    return web.Response(body=orjson.dumps(answer), status=status, content_type="application/json")


def _needed(values: dict[str, str], name: str) -> str:
    if not values.get(name):
        raise invalid(name, "required")
    return values[name]


def _whole(values: dict[str, str], name: str, default: int | None = None) -> int:
    text = values.get(name)
    if text is None and default is not None:
        return default
    if text is None or not text.isascii() or not text.isdecimal() or len(text) > 16:
        raise invalid(name, "expected a whole number")
    return int(text)
