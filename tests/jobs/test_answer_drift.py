"""A source that changes its answers: each drift of each source is refused with a reason, and nothing of it stands."""

import hashlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import polars as pl
import pytest

from jobs.build_texts import parsers
from jobs.observation_rows import candidates as numbers
from lake.intervals import DAY, Interval, to_datetime
from lake.sources.client import Client
from lake.sources.cursor import Cursor, converse
from lake.sources.registry import sources
from lake.sources.server import World, serve
from lake.sources.settings import read_source_settings
from lake.texts.rows import candidates as texts
from tests.source_fixtures import NOW, keys


def leaves(value: Any, change: Callable[[Any], Any]) -> Any:
    """A JSON value in which every number, and every text that is one, is what `change` makes of it."""
    if isinstance(value, dict):
        return {key: leaves(inner, change) for key, inner in value.items()}
    if isinstance(value, list):
        return [leaves(inner, change) for inner in value]
    if isinstance(value, bool) or value is None:
        return value
    try:
        float(value)
    except ValueError:
        return value
    return change(value)


def renamed(value: Any) -> Any:
    """Every key with a new name."""
    if isinstance(value, dict):
        return {f"{key}_v2": renamed(inner) for key, inner in value.items()}
    return [renamed(inner) for inner in value] if isinstance(value, list) else value


def on_json(change: Callable[[Any], Any]) -> Callable[[str], str]:
    return lambda text: orjson.dumps(change(orjson.loads(text))).decode()


DRIFTS: dict[str, Callable[[str], str]] = {
    "cut short": lambda text: text[: len(text) // 2],
    "an error page": lambda text: "<html><body>502 Bad Gateway</body></html>",
    "a word": lambda text: '"maintenance"',
    "null": lambda text: "null",
    "an error as JSON": lambda text: '{"error": "gone", "code": 410}',
    "renamed keys": on_json(renamed),
    "one level deeper": on_json(lambda value: {"result": value}),
}
OF_NUMBERS = DRIFTS | {
    "numbers as objects": on_json(lambda value: leaves(value, lambda number: {"value": number})),
    "numbers as words": on_json(lambda value: leaves(value, lambda number: "n/a")),
}
MARKUP = {"rss", "telegram"}
"""Read item by item, by readers made for broken pages: half a page gives the items that are whole."""


@cache
def answers(name: str) -> tuple[dict[str, Any], ...]:
    """One source's kept answers about its first entity, through the real client, as bronze rows."""
    source = sources()[name]
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder, serve(World(NOW, keys=keys())) as url:
        patch.setenv("SOURCES_URL", url)
        for key, value in keys().items():
            patch.setenv(f"SOURCES_{key.upper()}_KEY", value)
        entity = source.entities[0]
        with Client(source, read_source_settings(source)) as client:
            cursor = Cursor.begin(Path(folder), source, entity, Interval(NOW - 3 * DAY, NOW))
            said = [(request, answer) for request, answer in converse(client, entity, cursor)]
    return tuple(
        {
            "source": name, "entity": entity, "endpoint": request.endpoint, "request": request.text(),
            "payload": answer.text, "payload_hash": hashlib.sha256(answer.text.encode()).hexdigest(),
            "market_time": to_datetime(answer.market_time),
        }
        for request, answer in said
    )  # fmt: skip


def judged(name: str, rows: list[dict[str, Any]]) -> pl.DataFrame:
    frame = pl.DataFrame(rows)
    return numbers(frame) if sources()[name].kind == "observations" else texts(frame, parsers())


@cache
def telling(name: str) -> list[dict[str, Any]]:
    """The answers that hold rows: others, like "the query runs", tell nothing by right."""
    return [row for row in answers(name) if judged(name, [row])["reason"].null_count()]


def cases() -> Iterator[tuple[str, str]]:
    for name, source in sources().items():
        drifts = OF_NUMBERS if source.kind == "observations" else DRIFTS
        plain = {"an error page", "a word"} if name in MARKUP else set(drifts)
        yield from ((name, drift) for drift in drifts if drift in plain)


@pytest.mark.parametrize("name", sources())
def test_the_answers_that_the_drifts_start_from_are_good(name: str) -> None:
    rows = telling(name)
    assert rows, "no answer of this source tells anything"
    assert judged(name, rows)["reason"].null_count() == len(judged(name, rows))


@pytest.mark.parametrize(("name", "drift"), list(cases()))
def test_a_drifted_answer_is_refused_with_a_reason(name: str, drift: str) -> None:
    good = telling(name)
    payload = OF_NUMBERS[drift](good[0]["payload"])
    assert payload != good[0]["payload"]
    found = judged(name, [good[0] | {"payload": payload}])
    assert len(found), f"vanished without a word: {payload[:300]}"
    standing = found.filter(pl.col("reason").is_null())
    assert standing.is_empty(), f"taken for good: {standing.head(2).to_dicts()}"
    beside = judged(name, [good[0] | {"payload": payload}, good[-1] | {"payload_hash": "beside"}])
    kept = beside.filter(pl.col("reason").is_null())
    assert len(kept) == judged(name, [good[-1]])["reason"].null_count(), "a drifted answer touched a good one"
