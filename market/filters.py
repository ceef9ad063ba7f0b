"""What an order must satisfy per symbol: Binance's filters, enforced with its words, and shown in exchangeInfo."""

from dataclasses import dataclass
from decimal import Decimal

from lake.instruments import Instrument
from market import engine as engines
from market.book import BUY
from market.errors import INSUFFICIENT_BALANCE, Refused, filter_failure
from market.orders import NewOrder
from market.spot_orders import SELF_TRADE_PREVENTION, TYPES, WAITING_TYPES

MOST_PRICE = Decimal(1_000_000)
MOST_LIMIT_NOTIONAL = Decimal(9_000_000)
"""Bounds quantity × price far below what 64 bits hold."""
MOST_LOTS, MOST_MARKET_LOTS = 900_000_000, 100_000_000
PRICE_BAND = (Decimal("0.2"), Decimal(5))
"""A limit price may lie between these multiples of the average price."""
AVERAGE_MINUTES = 5
MOST_OPEN_ORDERS, MOST_WAITING_ORDERS, MOST_AMENDS = 200, 5, 10
MOST_ICEBERG_PARTS = 100
TRAILING_DELTA = (10, 2000)
"""Least and most `trailingDelta`, in hundredths of a percent, above and below the market."""

KINDS = {
    "LIMIT": engines.LIMIT, "LIMIT_MAKER": engines.LIMIT, "MARKET": engines.MARKET, "STOP_LOSS": engines.STOP_MARKET,
    "STOP_LOSS_LIMIT": engines.STOP_LIMIT, "TAKE_PROFIT": engines.TAKE_PROFIT_MARKET,
    "TAKE_PROFIT_LIMIT": engines.TAKE_PROFIT_LIMIT,
}  # fmt: skip
_REFUSALS = {
    engines.REFUSED_BALANCE: (-2010, INSUFFICIENT_BALANCE),
    engines.REFUSED_POST_ONLY: (-2010, "Order would immediately match and take."),
    engines.REFUSED_TRIGGERS_NOW: (-2010, "Order would trigger immediately."),
    engines.REFUSED_BAND: (-1013, "Filter failure: PERCENT_PRICE_BY_SIDE"),
    engines.REFUSED_HALTED: (-1013, "Market is closed."),
    engines.REFUSED_UNKNOWN: (-2011, "Unknown order sent."),
}


@dataclass(frozen=True, slots=True)
class Checked:
    """An order on the book's grid; zero where a field does not apply."""

    price: int
    lots: int
    stop: int = 0
    iceberg_lots: int = 0


