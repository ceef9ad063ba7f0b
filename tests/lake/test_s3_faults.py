"""Bronze and commits on an S3 store that fails: every request of an append, every fault; then the lake is whole."""

from collections.abc import Callable, Iterator
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from jobs.bronze import store
from lake.errors import BitacoraError
from lake.storage import Lake
from lake.tables import RAW_BARS
from tests.faulty_s3 import FAULTS, FaultyStore, faulty_store
from tests.lake.raw_bars import BTC, random_minutes
from tests.lake.test_s3 import point_spark_at
from tests.s3_server import BUCKET, S3Server

pytestmark = pytest.mark.s3


@pytest.fixture(scope="module")
def faulty(s3_endpoint: S3Server) -> Iterator[FaultyStore]:
    with faulty_store(s3_endpoint) as proxy:
        yield proxy


@pytest.fixture
def by_way_of_it(faulty: FaultyStore, monkeypatch: pytest.MonkeyPatch) -> FaultyStore:
    for name, value in faulty.server.environment.items():
        monkeypatch.setenv(name, value)
    faulty.plan()
    return faulty


def everywhere(faulty: FaultyStore, name: str, faults: list[str]) -> int:
    """Let each fault strike at each request of an append onto a table with rows; returns how many states there were."""
    rows, points = random_minutes(8, [BTC]), 0
    clean = Lake(f"s3a://{BUCKET}/{name}/clean")
    store(clean, RAW_BARS, rows, "clean")
    for fault in faults:
        at = 0
        while True:
            lake = Lake(f"s3a://{BUCKET}/{name}/{fault}{at}")
            faulty.plan()
            store(lake, RAW_BARS, rows.slice(0, 3), "first")
            faulty.plan(fault, at)
            told = ""
            try:
                store(lake, RAW_BARS, rows, "struck")
            except (BitacoraError, DeltaError, OSError) as error:
                told = str(error)
            struck = faulty.seen() > at
            faulty.plan()
            assert told or lake.count(RAW_BARS) == 8, f"{fault} at {at}: neither stored nor said so"
            assert lake.count(RAW_BARS) in (3, 8), f"{fault} at {at}: half a commit is seen"
            store(lake, RAW_BARS, rows, "again")
            assert lake.count(RAW_BARS) == 8, f"{fault} at {at}: a row is lost or doubled"
            assert lake.content_hash(RAW_BARS) == clean.content_hash(RAW_BARS), f"{fault} at {at}"
            if not struck:
                break
            points, at = points + 1, at + 1
    return points


@pytest.mark.parametrize("fault", list(FAULTS))
def test_a_commit_that_fails_is_whole_or_absent(by_way_of_it: FaultyStore, fault: str) -> None:
    rows, lake = random_minutes(8, [BTC]), Lake(f"s3a://{BUCKET}/commit/{fault}")
    store(lake, RAW_BARS, rows.slice(0, 3), "first")
    by_way_of_it.plan(fault, 0, method="PUT", contains="_delta_log/00000000000000000001.json")
    told = ""
    try:
        store(lake, RAW_BARS, rows, "struck")
    except (BitacoraError, DeltaError, OSError) as error:
        told = str(error)
    assert by_way_of_it.seen() >= 1, "the fault struck"
    by_way_of_it.plan()
    assert lake.count(RAW_BARS) == 8 or (told and lake.count(RAW_BARS) == 3)
    store(lake, RAW_BARS, rows, "again")
    assert lake.count(RAW_BARS) == 8, "a row is lost or doubled"


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_every_fault_at_any_request_leaves_whole_commits(
    by_way_of_it: FaultyStore, record_property: Callable[[str, object], None]
) -> None:
    points = everywhere(by_way_of_it, "every", list(FAULTS))
    record_property("points", points)
    assert points > 32


@pytest.fixture
def session(spark: Any, by_way_of_it: FaultyStore, monkeypatch: pytest.MonkeyPatch) -> Any:
    point_spark_at(spark, by_way_of_it.server, monkeypatch)
    return spark


@pytest.mark.spark
@pytest.mark.parametrize("fault", ["lost", "cut", "error", "conflict", "slow"])
def test_a_commit_of_spark_whose_answer_fails_is_made_once(session: Any, by_way_of_it: FaultyStore, fault: str) -> None:
    address = f"s3a://{BUCKET}/commit-{fault}"
    schema = pa.schema([("number", pa.int64())])
    storage = Lake(address).storage_options()
    DeltaTable.create(address.replace("s3a", "s3"), schema, storage_options=storage)
    by_way_of_it.plan(fault, 0, method="PUT", contains="_delta_log/00000000000000000001.json")
    rows = session.createDataFrame(pa.table({"number": [1]}))
    if fault == "conflict":  # the store asks to try again: that is for whoever runs the job
        with pytest.raises(Exception, match="ConditionalRequestConflict"):
            rows.write.format("delta").mode("append").save(address)
        by_way_of_it.plan()
    rows.write.format("delta").mode("append").save(address)
    assert fault == "conflict" or by_way_of_it.seen() >= 1, "the fault struck"
    by_way_of_it.plan()
    session.createDataFrame(pa.table({"number": [2]})).write.format("delta").mode("append").save(address)
    table = DeltaTable(address.replace("s3a", "s3"), storage_options=storage)
    assert table.version() == 2
    assert sorted(pl.scan_delta(table).collect()["number"]) == [1, 2]
