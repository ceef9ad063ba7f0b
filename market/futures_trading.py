"""Signed requests of derivatives clients: orders, positions, wallets and settings, in Binance's USDⓈ-M format."""

from collections.abc import Callable, Iterable
from typing import Any

import orjson

from market import margin
from market.accounts import POS_LOTS
from market.book import UNIT
from market.errors import Refused, illegal, missing
from market.futures_desk import FuturesDesk, Income
from market.futures_events import account_update, leverage_update
from market.futures_info import brackets, commission_rates, most_notional, symbol_config
from market.futures_orders import ALGO_NAMES, read_order, translated
from market.futures_reports import (
    account_answer,
    algo_row,
    balance_row,
    is_used,
    new_order_answer,
    order_row,
    position_risk,
    user_trade,
)
from market.margin import CROSS, ISOLATED, POS_MODE
from market.orders import Account, NewOrder, Order
from market.parameters import Parameters
from market.reports import milliseconds, signed

MOST_BATCH = 5
MODES = {"CROSSED": CROSS, "ISOLATED": ISOLATED}
Handler = Callable[[Account, Parameters], object]


class FuturesTrading:
    """The signed handlers."""

    def __init__(self, desk: FuturesDesk, symbols: dict[str, int]) -> None:
        self._desk, self._exchange, self._symbols = desk, desk.exchange, symbols

    def routes(self) -> dict[tuple[str, str], Handler]:
        v1: dict[tuple[str, str], Handler] = {
            ("POST", "order"): self._new_order,
            ("PUT", "order"): self._amend,
            ("GET", "order"): self._order,
            ("DELETE", "order"): self._cancel,
            ("POST", "order/test"): self._test_order,
            ("GET", "openOrder"): self._open_order,
            ("GET", "openOrders"): self._open_orders,
            ("DELETE", "allOpenOrders"): self._cancel_all,
            ("GET", "allOrders"): self._all_orders,
            ("POST", "batchOrders"): self._batch,
            ("PUT", "batchOrders"): self._batch_amend,
            ("DELETE", "batchOrders"): self._batch_cancel,
            ("POST", "countdownCancelAll"): self._count_down,
            ("POST", "algoOrder"): self._new_algo,
            ("GET", "algoOrder"): self._algo,
            ("DELETE", "algoOrder"): self._cancel_algo,
            ("GET", "openAlgoOrders"): self._open_algos,
            ("DELETE", "algoOpenOrders"): self._cancel_algos,
            ("GET", "allAlgoOrders"): self._all_algos,
            ("GET", "userTrades"): self._user_trades,
            ("GET", "income"): self._income,
            ("GET", "forceOrders"): self._force_orders,
            ("POST", "leverage"): self._leverage,
            ("POST", "marginType"): self._margin_type,
            ("POST", "positionMargin"): self._position_margin,
            ("GET", "leverageBracket"): self._brackets,
            ("GET", "commissionRate"): self._commission,
            ("GET", "symbolConfig"): self._symbol_config,
            ("GET", "accountConfig"): self._account_config,
            ("GET", "adlQuantile"): lambda account, parameters: [],
            ("GET", "positionSide/dual"): lambda account, parameters: {"dualSidePosition": False},
            ("POST", "positionSide/dual"): self._set_dual,
            ("GET", "multiAssetsMargin"): lambda account, parameters: {"multiAssetsMargin": False},
        }
        return {
            **{(verb, f"/fapi/v1/{path}"): serve for (verb, path), serve in v1.items()},
            **{("GET", f"/fapi/v{n}/{name}"): serve for n in (2, 3) for name, serve in self._versioned(n).items()},
        }

    def _versioned(self, version: int) -> dict[str, Handler]:
        return {
            "balance": lambda account, parameters: [balance_row(self._exchange, account.owner)],
            "account": lambda account, parameters: account_answer(
                self._exchange, account.owner, self._desk.derivatives, version
            ),
            "positionRisk": lambda account, parameters: self._position_risk(account, parameters, version),
        }

    # -- orders ---------------------------------------------------------------------------------------------------

    def _submit(self, account: Account, parameters: Parameters) -> Order:
        return self._exchange.submit(account, read_order(parameters, milliseconds(self._exchange.time)))

    def _new_order(self, account: Account, parameters: Parameters) -> object:
        response_type = _response_type(parameters)
        return new_order_answer(self._exchange, self._submit(account, parameters), response_type)

    def _test_order(self, account: Account, parameters: Parameters) -> object:
        self._exchange.check(account, read_order(parameters, milliseconds(self._exchange.time)))
        return {}

    def _found(self, account: Account, parameters: Parameters, code: int, message: str) -> Order:
        order = self._exchange.find(account, parameters.symbol(), *parameters.order_ids())
        if order is None or self._is_waiting_algo(order):
            raise Refused(code, message)
        return order

    def _is_algo(self, order: Order) -> bool:
        return (order.instrument, order.id) in self._desk.algos

    def _is_waiting_algo(self, order: Order) -> bool:
        return self._is_algo(order) and order.working_since is None

    def _order(self, account: Account, parameters: Parameters) -> object:
        return order_row(self._exchange, self._found(account, parameters, -2013, "Order does not exist."))

    def _open_order(self, account: Account, parameters: Parameters) -> object:
        order = self._found(account, parameters, -2013, "Order does not exist.")
        if not order.is_open:
            raise Refused(-2013, "Order does not exist.")
        return order_row(self._exchange, order)

    def _cancel(self, account: Account, parameters: Parameters) -> object:
        order = self._found(account, parameters, -2011, "Unknown order sent.")
        self._exchange.cancel(account, order)
        return new_order_answer(self._exchange, order, "RESULT")

    def _amend(self, account: Account, parameters: Parameters) -> object:
        """Change price and quantity of a resting limit order; the side must be told and must fit."""
        order = self._found(account, parameters, -2013, "Order does not exist.")
        if parameters.needed("side") != ("BUY", "SELL")[order.side]:
            raise Refused(-1130, "Data sent for parameter 'side' is not valid.")
        price, quantity = parameters.decimal("price"), parameters.decimal("quantity")
        for name, value in (("quantity", quantity), ("price", price)):
            if value is None:
                raise missing(name)
        if order.type != "LIMIT":
            raise Refused(-4083, "Only limit order is supported.")
        i = order.instrument
        asked = NewOrder(i, order.side, "LIMIT", quantity, None, price, reduce_only=order.reduce_only)
        average = last = self._desk.mark(i)
        checked = self._exchange.filters[i].check(asked, average, last)
        if (checked.price, checked.lots) == (order.price, order.lots):
            raise Refused(-5027, "No need to modify the order.")
        if checked.lots <= order.filled_lots:
            self._exchange.cancel(account, order)
        else:
            self._exchange.amend(account, order, checked.price, checked.lots)
        return new_order_answer(self._exchange, order, "RESULT")

    def _open(self, account: Account, i: int | None) -> list[Order]:
        chosen = self._desk.derivatives if i is None else (i,)
        return [order for order in account.open.values() if order.instrument in chosen]

    def _open_orders(self, account: Account, parameters: Parameters) -> object:
        orders = self._open(account, parameters.optional_symbol())
        return [order_row(self._exchange, order) for order in orders if not self._is_waiting_algo(order)]

    def _cancel_all(self, account: Account, parameters: Parameters) -> object:
        for order in self._open(account, parameters.symbol()):
            if not self._is_waiting_algo(order):
                self._exchange.cancel(account, order)
        return {"code": 200, "msg": "The operation of cancel all open order is done."}

    def _all_orders(self, account: Account, parameters: Parameters) -> object:
        i, from_id, limit = parameters.symbol(), parameters.whole("orderId"), parameters.limit(500, 1000)
        wanted = _between(parameters)
        rows = [
            order
            for order in account.orders[i]
            if (from_id is None or order.id >= from_id) and wanted(order.time) and not self._is_waiting_algo(order)
        ]
        chosen = rows[-limit:] if from_id is None and parameters.text("startTime") is None else rows[:limit]
        return [order_row(self._exchange, order) for order in chosen]

    def _batch(self, account: Account, parameters: Parameters) -> object:
        return self._each(_rows(parameters, "batchOrders"), lambda row: self._new_order(account, row))

    def _batch_amend(self, account: Account, parameters: Parameters) -> object:
        return self._each(_rows(parameters, "batchOrders"), lambda row: self._amend(account, row))

    def _batch_cancel(self, account: Account, parameters: Parameters) -> object:
        symbol = parameters.needed("symbol")
        ids, names = _list(parameters, "orderIdList"), _list(parameters, "origClientOrderIdList")
        rows = [{"symbol": symbol, "orderId": str(order_id)} for order_id in ids]
        rows += [{"symbol": symbol, "origClientOrderId": str(name)} for name in names]
        if not 0 < len(rows) <= 10:
            raise Refused(-4082, "Invalid number of batch place orders.")
        return self._each(rows, lambda row: self._cancel(account, row))

    def _each(self, rows: Iterable[dict[str, str]], serve: Callable[[Parameters], object]) -> list[object]:
        """Carry out one after the other; what is refused answers in its place."""
        answers: list[object] = []
        for row in rows:
            try:
                answers.append(serve(Parameters(row, self._symbols)))
            except Refused as error:
                answers.append({"code": error.code, "msg": error.message})
        return answers

    def _count_down(self, account: Account, parameters: Parameters) -> object:
        i, left = parameters.symbol(), parameters.whole("countdownTime")
        if left is None:
            raise missing("countdownTime")
        self._desk.count_down(account, i, left)
        return {"symbol": self._exchange.contracts[i].venue_symbol, "countdownTime": str(left)}

    # -- algo orders ----------------------------------------------------------------------------------------------

    def _new_algo(self, account: Account, parameters: Parameters) -> object:
        names = parameters.names()
        values = translated({name: parameters.needed(name) for name in names})
        unread = names & set(ALGO_NAMES.values())
        if unread:
            raise Refused(-1104, f"Not all sent parameters were read; '{sorted(unread)[0]}' is unknown.")
        self._desk.takes_algo = True
        try:
            order = self._submit(account, Parameters(values, self._symbols))
        finally:
            self._desk.takes_algo = False
        return self._algo_row(order)

    def _algo_row(self, order: Order) -> dict[str, Any]:
        return algo_row(self._exchange, order, self._desk.algo_id(order))

    def _found_algo(self, account: Account, parameters: Parameters, code: int, message: str) -> Order:
        algo_id, client_id = parameters.whole("algoId"), parameters.text("clientAlgoId")
        if algo_id is None and client_id is None:
            raise Refused(-1102, "Param 'clientAlgoId' or 'algoId' must be sent, but both were empty/null!")
        order = self._desk.algo_order(account, algo_id, client_id)
        if order is None:
            raise Refused(code, message)
        return order

    def _algo(self, account: Account, parameters: Parameters) -> object:
        return self._algo_row(self._found_algo(account, parameters, -2013, "Order does not exist."))

    def _cancel_algo(self, account: Account, parameters: Parameters) -> object:
        order = self._found_algo(account, parameters, -2011, "Unknown order sent.")
        if not self._is_waiting_algo(order):
            raise Refused(-2011, "Unknown order sent.")
        self._exchange.cancel(account, order)
        number = self._desk.algo_id(order)
        return {"algoId": number, "clientAlgoId": order.client_order_id, "code": "200", "msg": "success"}

    def _open_algos(self, account: Account, parameters: Parameters) -> object:
        orders = self._open(account, parameters.optional_symbol())
        return [self._algo_row(order) for order in orders if self._is_waiting_algo(order) and order.is_open]

    def _cancel_algos(self, account: Account, parameters: Parameters) -> object:
        for order in self._open(account, parameters.symbol()):
            if self._is_waiting_algo(order):
                self._exchange.cancel(account, order)
        return {"code": 200, "msg": "The operation of cancel all open order is done."}

    def _all_algos(self, account: Account, parameters: Parameters) -> object:
        i, limit, wanted = parameters.symbol(), parameters.limit(500, 1000), _between(parameters)
        rows = [order for order in account.orders[i] if self._is_algo(order) and wanted(order.time)]
        return [self._algo_row(order) for order in rows[-limit:]]

    # -- what was traded and paid ---------------------------------------------------------------------------------

    def _user_trades(self, account: Account, parameters: Parameters) -> object:
        i, from_id, limit = parameters.symbol(), parameters.whole("fromId"), parameters.limit(500, 1000)
        order_id, wanted = parameters.whole("orderId"), _between(parameters)
        rows = [
            fill
            for fill in account.fills[i]
            if (from_id is None or fill.id >= from_id) and order_id in (None, fill.order_id) and wanted(fill.time)
        ]
        chosen = rows[-limit:] if from_id is None and parameters.text("startTime") is None else rows[:limit]
        return [user_trade(self._exchange, fill) for fill in chosen]

    def _income(self, account: Account, parameters: Parameters) -> object:
        i, kind, limit = parameters.optional_symbol(), parameters.text("incomeType"), parameters.limit(100, 1000)
        wanted = _between(parameters)
        rows = [
            income
            for income in self._desk.income[account.owner]
            if i in (None, income.instrument) and kind in (None, income.kind) and wanted(income.time)
        ]
        chosen = rows[-limit:] if parameters.text("startTime") is None else rows[:limit]
        return [self._income_row(income) for income in chosen]

    def _income_row(self, income: Income) -> dict[str, Any]:
        symbol = "" if income.instrument is None else self._exchange.contracts[income.instrument].venue_symbol
        return {
            "symbol": symbol, "incomeType": income.kind, "income": signed(income.units), "asset": "USDT",
            "info": income.kind, "time": milliseconds(income.time), "tranId": income.number,
            "tradeId": income.trade_id,
        }  # fmt: skip

    def _force_orders(self, account: Account, parameters: Parameters) -> object:
        i = parameters.optional_symbol()
        orders = [
            order
            for number in ((i,) if i is not None else self._desk.derivatives)
            for order in account.orders[number]
            if order.client_order_id.startswith("autoclose-")
        ]
        return [order_row(self._exchange, order) for order in orders[-parameters.limit(50, 100) :]]

    # -- positions and settings -----------------------------------------------------------------------------------

    def _position_risk(self, account: Account, parameters: Parameters, version: int) -> object:
        i, owner = parameters.optional_symbol(), account.owner
        chosen = self._desk.derivatives if i is None else (i,)
        if version == 3 and i is None:
            chosen = tuple(n for n in chosen if is_used(self._exchange, owner, n))
        return [position_risk(self._exchange, owner, n, version) for n in chosen]

    def _leverage(self, account: Account, parameters: Parameters) -> object:
        i, leverage = parameters.symbol(), parameters.whole("leverage", 1)
        if leverage is None:
            raise missing("leverage")
        refusals = {
            margin.LEVERAGE_TOO_HIGH: Refused(-4028, f"Leverage {leverage} is not valid"),
            margin.MARGIN_SHORT: Refused(-2019, "Margin is insufficient."),
            margin.POSITION_OPEN: Refused(
                -4161, "Leverage reduction is not supported in Isolated Margin Mode with open positions."),
        }  # fmt: skip
        _unless(margin.set_leverage(self._exchange.engine.accounts, i, account.owner, leverage), refusals)
        self._desk.send(account.owner, leverage_update(self._exchange, i, leverage))
        symbol = self._exchange.contracts[i].venue_symbol
        return {
            "leverage": leverage, "maxNotionalValue": str(most_notional(self._exchange, i, leverage)), "symbol": symbol
        }  # fmt: skip

    def _margin_type(self, account: Account, parameters: Parameters) -> object:
        i, accounts = parameters.symbol(), self._exchange.engine.accounts
        name = parameters.word("marginType", tuple(MODES), illegal("marginType", "CROSSED, ISOLATED"))
        position = accounts.positions[account.owner, i]
        if int(position[POS_MODE]) == MODES[name]:
            raise Refused(-4046, "No need to change margin type.")
        what = "position" if position[POS_LOTS] else "open orders"
        refused = Refused(-4048 if position[POS_LOTS] else -4047,
                          f"Margin type cannot be changed if there exists {what}.")  # fmt: skip
        _unless(margin.set_margin_mode(accounts, i, account.owner, MODES[name]), {margin.POSITION_OPEN: refused})
        return {"code": 200, "msg": "success"}

    def _position_margin(self, account: Account, parameters: Parameters) -> object:
        i, value = parameters.symbol(), parameters.decimal("amount")
        direction = parameters.word("type", ("1", "2"), illegal("type", "1, 2"))
        if value is None:
            raise missing("amount")
        units = int(value * UNIT) * (1 if direction == "1" else -1)
        if not units:
            raise Refused(-4055, "Amount must be positive.")
        refusals = {
            margin.POSITION_OPEN: Refused(-4054, "Add margin only support for isolated position."),
            margin.MARGIN_SHORT: Refused(-4050 if units > 0 else -4051, "Cross balance insufficient."),
        }  # fmt: skip
        _unless(margin.move_isolated(self._exchange.engine.accounts, i, account.owner, units), refusals)
        self._desk.send(account.owner, account_update(self._exchange, account.owner, [i], "MARGIN_TRANSFER", 0))
        text = "Successfully modify position margin."
        return {"amount": float(value), "code": 200, "msg": text, "type": int(direction)}

    def _brackets(self, account: Account, parameters: Parameters) -> object:
        i = parameters.optional_symbol()
        chosen = self._desk.derivatives if i is None else (i,)
        return [brackets(self._exchange.contracts[n]) for n in chosen]

    def _commission(self, account: Account, parameters: Parameters) -> object:
        return commission_rates(self._exchange, account.owner, self._exchange.contracts[parameters.symbol()])

    def _symbol_config(self, account: Account, parameters: Parameters) -> object:
        i = parameters.optional_symbol()
        chosen = self._desk.derivatives if i is None else (i,)
        return [symbol_config(self._exchange, account.owner, n) for n in chosen]

    def _account_config(self, account: Account, parameters: Parameters) -> object:
        return {
            "feeTier": 0, "canTrade": True, "canDeposit": False, "canWithdraw": False, "dualSidePosition": False,
            "updateTime": milliseconds(account.updated), "multiAssetsMargin": False, "tradeGroupId": -1,
        }  # fmt: skip

    def _set_dual(self, account: Account, parameters: Parameters) -> object:
        if parameters.needed("dualSidePosition").lower() == "false":
            raise Refused(-4059, "No need to change position side.")
        raise Refused(-4060, "Invalid position side: this venue knows one-way mode alone.")


