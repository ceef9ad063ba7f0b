"""Translate Binance's answers and user events about our orders into `OrderReport` and `Fill`. Pure.

Words differ by place: the FULL reply has no maker flag (its fills took liquidity), the user stream abbreviates, and
myTrades does not know our id. Times are the payload's own: market clock, milliseconds.
"""

from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any

from lake.errors import BadInput
from lake.instruments import Instrument
from lake.intervals import MILLISECOND
from live.orders import Fill, Order, OrderReport, OrderType, Side, Status

SIDE = {Side.BUY: "BUY", Side.SELL: "SELL"}
ORDER_TYPE = {
    OrderType.MARKET: "MARKET", OrderType.LIMIT: "LIMIT", OrderType.STOP: "STOP_LOSS",
    OrderType.STOP_LIMIT: "STOP_LOSS_LIMIT",
}  # fmt: skip
STATUS = {
    "NEW": Status.OPEN,
    "PENDING_NEW": Status.OPEN,
    "PARTIALLY_FILLED": Status.OPEN,
    "PENDING_CANCEL": Status.OPEN,
    "FILLED": Status.FILLED,
    "CANCELED": Status.CANCELLED,
    "REJECTED": Status.REJECTED,
    "EXPIRED": Status.EXPIRED,
    "EXPIRED_IN_MATCH": Status.EXPIRED,
}
_BROKEN = (KeyError, TypeError, ValueError, InvalidOperation)


def report_in_reply(order: Order, body: Any) -> OrderReport | None:
    """The state in a reply to POST, GET or DELETE /api/v3/order, or a row of allOrders; None where it has none."""
    try:
        return OrderReport(
            client_order_id=order.client_order_id,
            order_id=str(body["orderId"]),
            status=STATUS[body["status"]],
            filled_quantity=Decimal(body["executedQty"]),
            event_time=_reply_time(body),
        )
    except _BROKEN:
        return None


def acknowledged(order: Order, body: Any) -> OrderReport:
    """The least a yes proves: the venue has it. Its state and fills are asked for."""
    return OrderReport(order.client_order_id, str(body["orderId"]), Status.OPEN, Decimal(0), order.event_time)


def fills_in_reply(order: Order, body: Any) -> list[Fill]:
    """The fills of a FULL reply; empty where there are none or one does not parse, as polling finds them too."""
    try:
        return [
            Fill(
                instrument=order.request.instrument,
                trade_id=str(int(row["tradeId"])),
                order_id=str(body["orderId"]),
                client_order_id=order.client_order_id,
                side=order.request.side,
                price=Decimal(row["price"]),
                quantity=Decimal(row["qty"]),
                fee=Decimal(row["commission"]),
                fee_asset=str(row["commissionAsset"]),
                is_maker=False,
                event_time=_reply_time(body),
            )
            for row in body.get("fills", ())
        ]
    except _BROKEN:
        return []


def fills_in_trades(rows: Any, traded: Instrument, client_ids: dict[str, str]) -> Iterator[Fill]:
    """Our fills among rows of myTrades; `client_ids` maps the venue's order ids to ours.

    Raises:
        BadInput: a row of ours does not parse; leaving a fill out is never right.
    """
    for row in rows:
        try:
            order_id = str(row["orderId"])
            if order_id not in client_ids:
                continue
            yield Fill(
                instrument=traded.id,
                trade_id=str(int(row["id"])),
                order_id=order_id,
                client_order_id=client_ids[order_id],
                side=Side.BUY if row["isBuyer"] else Side.SELL,
                price=Decimal(row["price"]),
                quantity=Decimal(row["qty"]),
                fee=Decimal(row["commission"]),
                fee_asset=str(row["commissionAsset"]),
                is_maker=bool(row["isMaker"]),
                event_time=int(row["time"]) * MILLISECOND,
            )
        except _BROKEN as error:
            raise BadInput(f"not a row of myTrades: {row!r:.200}: {error!r}") from None


def from_execution_report(event: Any, instrument_of: dict[str, str]) -> tuple[OrderReport, Fill | None]:
    """The state and, where it is a trade, the fill of a user-stream executionReport.

    A cancel carries our id in `C` and its own in `c`.

    Raises:
        BadInput: the event does not parse.
    """
    try:
        client_order_id = str(event["C"] or event["c"]) if event["x"] == "CANCELED" else str(event["c"])
        time_us = int(event["T"]) * MILLISECOND
        report = OrderReport(client_order_id, str(event["i"]), STATUS[event["X"]], Decimal(event["z"]), time_us)
        if event["x"] != "TRADE":
            return report, None
        fill = Fill(
            instrument=instrument_of[event["s"]],
            trade_id=str(int(event["t"])),
            order_id=str(event["i"]),
            client_order_id=client_order_id,
            side=Side.BUY if event["S"] == "BUY" else Side.SELL,
            price=Decimal(event["L"]),
            quantity=Decimal(event["l"]),
            fee=Decimal(event["n"]),
            fee_asset=str(event["N"]),
            is_maker=bool(event["m"]),
            event_time=time_us,
        )
        return report, fill
    except _BROKEN as error:
        raise BadInput(f"not an executionReport: {event!r:.200}: {error!r}") from None


def _reply_time(body: Any) -> int:
    """transactTime of a POST or DELETE, updateTime of a GET."""
    return int(body["transactTime"] if "transactTime" in body else body["updateTime"]) * MILLISECOND
