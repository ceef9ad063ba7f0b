"""The exchange's answers and events in Binance's exact fields. Amounts have eight decimals; times are milliseconds of
the market clock."""

from typing import TYPE_CHECKING, Any

from market.book import BUY, UNIT
from market.orders import SIDES, Fill, Order

if TYPE_CHECKING:
    from market.exchange import Exchange

ZERO = "0.00000000"


def amount(units: int) -> str:
    """Units of 1e-8 as decimal text."""
    return f"{units // UNIT}.{units % UNIT:08d}"


def milliseconds(time_us: int) -> int:
    return time_us // 1000


def price_text(exchange: "Exchange", i: int, ticks: int) -> str:
    return amount(ticks * exchange.candles.price_units(i))


def quantity_text(exchange: "Exchange", i: int, lots: int) -> str:
    return amount(lots * int(exchange.instruments[i].quantity_step * UNIT))


def fee_asset(exchange: "Exchange", i: int, side: int) -> str:
    instrument = exchange.instruments[i]
    return instrument.base if side == BUY else instrument.quote


def _progress(exchange: "Exchange", order: Order) -> dict[str, Any]:
    i = order.instrument
    return {
        "price": price_text(exchange, i, order.price),
        "origQty": quantity_text(exchange, i, order.lots),
        "executedQty": quantity_text(exchange, i, order.filled_lots),
        "origQuoteOrderQty": amount(order.quote_units),
        "cummulativeQuoteQty": amount(order.filled_units),
        "status": order.status,
        "timeInForce": "GTC",
        "type": order.type,
        "side": SIDES[order.side],
    }


def _identity(exchange: "Exchange", order: Order) -> dict[str, Any]:
    return {"symbol": exchange.instruments[order.instrument].venue_symbol, "orderId": order.id, "orderListId": -1}


def order_row(exchange: "Exchange", order: Order) -> dict[str, Any]:
    """As `GET /api/v3/order`, openOrders and allOrders show it."""
    return {
        **_identity(exchange, order),
        "clientOrderId": order.client_order_id,
        **_progress(exchange, order),
        "stopPrice": ZERO,
        "icebergQty": ZERO,
        "time": milliseconds(order.time),
        "updateTime": milliseconds(order.updated),
        "isWorking": True,
        "workingTime": milliseconds(order.time),
        "selfTradePreventionMode": "NONE",
    }


def new_order_answer(exchange: "Exchange", order: Order, response_type: str) -> dict[str, Any]:
    """The answer to `POST /api/v3/order`: ACK, RESULT or FULL."""
    answer = {
        **_identity(exchange, order),
        "clientOrderId": order.client_order_id,
        "transactTime": milliseconds(order.time),
    }
    if response_type == "ACK":
        return answer
    answer |= _progress(exchange, order)
    answer |= {"workingTime": milliseconds(order.time), "selfTradePreventionMode": "NONE"}
    if response_type == "FULL":
        answer["fills"] = [
            {
                "price": price_text(exchange, fill.instrument, fill.price),
                "qty": quantity_text(exchange, fill.instrument, fill.lots),
                "commission": amount(fill.fee),
                "commissionAsset": fee_asset(exchange, fill.instrument, fill.side),
                "tradeId": fill.id,
            }
            for fill in order.fills
        ]
    return answer


def cancel_answer(exchange: "Exchange", order: Order, cancel_id: str) -> dict[str, Any]:
    """The answer to `DELETE /api/v3/order`."""
    return {
        **_identity(exchange, order),
        "origClientOrderId": order.client_order_id,
        "clientOrderId": cancel_id,
        "transactTime": milliseconds(order.updated),
        **_progress(exchange, order),
        "selfTradePreventionMode": "NONE",
    }


