"""One client for every source: pace, retries with jitter, Retry-After, pages that go on where a killed run stopped.

What it reports never holds a key: a request is told without it, and a source's own words are stripped of it.
"""

import email.utils
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import orjson
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from lake.errors import BadInput, BitacoraError, CredentialsRefused, RateLimited, Unavailable
from lake.intervals import SECOND, Interval
from lake.sources.settings import SourceSettings
from lake.sources.source import Answer, Request, Source

ATTEMPTS = 6
PATIENCE_SECONDS = 120.0
"""A source that asks for a longer pause is left alone: the job ends with 75 and comes back later."""
MOST_BYTES = 64 * 2**20
"""Of one answer."""

logging.getLogger("httpx").setLevel(logging.WARNING)  # at INFO it writes whole addresses, keys in parameters included

_jitter = wait_random_exponential(multiplier=0.25, max=20)


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
            Unavailable: no answer in six tries, or the request is refused.
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
            raise Unavailable(said + ". The request is refused: are the entity and the interval right?")

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


@dataclass
class Cursor:
    """What an unfinished conversation was told so far: a file per source and entity, gone when it is stored.

    A run that was killed plays these answers back to `pages` and asks for the rest only.
    """

    path: Path
    interval: Interval
    _told: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def open(cls, folder: Path, source: Source, entity: str, interval: Interval | None) -> "Cursor | None":
        """The unfinished conversation about an entity, if it is about `interval` (None: whatever it is about)."""
        path = folder / source.name / (quote(entity, safe="") + ".jsonl")
        if not path.exists():
            return None
        lines = path.read_bytes().split(b"\n")[:-1]  # what follows the last line end was cut off by the kill
        if not lines:
            return None
        head, *told = (orjson.loads(line) for line in lines)
        held = Interval(head["start"], head["end"])
        return cls(path, held, told) if interval in (None, held) else None

    @classmethod
    def begin(cls, folder: Path, source: Source, entity: str, interval: Interval) -> "Cursor":
        path = folder / source.name / (quote(entity, safe="") + ".jsonl")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(orjson.dumps({"start": interval.start, "end": interval.end}) + b"\n")
        return cls(path, interval)

    def replay(self, request: Request) -> Answer | None:
        """The answer that was already given to this request, in the order of asking."""
        if self._told and self._told[0]["request"] == request.text():
            told = self._told.pop(0)
            return Answer(told["answer"], told["market_time"])
        self._told.clear()
        return None

    def add(self, request: Request, answer: Answer) -> None:
        line = {"request": request.text(), "answer": answer.text, "market_time": answer.market_time}
        with self.path.open("ab") as stream:
            stream.write(orjson.dumps(line) + b"\n")

    def done(self) -> None:
        self.path.unlink(missing_ok=True)


def converse(client: Client, entity: str, cursor: Cursor) -> Iterator[tuple[Request, Answer]]:
    """Every request about the entity with its answer, those of an earlier, killed run included.

    Raises:
        BadInput: the source's paging does not move on, or an answer does not parse.
    """
    pages, seen = client.source.pages(entity, cursor.interval), set[str]()
    request = next(pages, None)
    while request is not None:
        if request.keep and request.text() in seen:
            raise BadInput(f"{client.source.name}: paging does not move on, asked twice: {request.text():.300}")
        seen.add(request.text())
        answer = cursor.replay(request)
        if answer is None:
            answer = client.ask(request)
            cursor.add(request, answer)
        yield request, answer
        try:
            request = pages.send(answer)
        except StopIteration:
            return
