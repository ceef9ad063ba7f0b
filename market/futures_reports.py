"""What derivatives clients are told, in Binance's exact USDⓈ-M fields; times are milliseconds of the market clock."""

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from market import margin
from market.accounts import FREE, LOCKED, POS_LOTS
from market.book import BUY, UNIT
from market.contracts import Contract
from market.futures_info import MARGIN_ASSET, most_notional
from market.margin import (
    ISOLATED,
    POS_BUY_UNITS,
    POS_COST,
    POS_ISOLATED,
    POS_LEVERAGE,
    POS_MODE,
    POS_SELL_UNITS,
)
from market.orders import SIDES, Fill, Order
from market.reports import amount, milliseconds, signed

if TYPE_CHECKING:
    from market.exchange import Exchange

MARGIN_COLUMN = "USDT:margin"
ENTERED = {
    "STOP": "LIMIT", "TAKE_PROFIT": "LIMIT", "STOP_MARKET": "MARKET", "TAKE_PROFIT_MARKET": "MARKET",
    "TRAILING_STOP_MARKET": "MARKET",
}  # fmt: skip
"""What a conditional order becomes when it is triggered."""


def price_of(contract: Contract, ticks: int) -> str:
    """Decimal text with the digits of the tick."""
    return f"{ticks * contract.instrument.price_tick:f}"


def quantity_of(contract: Contract, lots: int) -> str:
    return f"{lots * contract.instrument.quantity_step:f}"


def average_price(exchange: "Exchange", order: Order) -> str:
    """Of the fills; 0 before the first."""
    if not order.filled_lots:
        return "0.00"
    contract = exchange.contracts[order.instrument]
    quantity = order.filled_lots * contract.instrument.quantity_step
    return f"{Decimal(order.filled_units) / UNIT / quantity:.8f}".rstrip("0").rstrip(".")


def status_of(order: Order) -> str:
    """An order that closes the whole position is filled once there is none left."""
    closed = order.close_position and order.status == "EXPIRED" and order.filled_lots
    return "FILLED" if closed else order.status


def type_now(order: Order) -> str:
    """The order's type, or what its trigger made of it."""
    return order.type if order.working_since is None else ENTERED.get(order.type, order.type)


def shown_lots(order: Order) -> int:
    return order.filled_lots if order.close_position else order.lots


def order_row(exchange: "Exchange", order: Order) -> dict[str, Any]:
    """As order, openOrders and allOrders show it."""
    contract = exchange.contracts[order.instrument]
    trailing = order.type == "TRAILING_STOP_MARKET"
    row = {
        "orderId": order.id, "symbol": contract.venue_symbol, "status": status_of(order),
        "clientOrderId": order.client_order_id, "price": price_of(contract, order.price),
        "avgPrice": average_price(exchange, order), "origQty": quantity_of(contract, shown_lots(order)),
        "executedQty": quantity_of(contract, order.filled_lots), "cumQuote": amount(order.filled_units),
        "timeInForce": order.time_in_force, "type": type_now(order), "reduceOnly": order.reduce_only,
        "closePosition": order.close_position, "side": SIDES[order.side], "positionSide": "BOTH",
        "stopPrice": price_of(contract, 0 if trailing else order.stop),
        "workingType": "MARK_PRICE" if order.triggered_by_mark else "CONTRACT_PRICE", "priceProtect": False,
        "origType": order.type, "priceMatch": "NONE", "selfTradePreventionMode": order.self_trade_prevention,
        "goodTillDate": milliseconds(order.good_till or 0), "time": milliseconds(order.time),
        "updateTime": milliseconds(order.updated),
    }  # fmt: skip
    if trailing:
        row |= {"activatePrice": price_of(contract, order.stop), "priceRate": f"{order.trailing_delta / 100:g}"}
    return row


def new_order_answer(exchange: "Exchange", order: Order, response_type: str) -> dict[str, Any]:
    """The answer to `POST order`: RESULT shows the fills it got at once, ACK the order as it was accepted."""
    row = order_row(exchange, order)
    row["cumQty"] = row["executedQty"]
    del row["time"]
    if response_type == "ACK":
        zero = quantity_of(exchange.contracts[order.instrument], 0)
        row |= {"status": "NEW", "executedQty": zero, "cumQty": zero, "cumQuote": "0", "avgPrice": "0.00"}
    return row