def my_trade(exchange: "Exchange", fill: Fill) -> dict[str, Any]:
    """A row of `GET /api/v3/myTrades`."""
    i = fill.instrument
    return {
        "symbol": exchange.instruments[i].venue_symbol,
        "id": fill.id,
        "orderId": fill.order_id,
        "orderListId": -1,
        "price": price_text(exchange, i, fill.price),
        "qty": quantity_text(exchange, i, fill.lots),
        "quoteQty": amount(fill.units),
        "commission": amount(fill.fee),
        "commissionAsset": fee_asset(exchange, i, fill.side),
        "time": milliseconds(fill.time),
        "isBuyer": fill.side == BUY,
        "isMaker": fill.is_maker,
        "isBestMatch": True,
    }


def account_answer(exchange: "Exchange", owner: int, updated: int, omit_zero: bool) -> dict[str, Any]:
    """The answer to `GET /api/v3/account`."""
    balances = [(asset, *exchange.balance(owner, column)) for column, asset in enumerate(exchange.assets)]
    rate = f"{exchange.fee_bps / 10_000:.8f}"
    return {
        "makerCommission": int(exchange.fee_bps),
        "takerCommission": int(exchange.fee_bps),
        "buyerCommission": 0,
        "sellerCommission": 0,
        "commissionRates": {"maker": rate, "taker": rate, "buyer": ZERO, "seller": ZERO},
        "canTrade": True,
        "canWithdraw": False,
        "canDeposit": False,
        "brokered": False,
        "requireSelfTradePrevention": False,
        "preventSor": False,
        "updateTime": milliseconds(updated),
        "accountType": "SPOT",
        "balances": [
            {"asset": asset, "free": amount(free), "locked": amount(locked)}
            for asset, free, locked in balances
            if free or locked or not omit_zero
        ],
        "permissions": ["SPOT"],
        "uid": owner,
    }


def account_position(exchange: "Exchange", owner: int, columns: list[int]) -> dict[str, Any]:
    """The `outboundAccountPosition` event over the assets that may have changed."""
    now = milliseconds(exchange.time)
    rows = [(exchange.assets[column], *exchange.balance(owner, column)) for column in columns]
    return {
        "e": "outboundAccountPosition",
        "E": now,
        "u": now,
        "B": [{"a": asset, "f": amount(free), "l": amount(locked)} for asset, free, locked in rows],
    }


def execution_report(
    exchange: "Exchange", order: Order, execution: str, fill: Fill | None, client_id: str | None, number: int
) -> dict[str, Any]:
    """The `executionReport` event; `client_id` is the cancellation's own id where there is one."""
    i = order.instrument
    canceled = execution == "CANCELED"
    return {
        "e": "executionReport",
        "E": milliseconds(exchange.time),
        "s": exchange.instruments[i].venue_symbol,
        "c": client_id or order.client_order_id,
        "S": SIDES[order.side],
        "o": order.type,
        "f": "GTC",
        "q": quantity_text(exchange, i, order.lots),
        "p": price_text(exchange, i, order.price),
        "P": ZERO,
        "F": ZERO,
        "g": -1,
        "C": order.client_order_id if canceled else "",
        "x": execution,
        "X": order.status,
        "r": "NONE",
        "i": order.id,
        "l": quantity_text(exchange, i, fill.lots) if fill else ZERO,
        "z": quantity_text(exchange, i, order.filled_lots),
        "L": price_text(exchange, i, fill.price) if fill else ZERO,
        "n": amount(fill.fee) if fill else "0",
        "N": fee_asset(exchange, i, order.side) if fill else None,
        "T": milliseconds(order.updated),
        "t": fill.id if fill else -1,
        "I": number,
        "w": order.is_open and order.type == "LIMIT",
        "m": fill.is_maker if fill else False,
        "M": fill is not None,
        "O": milliseconds(order.time),
        "Z": amount(order.filled_units),
        "Y": amount(fill.units) if fill else ZERO,
        "Q": amount(order.quote_units),
        "W": milliseconds(order.time),
        "V": "NONE",
    }
