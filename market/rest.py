"""Binance's spot REST API under /api/v3: parse, ask the exchange, render. Queries answer while the market is paused."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from market import reports
from market.errors import Refused, missing
from market.market_data import MarketData
from market.orders import Account, Order
from market.parameters import Parameters
from market.signing import account_of, check_request, wall_ms
from market.spot_orders import CancelRestriction, cancel_restriction, read_cancel_replace, read_order

if TYPE_CHECKING:
    from market.venue import Venue

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def answer(value: object, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(value), status=status, content_type="application/json")


def signed_handler(venue: "Venue", symbols: dict[str, int], serve: Callable[[Account, Parameters], object]) -> Handler:
    """Check the signature, let the request arrive and be carried out, and tell the streams what came of it."""

    async def handle(request: web.Request) -> web.Response:
        body = await request.text()
        account = account_of(venue.accounts, request.headers.get("X-MBX-APIKEY"))
        values = check_request(account, request.rel_url.raw_query_string, body, wall_ms())
        if request.method != "GET":
            await venue.travel()
        venue.catch_up()
        try:
            served = serve(account, Parameters(values, symbols))
            return served if isinstance(served, web.Response) else answer(served)
        finally:
            venue.publish()

    return handle


@web.middleware
async def refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn a refusal into Binance's error body, and an unknown path into a 404 that says so."""
    try:
        return await handler(request)
    except Refused as error:
        return answer(_body(error), error.status)
    except (web.HTTPNotFound, web.HTTPMethodNotAllowed) as error:
        return answer({"code": -1, "msg": f"{request.method} {request.path}: not served here."}, error.status)


def _body(error: Refused) -> dict[str, object]:
    return {"code": error.code, "msg": error.message}


