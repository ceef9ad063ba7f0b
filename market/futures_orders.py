"""What derivatives clients may order: Binance's USDⓈ-M parameters, filters and refusals, on the grid of a contract.

Two endpoints lead here: `order`, with every type, and `algoOrder`, where the venue takes conditional orders today; the
latter only names some parameters differently (`ALGO_NAMES`). Position mode is one-way.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, get_args

from market import engine as engines
from market.book import BUY
from market.contracts import Contract
from market.errors import Refused, missing
from market.filters import Checked
from market.orders import SIDES, NewOrder, SelfTradePrevention, TimeInForce
from market.parameters import Parameters

COMMON = {
    "symbol", "side", "type", "positionSide", "reduceOnly", "newClientOrderId", "newOrderRespType", "workingType",
    "priceProtect", "priceMatch", "selfTradePreventionMode", "goodTillDate", "recvWindow", "timestamp",
}  # fmt: skip
_OPTIONAL = (
    "timeInForce", "quantity", "price", "stopPrice", "activationPrice", "callbackRate", "closePosition",
)  # fmt: skip
TYPES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "LIMIT": (("timeInForce", "quantity", "price"), ()),
    "MARKET": (("quantity",), ("timeInForce",)),
    "STOP": (("quantity", "price", "stopPrice"), ("timeInForce",)),
    "STOP_MARKET": (("stopPrice",), ("quantity", "closePosition", "timeInForce")),
    "TAKE_PROFIT": (("quantity", "price", "stopPrice"), ("timeInForce",)),
    "TAKE_PROFIT_MARKET": (("stopPrice",), ("quantity", "closePosition", "timeInForce")),
    "TRAILING_STOP_MARKET": (("quantity", "callbackRate"), ("activationPrice", "timeInForce")),
}
"""Per type what it needs and what it also allows."""
KINDS = {
    "LIMIT": engines.LIMIT, "MARKET": engines.MARKET, "STOP": engines.STOP_LIMIT,
    "STOP_MARKET": engines.STOP_MARKET, "TAKE_PROFIT": engines.TAKE_PROFIT_LIMIT,
    "TAKE_PROFIT_MARKET": engines.TAKE_PROFIT_MARKET, "TRAILING_STOP_MARKET": engines.TRAILING_STOP,
}  # fmt: skip
CONDITIONAL = tuple(TYPES)[2:]
TIMES: tuple[TimeInForce, ...] = get_args(TimeInForce)
PREVENTION: tuple[SelfTradePrevention, ...] = get_args(SelfTradePrevention)
ALGO_NAMES = {"triggerPrice": "stopPrice", "activatePrice": "activationPrice", "clientAlgoId": "newClientOrderId"}
LEAST_GOOD_TILL_MS, LAST_GOOD_TILL_MS = 600_000, 253_402_300_799_000
LEAST_CALLBACK, MOST_CALLBACK = Decimal("0.1"), Decimal(10)
"""Percent."""
MOST_QUANTITY_NOTIONAL = Decimal(100_000_000)
MOST_ORDERS, MOST_CONDITIONAL = 200, 10
WHOLE_POSITION = 10**9
"""Lots of an order that closes whatever position there is; reduce-only keeps it to that."""


def read_order(parameters: Parameters, now_ms: int) -> NewOrder:
    """The order that `POST /fapi/v1/order` describes; `now_ms` is market time.

    Raises:
        Refused: a parameter is missing, unknown, does not read or does not belong to the type.
    """
    unread = parameters.names() - COMMON - set(_OPTIONAL)
    if unread:
        raise Refused(-1104, f"Not all sent parameters were read; '{sorted(unread)[0]}' is unknown.")
    i = parameters.symbol()
    side = parameters.word("side", SIDES, Refused(-1117, "Invalid side."))
    kind = parameters.word("type", tuple(TYPES), Refused(-1116, "Invalid orderType."))
    sent: dict[str, Any] = {name: read(parameters, name) for name, read in _READERS.items()}
    _check_belonging(kind, sent)
    if (parameters.text("positionSide") or "BOTH") != "BOTH":
        raise Refused(-4061, "Order's position side does not match user's setting.")
    if (parameters.text("priceMatch") or "NONE") != "NONE":
        raise Refused(-1130, "Data sent for parameter 'priceMatch' is not valid.")
    time_in_force: TimeInForce = sent["timeInForce"] or "GTC"
    working = _word_of(parameters, "workingType", ("CONTRACT_PRICE", "MARK_PRICE"), "CONTRACT_PRICE")
    rate = sent["callbackRate"]
    return NewOrder(
        i, SIDES.index(side), kind, sent["quantity"], None, sent["price"], parameters.client_id("newClientOrderId"),
        time_in_force, sent["activationPrice"] if rate is not None else sent["stopPrice"],
        None if rate is None else int(rate * 100), None,
        _word_of(parameters, "selfTradePreventionMode", PREVENTION, "NONE"),
        bool(sent["closePosition"]) or _flag(parameters, "reduceOnly"), _good_till(parameters, time_in_force, now_ms),
        working == "MARK_PRICE", bool(sent["closePosition"]),
    )  # fmt: skip


def translated(values: Mapping[str, str]) -> dict[str, str]:
    """An algo order's parameters under the names of an ordinary order's.

    Raises:
        Refused: an algo type other than CONDITIONAL, or an order type that has no condition.
    """
    if values.get("algoType") != "CONDITIONAL":
        raise Refused(-1130, "Data sent for parameter 'algoType' is not valid.")
    if values.get("type") not in CONDITIONAL:
        raise Refused(-1116, "Invalid orderType.")
    return {ALGO_NAMES.get(name, name): value for name, value in values.items() if name != "algoType"}


def _check_belonging(kind: str, sent: dict[str, Any]) -> None:
    needs, allows = TYPES[kind]
    for name in _OPTIONAL:
        if name in needs and sent[name] is None:
            raise missing(name)
        if name not in needs + allows and sent[name] is not None and sent[name] is not False:
            raise Refused(-1106, f"Parameter '{name}' sent when not required.")
    if sent["closePosition"] and sent["quantity"] is not None:
        raise Refused(-1106, "Parameter 'quantity' sent when not required.")
    if not sent["closePosition"] and sent["quantity"] is None:
        raise missing("quantity")


def _positive(parameters: Parameters, name: str) -> Decimal | None:
    value = parameters.decimal(name)
    if value is not None and value == 0:
        code, what = (
            (-4003, "Quantity less than or equal to zero.") if name == "quantity" else (-4001, "Price less than 0.")
        )
        raise Refused(code, what)
    return value


def _callback(parameters: Parameters, name: str) -> Decimal | None:
    value = parameters.decimal(name)
    if value is not None and not (LEAST_CALLBACK <= value <= MOST_CALLBACK and value % Decimal("0.01") == 0):
        raise Refused(-2007, "Invalid callBack rate")
    return value


def _time_in_force(parameters: Parameters, name: str) -> str | None:
    value = parameters.text(name)
    if value is not None and value not in TIMES:
        raise Refused(-1115, "Invalid timeInForce.")
    return value


def _flag(parameters: Parameters, name: str) -> bool:
    value = (parameters.text(name) or "false").lower()
    if value not in ("true", "false"):
        raise Refused(-1130, f"Data sent for parameter '{name}' is not valid.")
    return value == "true"


def _word_of(parameters: Parameters, name: str, words: tuple[Any, ...], default: str) -> Any:
    value = parameters.text(name) or default
    if value not in words:
        raise Refused(-1130, f"Data sent for parameter '{name}' is not valid.")
    return value


_READERS: dict[str, Callable[[Parameters, str], Any]] = {
    "timeInForce": _time_in_force, "quantity": _positive, "price": _positive, "stopPrice": _positive,
    "activationPrice": _positive, "callbackRate": _callback, "closePosition": _flag,
}  # fmt: skip


def _good_till(parameters: Parameters, time_in_force: TimeInForce, now_ms: int) -> int | None:
    """µs of a GTD order."""
    till = parameters.whole("goodTillDate")
    if time_in_force != "GTD":
        return None
    if till is None:
        raise missing("goodTillDate")
    till = till // 1000 * 1000
    if not now_ms + LEAST_GOOD_TILL_MS < till < LAST_GOOD_TILL_MS:
        raise Refused(-1130, "Data sent for parameter 'goodTillDate' is not valid.")
    return till * 1000


@dataclass(frozen=True, slots=True)
class FuturesFilters:
    """The filters of one contract; the exchange asks them as it asks those of spot."""

    contract: Contract
    mark: Callable[[], Decimal]
    """Of now, in quote."""

    @staticmethod
    def kind(new: NewOrder) -> int:
        """The engine's word for the order's type."""
        return KINDS[new.type]

    def check(self, new: NewOrder, average: Decimal, last: Decimal) -> Checked:
        """Put an order on the grid.

        Raises:
            Refused: with the code of the filter that it fails.
        """
        lots = WHOLE_POSITION if new.quantity is None else self._lots(new.quantity)
        price = 0 if new.price is None else self._ticks(new.price)
        stop = 0 if new.stop_price is None else self._ticks(new.stop_price)
        mark = self.mark()
        if new.price is not None:
            self._check_band(new, new.price, mark)
        if new.quantity is not None and not new.reduce_only:
            least = self.contract.instrument.min_notional
            if (new.price or new.stop_price or mark) * new.quantity < least:
                raise Refused(
                    -4164, f"Order's notional must be no smaller than {least} (unless you choose reduce only)."
                )
        if new.trailing_delta is None and new.stop_price is not None:
            self._check_trigger(new, new.stop_price, mark if new.triggered_by_mark else last)
        return Checked(price, lots, stop)

    def check_quote_quantity(self, quote: Decimal) -> None:
        """Derivatives are not ordered by quote quantity."""
        raise Refused(-1106, "Parameter 'quoteOrderQty' sent when not required.")

    def check_counts(self, new: NewOrder, resting: int, waiting: int) -> None:
        """How many orders the account has open on the contract.

        Raises:
            Refused: -2025 or -4045.
        """
        if new.type in CONDITIONAL and waiting >= MOST_CONDITIONAL:
            raise Refused(-4045, "Reach max stop order limit.")
        if new.type == "LIMIT" and resting - waiting >= MOST_ORDERS:
            raise Refused(-2025, "Reach max open order limit.")

    @staticmethod
    def refusal(code: int) -> Refused:
        """Binance's words for a refusal of the engine."""
        return {
            engines.REFUSED_BALANCE: Refused(-2019, "Margin is insufficient."),
            engines.REFUSED_POST_ONLY: Refused(
                -5022, "Due to the order could not be executed as maker, the Post Only order will be rejected. "
                "The order will not be recorded in the order history."),
            engines.REFUSED_REDUCE_ONLY: Refused(-2022, "ReduceOnly Order is rejected."),
            engines.REFUSED_TRIGGERS_NOW: Refused(-2021, "Order would immediately trigger."),
            engines.REFUSED_BAND: Refused(-4131, "The price does not meet the PERCENT_PRICE filter limit."),
            engines.REFUSED_HALTED: Refused(
                -4108, "Symbol is on delivering or delivered or settling or closed or pre-trading."),
            engines.REFUSED_LEVERAGE: Refused(-2027, "Exceeded the maximum allowable position at current leverage."),
            engines.REFUSED_EXPIRED: Refused(-1130, "Data sent for parameter 'goodTillDate' is not valid."),
        }.get(code, Refused(-2010, "NEW_ORDER_REJECTED"))  # fmt: skip

    def _ticks(self, price: Decimal) -> int:
        ticks, rest = divmod(price, self.contract.instrument.price_tick)
        if rest:
            raise Refused(-4014, "Price not increased by tick size.")
        return int(ticks)

    def _lots(self, quantity: Decimal) -> int:
        lots, rest = divmod(quantity, self.contract.instrument.quantity_step)
        if rest:
            raise Refused(-1111, "Precision is over the maximum defined for this asset.")
        if quantity < self.contract.instrument.min_quantity:
            raise Refused(-4004, "Quantity less than min quantity.")
        if quantity * self.mark() > MOST_QUANTITY_NOTIONAL:
            raise Refused(-4005, "Quantity greater than max quantity.")
        return int(lots)

    def _check_band(self, new: NewOrder, price: Decimal, mark: Decimal) -> None:
        low, high = mark * (1 - self.contract.price_band), mark * (1 + self.contract.price_band)
        if new.side == BUY and price > high:
            raise Refused(-4016, f"Limit price can't be higher than {high:.8f}.")
        if new.side != BUY and price < low:
            raise Refused(-4024, f"Limit price can't be lower than {low:.8f}.")

    @staticmethod
    def _check_trigger(new: NewOrder, stop: Decimal, reference: Decimal) -> None:
        above = (new.side == BUY) == new.type.startswith("STOP")
        if stop <= reference if above else stop >= reference:
            raise Refused(-2021, "Order would immediately trigger.")
