"""Into bronze once: reruns, overlaps, races, and tables whose key holds no time."""

import threading
from pathlib import Path

import pyarrow as pa
import pytest

from jobs.bronze import store
from lake.errors import Overtaken
from lake.intervals import DAY
from lake.storage import Lake
from lake.table import TIME, Column, Table
from lake.tables import RAW_BARS
from tests.lake.raw_bars import BTC, ETH, START, bronze, kline, random_minutes, raw

ANSWERS = Table(
    name="answers_v1",
    layer="bronze",
    description="Keyed by content alone.",
    owner="tests",
    columns=(
        Column("source", pa.string(), "Key."),
        Column("payload_hash", pa.string(), "Key.", nullable=True),
        Column("market_time", TIME, "When."),
        Column("month", pa.string(), "Partition."),
    ),
    key=("source", "payload_hash"),
    time_column="market_time",
    partition=("month",),
    writer="delta-rs",
)


def test_what_is_held_is_skipped_and_makes_no_commit(lake: Lake) -> None:
    rows = random_minutes(30)
    assert store(lake, RAW_BARS, rows.slice(0, 20), "a") == 20
    assert store(lake, RAW_BARS, pa.concat_tables([rows, rows]), "b") == 40
    assert store(lake, RAW_BARS, rows, "c") == 0
    assert lake.version(RAW_BARS) == 1
    changed = bronze([raw(kline(START, c="100.7"), START)])
    assert store(lake, RAW_BARS, changed, "d") == 1  # another payload of a held bar is another row


def test_a_key_without_a_time_is_found_in_any_partition(lake: Lake) -> None:
    def answer(payload: str | None, month: str) -> pa.Table:
        return pa.Table.from_pylist(
            [{"source": "s", "payload_hash": payload, "market_time": START, "month": month}], schema=ANSWERS.schema
        )

    assert store(lake, ANSWERS, answer("x", "2024-01"), "a") == 1
    assert store(lake, ANSWERS, answer("x", "2024-02"), "b") == 0
    assert store(lake, ANSWERS, answer(None, "2024-02"), "c") == 1
    assert store(lake, ANSWERS, answer(None, "2024-03"), "d") == 0


def test_writers_racing_without_a_lock_store_every_row_once(lake: Lake) -> None:
    race(lake)


@pytest.mark.s3
def test_writers_racing_on_s3_store_every_row_once(s3: Lake) -> None:
    race(s3)


def race(target: Lake) -> None:
    """Four threads, four commits each, neighbours overlapping by two rows of three, no lease held."""
    rows, writers, commits = random_minutes(24, [BTC]), 4, 4
    counts: list[int] = []

    def run(at: int) -> None:
        for commit in range(commits):
            first = 6 * commit + at
            counts.append(store(target, RAW_BARS, rows.slice(first, 3), f"writer {at}"))

    threads = [threading.Thread(target=run, args=(at,)) for at in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = target.scan(RAW_BARS).collect()
    assert found.height == found.unique(list(RAW_BARS.key)).height == sum(counts) == 24
    assert target.version(RAW_BARS) + 1 == sum(count > 0 for count in counts)


def test_a_commit_on_an_old_version_is_refused(lake: Lake) -> None:
    rows = random_minutes(3)
    lake.append_onto(RAW_BARS, rows, None, "a")
    lake.append_onto(RAW_BARS, rows, 0, "b")
    for base in (None, 0):
        with pytest.raises(Overtaken, match="raw_bars_v1: version 1 was committed meanwhile"):
            lake.append_onto(RAW_BARS, rows, base, "c")
    assert lake.count(RAW_BARS) == 12


def test_only_files_that_could_hold_a_row_are_opened(lake: Lake) -> None:
    january = random_minutes(5, [ETH])
    february = random_minutes(7, [ETH], start=START + 3 * DAY)
    store(lake, RAW_BARS, january, "a")
    store(lake, RAW_BARS, february.slice(0, 5), "a")
    for file in Path(lake.uri(RAW_BARS)).glob("*/month=2024-01/*.parquet"):
        file.unlink()
    assert store(lake, RAW_BARS, february, "b") == 2
    with pytest.raises(OSError):
        store(lake, RAW_BARS, january, "c")
