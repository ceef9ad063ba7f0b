"""What spot clients may order: read the parameters of Binance's order endpoints, with its errors where they do not fit.

Which parameters a type needs and allows stands in `TYPES`; a parameter that is known but does not belong to the type
is refused as Binance does (-1106), one that no order has as unread (-1104).
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, get_args

from market.errors import Refused, missing
from market.orders import SIDES, NewOrder, SelfTradePrevention, TimeInForce
from market.parameters import Parameters

COMMON = {
    "symbol", "side", "type", "newClientOrderId", "newOrderRespType", "selfTradePreventionMode", "recvWindow",
    "timestamp", "strategyId", "strategyType",
}  # fmt: skip
_OPTIONAL = (
    "timeInForce", "quantity", "quoteOrderQty", "price", "stopPrice", "trailingDelta", "icebergQty",
)  # fmt: skip
TYPES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "LIMIT": (("timeInForce", "quantity", "price"), ("icebergQty",)),
    "LIMIT_MAKER": (("quantity", "price"), ("icebergQty",)),
    "MARKET": ((), ("quantity", "quoteOrderQty")),
    "STOP_LOSS": (("quantity",), ("stopPrice", "trailingDelta")),
    "STOP_LOSS_LIMIT": (("timeInForce", "quantity", "price"), ("stopPrice", "trailingDelta", "icebergQty")),
    "TAKE_PROFIT": (("quantity",), ("stopPrice", "trailingDelta")),
    "TAKE_PROFIT_LIMIT": (("timeInForce", "quantity", "price"), ("stopPrice", "trailingDelta", "icebergQty")),
}
"""Per type what it needs and what it also allows."""
WAITING_TYPES = ("STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT")
SELF_TRADE_PREVENTION: tuple[SelfTradePrevention, ...] = get_args(SelfTradePrevention)
_TIMES: tuple[TimeInForce, ...] = ("GTC", "IOC", "FOK")
_CANCEL_REPLACE = {
    "cancelReplaceMode", "cancelNewClientOrderId", "cancelOrigClientOrderId", "cancelOrderId", "cancelRestrictions",
    "orderRateLimitExceededMode",
}  # fmt: skip
CancelRestriction = Literal["ONLY_NEW", "ONLY_PARTIALLY_FILLED"]


def read_order(parameters: Parameters, also_known: frozenset[str] = frozenset()) -> NewOrder:
    """The order that `POST /api/v3/order` describes; `also_known` names parameters that others read.

    Raises:
        Refused: a parameter is missing, unknown, does not read or does not belong to the type.
    """
    _refuse_unread(parameters, COMMON | set(_OPTIONAL) | also_known)
    instrument = parameters.symbol()
    side = parameters.word("side", SIDES, Refused(-1117, "Invalid side."))
    kind = parameters.word("type", tuple(TYPES), Refused(-1116, "Invalid orderType."))
    sent = {name: read(parameters, name) for name, read in _READERS.items()}
    needs, allows = TYPES[kind]
    for name in _OPTIONAL:
        if name in needs and sent[name] is None:
            raise missing(name)
        if name not in needs + allows and sent[name] is not None:
            raise Refused(-1106, f"Parameter '{name}' sent when not required.")
    _check_choice(kind, sent)
    prevention = parameters.text("selfTradePreventionMode") or "NONE"
    if prevention not in SELF_TRADE_PREVENTION:
        raise Refused(-1130, "Data sent for parameter 'selfTradePreventionMode' is not valid.")
    return NewOrder(
        instrument, SIDES.index(side), kind, sent["quantity"], sent["quoteOrderQty"], sent["price"],
        parameters.client_id("newClientOrderId"), sent["timeInForce"] or "GTC", sent["stopPrice"],
        sent["trailingDelta"], sent["icebergQty"], prevention,
    )  # fmt: skip


def _time_in_force(parameters: Parameters, name: str) -> str | None:
    value = parameters.text(name)
    if value is not None and value not in _TIMES:
        raise Refused(-1115, "Invalid timeInForce.")
    return value


def _positive(parameters: Parameters, name: str) -> Decimal | None:
    value = parameters.decimal(name)
    if value is not None and value == 0:
        raise Refused(-1013, f"Invalid {name}.")
    return value


_READERS: dict[str, Callable[[Parameters, str], Any]] = {
    "timeInForce": _time_in_force, "quantity": _positive, "quoteOrderQty": _positive, "price": _positive,
    "stopPrice": _positive, "trailingDelta": lambda parameters, name: parameters.whole(name, 1),
    "icebergQty": lambda parameters, name: parameters.decimal(name) or None,
}  # fmt: skip


def _check_choice(kind: str, sent: dict[str, Any]) -> None:
    """What goes together and what does not."""
    if kind == "MARKET":
        if sent["quantity"] is not None and sent["quoteOrderQty"] is not None:
            raise Refused(-1106, "Parameter 'quoteOrderQty' sent when not required.")
        _one_of(sent, "quantity", "quoteOrderQty")
    if kind in WAITING_TYPES:
        _one_of(sent, "stopPrice", "trailingDelta")
    if sent["icebergQty"] is not None and sent["timeInForce"] not in (None, "GTC"):
        raise Refused(-1014, "Unsupported order combination.")


def _one_of(sent: dict[str, Any], first: str, second: str) -> None:
    if sent[first] is None and sent[second] is None:
        raise Refused(-1102, f"Param '{first}' or '{second}' must be sent, but both were empty/null!")


def _refuse_unread(parameters: Parameters, known: set[str]) -> None:
    names = parameters.names()
    unread = names - known
    if unread:
        read, sent = len(names) - len(unread), len(names)
        raise Refused(-1104, f"Not all sent parameters were read; read '{read}' parameter(s) but was sent '{sent}'.")


def cancel_restriction(parameters: Parameters) -> CancelRestriction | None:
    """`cancelRestrictions`, or None.

    Raises:
        Refused: -1145, another word.
    """
    value = parameters.text("cancelRestrictions")
    for known in get_args(CancelRestriction):
        if value == known:
            return known
    if value is None:
        return None
    raise Refused(-1145, "Invalid cancelRestrictions.")


@dataclass(frozen=True, slots=True)
class CancelReplace:
    """What `POST /api/v3/order/cancelReplace` asks for."""

    new: NewOrder
    order_id: int | None
    client_order_id: str | None
    cancel_id: str | None
    stop_on_failure: bool
    restriction: CancelRestriction | None


def read_cancel_replace(parameters: Parameters) -> CancelReplace:
    """Parse a cancel-replace.

    Raises:
        Refused: a parameter is missing or does not read; then neither half is attempted.
    """
    mode = parameters.word(
        "cancelReplaceMode", ("STOP_ON_FAILURE", "ALLOW_FAILURE"),
        Refused(-1130, "Data sent for parameter 'cancelReplaceMode' is not valid."),
    )  # fmt: skip
    order_id, client_id = parameters.order_ids("cancelOrderId", "cancelOrigClientOrderId")
    return CancelReplace(
        read_order(parameters, frozenset(_CANCEL_REPLACE)), order_id, client_id,
        parameters.client_id("cancelNewClientOrderId"), mode == "STOP_ON_FAILURE", cancel_restriction(parameters),
    )  # fmt: skip
