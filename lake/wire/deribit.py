"""Deribit's wire format of options, and ccxt's client of it, on the real venue or on another host.

Prices of options are in coin, as floats: Deribit sends JSON numbers. Times are UTC microseconds.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from lake.errors import BadInput
from lake.intervals import MILLISECOND
from lake.wire.binance import redirect_ccxt, refuse_foreign_urls

_NAME = re.compile(
    r"(?P<coin>[A-Z]+)-(?P<expiry>\d{1,2}[A-Z]{3}\d{2})-(?P<strike>\d+(?:d\d+)?)-(?P<kind>[CP])", re.ASCII
)
OPTIONS = {"fetchMarkets": {"fetchAllMarkets": True}}


@dataclass(frozen=True, slots=True)
class OptionName:
    """What an instrument name says."""

    coin: str
    expiry: int
    """µs: 08:00 UTC of the day."""
    strike: float
    is_call: bool


@dataclass(frozen=True, slots=True)
class OptionSummary:
    """A row of `get_book_summary_by_currency`; prices in coin, None where there is none."""

    instrument_name: str
    time: int
    underlying_price: float
    """Dollars: the forward of the expiry."""
    mark_price: float
    mark_iv: float | None
    """Percent a year; older recordings have none."""
    bid_price: float | None
    ask_price: float | None
    open_interest: float
    volume: float


def option_name(text: str) -> OptionName:
    """Take an instrument name apart, e.g. BTC-27DEC24-100000-C.

    Raises:
        BadInput: not the name of an option.
    """
    found = _NAME.fullmatch(text)
    try:
        if found is None:
            raise ValueError("expected COIN-DMMMYY-STRIKE-C or -P")
        day = datetime.strptime(found["expiry"].title(), "%d%b%y").replace(hour=8, tzinfo=UTC)
    except ValueError as error:
        raise BadInput(f"not a Deribit option: {text!r:.80}: {error}") from None
    strike = float(found["strike"].replace("d", "."))
    return OptionName(found["coin"], int(day.timestamp()) * 1_000_000, strike, found["kind"] == "C")


def option_summary(row: dict[str, Any]) -> OptionSummary:
    """Read a row of get_book_summary_by_currency.

    Raises:
        BadInput: the row has another shape.
    """
    try:
        return OptionSummary(
            row["instrument_name"], int(row["creation_timestamp"]) * MILLISECOND, float(row["underlying_price"]),
            float(row["mark_price"]), _number(row.get("mark_iv")), _number(row["bid_price"]),
            _number(row["ask_price"]), float(row["open_interest"]), float(row["volume"]),
        )  # fmt: skip
    except (LookupError, TypeError, ValueError) as error:
        raise BadInput(f"not a Deribit book summary: {row!r:.200}: {error}") from None


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def ccxt_deribit_client(rest: str, ws: str = "", api_key: str = "", secret: str = "", **config: Any) -> Any:
    """A blocking `ccxt.deribit`. Empty `rest` leaves the real venue's addresses as ccxt ships them."""
    import ccxt

    return _client(ccxt.deribit, rest, ws, api_key, secret, config)


def _client(client_class: Any, rest: str, ws: str, api_key: str, secret: str, config: dict[str, Any]) -> Any:
    keys = {"apiKey": api_key, "secret": secret, "enableRateLimit": True}
    if not rest:
        return client_class({**keys, **config})
    ws = ws or "ws" + rest.removeprefix("http")
    redirected = redirect_ccxt(rest, ws, client_class)
    client = client_class({"urls": redirected["urls"], "options": OPTIONS, **keys, **config})
    refuse_foreign_urls(client.urls, rest, ws)
    return client
