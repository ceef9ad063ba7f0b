"""Binance's order book, best quote and trade messages, spot and futures, and the line of a recorded capture.

Prices and quantities stay the venue's decimal text; times are UTC microseconds. A book is rebuilt from a snapshot and
the diffs after it (`market/replay.py`); `first_id`, `final_id` and `previous_id` are the venue's U, u and pu.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson

from lake.errors import BadInput
from lake.intervals import MILLISECOND

Levels: TypeAlias = list[list[str]]
"""Price and quantity as text, in the order sent."""


@dataclass(frozen=True, slots=True)
class DepthSnapshot:
    """GET depth: the whole book, or its best 1000 levels, as of `last_id`."""

    last_id: int
    bids: Levels
    asks: Levels


@dataclass(frozen=True, slots=True)
class DepthDiff:
    """A `depthUpdate` event: new quantities at changed prices, zero where a level is gone."""

    event_time: int
    first_id: int
    final_id: int
    previous_id: int | None
    """`final_id` of the diff before, on futures; None on spot, where `first_id` follows on it instead."""
    bids: Levels
    asks: Levels


@dataclass(frozen=True, slots=True)
class BestQuote:
    """A `bookTicker` event: the best bid and ask after update `update_id`. Spot sends no time."""

    update_id: int
    event_time: int | None
    bid: str
    bid_quantity: str
    ask: str
    ask_quantity: str


@dataclass(frozen=True, slots=True)
class TradeEvent:
    """A `trade` event. `market` is False for what futures report besides trades (insurance fund, ADL)."""

    trade_id: int
    trade_time: int
    price: str
    quantity: str
    buyer_is_maker: bool
    market: bool


Message: TypeAlias = DepthSnapshot | DepthDiff | BestQuote | TradeEvent


def message_from_payload(payload: bytes | str) -> Message:
    """Read a REST depth answer, a stream event, or a combined-stream frame around one.

    Raises:
        BadInput: not JSON, of another kind, or of another shape.
    """
    try:
        value = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise BadInput(f"market data: payload is not JSON: {error}") from None
    try:
        return _message(value["data"] if isinstance(value, dict) and "stream" in value else value)
    except (LookupError, TypeError, ValueError) as error:
        raise BadInput(f"not a Binance depth, bookTicker or trade message: {payload!r:.200}: {error}") from None


def _levels(rows: Any) -> Levels:
    for price, quantity in rows:
        if type(price) is not str or type(quantity) is not str:
            raise ValueError(f"level {price!r}, {quantity!r}: expected decimal text")
    return list(rows)


def _message(value: Any) -> Message:
    if not isinstance(value, dict):
        raise ValueError("not an object")
    kind = value.get("e")
    if kind == "depthUpdate":
        previous = value.get("pu")
        return DepthDiff(
            int(value["E"]) * MILLISECOND, int(value["U"]), int(value["u"]),
            None if previous is None else int(previous), _levels(value["b"]), _levels(value["a"]),
        )  # fmt: skip
    if kind == "trade":
        return TradeEvent(
            int(value["t"]), int(value["T"]) * MILLISECOND, value["p"], value["q"], bool(value["m"]),
            value.get("X", "MARKET") == "MARKET",
        )  # fmt: skip
    if "lastUpdateId" in value:
        return DepthSnapshot(int(value["lastUpdateId"]), _levels(value["bids"]), _levels(value["asks"]))
    if kind in (None, "bookTicker") and "B" in value:
        time = value.get("E")
        return BestQuote(
            int(value["u"]), None if time is None else int(time) * MILLISECOND,
            value["b"], value["B"], value["a"], value["A"],
        )  # fmt: skip
    raise ValueError(f"event {kind!r}")


def message_from_capture_line(line: bytes) -> tuple[int, Message]:
    """Read a line of a recorded capture: local receive time in nanoseconds, a space, the payload.

    Raises:
        BadInput: the line has another shape.
    """
    received, space, payload = line.partition(b" ")
    if not space or not received.isdigit():
        raise BadInput(f"not a capture line: expected nanoseconds, a space and JSON, found {line!r:.80}")
    return int(received), message_from_payload(payload)