class Rest:
    """The handlers, over one venue."""

    def __init__(self, venue: "Venue") -> None:
        self._venue, self._exchange = venue, venue.exchange
        self._symbols = {venue.exchange.contracts[i].venue_symbol: i for i in venue.exchange.spot}
        self._data = MarketData(venue.exchange)

    def routes(self) -> list[web.RouteDef]:
        signed: dict[tuple[str, str], Callable[[Account, Parameters], object]] = {
            ("POST", "order"): self._new_order,
            ("POST", "order/test"): self._test_order,
            ("POST", "order/cancelReplace"): self._cancel_replace,
            ("PUT", "order/amend/keepPriority"): self._amend,
            ("GET", "order"): self._order,
            ("DELETE", "order"): self._cancel,
            ("GET", "openOrders"): self._open_orders,
            ("DELETE", "openOrders"): self._cancel_all,
            ("GET", "allOrders"): self._all_orders,
            ("GET", "myTrades"): self._my_trades,
            ("GET", "account"): self._account,
            ("GET", "account/commission"): self._commission,
        }
        of_wallet = {
            ("GET", "asset/tradeFee"): self._trade_fee,
            ("GET", "bnbBurn"): self._coin_fees,
            ("POST", "bnbBurn"): self._set_coin_fees,
        }
        return [
            web.get("/api/v3/klines", self._klines),
            web.get("/api/v3/uiKlines", self._klines),
            *(web.get(f"/api/v3/{path}", self._public(serve)) for path, serve in self._data.handlers().items()),
            *(web.route(verb, f"/api/v3/{path}", self._signed(serve)) for (verb, path), serve in signed.items()),
            *(web.route(verb, f"/sapi/v1/{path}", self._signed(serve)) for (verb, path), serve in of_wallet.items()),
        ]

    def _signed(self, serve: Callable[[Account, Parameters], object]) -> Handler:
        return signed_handler(self._venue, self._symbols, serve)

    def _public(self, serve: Callable[[Parameters], object]) -> Handler:
        async def handle(request: web.Request) -> web.Response:
            return answer(serve(Parameters(request.query, self._symbols)))

        return handle

    async def _klines(self, request: web.Request) -> web.Response:
        body = self._data.klines(Parameters(request.query, self._symbols))
        return web.Response(body=body, content_type="application/json")

    # -- trading --------------------------------------------------------------------------------------------------

    def _new_order(self, account: Account, parameters: Parameters) -> object:
        response_type = parameters.response_type("FULL")
        order = self._exchange.submit(account, read_order(parameters))
        return reports.new_order_answer(self._exchange, order, response_type)

    def _test_order(self, account: Account, parameters: Parameters) -> object:
        """Check an order and send it nowhere."""
        rates = parameters.text("computeCommissionRates") == "true"
        self._exchange.check(account, read_order(parameters, frozenset({"computeCommissionRates"})))
        return reports.trial_answer(self._exchange, account.owner, rates)

    def _found(self, account: Account, parameters: Parameters, code: int, message: str) -> Order:
        i = parameters.symbol()
        order = self._exchange.find(account, i, *parameters.order_ids())
        if order is None:
            raise Refused(code, message)
        return order

    def _cancel(self, account: Account, parameters: Parameters) -> object:
        cancel_id, restriction = parameters.client_id("newClientOrderId"), cancel_restriction(parameters)
        order = self._found(account, parameters, -2011, "Unknown order sent.")
        return self._canceled(account, order, cancel_id, restriction)

    def _canceled(
        self, account: Account, order: Order | None, cancel_id: str | None, restriction: CancelRestriction | None
    ) -> dict[str, Any]:
        """Cancel an order and render the answer.

        Raises:
            Refused: -2011, there is no such open order, or its status is not the one wanted.
        """
        if order is None:
            raise Refused(-2011, "Unknown order sent.")
        if order.is_open and restriction is not None and order.status != restriction.removeprefix("ONLY_"):
            raise Refused(-2011, "Order was not canceled due to cancel restrictions.")
        return reports.cancel_answer(self._exchange, order, self._exchange.cancel(account, order, cancel_id))

    def _cancel_replace(self, account: Account, parameters: Parameters) -> object:
        """Cancel one order, then place another: 200 where both worked, 409 where one did, 400 where none did.

        The new order's filters are checked before anything is done, as at Binance.
        """
        asked, response_type = read_cancel_replace(parameters), parameters.response_type("FULL")
        new, exchange = asked.new, self._exchange
        if new.quantity is not None:
            exchange.check_filters(account, new)
        failed, canceled, placed = False, dict[str, object](), dict[str, object]()
        try:
            order = exchange.find(account, new.instrument, asked.order_id, asked.client_order_id)
            canceled = self._canceled(account, order, asked.cancel_id, asked.restriction)
        except Refused as error:
            failed, canceled = True, _body(error)
            if asked.stop_on_failure:
                return _half_done("FAILURE", "NOT_ATTEMPTED", canceled, None)
        try:
            placed = reports.new_order_answer(exchange, exchange.submit(account, new), response_type)
        except Refused as error:
            return _half_done("FAILURE" if failed else "SUCCESS", "FAILURE", canceled, _body(error))
        if failed:
            return _half_done("FAILURE", "SUCCESS", canceled, placed)
        return {
            "cancelResult": "SUCCESS", "newOrderResult": "SUCCESS", "cancelResponse": canceled,
            "newOrderResponse": placed,
        }  # fmt: skip

    def _amend(self, account: Account, parameters: Parameters) -> object:
        quantity, client_id = parameters.decimal("newQty"), parameters.client_id("newClientOrderId")
        if not quantity:
            raise missing("newQty")
        order = self._found(account, parameters, -2013, "Order does not exist.")
        original = order.client_order_id
        execution = self._exchange.reduce(account, order, quantity, client_id)
        return reports.amend_answer(self._exchange, order, original, execution)

    def _cancel_all(self, account: Account, parameters: Parameters) -> object:
        orders = self._open(account, parameters.symbol())
        if not orders:
            raise Refused(-2011, "Unknown order sent.")
        return [reports.cancel_answer(self._exchange, order, self._exchange.cancel(account, order)) for order in orders]

    # -- queries --------------------------------------------------------------------------------------------------

    def _order(self, account: Account, parameters: Parameters) -> object:
        return reports.order_row(self._exchange, self._found(account, parameters, -2013, "Order does not exist."))

    def _open(self, account: Account, i: int | None) -> list[Order]:
        wanted = self._exchange.spot if i is None else (i,)
        return [order for order in account.open.values() if order.instrument in wanted]

    def _open_orders(self, account: Account, parameters: Parameters) -> object:
        return [reports.order_row(self._exchange, o) for o in self._open(account, parameters.optional_symbol())]

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

    def _commission(self, account: Account, parameters: Parameters) -> object:
        return reports.commission_answer(self._exchange, account.owner, parameters.symbol())

    def _trade_fee(self, account: Account, parameters: Parameters) -> object:
        return [reports.trade_fee(self._exchange, account.owner, i) for i in parameters.symbols()]

    def _coin_fees(self, account: Account, parameters: Parameters) -> object:
        wanted = self._exchange.fee_discount(account.owner)["enabledForAccount"]
        return {"spotBNBBurn": wanted, "interestBNBBurn": False}

    def _set_coin_fees(self, account: Account, parameters: Parameters) -> object:
        """Pay spot fees in the venue's coin, or no longer."""
        wanted = parameters.word("spotBNBBurn", ("true", "false"), missing("spotBNBBurn"))
        self._exchange.pay_in_coin(account.owner, wanted == "true")
        return self._coin_fees(account, parameters)


def _half_done(cancel: str, new: str, canceled: dict[str, object], placed: dict[str, object] | None) -> web.Response:
    """The answer to a cancel-replace that did not work in whole."""
    code, message, status = -2022, "Order cancel-replace failed.", 400
    if "SUCCESS" in (cancel, new):
        code, message, status = -2021, "Order cancel-replace partially failed.", 409
    data = {
        "cancelResult": cancel, "newOrderResult": new, "cancelResponse": canceled, "newOrderResponse": placed,
    }  # fmt: skip
    return answer({"code": code, "msg": message, "data": data}, status)
