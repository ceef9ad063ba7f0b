"""What an order must satisfy per symbol: Binance's filters, enforced with its words, and shown in exchangeInfo."""

from dataclasses import dataclass
from decimal import Decimal

from lake.instruments import Instrument
from market.errors import filter_failure

MOST_PRICE = Decimal(1_000_000)
MOST_LIMIT_NOTIONAL = Decimal(9_000_000)
"""Bounds quantity × price far below what 64 bits hold."""
MOST_LOTS, MOST_MARKET_LOTS = 900_000_000, 100_000_000
PRICE_BAND = (Decimal("0.2"), Decimal(5))
"""A limit price may lie between these multiples of the average price."""
AVERAGE_MINUTES = 5
MOST_OPEN_ORDERS = 200


@dataclass(frozen=True, slots=True)
class Filters:
    """The filters of one symbol; all comparisons are exact."""

    instrument: Instrument

    def check_limit(self, side: int, price: Decimal, quantity: Decimal, average: Decimal) -> tuple[int, int]:
        """Ticks and lots of a limit order.

        Raises:
            Refused: -1013, naming the filter.
        """
        ticks = price / self.instrument.price_tick
        if ticks != int(ticks) or not self.instrument.price_tick <= price <= MOST_PRICE:
            raise filter_failure("PRICE_FILTER")
        lots = self._lots(quantity)
        low, high = PRICE_BAND
        if not average * low <= price <= average * high:
            raise filter_failure("PERCENT_PRICE_BY_SIDE")
        if not self.instrument.min_notional <= price * quantity <= MOST_LIMIT_NOTIONAL:
            raise filter_failure("NOTIONAL")
        return int(ticks), lots

    def check_market(self, quantity: Decimal, average: Decimal) -> int:
        """Lots of a market order by quantity.

        Raises:
            Refused: -1013, naming the filter.
        """
        lots = self._lots(quantity)
        if lots > MOST_MARKET_LOTS:
            raise filter_failure("MARKET_LOT_SIZE")
        if quantity * average < self.instrument.min_notional:
            raise filter_failure("NOTIONAL")
        return lots

    def check_quote_quantity(self, quote: Decimal) -> None:
        """A market order by quote quantity.

        Raises:
            Refused: -1013, naming the filter.
        """
        if not self.instrument.min_notional <= quote <= MOST_LIMIT_NOTIONAL:
            raise filter_failure("NOTIONAL")

    def _lots(self, quantity: Decimal) -> int:
        lots = quantity / self.instrument.quantity_step
        if lots != int(lots) or quantity < self.instrument.min_quantity or lots > MOST_LOTS:
            raise filter_failure("LOT_SIZE")
        return int(lots)

    def describe(self) -> list[dict[str, object]]:
        """As exchangeInfo shows them."""
        instrument, low, high = self.instrument, _text(PRICE_BAND[0]), _text(PRICE_BAND[1])
        most, most_market = MOST_LOTS * instrument.quantity_step, MOST_MARKET_LOTS * instrument.quantity_step
        return [
            {
                "filterType": "PRICE_FILTER", "minPrice": _text(instrument.price_tick), "maxPrice": _text(MOST_PRICE),
                "tickSize": _text(instrument.price_tick),
            },
            {
                "filterType": "LOT_SIZE", "minQty": _text(instrument.min_quantity), "maxQty": _text(most),
                "stepSize": _text(instrument.quantity_step),
            },
            {
                "filterType": "MARKET_LOT_SIZE", "minQty": _text(Decimal(0)), "maxQty": _text(most_market),
                "stepSize": _text(Decimal(0)),
            },
            {
                "filterType": "PERCENT_PRICE_BY_SIDE", "bidMultiplierUp": high, "bidMultiplierDown": low,
                "askMultiplierUp": high, "askMultiplierDown": low, "avgPriceMins": AVERAGE_MINUTES,
            },
            {
                "filterType": "NOTIONAL", "minNotional": _text(instrument.min_notional), "applyMinToMarket": True,
                "maxNotional": _text(MOST_LIMIT_NOTIONAL), "applyMaxToMarket": False, "avgPriceMins": AVERAGE_MINUTES,
            },
            {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": MOST_OPEN_ORDERS},
        ]  # fmt: skip


def _text(value: Decimal) -> str:
    return f"{value:.8f}"


def exchange_info(filters: list[Filters], server_time_ms: int, trading: bool) -> dict[str, object]:
    """The answer to `GET /api/v3/exchangeInfo` for these symbols."""
    return {
        "timezone": "UTC",
        "serverTime": server_time_ms,
        "rateLimits": [
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000},
            {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 100},
            {"rateLimitType": "ORDERS", "interval": "DAY", "intervalNum": 1, "limit": 200000},
        ],
        "exchangeFilters": [],
        "symbols": [_symbol(one, trading) for one in filters],
    }


def _symbol(filters: Filters, trading: bool) -> dict[str, object]:
    instrument = filters.instrument
    return {
        "symbol": instrument.venue_symbol, "status": "TRADING" if trading else "BREAK",
        "baseAsset": instrument.base, "baseAssetPrecision": 8,
        "quoteAsset": instrument.quote, "quotePrecision": 8, "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8, "quoteCommissionPrecision": 8,
        "orderTypes": ["LIMIT", "MARKET"],
        "icebergAllowed": False, "ocoAllowed": False, "otoAllowed": False, "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": False, "cancelReplaceAllowed": False, "amendAllowed": False,
        "isSpotTradingAllowed": True, "isMarginTradingAllowed": False,
        "filters": filters.describe(), "permissions": [], "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "NONE", "allowedSelfTradePreventionModes": ["NONE"],
    }  # fmt: skip
