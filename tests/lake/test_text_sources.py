"""Every text source through the real client against the loopback server: own format, paging, nothing personal."""

import dataclasses
import json
from pathlib import Path

import pytest

from lake.errors import BadInput
from lake.intervals import DAY, HOUR, MINUTE, Interval, parse_time
from lake.sources.client import Client
from lake.sources.cursor import Cursor, converse
from lake.sources.registry import sources
from lake.sources.settings import read_source_settings
from lake.sources.source import Raw
from lake.texts.text import Text
from tests.source_fixtures import SourceServer, keys

TEXT_SOURCES = {name: source for name, source in sources().items() if source.kind == "text"}
NOW = parse_time("2024-03-10T06:00Z")


def asked(name: str, entity: str, interval: Interval, folder: Path) -> tuple[list[Raw], list[Text]]:
    source = TEXT_SOURCES[name]
    with Client(source, read_source_settings(source)) as client:
        cursor = Cursor.begin(folder, source, entity, interval)
        said = [
            Raw(entity, request.endpoint, request.text(), answer.text, answer.market_time)
            for request, answer in converse(client, entity, cursor)
        ]
    return said, [text for raw in said for text in source.parse(raw)]


@pytest.mark.parametrize("name", TEXT_SOURCES)
def test_each_source_gives_the_texts_of_the_interval_page_by_page(
    name: str, source_server: SourceServer, tmp_path: Path
) -> None:
    source = TEXT_SOURCES[name]
    interval = Interval(NOW - 3 * DAY, NOW)
    with source_server(fail=0.05, seed=3):
        for entity in source.entities[:2]:
            said, texts = asked(name, entity, interval, tmp_path)
            written = {t.event_time for t in texts}
            grid = set(range(interval.start, NOW - HOUR, 20 * MINUTE))
            expected = {at for at in grid if at > NOW - 8 * HOUR} if name == "rss" else grid
            assert expected <= written
            assert max(written) <= NOW + HOUR
            assert (len(said) > 1) == (name not in ("rss", "gdelt"))
            assert all(t.kind in ("post", "comment", "topic", "news", "message") and t.channel for t in texts)
            assert all(t.text or t.title for t in texts)


def test_what_is_counted_at_crawl_time_reaches_no_text(source_server: SourceServer, tmp_path: Path) -> None:
    """The same posts, crawled later: votes, views and scores have moved, the texts have not."""
    for name, source in TEXT_SOURCES.items():
        found = []
        for later in (0, 7 * MINUTE):
            with source_server(now=NOW + later):
                said, texts = asked(name, source.entities[0], Interval(NOW - HOUR, NOW), tmp_path / str(later))
            found.append(({t for t in texts if NOW - HOUR < t.event_time <= NOW}, said))
        assert found[0][0] == found[1][0], name
    counted = {"author", "score", "likes", "votes", "views", "comments", "subscribers", "followers"}
    assert not counted & {field.name for field in dataclasses.fields(Text)}


@pytest.mark.parametrize("name", TEXT_SOURCES)
def test_a_body_of_another_shape_gives_no_text(name: str) -> None:
    for body in ('{"error": "down"}', "<html>502</html>", "[]", '{"data": 3, "results": 3, "articles": 3}'):
        try:
            assert list(TEXT_SOURCES[name].parse(Raw("BTC", "e", "{}", body, NOW))) == []
        except (BadInput, AttributeError, LookupError, TypeError, ValueError):
            continue  # what silver turns into a row of the quarantine


def test_no_key_reaches_what_is_kept(source_server: SourceServer, tmp_path: Path) -> None:
    with source_server():
        for name in ("cryptopanic", "reddit", "x", "newsapi"):
            said, _ = asked(name, TEXT_SOURCES[name].entities[0], Interval(NOW - DAY, NOW), tmp_path)
            assert said
            assert keys()[name] not in json.dumps([dataclasses.asdict(raw) for raw in said]), name
