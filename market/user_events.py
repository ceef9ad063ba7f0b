"""What a spot account hears on its user-data stream: `executionReport` and `outboundAccountPosition`.

The exchange calls a `SpotReports` for everything that happens, in order of time, at the moment it happens: a report
shows the order as it stood then.
"""

from typing import TYPE_CHECKING, Any

from market.orders import SIDES, Execution, Fill, Order
from market.reports import ZERO, amount, milliseconds, price_text, quantity_text

if TYPE_CHECKING:
    from market.exchange import Exchange

_WORDS = {"TRIGGERED": "NEW"}
"""Binance says NEW again, now with `w` true, when a waiting order enters the book."""


class SpotReports:
    """Render spot's events into the outbox; derivatives are somebody else's."""

    def __init__(self, exchange: "Exchange") -> None:
        self._exchange = exchange

    def on_order(self, order: Order, execution: Execution, fill: Fill | None, client_id: str | None) -> None:
        exchange = self._exchange
        if not exchange.contracts[order.instrument].is_derivative:
            event = execution_report(exchange, order, execution, fill, client_id, exchange.next_execution())
            exchange.outbox.user.append((order.owner, event))

    def on_balances(self, owner: int, columns: list[int]) -> None:
        spot = [column for column in columns if self._exchange.assets[column] in self._exchange.spot_assets]
        if spot:
            self._exchange.outbox.user.append((owner, account_position(self._exchange, owner, spot)))

    def on_event(self, row: list[int]) -> None:
        """Nothing happens to spot but to its orders."""


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
    exchange: "Exchange", order: Order, execution: Execution, fill: Fill | None, client_id: str | None, number: int
) -> dict[str, Any]:
    """The `executionReport` event; `client_id` is the cancellation's or the amendment's own id where there is one."""
    i = order.instrument
    event = {
        "e": "executionReport",
        "E": milliseconds(exchange.time),
        "s": exchange.instruments[i].venue_symbol,
        "c": client_id or order.client_order_id,
        "S": SIDES[order.side],
        "o": order.type,
        "f": order.time_in_force,
        "q": quantity_text(exchange, i, order.lots),
        "p": price_text(exchange, i, order.price),
        "P": price_text(exchange, i, order.stop),
        "F": quantity_text(exchange, i, order.iceberg_lots),
        "g": -1,
        "C": order.client_order_id if client_id and execution in ("CANCELED", "REPLACED") else "",
        "x": _WORDS.get(execution, execution),
        "X": order.status,
        "r": "NONE",
        "i": order.id,
        "l": quantity_text(exchange, i, fill.lots) if fill else ZERO,
        "z": quantity_text(exchange, i, order.filled_lots),
        "L": price_text(exchange, i, fill.price) if fill else ZERO,
        "n": amount(fill.fee) if fill else "0",
        "N": fill.fee_asset if fill else None,
        "T": milliseconds(order.updated),
        "t": fill.id if fill else -1,
        "I": number,
        "w": order.is_open and not order.waits and order.price > 0,
        "m": fill.is_maker if fill else False,
        "M": fill is not None,
        "O": milliseconds(order.time),
        "Z": amount(order.filled_units),
        "Y": amount(fill.units) if fill else ZERO,
        "Q": amount(order.quote_units),
        "V": order.self_trade_prevention,
    }
    return event | _conditional(exchange, order, execution)


def _conditional(exchange: "Exchange", order: Order, execution: Execution) -> dict[str, Any]:
    """Fields that only some reports have."""
    fields: dict[str, Any] = {}
    if order.trailing_delta:
        fields["d"] = order.trailing_delta
    if order.working_since is not None:
        fields["W"] = milliseconds(order.working_since)
    if order.prevented_lots:
        fields["A"] = fields["B"] = quantity_text(exchange, order.instrument, order.prevented_lots)
    return fields
