"""Binance's USDⓈ-M wire format, and ccxt's clients of it, on the real venue or on another host.

Prices, rates and quantities stay the venue's decimal text; times are UTC microseconds.
"""

from dataclasses import dataclass
from typing import Any

from lake.errors import BadInput
from lake.intervals import MILLISECOND
from lake.wire.binance import redirected_client

OPTIONS = {
    "defaultType": "swap",
    "defaultSubType": "linear",
    "fetchMarkets": {"types": ["linear"]},
    "fetchCurrencies": False,
    "fetchMargins": False,
}
"""Keep `load_markets` to the one address that an exchange with derivatives serves."""


@dataclass(frozen=True, slots=True)
class FundingRate:
    """One payment between longs and shorts."""

    symbol: str
    time: int
    rate: str
    """Share of the position's notional that longs pay; below zero shorts pay."""
    mark_price: str
    """Empty where the venue sent none, as it did before October 2023."""


@dataclass(frozen=True, slots=True)
class MarkPrice:
    """A mark price and what goes with it; `funding_rate` is the running period's estimate, empty for dated futures."""

    symbol: str
    time: int
    mark_price: str
    index_price: str
    funding_rate: str
    next_funding: int
    """0 for dated futures."""


@dataclass(frozen=True, slots=True)
class OpenInterest:
    symbol: str
    time: int
    quantity: str
    """Base."""
    value: str
    """Quote; empty where the endpoint tells none."""


@dataclass(frozen=True, slots=True)
class Liquidation:
    """A position that the venue closes."""

    symbol: str
    time: int
    side: str
    """BUY or SELL: of the order that closes it."""
    quantity: str
    price: str
    """The order's limit: the bankruptcy price."""
    average_price: str


def funding_rate_from_rest(row: dict[str, Any]) -> FundingRate:
    """Read a row of GET /fapi/v1/fundingRate.

    Raises:
        BadInput: the row has another shape.
    """
    try:
        time = int(row["fundingTime"]) * MILLISECOND
        return FundingRate(row["symbol"], time, row["fundingRate"], row.get("markPrice", ""))
    except (LookupError, TypeError, ValueError) as error:
        raise BadInput(f"not a Binance funding rate: {row!r:.200}: {error}") from None


def mark_price_from_rest(row: dict[str, Any]) -> MarkPrice:
    """Read a row of GET /fapi/v1/premiumIndex.

    Raises:
        BadInput: the row has another shape.
    """
    try:
        return MarkPrice(
            row["symbol"], int(row["time"]) * MILLISECOND, row["markPrice"], row["indexPrice"],
            row["lastFundingRate"], int(row["nextFundingTime"]) * MILLISECOND,
        )  # fmt: skip
    except (LookupError, TypeError, ValueError) as error:
        raise BadInput(f"not a Binance premium index: {row!r:.200}: {error}") from None


def mark_price_from_frame(frame: dict[str, Any]) -> MarkPrice:
    """Read the event of a `<symbol>@markPrice` stream.

    Raises:
        BadInput: the frame is of another kind or shape.
    """
    try:
        if frame["e"] != "markPriceUpdate":
            raise ValueError(f"expected markPriceUpdate, found {frame['e']}")
        return MarkPrice(
            frame["s"], int(frame["E"]) * MILLISECOND, frame["p"], frame["i"], frame["r"],
            int(frame["T"]) * MILLISECOND,
        )  # fmt: skip
    except (LookupError, TypeError, ValueError) as error:
        raise BadInput(f"not a Binance mark price frame: {frame!r:.200}: {error}") from None


def open_interest_from_rest(row: dict[str, Any]) -> OpenInterest:
    """Read GET /fapi/v1/openInterest, or a row of /futures/data/openInterestHist.

    Raises:
        BadInput: the row has another shape.
    """
    try:
        if "openInterest" in row:
            return OpenInterest(row["symbol"], int(row["time"]) * MILLISECOND, row["openInterest"], "")
        time = int(row["timestamp"]) * MILLISECOND
        return OpenInterest(row["symbol"], time, row["sumOpenInterest"], row["sumOpenInterestValue"])
    except (LookupError, TypeError, ValueError) as error:
        raise BadInput(f"not a Binance open interest: {row!r:.200}: {error}") from None


def liquidation_from_frame(frame: dict[str, Any]) -> Liquidation:
    """Read the event of a `<symbol>@forceOrder` stream.

    Raises:
        BadInput: the frame is of another kind or shape.
    """
    try:
        order = frame["o"]
        return Liquidation(order["s"], int(order["T"]) * MILLISECOND, order["S"], order["q"], order["p"], order["ap"])
    except (LookupError, TypeError, ValueError) as error:
        raise BadInput(f"not a Binance liquidation frame: {frame!r:.200}: {error}") from None


def ccxt_futures_client(rest: str, ws: str = "", api_key: str = "", secret: str = "", **config: Any) -> Any:
    """A blocking `ccxt.binanceusdm`. Empty `rest` leaves the real venue's addresses as ccxt ships them.

    ccxt's own retries stay off: a resent order could be placed twice.
    """
    import ccxt

    return redirected_client(ccxt.binanceusdm, rest, ws, api_key, secret, config, OPTIONS)


def ccxt_futures_pro_client(rest: str, ws: str = "", api_key: str = "", secret: str = "", **config: Any) -> Any:
    """An asynchronous `ccxt.pro.binanceusdm`; else as `ccxt_futures_client`. The caller awaits its `close()`."""
    import ccxt.pro

    return redirected_client(ccxt.pro.binanceusdm, rest, ws, api_key, secret, config, OPTIONS)