def algo_row(exchange: "Exchange", order: Order, algo_id: int) -> dict[str, Any]:
    """A conditional order as the algo endpoints show it."""
    contract = exchange.contracts[order.instrument]
    triggered = order.working_since is not None
    trailing = order.type == "TRAILING_STOP_MARKET"
    row = {
        "algoId": algo_id, "clientAlgoId": order.client_order_id, "algoType": "CONDITIONAL", "orderType": order.type,
        "symbol": contract.venue_symbol, "side": SIDES[order.side], "positionSide": "BOTH",
        "timeInForce": order.time_in_force,
        "quantity": quantity_of(contract, 0 if order.close_position else order.lots),
        "algoStatus": algo_status(order), "actualOrderId": str(order.id) if triggered else "",
        "actualPrice": average_price(exchange, order), "actualQty": quantity_of(contract, order.filled_lots),
        "triggerPrice": price_of(contract, 0 if trailing else order.stop), "price": price_of(contract, order.price),
        "icebergQuantity": None, "selfTradePreventionMode": order.self_trade_prevention,
        "workingType": "MARK_PRICE" if order.triggered_by_mark else "CONTRACT_PRICE", "priceMatch": "NONE",
        "closePosition": order.close_position, "priceProtect": False, "reduceOnly": order.reduce_only,
        "createTime": milliseconds(order.time), "updateTime": milliseconds(order.updated),
        "triggerTime": milliseconds(order.working_since or 0), "goodTillDate": milliseconds(order.good_till or 0),
    }  # fmt: skip
    if trailing:
        row |= {"activatePrice": price_of(contract, order.stop), "callbackRate": f"{order.trailing_delta / 100:g}"}
    return row


def algo_status(order: Order) -> str:
    """NEW while it waits, TRIGGERED while the order it became is open, FINISHED after that."""
    if order.working_since is None:
        return order.status
    return "TRIGGERED" if order.is_open else "FINISHED"


def user_trade(exchange: "Exchange", fill: Fill) -> dict[str, Any]:
    """A row of `userTrades`."""
    contract = exchange.contracts[fill.instrument]
    return {
        "symbol": contract.venue_symbol, "id": fill.id, "orderId": fill.order_id, "side": SIDES[fill.side],
        "price": price_of(contract, fill.price), "qty": quantity_of(contract, fill.lots),
        "realizedPnl": signed(fill.realized), "quoteQty": amount(fill.units), "commission": amount(fill.fee),
        "commissionAsset": MARGIN_ASSET, "time": milliseconds(fill.time), "positionSide": "BOTH",
        "buyer": fill.side == BUY, "maker": fill.is_maker,
    }  # fmt: skip


# -- positions and balances -------------------------------------------------------------------------------------------


def entry_price(exchange: "Exchange", owner: int, i: int) -> str:
    """What the position cost per unit of base; 0 without one."""
    position = exchange.engine.accounts.positions[owner, i]
    lots = int(position[POS_LOTS])
    if not lots:
        return "0.0"
    contract = exchange.contracts[i]
    quantity = lots * contract.instrument.quantity_step
    return f"{Decimal(int(position[POS_COST])) / UNIT / quantity:.8f}".rstrip("0").rstrip(".")


def is_used(exchange: "Exchange", owner: int, i: int) -> bool:
    position = exchange.engine.accounts.positions[owner, i]
    return bool(position[POS_LOTS] or position[POS_BUY_UNITS] or position[POS_SELL_UNITS])


def position_risk(exchange: "Exchange", owner: int, i: int, version: int) -> dict[str, Any]:
    """A row of `positionRisk`, /fapi/v2 or /fapi/v3."""
    accounts, contract = exchange.engine.accounts, exchange.contracts[i]
    position = accounts.positions[owner, i]
    isolated = int(position[POS_MODE]) == ISOLATED
    value, profit = margin.position_value(accounts, i, owner), margin.unrealized(accounts, i, owner)
    row = {
        "symbol": contract.venue_symbol, "positionSide": "BOTH",
        "positionAmt": quantity_of(contract, int(position[POS_LOTS])), "entryPrice": entry_price(exchange, owner, i),
        "breakEvenPrice": entry_price(exchange, owner, i), "markPrice": price_of(contract, int(accounts.marks[i])),
        "unRealizedProfit": signed(profit),
        "liquidationPrice": price_of(contract, margin.liquidation_price(accounts, i, owner)),
        "isolatedMargin": signed(int(position[POS_ISOLATED]) + profit) if isolated else "0.00000000",
        "notional": signed(value), "isolatedWallet": amount(int(position[POS_ISOLATED])),
        "updateTime": milliseconds(exchange.account(owner).updated),
    }  # fmt: skip
    leverage = int(position[POS_LEVERAGE])
    if version == 2:
        return row | {
            "leverage": str(leverage), "maxNotionalValue": str(most_notional(exchange, i, leverage)),
            "marginType": "isolated" if isolated else "cross", "isAutoAddMargin": "false", "isolated": isolated,
            "adlQuantile": 0,
        }  # fmt: skip
    initial, orders = margin.initial_margin(accounts, i, owner), margin.order_margin(accounts, i, owner)
    return row | {
        "initialMargin": amount(initial + orders), "maintMargin": amount(margin.maintenance(accounts, i, abs(value))),
        "positionInitialMargin": amount(initial), "openOrderInitialMargin": amount(orders), "adl": 0,
        "bidNotional": amount(int(position[POS_BUY_UNITS])), "askNotional": amount(int(position[POS_SELL_UNITS])),
        "marginAsset": MARGIN_ASSET,
    }  # fmt: skip


