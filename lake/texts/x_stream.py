"""X API v2, filtered stream: posts as they are written, one JSON line each, over one long request.

POST /2/tweets/search/stream/rules sets what to send, GET /2/tweets/search/stream sends it; an empty line at least every
20 seconds says that the line is alive. A stream that ends, breaks or falls silent is opened again after a pause, which
grows as X asks: in steps of 250 ms up to 16 s after a broken connection, doubling from 5 s up to 320 s after an HTTP
error, doubling from a minute after 429. What was missed in between is what `x.py`, the search, finds.
"""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from lake.errors import CredentialsRefused
from lake.sources.settings import SourceSettings
from lake.sources.source import Raw, Request
from lake.sources.x import FIELDS, QUERIES, SOURCE
from lake.texts.text import Text, text_time

STREAM = "x_stream"
"""Name of the source in bronze."""
PATH = "/2/tweets/search/stream"
SILENCE_SECONDS = 25.0
"""Longest time without even an empty line: X sends one every 20 s."""

logger = logging.getLogger(__name__)


def streamed(raw: Raw) -> Iterator[Text]:
    """The parser of one line; X's notices of errors hold no text."""
    told = raw.json()
    if "data" in told:
        tags = ",".join(sorted(rule["tag"] for rule in told.get("matching_rules", [])))
        yield Text(f"stream/{tags}", "post", text_time(told["data"]["created_at"]), "", told["data"]["text"])


def request_text(path: str, params: dict[str, str]) -> str:
    """The request as bronze keeps it."""
    return Request("stream", path, params).text()


@dataclass
class Backoff:
    """The pause before the next try, by what went wrong; a line that arrives resets it."""

    pause: float = 0.0
    scale: float = 1.0
    """Of all pauses; 1 as X asks."""

    def broken(self) -> float:
        self.pause = min(self.pause + 0.25 * self.scale, 16.0 * self.scale)
        return self.pause

    def refused(self, status: int) -> float:
        first, most = (60.0, 960.0) if status == 429 else (5.0, 320.0)
        self.pause = min(max(2 * self.pause, first * self.scale), most * self.scale)
        return self.pause


@dataclass
class Stream:
    """Lines of the stream, for as long as they are asked for."""

    settings: SourceSettings
    silence_seconds: float = SILENCE_SECONDS
    backoff: Backoff = field(default_factory=Backoff)
    sleep: Callable[[float], None] = time.sleep
    connections: int = 0
    """How often the stream was opened."""

    def set_rules(self, assets: tuple[str, ...] = tuple(QUERIES)) -> None:
        """Make the account's rules one per asset, tagged with it; those that stand already are left alone.

        Raises:
            CredentialsRefused: the key is refused.
        """
        wanted = {asset: QUERIES[asset] for asset in assets}
        with self._client() as http:
            standing = _told(http.get(PATH + "/rules")).get("data", [])
            stale = [rule["id"] for rule in standing if wanted.get(rule.get("tag")) != rule["value"]]
            held = {rule["tag"] for rule in standing if wanted.get(rule.get("tag")) == rule["value"]}
            if stale:
                _told(http.post(PATH + "/rules", json={"delete": {"ids": stale}}))
            new = [{"value": query, "tag": asset} for asset, query in wanted.items() if asset not in held]
            if new:
                _told(http.post(PATH + "/rules", json={"add": new}))

    def lines(self) -> Iterator[str]:
        """Every line as received; "" for a sign of life, and for a pause before the stream is opened again.

        Raises:
            CredentialsRefused: the key is refused.
        """
        import httpx

        while True:
            try:
                yield from self._connection()
                pause = self.backoff.broken()
            except httpx.HTTPStatusError as error:
                pause = self.backoff.refused(error.response.status_code)
            except httpx.TransportError:
                pause = self.backoff.broken()
            logger.info("the stream ended; again in %.1f s", pause)
            yield ""
            self.sleep(pause)

    def _connection(self) -> Iterator[str]:
        with self._client() as http, http.stream("GET", PATH, params=FIELDS) as response:
            self.connections += 1
            _checked(response)
            for line in response.iter_lines():
                self.backoff.pause = 0.0
                yield str(line).strip()

    def _client(self) -> Any:
        import httpx

        key = self.settings.key.get_secret_value()
        timeout = httpx.Timeout(10.0, read=self.silence_seconds)
        address = self.settings.address(SOURCE)
        return httpx.Client(base_url=address, headers={"Authorization": f"Bearer {key}"}, timeout=timeout)


def _checked(response: Any) -> None:
    if response.status_code in (401, 403):
        raise CredentialsRefused(f"x: HTTP {response.status_code} at {PATH}. Check SOURCES_X_KEY and its access level.")
    response.raise_for_status()


def _told(response: Any) -> dict[str, Any]:
    _checked(response)
    told: dict[str, Any] = orjson.loads(response.content)
    return told
