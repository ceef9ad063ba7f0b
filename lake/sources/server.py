"""Every source on loopback, in its own wire format: paging, keys, rate limits and errors included.

A source's address there is `<server>/<source name>`. The numbers are generated (`generated.py`); the clock in the Date
header is the server's, so a server may live in any past. Faults come on demand, drawn from a seed: 429 with
Retry-After, 500, an answer cut off in the middle, a connection that is closed.
"""

import random
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import orjson

from lake.intervals import SECOND
from lake.sources.registry import sources
from lake.sources.source import Call, Refusal, Source

FAULTS = ("limit", "error", "truncate", "close")


@dataclass
class World:
    """What the server knows and how badly it behaves."""

    start: int
    """µs: its clock at the start; it goes on at the pace of ours."""
    fail: float = 0.0
    """Share of requests that meet a fault."""
    seed: int = 0
    per_second: int = 0
    """Requests a source allows per second; 0: any number."""
    retry_after: str = "0"
    keys: Mapping[str, str] = field(default_factory=dict)
    """The one key a source takes; another name takes any."""
    catalogue: Mapping[str, Source] = field(default_factory=sources)
    state: dict[str, dict[str, Any]] = field(default_factory=lambda: defaultdict(dict))
    asked: Counter[str] = field(default_factory=Counter)
    """Requests answered in full, by source and path."""
    faults: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._began, self._random, self._lock = time.monotonic(), random.Random(self.seed), threading.Lock()
        self._recent: dict[str, deque[float]] = defaultdict(deque)

    def now(self) -> int:
        return self.start + int((time.monotonic() - self._began) * SECOND)

    def fault(self, source: str) -> str:
        """The fault this request meets, or nothing."""
        with self._lock:
            recent, at = self._recent[source], time.monotonic()
            while recent and recent[0] < at - 1.0:
                recent.popleft()
            recent.append(at)
            drawn = self._random.choice(FAULTS) if self._random.random() < self.fail else ""
            met = "limit" if self.per_second and len(recent) > self.per_second else drawn
            if met:
                self.faults[met] += 1
            return met

    def reply(self, call: Call, source: Source) -> tuple[int, bytes, str]:
        """Status, body and content type: the source's own words."""
        try:
            with self._lock:
                said = source.answer(call)
        except Refusal as refusal:
            return refusal.status, orjson.dumps(refusal.body), "application/json"
        if isinstance(said, str):
            return 200, said.encode(), "text/plain; charset=utf-8"
        return 200, orjson.dumps(said), "application/json"

    def key_fits(self, source: Source, call: Call) -> bool:
        if source.key is None or source.authorize is not None:
            return True
        given = call.headers.get(source.key.header.lower(), "").removeprefix(source.key.prefix)
        given = given or call.params.get(source.key.param, "")
        expected = self.keys.get(source.name)
        return given == expected if expected is not None else bool(given) or not source.key.needed


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_Server"

    def date_time_string(self, timestamp: float | None = None) -> str:
        return formatdate(self.server.world.now() / SECOND if timestamp is None else timestamp, usegmt=True)

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_HEAD(self) -> None:
        self._send(200, b"", "text/plain")

    def _serve(self) -> None:
        world, address = self.server.world, urlsplit(self.path)
        name, _, path = address.path.lstrip("/").partition("/")
        sent = self.rfile.read(int(self.headers.get("content-length") or 0))
        if name not in world.catalogue:
            return self._send(404, orjson.dumps({"error": f"no source {name!r}"}), "application/json")
        source, headers = world.catalogue[name], {k.lower(): v for k, v in self.headers.items()}
        params = dict(parse_qsl(address.query, keep_blank_values=True))
        call = Call(
            self.command, "/" + unquote(path), params, _body(sent, headers), world.now(), world.state[name], headers
        )
        fault = world.fault(name)
        if fault == "limit":
            return self._send(429, b'{"error":"too many requests"}', "application/json", retry=world.retry_after)
        if fault == "error":
            return self._send(500, b"<html>Internal Server Error</html>", "text/html")
        if fault == "close":
            return self._hang_up()
        if not world.key_fits(source, call):
            return self._send(401, b'{"error":"invalid API key"}', "application/json")
        status, body, kind = world.reply(call, source)
        if fault == "truncate":
            self._send(status, body[: len(body) // 2], kind, length=len(body))
            return self._hang_up()
        world.asked[f"{name}{call.path}"] += status == 200
        return self._send(status, body, kind)

    def _send(self, status: int, body: bytes, kind: str, length: int | None = None, retry: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        if retry:
            self.send_header("Retry-After", retry)
        self.end_headers()
        self.wfile.write(body)

    def _hang_up(self) -> None:
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: an address may hold a key."""


def _body(sent: bytes, headers: Mapping[str, str]) -> Any:
    if not sent:
        return None
    text = sent.decode("utf-8", errors="replace")
    return orjson.loads(sent) if "json" in headers.get("content-type", "") else dict(parse_qsl(text))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int, world: World) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.world = world

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def serve(world: World, port: int = 0) -> Iterator[str]:
    """Run the server in a thread; yields its address."""
    server = _Server(port, world)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.url
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
