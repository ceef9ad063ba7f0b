"""Text sources to silver on a real Spark session: copies collapse, nothing counted later gets in, archives import."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from jobs.bronze import store
from jobs.import_texts import raw_rows
from lake.intervals import DAY, HOUR, MINUTE, SECOND, parse_time, to_datetime
from lake.storage import Lake
from lake.tables import RAW_ANSWERS, TEXTS
from lake.texts.rows import ARCHIVE_DELAY
from tests.lake_fixtures import RunJob

pytestmark = pytest.mark.spark

T = parse_time("2024-01-31T23:00Z")


def reddit(seen: int, *posts: tuple[int, str], score: int = 0) -> pl.DataFrame:
    """One answer of Reddit's listing."""
    children = [
        {"data": {"subreddit": "Bitcoin", "created_utc": at / SECOND, "title": text, "selftext": "", "score": score}}
        for at, text in posts
    ]
    payload = json.dumps({"data": {"after": None, "children": children}})
    return answer("reddit", "Bitcoin", seen, payload)


def answer(source: str, entity: str, seen: int, payload: str) -> pl.DataFrame:
    rows = raw_rows(
        pl.DataFrame({"c": ["c"], "k": ["k"], "event_time": [to_datetime(0)], "a": ["a"], "b": ["b"]}), "n", seen, ""
    )
    digest = str(hash((source, payload)))
    told = {"source": source, "entity": entity, "payload": payload, "payload_hash": digest}
    return rows.with_columns(**{name: pl.lit(value) for name, value in told.items()})


def held(lake: Lake) -> dict[str, dict[str, Any]]:
    rows = lake.scan(TEXTS).with_columns(pl.col("event_time", "available_time", "seen_time").dt.epoch("us")).collect()
    return {row["title"]: row for row in rows.iter_rows(named=True)}


@pytest.mark.slow
def test_a_copy_never_moves_a_time_and_late_or_early_builds_agree(
    spark: Any, lake: Lake, run_job: RunJob, tmp_path: Path
) -> None:
    first = reddit(T + HOUR, (T, "Bitcoin soars"), (T + MINUTE, "Ether falls"))
    copy = reddit(T + 2 * DAY, (T + DAY, "BITCOIN SOARS!"), (T + DAY, "$SOL rests"), score=99)
    earlier = reddit(T + DAY, (T - DAY, "$SOL rests"))
    store(lake, RAW_ANSWERS, first, "")
    assert run_job("build_texts")["inserted"] == 2
    store(lake, RAW_ANSWERS, copy, "")
    assert run_job("build_texts")["inserted"] == 1
    soars = held(lake)["Bitcoin soars"]
    assert (soars["event_time"], soars["available_time"]) == (T, T + HOUR + SECOND)
    assert (soars["assets"], soars["month"], soars["language"]) == (["BTC"], "2024-01", "und")

    store(lake, RAW_ANSWERS, earlier, "")  # seen before, stored later; and written in another month
    run_job("build_texts")
    assert len(held(lake)) == 3
    assert held(lake)["$SOL rests"]["available_time"] == T + DAY + SECOND
    assert run_job("build_texts")["rows"] == 0

    scratch = Lake(str(tmp_path / "scratch"))
    for rows in (earlier, copy, first):
        store(scratch, RAW_ANSWERS, rows, "")
    run_job("build_texts", in_lake=scratch)
    assert scratch.content_hash(TEXTS) == lake.content_hash(TEXTS)


def test_bad_answers_are_quarantined_once_and_block_nothing(spark: Any, lake: Lake, run_job: RunJob) -> None:
    store(lake, RAW_ANSWERS, answer("reddit", "Bitcoin", T, '{"error": 500}'), "")
    store(
        lake, RAW_ANSWERS, reddit(T, (T + DAY, "from the future"), (T, "x" * 1_000_001), (T, "\u200b"), (T, "good")), ""
    )
    assert run_job("build_texts")["refused"] == 4
    assert list(held(lake)) == ["good"]
    run_job("build_texts", start="2024-01-01", end="2024-03-01")
    reasons = lake.scan(TEXTS.quarantine()).collect()["reason"].sort().to_list()
    assert reasons == [
        "longer than 1,000,000 characters",
        "neither title nor text",
        "the answer does not parse: KeyError",
        "written after it was seen, or at no time",
    ]


def test_an_archive_is_imported_once_without_what_was_counted_later(
    spark: Any, lake: Lake, run_job: RunJob, tmp_path: Path
) -> None:
    rows = {"epoch": [T // SECOND, T // SECOND + 60], "title": ["BTC up", "Ether"], "selftext": ["[removed]", "is it?"]}
    for score, name in ((1, "one.parquet"), (2, "two.parquet")):  # the same posts, crawled on another day
        file = tmp_path / name
        pl.DataFrame(rows | {"score": [score, score], "num_comments": [score, 7]}).write_parquet(file)
        summary = run_job("import_texts", file=str(file), archive="reddit")
        assert (summary["read"], summary["undated"], summary["inserted"]) == (2, 0, 2 if score == 1 else 0)
        assert summary["bronze_rows"] == summary["inserted"]
    assert held(lake)["BTC up"]["available_time"] == T + ARCHIVE_DELAY
    assert not {"score", "num_comments", "author", "likes", "subscribers"} & set(TEXTS.schema.names)
