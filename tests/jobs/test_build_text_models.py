"""From texts to vectors, scores and windows on a real Spark session; what is online is what gold holds."""

from typing import Any

import polars as pl
import pytest

from feature_store.online_settings import open_store
from feature_store.text import TextSettings, encoder
from feature_store.text_windows import online_view
from jobs.bronze import store
from jobs.import_texts import raw_rows
from lake.intervals import DAY, HOUR, MINUTE, format_time, parse_time, to_datetime
from lake.settings import HomeSettings
from lake.storage import Lake
from lake.tables import RAW_ANSWERS, TEXT_EMBEDDINGS, TEXT_FEATURES, TEXT_SCORES
from lake.texts.rows import ARCHIVE_DELAY
from tests.lake_fixtures import RunJob

pytestmark = [pytest.mark.spark, pytest.mark.slow]

T = parse_time("2024-01-31T22:00Z")
SAID = ("Bitcoin rallies", "Ethereum crashes, Bitcoin too", "Nothing to see here", "Solana upgrade approved")


def archive(lake: Lake, start: int, said: tuple[str, ...]) -> None:
    rows = [("c", "post", to_datetime(start + n * HOUR), "", text) for n, text in enumerate(said)]
    texts = pl.DataFrame(rows, schema=["channel", "kind", "event_time", "title", "text"], orient="row")
    store(lake, RAW_ANSWERS, raw_rows(texts, "a", T + 30 * DAY, ""), "")


def build(run_job: RunJob, end: int) -> dict[str, Any]:
    for name in ("build_texts", "build_text_embeddings", "build_text_scores"):
        run_job(name)
    return run_job("build_text_features", end=format_time(end), push=True)


@pytest.mark.nightly
def test_texts_become_windows_step_by_step_as_at_once(spark: Any, lake: Lake, run_job: RunJob, tmp_path: Any) -> None:
    archive(lake, T, SAID)
    first = build(run_job, T + 3 * HOUR)
    assert first["inserted"] > 0 and first["pushed"] > 0
    assert sorted(lake.scan(TEXT_SCORES).collect()["score"])[0] < 0
    archive(lake, T + 5 * HOUR, ("XRP soars", "Bitcoin falls"))
    end = T + 2 * DAY
    build(run_job, end)
    assert run_job("build_text_embeddings")["rows"] == 0

    scratch = Lake(str(tmp_path / "scratch"))
    archive(scratch, T, SAID)
    archive(scratch, T + 5 * HOUR, ("XRP soars", "Bitcoin falls"))
    for name in ("build_texts", "build_text_embeddings", "build_text_scores"):
        run_job(name, in_lake=scratch)
    run_job("build_text_features", in_lake=scratch, end=format_time(end))
    assert scratch.content_hash(TEXT_FEATURES) == lake.content_hash(TEXT_FEATURES)

    rows = lake.scan(TEXT_FEATURES).filter(pl.col("entity") == "BTC", pl.col("window") == "1h").sort("event_time")
    known = rows.select(pl.col("available_time").dt.epoch("us")).collect().to_series()
    assert known[0] == T + ARCHIVE_DELAY
    assert set(rows.collect()["month"]) == {"2024-01", "2024-02"}


def test_what_is_online_is_what_gold_holds(spark: Any, lake: Lake, run_job: RunJob, home: Any) -> None:
    archive(lake, T, SAID)
    end = T + 2 * HOUR
    summary = build(run_job, end)
    vectors = lake.scan(TEXT_EMBEDDINGS).collect()["embedding"].to_list()
    assert len(vectors) == 4
    assert encoder(TextSettings()).encode([SAID[0]])[0].tolist() in vectors
    newest = lake.scan(TEXT_FEATURES).filter(pl.col("window") == "24h", pl.col("entity") == "BTC").sort("event_time")
    gold = newest.last().collect().row(0, named=True)
    view = online_view("24h", summary["model"], 384)
    with open_store(HomeSettings(home=home)) as online:
        told = online.get(view, "BTC", end + MINUTE).row
        assert told is not None
        assert told.event_time == end
        assert dict(zip(view.columns, told.values, strict=True))["sentiment"] == gold["sentiment"]
        assert told.values[-384:] == tuple(gold["embedding"])
        assert online.get(view, "BTC", end + 2 * DAY).row is None