@dataclass(frozen=True, slots=True)
class Filters:
    """The filters of one symbol; all comparisons are exact."""

    instrument: Instrument
    """Its tick and step are the book's grid."""
    rules: Instrument | None = None
    """What is enforced and shown where it differs: tick and step must be multiples of the grid's."""

    @property
    def shown(self) -> Instrument:
        return self.rules or self.instrument

    def kind(self, new: NewOrder) -> int:
        """The engine's kind of an order."""
        return KINDS[new.type] if new.trailing_delta is None else engines.TRAILING_STOP

    def refusal(self, code: int) -> Refused:
        """The engine's refusal in Binance's words."""
        return Refused(*_REFUSALS.get(code, (-2010, f"Order was rejected, reason {-code}.")))

    def check(self, new: NewOrder, average: Decimal, last: Decimal) -> Checked:
        """Put an order by base quantity on the grid; `average` and `last` are prices in quote.

        Raises:
            Refused: -1013, naming the filter; -2010 where the price has passed the trigger already.
        """
        if new.quantity is None:
            raise filter_failure("LOT_SIZE")
        stop = 0
        if new.stop_price is not None:
            stop = self._ticks(new.stop_price)
            self._check_trigger(new, new.stop_price, last)
        if new.trailing_delta is not None:
            self._check_trailing(new.trailing_delta)
        if new.price is None:
            return Checked(0, self.check_market(new.quantity, average), stop)
        price, lots = self.check_limit(new.side, new.price, new.quantity, average)
        return Checked(price, lots, stop, self._iceberg(new))

    def check_limit(self, side: int, price: Decimal, quantity: Decimal, average: Decimal) -> tuple[int, int]:
        """Ticks and lots of a limit order.

        Raises:
            Refused: -1013, naming the filter.
        """
        ticks = self._ticks(price)
        lots = self._lots(quantity)
        low, high = PRICE_BAND
        if not average * low <= price <= average * high:
            raise filter_failure("PERCENT_PRICE_BY_SIDE")
        if not self.shown.min_notional <= price * quantity <= MOST_LIMIT_NOTIONAL:
            raise filter_failure("NOTIONAL")
        return ticks, lots

    def check_market(self, quantity: Decimal, average: Decimal) -> int:
        """Lots of a market order by quantity.

        Raises:
            Refused: -1013, naming the filter.
        """
        lots = self._lots(quantity)
        if lots > MOST_MARKET_LOTS:
            raise filter_failure("MARKET_LOT_SIZE")
        if quantity * average < self.shown.min_notional:
            raise filter_failure("NOTIONAL")
        return lots

    def check_quote_quantity(self, quote: Decimal) -> None:
        """A market order by quote quantity.

        Raises:
            Refused: -1013, naming the filter.
        """
        if not self.shown.min_notional <= quote <= MOST_LIMIT_NOTIONAL:
            raise filter_failure("NOTIONAL")

    def check_counts(self, new: NewOrder, resting: int, waiting: int) -> None:
        """How many orders the account has open on the symbol.

        Raises:
            Refused: -1013, naming the filter.
        """
        if new.type != "MARKET" and resting >= MOST_OPEN_ORDERS:
            raise filter_failure("MAX_NUM_ORDERS")
        if new.type in WAITING_TYPES and waiting >= MOST_WAITING_ORDERS:
            raise filter_failure("MAX_NUM_ALGO_ORDERS")

    def _ticks(self, price: Decimal) -> int:
        tick = self.shown.price_tick
        if price % tick or not tick <= price <= MOST_PRICE:
            raise filter_failure("PRICE_FILTER")
        return int(price / self.instrument.price_tick)

    def _lots(self, quantity: Decimal) -> int:
        lots = quantity / self.instrument.quantity_step
        if quantity % self.shown.quantity_step or quantity < self.shown.min_quantity or lots > MOST_LOTS:
            raise filter_failure("LOT_SIZE")
        return int(lots)

    def _iceberg(self, new: NewOrder) -> int:
        if new.iceberg is None or new.quantity is None:
            return 0
        if new.iceberg > new.quantity:
            raise Refused(-2010, "IcebergQty exceeds QTY.")
        lots = self._lots(new.iceberg)
        if -(-new.quantity // new.iceberg) > MOST_ICEBERG_PARTS:
            raise filter_failure("ICEBERG_PARTS")
        return lots

    @staticmethod
    def _check_trigger(new: NewOrder, stop: Decimal, last: Decimal) -> None:
        """A stop waits on the losing side of the last price, a take-profit on the winning one."""
        above = (new.side == BUY) == new.type.startswith("STOP")
        if stop <= last if above else stop >= last:
            raise Refused(-2010, "Order would trigger immediately.")

    @staticmethod
    def _check_trailing(delta: int) -> None:
        low, high = TRAILING_DELTA
        if not low <= delta <= high:
            raise filter_failure("TRAILING_DELTA")

    def describe(self) -> list[dict[str, object]]:
        """As exchangeInfo shows them."""
        rules, low, high = self.shown, _text(PRICE_BAND[0]), _text(PRICE_BAND[1])
        most, most_market = MOST_LOTS * rules.quantity_step, MOST_MARKET_LOTS * rules.quantity_step
        least_delta, most_delta = TRAILING_DELTA
        return [
            {
                "filterType": "PRICE_FILTER", "minPrice": _text(rules.price_tick), "maxPrice": _text(MOST_PRICE),
                "tickSize": _text(rules.price_tick),
            },
            {
                "filterType": "LOT_SIZE", "minQty": _text(rules.min_quantity), "maxQty": _text(most),
                "stepSize": _text(rules.quantity_step),
            },
            {"filterType": "ICEBERG_PARTS", "limit": MOST_ICEBERG_PARTS},
            {
                "filterType": "MARKET_LOT_SIZE", "minQty": _text(Decimal(0)), "maxQty": _text(most_market),
                "stepSize": _text(Decimal(0)),
            },
            {
                "filterType": "TRAILING_DELTA", "minTrailingAboveDelta": least_delta,
                "maxTrailingAboveDelta": most_delta, "minTrailingBelowDelta": least_delta,
                "maxTrailingBelowDelta": most_delta,
            },
            {
                "filterType": "PERCENT_PRICE_BY_SIDE", "bidMultiplierUp": high, "bidMultiplierDown": low,
                "askMultiplierUp": high, "askMultiplierDown": low, "avgPriceMins": AVERAGE_MINUTES,
            },
            {
                "filterType": "NOTIONAL", "minNotional": _text(rules.min_notional), "applyMinToMarket": True,
                "maxNotional": _text(MOST_LIMIT_NOTIONAL), "applyMaxToMarket": False, "avgPriceMins": AVERAGE_MINUTES,
            },
            {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": MOST_OPEN_ORDERS},
            {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": MOST_WAITING_ORDERS},
            {"filterType": "MAX_NUM_ORDER_AMENDS", "maxNumOrderAmends": MOST_AMENDS},
        ]  # fmt: skip


def _text(value: Decimal) -> str:
    return f"{value:.8f}"


def exchange_info(filters: list[Filters], server_time_ms: int, status: list[str]) -> dict[str, object]:
    """The answer to `GET /api/v3/exchangeInfo` for these symbols and their statuses."""
    return {
        "timezone": "UTC",
        "serverTime": server_time_ms,
        "rateLimits": [
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000},
            {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 100},
            {"rateLimitType": "ORDERS", "interval": "DAY", "intervalNum": 1, "limit": 200000},
        ],
        "exchangeFilters": [],
        "symbols": [_symbol(one, word) for one, word in zip(filters, status, strict=True)],
    }


def _symbol(filters: Filters, status: str) -> dict[str, object]:
    instrument = filters.instrument
    return {
        "symbol": instrument.venue_symbol, "status": status,
        "baseAsset": instrument.base, "baseAssetPrecision": 8,
        "quoteAsset": instrument.quote, "quotePrecision": 8, "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8, "quoteCommissionPrecision": 8,
        "orderTypes": list(TYPES),
        "icebergAllowed": True, "ocoAllowed": False, "otoAllowed": False, "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": True, "cancelReplaceAllowed": True, "amendAllowed": True,
        "isSpotTradingAllowed": True, "isMarginTradingAllowed": False,
        "filters": filters.describe(), "permissions": [], "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "NONE", "allowedSelfTradePreventionModes": list(SELF_TRADE_PREVENTION),
    }  # fmt: skip
