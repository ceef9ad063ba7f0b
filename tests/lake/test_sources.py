"""The mechanism of all sources: pace, retries, Retry-After, pages that go on after a kill, keys that stay secret."""

import logging
import time
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from lake.errors import BadInput, CredentialsRefused, Misconfigured, RateLimited
from lake.intervals import DAY, Interval
from lake.sources import client as clients
from lake.sources.client import Client, Refused
from lake.sources.cursor import Cursor, converse
from lake.sources.registry import source, sources
from lake.sources.server import World
from lake.sources.settings import SourceSettings, read_source_settings
from lake.sources.source import Answer, Call, Key, Pages, Raw, Refusal, Request, Source
from tests.source_fixtures import NOW, SourceServer

pytestmark = pytest.mark.usefixtures("loopback_only")
SPAN = Interval(NOW - 100 * DAY, NOW)
SECRET = "k3y/with+signs"


def numbers(entity: str, interval: Interval) -> Pages:
    """Five pages; the cursor is the source's."""
    answer = yield Request("numbers", "/numbers", {"of": entity})
    while after := answer.json()["next"]:
        answer = yield Request("numbers", "/numbers", {"of": entity, "after": after})


def told(call: Call) -> object:
    if call.params["of"] == "echo":
        raise Refusal(400, {"error": f"what is {call.params.get('api_key')}?"})
    at = int(call.params.get("after", 0))
    return {"page": at, "next": at + 1 if at < 4 else 0}


NUMBERS = Source(
    "numbers", "Numbers", "https://numbers.invalid", "its page", ("a",), numbers, lambda raw: [], told,
    key=Key(param="api_key"),
)  # fmt: skip


@pytest.fixture
def world() -> World:
    return World(NOW, catalogue={"numbers": NUMBERS}, keys={"numbers": SECRET})


def asking(world: World, key: str = SECRET, rate: float | None = None) -> "Asking":
    return Asking(world, key, rate)


class Asking:
    """A server and a client of `NUMBERS`."""

    def __init__(self, world: World, key: str, rate: float | None) -> None:
        from lake.sources.server import serve

        self._serving, self._key, self._rate = serve(world), key, rate

    def __enter__(self) -> Client:
        url = self._serving.__enter__() + "/numbers"
        self._client = Client(NUMBERS, SourceSettings(url=url, key=self._key, requests_per_minute=self._rate))
        return self._client

    def __exit__(self, *error: object) -> None:
        self._client.__exit__()
        self._serving.__exit__(None, None, None)


def pages(client: Client, folder: Path, entity: str = "a") -> list[int]:
    cursor = Cursor.open(folder, NUMBERS, entity, SPAN) or Cursor.begin(folder, NUMBERS, entity, SPAN)
    return [answer.json()["page"] for _, answer in converse(client, entity, cursor)]


def test_all_pages_come_whatever_the_source_does(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "_jitter", lambda state: 0.0)
    world.fail = 0.4
    with asking(world) as client:
        for n in range(12):
            assert pages(client, tmp_path / str(n)) == [0, 1, 2, 3, 4]
    assert set(world.faults) == {"limit", "error", "truncate", "close"}


def test_a_source_that_only_limits_ends_with_try_again_and_its_pause_is_kept(world: World, tmp_path: Path) -> None:
    world.fail, world.retry_after = 1.0, "3600"
    world._random.choice = lambda faults: "limit"  # type: ignore[method-assign]
    with asking(world) as client, pytest.raises(RateLimited, match="429"):
        client.ask(Request("numbers", "/numbers", {"of": "a"}))
    assert world.faults["limit"] == 1  # an hour's pause is not waited for


def test_retry_after_is_seconds_or_a_date_by_the_sources_own_clock() -> None:
    date = "Sun, 10 Mar 2024 06:00:00 GMT"
    later = httpx.Response(429, headers={"date": date, "retry-after": "Sun, 10 Mar 2024 06:00:07 GMT"})
    assert clients._retry_after(later) == 7.0
    assert clients._retry_after(httpx.Response(429, headers={"retry-after": "2"})) == 2.0
    assert clients._retry_after(httpx.Response(429, headers={"retry-after": "soon"})) is None
    assert clients._retry_after(httpx.Response(429)) is None


def test_the_pace_is_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    now, sent = 0.0, []

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    clock = SimpleNamespace(monotonic=lambda: now, sleep=sleep, time_ns=time.time_ns)
    with asking(world, rate=120) as client:
        monkeypatch.setattr(clients, "time", clock)
        for thinking in (0.0, 0.2, 3.0, 0.0):
            now += thinking
            client.ask(Request("numbers", "/numbers", {"of": "a"}))
            sent.append(now)
    assert sent == [0.0, 0.5, 3.5, 4.0]


def test_a_killed_conversation_goes_on_in_the_middle(world: World, tmp_path: Path) -> None:
    with asking(world) as client:
        for n, _ in enumerate(converse(client, "a", Cursor.begin(tmp_path, NUMBERS, "a", SPAN))):
            if n == 2:
                break  # the kill, after three answers
        path = tmp_path / "numbers" / "a.jsonl"
        path.write_bytes(path.read_bytes() + b'{"request": "torn')
        asked = world.asked.total()
        cursor = Cursor.open(tmp_path, NUMBERS, "a", None)
        assert cursor is not None and cursor.interval == SPAN
        assert [a.json()["page"] for _, a in converse(client, "a", cursor)] == [0, 1, 2, 3, 4]
        assert world.asked.total() - asked == 2
        cursor.done()
    assert Cursor.open(tmp_path, NUMBERS, "a", None) is None


