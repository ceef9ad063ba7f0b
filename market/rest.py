"""Binance's spot REST API under /api/v3: parse, ask the exchange, render. Queries answer while the market is paused."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from market import reports
from market.book import BUY, SELL
from market.candles import CLOSE
from market.errors import Refused
from market.filters import AVERAGE_MINUTES, exchange_info
from market.orders import Account, Order
from market.parameters import Parameters
from market.signing import account_of, check_request, wall_ms
from market.spot_orders import read_order
from market.streams import book_ticker
from market.trades import TRADE_BUYER_IS_MAKER, TRADE_ID, TRADE_LOTS, TRADE_PRICE, TRADE_TIME

if TYPE_CHECKING:
    from market.venue import Venue

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def answer(value: object, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(value), status=status, content_type="application/json")


@web.middleware
async def refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn a refusal into Binance's error body, and an unknown path into a 404 that says so."""
    try:
        return await handler(request)
    except Refused as error:
        return answer({"code": error.code, "msg": error.message}, error.status)
    except (web.HTTPNotFound, web.HTTPMethodNotAllowed) as error:
        return answer({"code": -1, "msg": f"{request.method} {request.path}: not served here."}, error.status)


class Rest:
    """The handlers, over one venue."""

    def __init__(self, venue: "Venue") -> None:
        self._venue, self._exchange = venue, venue.exchange
        self._symbols = {i.venue_symbol: n for n, i in enumerate(venue.exchange.instruments)}

    def routes(self) -> list[web.RouteDef]:
        public: dict[str, Callable[[Parameters], object]] = {
            "ping": lambda parameters: {},
            "time": lambda parameters: {"serverTime": wall_ms()},
            "exchangeInfo": self._exchange_info,
            "depth": self._depth,
            "trades": self._trades,
            "avgPrice": self._average_price,
            "ticker/bookTicker": self._book_ticker,
            "ticker/price": self._price,
        }
        signed: dict[tuple[str, str], Callable[[Account, Parameters], object]] = {
            ("POST", "order"): self._new_order,
            ("GET", "order"): self._order,
            ("DELETE", "order"): self._cancel,
            ("GET", "openOrders"): self._open_orders,
            ("DELETE", "openOrders"): self._cancel_all,
            ("GET", "allOrders"): self._all_orders,
            ("GET", "myTrades"): self._my_trades,
            ("GET", "account"): self._account,
        }
        return [
            web.get("/api/v3/klines", self._klines),
            *(web.get(f"/api/v3/{path}", self._public(serve)) for path, serve in public.items()),
            *(web.route(verb, f"/api/v3/{path}", self._signed(serve)) for (verb, path), serve in signed.items()),
        ]

    def _parameters(self, request: web.Request) -> Parameters:
        return Parameters(request.query, self._symbols)

    def _public(self, serve: Callable[[Parameters], object]) -> Handler:
        async def handle(request: web.Request) -> web.Response:
            return answer(serve(self._parameters(request)))

        return handle

    def _signed(self, serve: Callable[[Account, Parameters], object]) -> Handler:
        async def handle(request: web.Request) -> web.Response:
            body = await request.text()
            account = account_of(self._venue.accounts, request.headers.get("X-MBX-APIKEY"))
            values = check_request(account, request.rel_url.raw_query_string, body, wall_ms())
            self._venue.catch_up()
            try:
                return answer(serve(account, Parameters(values, self._symbols)))
            finally:
                self._venue.hub.publish()

        return handle

    # -- public ---------------------------------------------------------------------------------------------------

    async def _klines(self, request: web.Request) -> web.Response:
        parameters = self._parameters(request)
        i, interval, limit = parameters.symbol(), parameters.interval(), parameters.limit(500, 1000)
        start, end = parameters.whole("startTime"), parameters.whole("endTime")
        body = self._exchange.candles.page(i, interval, start, end, limit)
        return web.Response(body=body, content_type="application/json")

    def _exchange_info(self, parameters: Parameters) -> object:
        chosen = [self._exchange.filters[i] for i in parameters.symbols()]
        return exchange_info(chosen, wall_ms(), self._exchange.trading)

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

    def _trades(self, parameters: Parameters) -> object:
        i, limit = parameters.symbol(), parameters.limit(500, 1000)
        return [self._trade(i, row) for row in self._exchange.trade_log.trades[i].page(limit, None, None, None)]

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

    def _average_price(self, parameters: Parameters) -> object:
        i = parameters.symbol()
        price = reports.price_text(self._exchange, i, self._exchange.candles.average_price(i, AVERAGE_MINUTES))
        return {"mins": AVERAGE_MINUTES, "price": price, "closeTime": reports.milliseconds(self._exchange.time)}

    def _book_ticker(self, parameters: Parameters) -> object:
        names = ("bidPrice", "bidQty", "askPrice", "askQty")
        rows = [
            {"symbol": self._symbol(i)} | dict(zip(names, book_ticker(self._exchange, i), strict=True))
            for i in parameters.symbols()
        ]
        return rows if parameters.text("symbol") is None else rows[0]

    def _price(self, parameters: Parameters) -> object:
        last = self._exchange.candles.bars[:, -1, CLOSE].tolist()
        rows = [
            {"symbol": self._symbol(i), "price": reports.price_text(self._exchange, i, last[i])}
            for i in parameters.symbols()
        ]
        return rows if parameters.text("symbol") is None else rows[0]

    def _symbol(self, i: int) -> str:
        return self._exchange.instruments[i].venue_symbol

    # -- signed ---------------------------------------------------------------------------------------------------

    def _new_order(self, account: Account, parameters: Parameters) -> object:
        response_type = parameters.response_type("FULL")
        order = self._exchange.submit(account, read_order(parameters))
        return reports.new_order_answer(self._exchange, order, response_type)

    def _found(self, account: Account, parameters: Parameters, code: int, message: str) -> Order:
        i = parameters.symbol()
        order = self._exchange.find(account, i, *parameters.order_ids())
        if order is None:
            raise Refused(code, message)
        return order

    def _order(self, account: Account, parameters: Parameters) -> object:
        return reports.order_row(self._exchange, self._found(account, parameters, -2013, "Order does not exist."))

    def _cancel(self, account: Account, parameters: Parameters) -> object:
        cancel_id = parameters.client_id("newClientOrderId")
        order = self._found(account, parameters, -2011, "Unknown order sent.")
        cancel_id = self._exchange.cancel(account, order, cancel_id)
        return reports.cancel_answer(self._exchange, order, cancel_id)

    def _open(self, account: Account, i: int | None) -> list[Order]:
        return [order for order in account.open.values() if i in (None, order.instrument)]

    def _open_orders(self, account: Account, parameters: Parameters) -> object:
        return [reports.order_row(self._exchange, o) for o in self._open(account, parameters.optional_symbol())]

    def _cancel_all(self, account: Account, parameters: Parameters) -> object:
        orders = self._open(account, parameters.symbol())
        if not orders:
            raise Refused(-2011, "Unknown order sent.")
        return [reports.cancel_answer(self._exchange, order, self._exchange.cancel(account, order)) for order in orders]

    def _all_orders(self, account: Account, parameters: Parameters) -> object:
        i, from_id, limit = parameters.symbol(), parameters.whole("orderId"), parameters.limit(500, 1000)
        start, end = parameters.span()
        rows = [
            order
            for order in account.orders[i]
            if (from_id is None or order.id >= from_id)
            and (start is None or reports.milliseconds(order.time) >= start)
            and (end is None or reports.milliseconds(order.time) <= end)
        ]
        chosen = rows[-limit:] if from_id is None and start is None else rows[:limit]
        return [reports.order_row(self._exchange, order) for order in chosen]

    def _my_trades(self, account: Account, parameters: Parameters) -> object:
        i, from_id, limit = parameters.symbol(), parameters.whole("fromId"), parameters.limit(500, 1000)
        order_id = parameters.whole("orderId")
        start, end = parameters.span()
        rows = [
            fill
            for fill in account.fills[i]
            if (from_id is None or fill.id >= from_id)
            and (order_id is None or fill.order_id == order_id)
            and (start is None or reports.milliseconds(fill.time) >= start)
            and (end is None or reports.milliseconds(fill.time) <= end)
        ]
        chosen = rows[-limit:] if from_id is None and start is None else rows[:limit]
        return [reports.my_trade(self._exchange, fill) for fill in chosen]

    def _account(self, account: Account, parameters: Parameters) -> object:
        omit_zero = parameters.text("omitZeroBalances") == "true"
        return reports.account_answer(self._exchange, account.owner, account.updated, omit_zero)
