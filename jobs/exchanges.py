"""An exchange by its ccxt id, asked patiently: what every job that fetches by REST shares."""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from jobs.settings import VenueSettings
from lake.errors import CredentialsRefused, RateLimited, Unavailable, UsageError
from lake.intervals import MILLISECOND, Interval, timeframe_us
from lake.wire.binance import ccxt_client
from lake.wire.binance_futures import ccxt_futures_client
from lake.wire.deribit import ccxt_deribit_client
from lake.wire.feeds import VENUES

ATTEMPTS = 4
PAGE = 1_000
"""Most rows of one request."""
REDIRECTED = {"binance": ccxt_client, "binanceusdm": ccxt_futures_client, "deribit": ccxt_deribit_client}
"""Exchanges whose format is served elsewhere too, at VENUE_REST."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One exchange; its client keeps the pace."""

    id: str
    client: Any
    address: str
    market_clock: bool
    """Its time is not the wall's: what it tells is the clock."""

    @property
    def venue(self) -> str:
        """Its name in instrument ids."""
        return VENUES.get(self.id, self.id)

    def ask(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Call one of ccxt's methods; raises as `patiently` does."""
        return patiently(lambda: getattr(self.client, method)(*arguments, **options), self.id, self.address)

    def symbol(self, name: str) -> str:
        """The exchange's symbol of an instrument id; ccxt's markets must be loaded.

        Raises:
            UsageError: it trades no such instrument.
        """
        venue, _, symbol = name.partition(":")
        if venue != self.venue or symbol not in self.client.markets:
            raise UsageError(
                f"unknown instrument {name!r}: {self.id} trades no such instrument; "
                f"expected {self.venue}:BASE/QUOTE[:SETTLE]."
            )
        return symbol


def exchange(name: str, settings: VenueSettings) -> Exchange:
    """Raises:
    UsageError: ccxt knows no such exchange, or its format is not served elsewhere.
    """
    import ccxt

    if name not in ccxt.exchanges:
        raise UsageError(f"--venue {name}: expected a ccxt id such as binance, kraken, okx or bybit.")
    if settings.rest and name not in REDIRECTED:
        raise UsageError(f"VENUE_REST is set, and only {', '.join(REDIRECTED)} can be asked there, not {name}.")
    made = REDIRECTED[name](settings.rest) if name in REDIRECTED else getattr(ccxt, name)({"enableRateLimit": True})
    if settings.requests_per_second:
        made.rateLimit = 1000 / settings.requests_per_second
    return Exchange(name, made, settings.rest or "its own address", bool(settings.rest))


def exchange_of(instrument: str) -> str:
    """The ccxt id that trades an instrument: `binance:BTC/USDT:USDT` is of `binanceusdm`."""
    venue, _, symbol = instrument.partition(":")
    base, _, settle = symbol.partition(":")
    if not settle or venue not in VENUES.values():
        return venue
    if venue == "binance":
        return "binanceusdm" if base.endswith("/" + settle.split("-")[0]) else "binancecoinm"
    return next(name for name, shared in VENUES.items() if shared == venue)


def patiently(ask: Callable[[], Any], name: str, address: str) -> Any:
    """Call the venue, waiting with jitter between tries, and say its failure in our own words.

    Raises:
        Unavailable: it did not answer in four tries, or refused the request.
        RateLimited: it asked us to stop.
        CredentialsRefused: it refused the key.
    """
    import ccxt

    for attempt in range(ATTEMPTS):
        try:
            return ask()
        except (ccxt.RateLimitExceeded, ccxt.DDoSProtection) as error:
            raise RateLimited(f"{name} at {address} asked us to slow down: {error}. Try again in a minute.") from None
        except (ccxt.AuthenticationError, ccxt.PermissionDenied) as error:
            raise CredentialsRefused(
                f"{name} at {address} refused the key: {error}. Check it and its rights."
            ) from None
        except ccxt.NetworkError as error:
            if attempt == ATTEMPTS - 1:
                raise Unavailable(
                    f"{name} at {address} did not answer {ATTEMPTS} times: {type(error).__name__}. "
                    "Is it running, and is VENUE_REST right?"
                ) from None
            time.sleep(random.uniform(0.5, 1.0) * 0.4 * 2**attempt)
        except ccxt.ExchangeError as error:
            raise Unavailable(f"{name} at {address} refused the request: {error}.") from None
    raise AssertionError("unreachable")


def ohlcv_pages(
    asked: Exchange, symbol: str, timeframe: str, span: Interval, most: int = PAGE
) -> Iterator[list[list[Any]]]:
    """Pages of ccxt's `[ms, open, high, low, close, volume]` in time order, open times in the span, each bar once.

    Bars the exchange does not have are absent. ccxt's markets must be loaded.
    """
    step, at = timeframe_us(timeframe), span.start
    most = min(most, asked.client.feature_value(symbol, "fetchOHLCV", "limit", PAGE) or PAGE)
    while at < span.end:
        limit = min(most, -(-(span.end - at) // step))
        rows = asked.ask("fetch_ohlcv", symbol, timeframe, -(-at // MILLISECOND), limit)
        kept = [row for row in rows if at <= row[0] * MILLISECOND < span.end]
        if kept:
            yield kept
        if not kept and rows and rows[0][0] * MILLISECOND >= span.end:
            return
        # Without a bar in a whole page: some exchanges look no further than a page ahead.
        at = kept[-1][0] * MILLISECOND + step if kept else at + limit * step