def test_an_unfinished_conversation_about_another_interval_is_not_taken(tmp_path: Path) -> None:
    Cursor.begin(tmp_path, NUMBERS, "a", SPAN)
    assert Cursor.open(tmp_path, NUMBERS, "a", Interval(SPAN.start, SPAN.end + DAY)) is None
    assert Cursor.open(tmp_path, NUMBERS, "a", SPAN) is not None


def test_paging_that_does_not_move_on_is_an_error(world: World, tmp_path: Path) -> None:
    def stuck(entity: str, interval: Interval) -> Pages:
        while True:
            yield Request("numbers", "/numbers", {"of": entity})

    with asking(world) as client:
        object.__setattr__(client, "source", Source(**{**_fields(NUMBERS), "pages": stuck}))
        with pytest.raises(BadInput, match="does not move on"):
            list(converse(client, "a", Cursor.begin(tmp_path, NUMBERS, "a", SPAN)))


def _fields(source: Source) -> dict[str, object]:
    return {name: getattr(source, name) for name in Source.__dataclass_fields__}


def test_a_key_is_in_no_error_log_or_cursor(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    said = []
    with asking(world) as client:
        pages(client, tmp_path)
        with pytest.raises(Refused) as refused:
            client.ask(Request("numbers", "/numbers", {"of": "echo"}))
        said.append(str(refused.value))
        world.keys = {"numbers": "another"}
        with pytest.raises(CredentialsRefused, match="SOURCES_NUMBERS_KEY") as denied:
            client.ask(Request("numbers", "/numbers", {"of": "a"}))
        said += [str(denied.value), repr(client), repr(client.settings)]
    said += [caplog.text, *capfd.readouterr(), (tmp_path / "numbers" / "a.jsonl").read_text()]
    assert "what is ***?" in said[0]
    for text in said:
        assert SECRET not in text and "k3y" not in text


def test_nothing_but_loopback_can_be_reached() -> None:
    with pytest.raises(pytest.fail.Exception, match="not this machine"):
        httpx.get("http://192.0.2.1/")
    with pytest.raises(pytest.fail.Exception, match="not this machine"):
        httpx.get(sources()["coinmetrics"].address)


def test_settings_name_address_and_key_and_refuse_what_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    real = source("coinmetrics")
    assert read_source_settings(real).address(real) == "https://community-api.coinmetrics.io"
    assert read_source_settings(real).pace_seconds(real) == 1.0
    monkeypatch.setenv("SOURCES_URL", "http://127.0.0.1:1/")
    assert read_source_settings(real).address(real) == "http://127.0.0.1:1/coinmetrics"
    assert read_source_settings(real).pace_seconds(real) == 0.0
    monkeypatch.setenv("SOURCES_COINMETRICS_URL", "http://127.0.0.1:2")
    assert read_source_settings(real).address(real) == "http://127.0.0.1:2"
    monkeypatch.setenv("SOURCES_COINMETRICS_KYE", "x")
    with pytest.raises(Misconfigured, match="SOURCES_COINMETRICS_KYE"):
        read_source_settings(real)
    monkeypatch.delenv("SOURCES_COINMETRICS_KYE")
    monkeypatch.setenv("SOURCES_COINMETRICS_REQUESTS_PER_MINUTE", "-3s3cret")
    with pytest.raises(Misconfigured, match="SOURCES_COINMETRICS_REQUESTS_PER_MINUTE") as wrong:
        read_source_settings(real)
    assert "s3cret" not in str(wrong.value)


@pytest.mark.parametrize("name", [n for n, s in sources().items() if s.kind == "observations"])
def test_each_source_answers_in_pages_and_its_parser_reads_declared_metrics(
    name: str, source_server: SourceServer, tmp_path: Path
) -> None:
    with source_server(fail=0.1, seed=1) as world:
        here = source(name)
        with Client(here, read_source_settings(here)) as client:
            seen = []
            for entity in here.entities:
                conversation = list(converse(client, entity, Cursor.begin(tmp_path, here, entity, SPAN)))
                for request, answer in conversation:
                    if request.keep:
                        raw = Raw(entity, request.endpoint, request.text(), answer.text, answer.market_time)
                        seen += list(here.parse(raw))
    assert {o.metric for o in seen} == {m.name for m in here.metrics}
    assert all(o.event_time <= world.now() for o in seen)
    assert all(o.value is None or abs(o.value) < 1e300 for o in seen)


def test_each_source_says_who_it_is() -> None:
    for name, here in sources().items():
        assert here.address.startswith("https:") and here.docs.startswith("https://"), name
        assert here.entities, name
        assert all(m.delay >= 0 and m.unit and m.description for m in here.metrics), name
        assert bool(here.metrics) == (here.kind == "observations"), name
        lines = [line for line in Path(f"lake/sources/{name}.py").read_text().splitlines() if line.strip()]
        assert len(lines) <= 80, f"{name}: {len(lines)} lines"


def test_an_answer_is_told_by_the_sources_clock(world: World) -> None:
    with asking(world) as client:
        assert abs(client.now() - NOW) < 60_000_000
        assert isinstance(client.ask(Request("numbers", "/numbers", {"of": "a"})), Answer)
