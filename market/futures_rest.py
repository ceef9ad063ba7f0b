"""The USDⓈ-M REST API: the routes under /fapi and /futures/data, and the part that needs no signature but order entry.

`FuturesMarket` (market/futures_market.py) answers the public half, `FuturesTrading` (market/futures_trading.py) the
signed one; here requests are parsed, signatures checked and answers sent.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from aiohttp import web

from market.futures_desk import FuturesDesk
from market.futures_market import FuturesMarket
from market.futures_trading import FuturesTrading
from market.orders import Account
from market.parameters import Parameters
from market.rest import Handler, answer, signed_handler
from market.signing import account_of

if TYPE_CHECKING:
    from market.venue import Venue

Public = Callable[[Parameters], object]
Signed = Callable[[Account, Parameters], object]


class FuturesRest:
    """The handlers, over one venue that has derivatives."""

    def __init__(self, venue: "Venue", desk: FuturesDesk) -> None:
        self._venue, self._desk = venue, desk
        contracts = venue.exchange.contracts
        self._symbols = {contracts[i].venue_symbol: i for i in desk.derivatives}
        self._market = FuturesMarket(desk, self._symbols)
        self._trading = FuturesTrading(desk, self._symbols)

    def routes(self) -> list[web.RouteDef]:
        public, signed = self._market.routes(), self._trading.routes()
        keyed: dict[str, Callable[[Account], object]] = {
            "POST": lambda account: {"listenKey": self._desk.open_key(account)},
            "PUT": lambda account: {"listenKey": self._desk.open_key(account)},
            "DELETE": self._close_key,
        }
        return [
            *(web.get(path, self._public(serve)) for path, serve in public.items()),
            *(web.route(verb, path, self._signed(serve)) for (verb, path), serve in signed.items()),
            *(web.route(verb, "/fapi/v1/listenKey", self._keyed(serve)) for verb, serve in keyed.items()),
        ]

    def _signed(self, serve: Signed) -> Handler:
        return signed_handler(self._venue, self._symbols, serve)

    def _close_key(self, account: Account) -> object:
        self._desk.close_key(account)
        return {}

    def _public(self, serve: Public) -> Handler:
        async def handle(request: web.Request) -> web.Response:
            body = serve(Parameters(request.query, self._symbols))
            if isinstance(body, bytes):
                return web.Response(body=body, content_type="application/json")
            return answer(body)

        return handle

    def _keyed(self, serve: Callable[[Account], object]) -> Handler:
        async def handle(request: web.Request) -> web.Response:
            return answer(serve(account_of(self._venue.accounts, request.headers.get("X-MBX-APIKEY"))))

        return handle
