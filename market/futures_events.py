"""User-data events of derivatives in Binance's exact USDⓈ-M fields."""

from typing import TYPE_CHECKING, Any

from market import margin
from market.accounts import FREE, LOCKED, POS_LOTS
from market.book import BUY
from market.futures_info import MARGIN_ASSET
from market.futures_reports import (
    MARGIN_COLUMN,
    algo_status,
    average_price,
    entry_price,
    price_of,
    quantity_of,
    shown_lots,
    status_of,
    type_now,
)
from market.margin import ISOLATED, POS_ISOLATED, POS_MODE, POS_REALIZED
from market.orders import SIDES, Execution, Fill, Order
from market.reports import amount, milliseconds, signed

if TYPE_CHECKING:
    from market.exchange import Exchange

EXECUTIONS = {"TRIGGERED": "NEW", "REPLACED": "AMENDMENT", "TRADE_PREVENTION": "EXPIRED"}
"""Where futures have another word, or none, for what happened."""


def order_update(
    exchange: "Exchange", order: Order, execution: Execution, fill: Fill | None, client_id: str | None
) -> dict[str, Any]:
    """`ORDER_TRADE_UPDATE`."""
    contract, now = exchange.contracts[order.instrument], milliseconds(exchange.time)
    trailing = order.type == "TRAILING_STOP_MARKET"
    event = {
        "s": contract.venue_symbol, "c": order.client_order_id, "S": SIDES[order.side], "o": type_now(order),
        "f": order.time_in_force, "q": quantity_of(contract, shown_lots(order)), "p": price_of(contract, order.price),
        "ap": average_price(exchange, order), "sp": price_of(contract, 0 if trailing else order.stop),
        "x": EXECUTIONS.get(execution, execution), "X": status_of(order), "i": order.id,
        "l": quantity_of(contract, fill.lots if fill else 0), "z": quantity_of(contract, order.filled_lots),
        "L": price_of(contract, fill.price if fill else 0), "T": milliseconds(order.updated),
        "t": fill.id if fill else 0, "b": _open_value(exchange, order, BUY), "a": _open_value(exchange, order, 1 - BUY),
        "m": fill.is_maker if fill else False, "R": order.reduce_only,
        "wt": "MARK_PRICE" if order.triggered_by_mark else "CONTRACT_PRICE", "ot": order.type, "ps": "BOTH",
        "cp": order.close_position, "rp": signed(fill.realized) if fill else "0", "pP": False, "si": 0, "ss": 0,
        "V": order.self_trade_prevention, "pm": "NONE", "gtd": milliseconds(order.good_till or 0),
    }  # fmt: skip
    if fill is not None:
        event |= {"N": MARGIN_ASSET, "n": amount(fill.fee)}
    if trailing:
        event |= {"AP": price_of(contract, order.stop), "cr": f"{order.trailing_delta / 100:g}"}
    return {"e": "ORDER_TRADE_UPDATE", "E": now, "T": milliseconds(order.updated), "o": event}


def _open_value(exchange: "Exchange", order: Order, side: int) -> str:
    """Quote that the owner's open orders of one side are worth."""
    column = margin.POS_BUY_UNITS if side == BUY else margin.POS_SELL_UNITS
    return amount(int(exchange.engine.accounts.positions[order.owner, order.instrument, column]))


def algo_update(exchange: "Exchange", order: Order, algo_id: int) -> dict[str, Any]:
    """`ALGO_UPDATE`: a conditional order that came through the algo endpoints changed."""
    contract, now = exchange.contracts[order.instrument], milliseconds(exchange.time)
    triggered = order.working_since is not None
    return {
        "e": "ALGO_UPDATE", "E": now, "T": milliseconds(order.updated),
        "o": {
            "caid": order.client_order_id, "aid": algo_id, "at": "CONDITIONAL", "o": order.type,
            "s": contract.venue_symbol, "S": SIDES[order.side], "ps": "BOTH", "f": order.time_in_force,
            "q": quantity_of(contract, 0 if order.close_position else order.lots), "X": algo_status(order),
            "ai": str(order.id) if triggered else "", "ap": average_price(exchange, order),
            "aq": quantity_of(contract, order.filled_lots), "act": type_now(order) if triggered else "0",
            "tp": price_of(contract, order.stop), "p": price_of(contract, order.price),
            "V": order.self_trade_prevention, "wt": "MARK_PRICE" if order.triggered_by_mark else "CONTRACT_PRICE",
            "pm": "NONE", "cp": order.close_position, "pP": False, "R": order.reduce_only,
            "tt": milliseconds(order.working_since or 0), "gtd": milliseconds(order.good_till or 0), "rm": "",
        },
    }  # fmt: skip


def account_update(exchange: "Exchange", owner: int, positions: list[int], reason: str, change: int) -> dict[str, Any]:
    """`ACCOUNT_UPDATE`; `change` in units is what neither profit nor commission explains."""
    row = exchange.engine.accounts.balances[owner, exchange.column(MARGIN_COLUMN)]
    now = milliseconds(exchange.time)
    balance = {
        "a": MARGIN_ASSET, "wb": signed(int(row[FREE] + row[LOCKED])), "cw": signed(int(row[FREE])),
        "bc": signed(change),
    }  # fmt: skip
    held = [_position(exchange, owner, i) for i in positions]
    return {"e": "ACCOUNT_UPDATE", "E": now, "T": now, "a": {"m": reason, "B": [balance], "P": held}}


def _position(exchange: "Exchange", owner: int, i: int) -> dict[str, Any]:
    accounts = exchange.engine.accounts
    position = accounts.positions[owner, i]
    isolated = int(position[POS_MODE]) == ISOLATED
    return {
        "s": exchange.contracts[i].venue_symbol, "pa": quantity_of(exchange.contracts[i], int(position[POS_LOTS])),
        "ep": entry_price(exchange, owner, i), "bep": entry_price(exchange, owner, i),
        "cr": signed(int(position[POS_REALIZED])), "up": signed(margin.unrealized(accounts, i, owner)),
        "mt": "isolated" if isolated else "cross", "iw": amount(int(position[POS_ISOLATED])), "ps": "BOTH",
        "ma": MARGIN_ASSET,
    }  # fmt: skip


def margin_call(exchange: "Exchange", owner: int, derivatives: tuple[int, ...]) -> dict[str, Any]:
    """`MARGIN_CALL`: the positions that are near their liquidation."""
    accounts = exchange.engine.accounts
    rows = []
    for i in derivatives:
        if not accounts.positions[owner, i, POS_LOTS]:
            continue
        held, contract = _position(exchange, owner, i), exchange.contracts[i]
        needed = margin.maintenance(accounts, i, abs(margin.position_value(accounts, i, owner)))
        rows.append({
            "s": held["s"], "ps": "BOTH", "pa": held["pa"], "mt": held["mt"].upper(), "iw": held["iw"],
            "mp": price_of(contract, int(accounts.marks[i])), "up": held["up"], "mm": amount(needed),
        })  # fmt: skip
    cross = int(accounts.balances[owner, exchange.column(MARGIN_COLUMN), FREE])
    return {"e": "MARGIN_CALL", "E": milliseconds(exchange.time), "cw": signed(cross), "p": rows}


def leverage_update(exchange: "Exchange", i: int, leverage: int) -> dict[str, Any]:
    """`ACCOUNT_CONFIG_UPDATE`."""
    now = milliseconds(exchange.time)
    changed = {"s": exchange.contracts[i].venue_symbol, "l": leverage}
    return {"e": "ACCOUNT_CONFIG_UPDATE", "E": now, "T": now, "ac": changed}
