"""One client for every source: pace, retries with jitter, Retry-After.

What it reports never holds a key: a request is told without it, and a source's own words are stripped of it.
"""

import email.utils
import logging
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from lake.errors import BadInput, BitacoraError, CredentialsRefused, RateLimited, Unavailable
from lake.intervals import SECOND
from lake.sources.settings import SourceSettings
from lake.sources.source import Answer, Request, Source

ATTEMPTS = 6
PATIENCE_SECONDS = 120.0
"""A source that asks for a longer pause is left alone: the job ends with 75 and comes back later."""
MOST_BYTES = 64 * 2**20
"""Of one answer."""

logging.getLogger("httpx").setLevel(logging.WARNING)  # at INFO it writes whole addresses, keys in parameters included

_jitter = wait_random_exponential(multiplier=0.25, max=20)


class Refused(Unavailable):
    """The source answered and said no: asking the same again cannot help."""


class _Again(Exception):
    """This try failed and another one may not."""

    def __init__(self, error: BitacoraError, after_seconds: float | None = None) -> None:
        self.error, self.after_seconds = error, after_seconds


def _wait(state: RetryCallState) -> float:
    """What the source asked for, else exponential with full jitter."""
    failure = state.outcome.exception() if state.outcome else None
    asked = failure.after_seconds if isinstance(failure, _Again) else None
    return asked if asked is not None else _jitter(state)


@dataclass
class Client:
    """Asks one source."""

    source: Source
    settings: SourceSettings
    timeout_seconds: float = 30.0
    _next: float = 0.0
    """Monotonic time before which nothing is sent."""

    def __post_init__(self) -> None:
        self._address = self.settings.address(self.source)
        key = self.settings.key.get_secret_value()
        auth = self.source.authorize(key, self._address) if self.source.authorize else _KeyAuth(self.source, key)
        self._http = httpx.Client(auth=auth, timeout=self.timeout_seconds, headers={"User-Agent": "bitacora"})

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def ask(self, request: Request) -> Answer:
        """One answer; tries again where the failure may pass.

        Raises:
            RateLimited: the source asks for a pause beyond our patience, or again and again.
            CredentialsRefused: the key is refused.
            Unavailable: no answer in six tries.
            Refused: the source says no to this request.
        """
        if request.wait_seconds:
            time.sleep(request.wait_seconds)
        retrying = Retrying(
            stop=stop_after_attempt(ATTEMPTS), wait=_wait, retry=retry_if_exception_type(_Again), reraise=True
        )
        try:
            return retrying(self._once, request)
        except _Again as last:
            raise last.error from None

    def now(self) -> int:
        """The source's clock, µs: the wall clock, or that of the server that stands in for it."""
        if not self.settings.url:
            return time.time_ns() // 1000
        try:
            return _clock(self._http.head(self._address + "/"))
        except httpx.HTTPError as error:
            raise Unavailable(self._said("/", f"no answer ({type(error).__name__}). Is it running?")) from None

    def _once(self, request: Request) -> Answer:
        self._pace()
        try:
            with self._http.stream(
                request.verb, self._address + request.path, params=dict(request.params), json=request.body
            ) as response:
                text = self._read(response, request)
        except httpx.TransportError as error:
            raise _Again(Unavailable(self._said(request.path, f"no whole answer ({type(error).__name__})"))) from None
        self._judge(response, text, request)
        return Answer(self._hidden(text), _clock(response))

    def _read(self, response: httpx.Response, request: Request) -> str:
        body = bytearray()
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > MOST_BYTES:
                raise BadInput(self._said(request.path, f"an answer over {MOST_BYTES >> 20} MiB. Ask for less"))
        return body.decode(response.charset_encoding or "utf-8", errors="replace")

    def _judge(self, response: httpx.Response, text: str, request: Request) -> None:
        status, said = response.status_code, self._said(request.path, f"HTTP {response.status_code}: {text[:200]}")
        if status == 429 or (status == 503 and "retry-after" in response.headers):
            pause = _retry_after(response)
            error = RateLimited(said + ". Try again later or lower the pace")
            if pause is not None and pause > PATIENCE_SECONDS:
                raise error
            raise _Again(error, pause)
        if status in (401, 403):
            raise CredentialsRefused(said + f". Check SOURCES_{self.source.name.upper()}_KEY and its rights")
        if status >= 500 or status == 408:
            raise _Again(Unavailable(said))
        if status != 200:
            raise Refused(said + ". The request is refused: are the entity and the interval right?")

    def _pace(self) -> None:
        """Keep the declared distance between two requests."""
        time.sleep(max(0.0, self._next - time.monotonic()))
        self._next = time.monotonic() + self.settings.pace_seconds(self.source)

    def _said(self, path: str, what: str) -> str:
        text = f"{self.source.name} at {self._address}{path}: {what}"
        return self._hidden(text)

    def _hidden(self, text: str) -> str:
        """Without the key: some sources say it back, e.g. in the address of the next page."""
        key = self.settings.key.get_secret_value()
        return text.replace(key, "***").replace(quote(key, safe=""), "***") if key else text


class _KeyAuth(httpx.Auth):
    """Puts the key where the source's declaration says, after the request is told: no log or cursor sees it."""

    def __init__(self, source: Source, key: str) -> None:
        self._how, self._key = source.key, key

    def auth_flow(self, request: httpx.Request) -> Any:
        if self._how and self._key:
            if self._how.header:
                request.headers[self._how.header] = self._how.prefix + self._key
            if self._how.param:
                request.url = request.url.copy_merge_params({self._how.param: self._key})
        yield request


def _clock(response: httpx.Response) -> int:
    """The Date header, µs; our own clock where there is none or it cannot be read."""
    try:
        return int(email.utils.parsedate_to_datetime(response.headers["date"]).timestamp()) * SECOND
    except (KeyError, ValueError):
        return time.time_ns() // 1000


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds, or the time until a date by the source's own clock; None where it is not told."""
    told = response.headers.get("retry-after", "").strip()
    if told.replace(".", "", 1).isdigit():
        return float(told)
    try:
        until = email.utils.parsedate_to_datetime(told).timestamp()
    except ValueError:
        return None
    return max(0.0, until - _clock(response) / SECOND)
