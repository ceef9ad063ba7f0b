"""From a source on loopback to bronze and silver: resumable, repeatable, and with no key in any row."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

from jobs.ingest_source import watermarks
from lake.errors import BadInput, CredentialsRefused, UsageError
from lake.intervals import DAY, to_us
from lake.sources import client as clients
from lake.sources.registry import source, sources
from lake.storage import Lake
from lake.tables import OBSERVATIONS, RAW_ANSWERS
from tests.lake_fixtures import RunJob
from tests.source_fixtures import NOW, SourceServer, keys

OURS = [name for name, s in sources().items() if s.kind == "observations"]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "_jitter", lambda state: 0.0)


def ingest(run_job: RunJob, name: str, entities: str | None = None, **asked: Any) -> dict[str, Any]:
    return run_job("ingest_source", source=name, entities=entities, **asked)


def test_each_answer_is_kept_once_and_a_second_run_asks_for_the_overlap_alone(
    source_server: SourceServer, lake: Lake, run_job: RunJob
) -> None:
    with source_server() as world:
        first = ingest(run_job, "thegraph")
        assert first["rows"] == 4  # 90 days of hours are 3 pages, of days 1
        held = watermarks(lake, source("thegraph"))
        assert all(abs(end - NOW) < DAY for end in held.values()) and len(held) == 2
        hash_before = lake.content_hash(RAW_ANSWERS)
        again = {"start": first["start"], "end": first["end"]}
        assert ingest(run_job, "thegraph", **again)["rows"] == 0
        assert lake.content_hash(RAW_ANSWERS) == hash_before
        world.start += 2 * DAY
        last = ingest(run_job, "thegraph")
        assert last["rows"] == 2
        assert last["start"] == min(format_us(held[e] - source("thegraph").overlap) for e in held)


def format_us(time_us: int) -> str:
    from lake.intervals import format_time

    return format_time(time_us)


def test_no_key_is_in_any_row_or_file(
    source_server: SourceServer, lake: Lake, run_job: RunJob, home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with source_server(fail=0.1, seed=3):
        for name in OURS:
            ingest(run_job, name)
    for folder, _, files in os.walk(home):
        for file in files:
            text = (Path(folder) / file).read_bytes()
            assert b"s3cret" not in text, file
    rows = lake.scan(RAW_ANSWERS).collect()
    assert set(rows["source"]) == set(OURS)
    assert not any("s3cret" in str(value) for row in rows.iter_rows() for value in row)
    assert "s3cret" not in "".join(capfd.readouterr())


def test_a_source_that_needs_a_key_says_which_setting_and_a_wrong_one_is_refused(
    source_server: SourceServer, run_job: RunJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    with source_server():
        monkeypatch.setenv("SOURCES_DUNE_KEY", "another")
        with pytest.raises(CredentialsRefused, match="SOURCES_DUNE_KEY"):
            ingest(run_job, "dune")
        monkeypatch.delenv("SOURCES_DUNE_KEY")
        with pytest.raises(CredentialsRefused, match="SOURCES_DUNE_KEY is empty"):
            ingest(run_job, "dune")
    with pytest.raises(UsageError, match="expected one of"):
        ingest(run_job, "nobody")


def test_a_conversation_that_cannot_go_on_is_begun_anew(
    source_server: SourceServer, run_job: RunJob, home: Path
) -> None:
    with source_server() as world, pytest.MonkeyPatch.context() as patch:
        patch.setattr(world, "fault", lambda name: "limit" if world.asked.total() > 2 else "")
        patch.setattr(clients, "ATTEMPTS", 1)
        with pytest.raises(Exception, match="429"):
            ingest(run_job, "dune")
    assert list((home / "sources" / "dune").iterdir())
    with source_server():  # another server: the query that ran is not known here
        with pytest.raises(clients.Refused, match="Execution not found"):
            ingest(run_job, "dune")
        assert ingest(run_job, "dune")["rows"] == 2


def test_an_unknown_entity_is_an_error_that_lists_the_known_ones(source_server: SourceServer, run_job: RunJob) -> None:
    with source_server(), pytest.raises(BadInput, match="lending/aave-v3"):
        ingest(run_job, "thegraph", "pool/other")


def test_a_killed_ingestion_goes_on_where_it_was(source_server: SourceServer, lake: Lake, home: Path) -> None:
    """kill -9 in the middle of the pages: the next run asks for the missing ones, bronze equals an unbroken run's."""
    command = [sys.executable, "-m", "jobs.ingest_source", "--source", "thegraph", "--entities"]
    command += ["pool/uniswap-v3/USDC-ETH", "--start", "2023-09-01", "--end", "2024-03-01"]  # 4,368 hours: 5 pages
    with source_server() as world:
        slowly = os.environ | {"SOURCES_THEGRAPH_REQUESTS_PER_MINUTE": "60"}
        process = subprocess.Popen(command, env=slowly, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while world.asked.total() < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        asked = world.asked.total()
        assert 2 <= asked < 5
        assert not lake.exists(RAW_ANSWERS)
        done = subprocess.run(command, env=os.environ.copy(), capture_output=True, text=True, timeout=60, check=True)
        assert orjson.loads(done.stdout.splitlines()[-1])["rows"] == 5
        assert world.asked.total() <= 6, "the one that was on its way may have to be asked again"
    assert not list((home / "sources" / "thegraph").iterdir())
    rows = lake.scan(RAW_ANSWERS).sort("page").collect()
    ids = [row["id"] for payload in rows["payload"] for row in orjson.loads(payload)["data"]["rows"]]
    assert len(ids) == len(set(ids)) == 4368


@pytest.mark.spark
@pytest.mark.parametrize(
    "names", [["coingecko", "dune"], pytest.param(OURS, marks=pytest.mark.nightly)], ids=["two", "all"]
)
def test_sources_reach_silver_and_nothing_is_known_before_its_time(
    spark: Any, source_server: SourceServer, lake: Lake, run_job: RunJob, names: list[str]
) -> None:
    with source_server(fail=0.05, seed=1):
        for name in names:
            ingest(run_job, name, start="2024-02-01" if names != OURS else None)
    built = run_job("build_observations")
    assert built["refused"] == 0 and built["inserted"] > 300
    rows = lake.scan(OBSERVATIONS).collect()
    declared = {(name, m.name) for name in names for m in source(name).metrics}
    assert set(rows.select("source", "metric").unique().iter_rows()) == declared
    delays = rows.group_by("source", "metric").agg((pl.col("available_time") - pl.col("event_time")).min())
    for name, metric, delay in delays.iter_rows():
        if name != "fred":  # its vintages tell when they were published
            declared_us = next(m.delay for m in source(name).metrics if m.name == metric)
            assert delay.total_seconds() * 1e6 == declared_us
    before = lake.content_hash(OBSERVATIONS)
    assert run_job("build_observations", start="2020-01-01", end="2030-01-01")["rows"] == 0
    assert lake.content_hash(OBSERVATIONS) == before
    assert keys().keys() >= {"dune", "thegraph", "fred"}
    assert to_us(rows["event_time"].max()) <= NOW + DAY  # type: ignore[arg-type]


@pytest.mark.spark
def test_an_imported_file_reaches_silver_and_a_second_import_changes_nothing(
    spark: Any, lake: Lake, run_job: RunJob, tmp_path: Path
) -> None:
    path = tmp_path / "mvrv.csv"
    path.write_text("\ufeffDate,Data\n2024.3.1,1.5\n2024.3.2,\n2024.3.3,x\n2024.3.4,1.7\n", encoding="utf-8")
    asked = {
        "file": str(path), "source": "archive", "entity": "BTC", "form": "series", "metric": "mvrv", "unit": None,
        "time": "Date", "value": "Data", "period": "day", "columns": None, "treasury": None,
    }  # fmt: skip
    first = run_job("import_series", **asked)
    assert first["tables"]["raw_answers_v1"]["rows"] == 1
    silver = first["tables"]["observations_v1"]
    assert (silver["inserted"], silver["refused"]) == (2, 1)
    reason = lake.scan(OBSERVATIONS.quarantine()).collect()["reason"].to_list()
    assert reason == ["row cannot be read: could not convert string to float: 'x'"]
    before = lake.content_hash(OBSERVATIONS), lake.content_hash(RAW_ANSWERS)
    again = run_job("import_series", **asked)
    assert again["tables"]["raw_answers_v1"]["rows"] == again["tables"]["observations_v1"]["rows"] == 0
    assert (lake.content_hash(OBSERVATIONS), lake.content_hash(RAW_ANSWERS)) == before