def _response_type(parameters: Parameters) -> str:
    value = parameters.text("newOrderRespType") or "ACK"
    if value not in ("ACK", "RESULT"):
        raise Refused(-1130, "Data sent for parameter 'newOrderRespType' is not valid.")
    return value


def _unless(code: int, refusals: dict[int, Refused]) -> None:
    if code:
        raise refusals[code]


def _between(parameters: Parameters) -> Callable[[int], bool]:
    """Whether a time (µs) lies within `startTime` and `endTime`."""
    start, end = parameters.whole("startTime"), parameters.whole("endTime")
    return lambda time: (start is None or time // 1000 >= start) and (end is None or time // 1000 <= end)


def _list(parameters: Parameters, name: str) -> list[Any]:
    """A parameter that is a JSON list; empty where it was not sent."""
    text = parameters.text(name)
    if text is None:
        return []
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise illegal(name, "a JSON list") from None
    if not isinstance(value, list):
        raise illegal(name, "a JSON list")
    return value


def _rows(parameters: Parameters, name: str) -> list[dict[str, str]]:
    """The orders of a batch, values as text, as they would arrive one by one."""
    rows = _list(parameters, name)
    if not 0 < len(rows) <= MOST_BATCH or not all(isinstance(row, dict) for row in rows):
        raise Refused(-4082, "Invalid number of batch place orders.")
    return [{str(key): _text(value) for key, value in row.items()} for row in rows]


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
