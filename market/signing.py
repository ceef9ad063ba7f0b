"""Who is asking: API keys, HMAC-SHA256 signatures and the receive window, judged by the wall clock as Binance does."""

import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from urllib.parse import parse_qsl

from market.errors import Refused, illegal, missing
from market.orders import Account

WALL_MS: ContextVar[Callable[[], int]] = ContextVar("wall_ms", default=lambda: time.time_ns() // 1_000_000)
"""The wall clock of the venue that serves this request; a venue's clock may be off (`market.faults`)."""
DEFAULT_WINDOW_MS, MOST_WINDOW_MS, AHEAD_MS = 5_000, 60_000, 1_000


def wall_ms() -> int:
    """Milliseconds of the venue's wall clock."""
    return WALL_MS.get()()


def signature(secret: str, payload: str) -> str:
    """HMAC-SHA256 in hex."""
    return hmac.new(secret.encode(), payload.encode(), hashlib.sha256).hexdigest()


def account_of(accounts: Mapping[str, Account], api_key: str | None) -> Account:
    """The account of a key.

    Raises:
        Refused: -2014 without a key, -2015 for one that is not ours.
    """
    if not api_key:
        raise Refused(-2014, "API-key format invalid.", 401)
    try:
        return accounts[api_key]
    except KeyError:
        raise Refused(-2015, "Invalid API-key, IP, or permissions for action.", 401) from None


def check_time(parameters: Mapping[str, str], now_ms: int) -> None:
    """Check `timestamp` and `recvWindow` against the wall clock.

    Raises:
        Refused: -1021 outside the window, -1102 or -1100 where a parameter does not read.
    """
    sent = _whole(parameters, "timestamp")
    if sent is None:
        raise missing("timestamp")
    window = _whole(parameters, "recvWindow")
    if window is not None and window > MOST_WINDOW_MS:
        raise Refused(-1131, "recvWindow must be less than 60000")
    if sent >= now_ms + AHEAD_MS:
        raise Refused(-1021, f"Timestamp for this request was {AHEAD_MS}ms ahead of the server's time.")
    if now_ms - sent > (DEFAULT_WINDOW_MS if window is None else window):
        raise Refused(-1021, "Timestamp for this request is outside of the recvWindow.")


def check_request(account: Account, query: str, body: str, now_ms: int) -> dict[str, str]:
    """Verify a signed REST request over its raw query and body; returns all parameters but the signature.

    Raises:
        Refused: the time or the signature is missing or wrong.
    """
    signed, given = "", ""
    for part in (query, body):
        pairs = part.split("&") if part else []
        given = next((p[10:] for p in pairs if p.startswith("signature=")), given)
        signed += "&".join(p for p in pairs if not p.startswith("signature="))
    parameters = dict(parse_qsl(query, keep_blank_values=True) + parse_qsl(body, keep_blank_values=True))
    parameters.pop("signature", None)
    _check(account, signed, given, parameters, now_ms)
    return parameters


def check_message(account: Account, parameters: Mapping[str, object], now_ms: int) -> None:
    """Verify a WebSocket API request: the signature is over all other parameters sorted by name.

    Raises:
        Refused: the time or the signature is missing or wrong.
    """
    texts = {name: str(value) for name, value in parameters.items()}
    given = texts.pop("signature", "")
    _check(account, "&".join(f"{name}={texts[name]}" for name in sorted(texts)), given, texts, now_ms)


def _check(account: Account, signed: str, given: str, parameters: Mapping[str, str], now_ms: int) -> None:
    if not given:
        raise missing("signature")
    check_time(parameters, now_ms)
    if not hmac.compare_digest(signature(account.api_secret, signed).encode(), given.encode()):
        raise Refused(-1022, "Signature for this request is not valid.")


def _whole(parameters: Mapping[str, str], name: str) -> int | None:
    text = parameters.get(name)
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise illegal(name, "^[0-9]{1,20}$")
    return int(text)
