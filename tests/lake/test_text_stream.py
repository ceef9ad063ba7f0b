"""X's filtered stream against a server that breaks, refuses and falls silent; and the job that stores its lines."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from typing import Any

import polars as pl
import pytest
from pydantic import SecretStr

from lake.errors import CredentialsRefused
from lake.intervals import parse_time
from lake.sources.settings import SourceSettings
from lake.sources.source import Raw
from lake.sources.x import QUERIES
from lake.storage import Lake
from lake.tables import RAW_ANSWERS
from lake.texts.rows import candidates
from lake.texts.x_stream import Backoff, Stream, streamed
from tests.lake_fixtures import RunJob


def post(number: int) -> dict[str, Any]:
    data = {"id": str(number), "text": f"Bitcoin note {number}", "created_at": "2024-01-31T12:00:00.000Z"}
    return {"data": data, "matching_rules": [{"id": "1", "tag": "BTC"}]}


class X(ThreadingHTTPServer):
    """Each connection to the stream is one line of the script: a status, or the posts it sends before it ends."""

    daemon_threads = True

    def __init__(self, script: list[int | list[int]]) -> None:
        super().__init__(("127.0.0.1", 0), Connection)
        self.script, self.rules, self.asked = script, [{"id": "7", "value": "old", "tag": "BTC"}], 0
        self.silent = threading.Event()


class Connection(BaseHTTPRequestHandler):
    server: X

    def do_GET(self) -> None:
        if self.headers["authorization"] != "Bearer s3cret":
            return self._say(401, {})
        if self.path.endswith("/rules"):
            return self._say(200, {"data": self.server.rules})
        part = self.server.script[min(self.server.asked, len(self.server.script) - 1)]
        self.server.asked += 1
        if isinstance(part, int):
            return self._say(part, {"title": "no"})
        self.send_response(200)
        self.end_headers()
        for number in part:
            self.wfile.write(b"\r\n" + json.dumps(post(number)).encode() + b"\r\n")
        if part and part[-1] == 99:
            self.server.silent.wait(10)  # alive, and never says a word again
        return None

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        gone = asked.get("delete", {}).get("ids", [])
        self.server.rules = [rule for rule in self.server.rules if rule["id"] not in gone]
        self.server.rules += [rule | {"id": str(n)} for n, rule in enumerate(asked.get("add", []))]
        self._say(200, {"data": self.server.rules})

    def _say(self, status: int, body: Any) -> None:
        sent = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def x() -> Iterator[X]:
    server = X([[1, 2], 503, 429, [3, 99], [4], [5]])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    server.silent.set()
    server.shutdown()
    server.server_close()


def stream(x: X, key: str = "s3cret") -> tuple[Stream, list[float]]:
    pauses: list[float] = []
    settings = SourceSettings(url=f"http://127.0.0.1:{x.server_port}", key=SecretStr(key))
    return Stream(settings, silence_seconds=0.2, sleep=pauses.append), pauses


def test_a_stream_that_breaks_refuses_or_falls_silent_is_opened_again_with_xs_pauses(x: X, loopback_only: None) -> None:
    source, pauses = stream(x)
    posts = (line for line in source.lines() if line)
    numbers = [json.loads(line)["data"]["id"] for line in islice(posts, 6)]
    assert numbers == ["1", "2", "3", "99", "4", "5"]
    assert pauses == [0.25, 5.0, 60.0, 0.25, 0.25]  # ended, 503, 429, silent (a line had reset it), ended
    assert source.connections == 6


def test_pauses_grow_as_x_asks() -> None:
    broken, refused = Backoff(), Backoff()
    assert [broken.broken() for _ in range(70)][-3:] == [16.0] * 3
    assert [refused.refused(500) for _ in range(8)] == [5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 320.0]


def test_rules_are_one_per_asset_and_stale_ones_go(x: X) -> None:
    source, _ = stream(x)
    for _ in range(2):
        source.set_rules()
        assert {rule["tag"]: rule["value"] for rule in x.rules} == QUERIES


def test_a_refused_key_ends_it_and_is_not_told(x: X) -> None:
    source, _ = stream(x, "wr0ng")
    with pytest.raises(CredentialsRefused, match="SOURCES_X_KEY") as refusal:
        next(source.lines())
    assert "wr0ng" not in str(refusal.value)


def test_a_line_becomes_a_text_and_a_notice_does_not() -> None:
    at = parse_time("2024-01-31T12:00Z")
    text = next(streamed(Raw("stream", "stream", "{}", json.dumps(post(1)), at)))
    assert (text.channel, text.event_time, text.text) == ("stream/BTC", at, "Bitcoin note 1")
    assert not list(streamed(Raw("stream", "stream", "{}", '{"errors": [{"title": "operational-disconnect"}]}', at)))


def test_the_job_stores_lines_as_received_each_once(
    x: X, lake: Lake, run_job: RunJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    x.script = [[1, 2], [2, 3], [3]]
    monkeypatch.setenv("SOURCES_X_URL", f"http://127.0.0.1:{x.server_port}")
    monkeypatch.setenv("SOURCES_X_KEY", "s3cret")
    summary = run_job("record_texts", seconds=1.0)
    held = lake.scan(RAW_ANSWERS).collect()
    assert (summary["rows"], held.height) == (3, 3)
    assert sorted(held["payload"]) == sorted(json.dumps(post(n)) for n in (1, 2, 3))
    rows = candidates(held, {"x_stream": streamed})
    assert rows["reason"].null_count() == 3
    assert (rows["available_time"] >= held["market_time"].min()).all()
    assert "s3cret" not in str(held.with_columns(pl.all().cast(pl.String)).rows())