def account_position(exchange: "Exchange", owner: int, i: int, version: int) -> dict[str, Any]:
    """A row of `positions` in `account`."""
    risk = position_risk(exchange, owner, i, 3)
    isolated = int(exchange.engine.accounts.positions[owner, i, POS_MODE]) == ISOLATED
    names = ("symbol", "positionSide", "positionAmt", "isolatedMargin", "notional", "isolatedWallet", "initialMargin",
             "maintMargin", "updateTime")  # fmt: skip
    row = {name: risk[name] for name in names} | {"unrealizedProfit": risk["unRealizedProfit"]}
    if version == 3:
        return row
    leverage = int(exchange.engine.accounts.positions[owner, i, POS_LEVERAGE])
    return row | {
        "positionInitialMargin": risk["positionInitialMargin"],
        "openOrderInitialMargin": risk["openOrderInitialMargin"],
        "leverage": str(leverage), "isolated": isolated, "entryPrice": risk["entryPrice"],
        "breakEvenPrice": risk["breakEvenPrice"], "maxNotional": str(most_notional(exchange, i, leverage)),
        "bidNotional": risk["bidNotional"], "askNotional": risk["askNotional"],
    }  # fmt: skip


def wallet(exchange: "Exchange", owner: int) -> dict[str, int]:
    """Units of a client's margin wallet, by Binance's names."""
    accounts, column = exchange.engine.accounts, exchange.column(MARGIN_COLUMN)
    derivatives = [i for i, contract in enumerate(exchange.contracts) if contract.is_derivative]
    used = [i for i in derivatives if is_used(exchange, owner, i)]
    profit = sum(margin.unrealized(accounts, i, owner) for i in used)
    crossed = [i for i in used if accounts.positions[owner, i, POS_MODE] != ISOLATED]
    cross = int(accounts.balances[owner, column, FREE])
    total = cross + int(accounts.balances[owner, column, LOCKED])
    values = {i: abs(margin.position_value(accounts, i, owner)) for i in used}
    initial = sum(margin.initial_margin(accounts, i, owner) for i in used)
    orders = sum(margin.order_margin(accounts, i, owner) for i in used)
    return {
        "walletBalance": total, "unrealizedProfit": profit, "marginBalance": total + profit,
        "maintMargin": sum(margin.maintenance(accounts, i, value) for i, value in values.items()),
        "initialMargin": initial + orders, "positionInitialMargin": initial, "openOrderInitialMargin": orders,
        "crossWalletBalance": cross, "crossUnPnl": sum(margin.unrealized(accounts, i, owner) for i in crossed),
        "availableBalance": max(0, margin.available(accounts, column, owner)),
        "maxWithdrawAmount": margin.withdrawable(accounts, column, owner),
    }  # fmt: skip


def balance_row(exchange: "Exchange", owner: int) -> dict[str, Any]:
    """A row of `balance`."""
    held = wallet(exchange, owner)
    return {
        "accountAlias": f"owner{owner}", "asset": MARGIN_ASSET, "balance": signed(held["walletBalance"]),
        "crossWalletBalance": signed(held["crossWalletBalance"]), "crossUnPnl": signed(held["crossUnPnl"]),
        "availableBalance": signed(held["availableBalance"]),
        "maxWithdrawAmount": signed(held["maxWithdrawAmount"]), "marginAvailable": True,
        "updateTime": milliseconds(exchange.account(owner).updated),
    }  # fmt: skip


def account_answer(exchange: "Exchange", owner: int, derivatives: tuple[int, ...], version: int) -> dict[str, Any]:
    """The answer to `account`, /fapi/v2 with every position or /fapi/v3 with those in use."""
    held = wallet(exchange, owner)
    totals = {
        "totalInitialMargin": "initialMargin", "totalMaintMargin": "maintMargin",
        "totalWalletBalance": "walletBalance", "totalUnrealizedProfit": "unrealizedProfit",
        "totalMarginBalance": "marginBalance", "totalPositionInitialMargin": "positionInitialMargin",
        "totalOpenOrderInitialMargin": "openOrderInitialMargin", "totalCrossWalletBalance": "crossWalletBalance",
        "totalCrossUnPnl": "crossUnPnl", "availableBalance": "availableBalance",
        "maxWithdrawAmount": "maxWithdrawAmount",
    }  # fmt: skip
    updated = milliseconds(exchange.account(owner).updated)
    asset = {"asset": MARGIN_ASSET} | {name: signed(value) for name, value in held.items()} | {"updateTime": updated}
    chosen = derivatives if version == 2 else [i for i in derivatives if is_used(exchange, owner, i)]
    answer: dict[str, Any] = {total: signed(held[name]) for total, name in totals.items()}
    if version == 2:
        answer |= {
            "feeTier": 0, "canTrade": True, "canDeposit": False, "canWithdraw": False, "updateTime": updated,
            "multiAssetsMargin": False, "tradeGroupId": -1,
        }  # fmt: skip
    answer["assets"] = [asset | ({"marginAvailable": True} if version == 2 else {})]
    answer["positions"] = [account_position(exchange, owner, i, version) for i in chosen]
    return answer
