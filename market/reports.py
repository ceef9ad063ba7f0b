"""The exchange's answers in Binance's exact fields. Amounts have eight decimals; times are milliseconds of the market
clock. Fields that Binance shows only where they mean something (stopPrice, trailingDelta, …) are absent elsewhere."""

from typing import TYPE_CHECKING, Any

from market.book import BUY, UNIT
from market.orders import SIDES, Fill, Order

if TYPE_CHECKING:
    from market.exchange import Exchange

ZERO = "0.00000000"


def amount(units: int) -> str:
    """Units of 1e-8, not negative, as decimal text."""
    return f"{units // UNIT}.{units % UNIT:08d}"


def signed(units: int) -> str:
    return f"-{amount(-units)}" if units < 0 else amount(units)


def milliseconds(time_us: int) -> int:
    return time_us // 1000


def price_text(exchange: "Exchange", i: int, ticks: int) -> str:
    return amount(ticks * exchange.candles.price_units(i))


def quantity_text(exchange: "Exchange", i: int, lots: int) -> str:
    return amount(lots * int(exchange.instruments[i].quantity_step * UNIT))


def fee_asset(exchange: "Exchange", i: int, side: int) -> str:
    """The asset a spot order receives."""
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
        "timeInForce": order.time_in_force,
        "type": order.type,
        "side": SIDES[order.side],
    }


def conditional(exchange: "Exchange", order: Order) -> dict[str, Any]:
    """The fields of an answer that only some orders have."""
    i, fields = order.instrument, dict[str, Any]()
    if order.stop:
        fields["stopPrice"] = price_text(exchange, i, order.stop)
    if order.trailing_delta:
        fields["trailingDelta"] = order.trailing_delta
    if order.iceberg_lots:
        fields["icebergQty"] = quantity_text(exchange, i, order.iceberg_lots)
    if order.working_since is not None:
        fields["workingTime"] = milliseconds(order.working_since)
    if order.prevented_lots:
        fields["preventedQuantity"] = quantity_text(exchange, i, order.prevented_lots)
    return fields


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
        "isWorking": order.working_since is not None,
        **conditional(exchange, order),
        "selfTradePreventionMode": order.self_trade_prevention,
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
    answer |= _progress(exchange, order) | conditional(exchange, order)
    answer["selfTradePreventionMode"] = order.self_trade_prevention
    if response_type == "FULL":
        answer["fills"] = [
            {
                "price": price_text(exchange, fill.instrument, fill.price),
                "qty": quantity_text(exchange, fill.instrument, fill.lots),
                "commission": amount(fill.fee),
                "commissionAsset": fill.fee_asset,
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
        **conditional(exchange, order),
        "selfTradePreventionMode": order.self_trade_prevention,
    }


def amend_answer(exchange: "Exchange", order: Order, original_id: str, execution: int) -> dict[str, Any]:
    """The answer to `PUT /api/v3/order/amend/keepPriority`."""
    i = order.instrument
    return {
        "transactTime": milliseconds(order.updated),
        "executionId": execution,
        "amendedOrder": {
            **_identity(exchange, order),
            "origClientOrderId": original_id,
            "clientOrderId": order.client_order_id,
            "price": price_text(exchange, i, order.price),
            "qty": quantity_text(exchange, i, order.lots),
            "executedQty": quantity_text(exchange, i, order.filled_lots),
            "preventedQty": quantity_text(exchange, i, order.prevented_lots),
            "quoteOrderQty": amount(order.quote_units),
            "cumulativeQuoteQty": amount(order.filled_units),
            "status": order.status,
            "timeInForce": order.time_in_force,
            "type": order.type,
            "side": SIDES[order.side],
            "workingTime": milliseconds(order.working_since or order.time),
            "selfTradePreventionMode": order.self_trade_prevention,
        },
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
        "commissionAsset": fill.fee_asset,
        "time": milliseconds(fill.time),
        "isBuyer": fill.side == BUY,
        "isMaker": fill.is_maker,
        "isBestMatch": True,
    }


def account_answer(exchange: "Exchange", owner: int, updated: int, omit_zero: bool) -> dict[str, Any]:
    """The answer to `GET /api/v3/account`: the spot wallet."""
    balances = [(asset, *exchange.balance(owner, exchange.column(asset))) for asset in exchange.spot_assets]
    maker, taker = exchange.commission_rates(owner)
    return {
        "makerCommission": maker // 100,
        "takerCommission": taker // 100,
        "buyerCommission": 0,
        "sellerCommission": 0,
        "commissionRates": {"maker": _rate(maker), "taker": _rate(taker), "buyer": ZERO, "seller": ZERO},
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


def _rate(millionths: int) -> str:
    return amount(millionths * 100)


def commission_answer(exchange: "Exchange", owner: int, i: int) -> dict[str, Any]:
    """The answer to `GET /api/v3/account/commission`."""
    maker, taker = exchange.commission_rates(owner)
    nothing = {"maker": ZERO, "taker": ZERO, "buyer": ZERO, "seller": ZERO}
    return {
        "symbol": exchange.instruments[i].venue_symbol,
        "standardCommission": nothing | {"maker": _rate(maker), "taker": _rate(taker)},
        "specialCommission": nothing,
        "taxCommission": nothing,
        "discount": exchange.fee_discount(owner),
    }


def trade_fee(exchange: "Exchange", owner: int, i: int) -> dict[str, Any]:
    """A row of `GET /sapi/v1/asset/tradeFee`."""
    maker, taker = exchange.commission_rates(owner)
    symbol = exchange.contracts[i].venue_symbol
    return {"symbol": symbol, "makerCommission": _rate(maker), "takerCommission": _rate(taker)}


def trial_answer(exchange: "Exchange", owner: int, rates: bool) -> dict[str, Any]:
    """The answer to `POST /api/v3/order/test`."""
    if not rates:
        return {}
    maker, taker = exchange.commission_rates(owner)
    both = {"maker": _rate(maker), "taker": _rate(taker)}
    nothing = {"maker": ZERO, "taker": ZERO}
    return {
        "standardCommissionForOrder": both,
        "specialCommissionForOrder": nothing,
        "taxCommissionForOrder": nothing,
        "discount": exchange.fee_discount(owner),
    }
