"""The same lake on a real S3 server: jobs, readers, commits that race, bundles."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from lake import s3 as buckets
from lake.bundle import MODEL_FILE, Manifest, write_manifest
from lake.errors import BundleRejected, CredentialsRefused, Misconfigured, NothingStored, Unavailable
from lake.storage import Lake
from lake.tables import BARS_1M, BARS_5M
from tests.faulty_s3 import faulty_store
from tests.lake.raw_bars import BTC, SPAN, bronze, kline, random_minutes, raw, store
from tests.lake.raw_bars import START as AT
from tests.lake_fixtures import RunJob
from tests.s3_server import S3Server

pytestmark = pytest.mark.s3

COMMITS = 6
RS_COMMITS = 12


def point_spark_at(spark: Any, server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the running session use a server: a JVM reads the environment at its start only."""
    for name, value in server.environment.items():
        monkeypatch.setitem(spark.sparkContext.environment, name, value)
    hadoop = spark.sparkContext._jsc.hadoopConfiguration()
    for name, value in {
        "endpoint": server.endpoint,
        "endpoint.region": "us-east-1",
        "path.style.access": "true",
        "connection.ssl.enabled": "false",
        "input.stream.type": "classic",
        "aws.credentials.provider": "org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider",
        "access.key": server.access_key,
        "secret.key": server.secret_key,
        "impl.disable.cache": "true",  # else the first server would answer for all others
    }.items():
        hadoop.set(f"fs.s3a.{name}", value)


@pytest.fixture
def s3a(spark: Any, s3: Lake, s3_endpoint: S3Server, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """The test's lake, which the running session reaches too."""
    point_spark_at(spark, s3_endpoint, monkeypatch)
    return s3


@pytest.mark.spark
def test_jobs_give_the_same_content_on_s3_as_in_a_folder(spark: Any, s3a: Lake, lake: Lake, run_job: RunJob) -> None:
    rows = random_minutes(60, [BTC])
    for where in (lake, s3a):
        store(where, rows)
        summary = run_job("build_bars", in_lake=where)
        assert summary["tables"]["bars_5m_v1"]["inserted"] == 12
    for table in (BARS_1M, BARS_5M):
        assert s3a.content_hash(table, SPAN) == lake.content_hash(table, SPAN)
    store(s3a, bronze([raw(kline(AT, c="101.0"), AT, market_time=AT + 10**10)]))
    assert run_job("build_bars", in_lake=s3a)["tables"]["bars_1m_v1"]["updated"] == 1
    assert run_job("build_bars", in_lake=s3a)["rows"] == 0


RACE = pa.schema([("who", pa.string()), ("number", pa.int64())])


def race(lake: Lake, commits: int, rs_commits: int, *log_store: str) -> tuple[int, int]:
    """Let two Spark drivers and delta-rs append one row a commit; how many rows stand, and how many versions."""
    address = f"{lake.root.replace('s3a', 's3')}/race"
    DeltaTable.create(address, RACE, storage_options=lake.storage_options())
    script = [sys.executable, str(Path(__file__).with_name("race_driver.py")), lake.root]
    drivers = [
        subprocess.Popen(
            [*script, name, str(commits), *log_store],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        )
        for name in ("one", "two")
    ]  # fmt: skip
    try:
        for driver in drivers:
            assert driver.stdout is not None and driver.stdout.readline() == "ready\n"
        for driver in drivers:
            assert driver.stdin is not None
            driver.stdin.write("go\n")
        for at in range(rs_commits):
            rows = pa.table({"who": ["rs"], "number": [at]}, schema=RACE)
            write_deltalake(address, rows, mode="append", storage_options=lake.storage_options())
        assert [driver.wait(timeout=400) for driver in drivers] == [0, 0]
    finally:
        for driver in drivers:
            driver.kill()
            driver.communicate()
    table = DeltaTable(address, storage_options=lake.storage_options())
    return pl.scan_delta(table).unique().collect().height, table.version()


@pytest.mark.spark
@pytest.mark.slow
def test_two_spark_drivers_and_delta_rs_racing_lose_no_commit(s3: Lake) -> None:
    commits = 2 * COMMITS + RS_COMMITS
    assert race(s3, COMMITS, RS_COMMITS) == (commits, commits)


@pytest.mark.spark
@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_of_a_hundred_racing_commits_ours_loses_none_and_the_default_store_some(
    s3: Lake, s3_endpoint: S3Server, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    assert race(Lake(f"{s3.root}/ours"), 30, 50) == (110, 110)
    with faulty_store(s3_endpoint) as slow:
        slow.plan("slow", method="PUT", contains="_delta_log/0")  # a log on a distant store: time to be overtaken
        for name, value in slow.server.environment.items():
            monkeypatch.setenv(name, value)
        kept = race(Lake(f"{s3.root}/ours-slow"), 8, 0)[0]
        default = race(Lake(f"{s3.root}/default-slow"), 8, 0, "io.delta.storage.S3SingleDriverLogStore")[0]
    record_property("kept", f"110 of 110; on a slow store {kept} of 16, with Delta's own log store {default} of 16")
    assert kept == 16
    assert default < 16, "acknowledged commits are gone"


def test_the_probe_passes_where_conditional_writes_hold(s3: Lake) -> None:
    buckets.probe(s3.root)


def test_the_probe_names_what_is_wrong(s3: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Misconfigured, match="no such bucket"):
        buckets.probe("s3a://absent/prefix")
    with pytest.raises(Misconfigured, match="expected s3a://bucket/prefix"):
        buckets.probe("ftp://bucket")
    with monkeypatch.context() as patch:
        patch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-canary")
        with pytest.raises(CredentialsRefused) as refused:
            buckets.probe(s3.root)
        assert "canary" not in str(refused.value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(Unavailable, match="AWS_ENDPOINT_URL"):
        buckets.probe(s3.root)


def test_the_probe_refuses_a_store_that_ignores_the_condition(s3: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    real = buckets.client()

    class Careless:
        def put_object(self, **request: Any) -> Any:
            request.pop("IfNoneMatch")
            return real.put_object(**request)

        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

    monkeypatch.setattr(buckets, "client", Careless)
    with pytest.raises(Misconfigured, match="commits would be lost"):
        buckets.probe(s3.root)


def make_bundle(folder: Path) -> str:
    folder.mkdir()
    (folder / MODEL_FILE).write_bytes(b"not a graph, but hashed all the same")
    manifest = Manifest(
        model_name="m", run_id="r", git_commit="c", seed=1, created_time="t", timeframe="5m", horizon_bars=12,
        window=1, feature_service="s", feature_service_hash="h", features=["f"], table_versions={},
        cost_bps_per_side=5.0, policy={},
    )  # fmt: skip
    return write_manifest(folder, manifest)


def test_a_bundle_survives_the_trip_and_a_damaged_one_is_refused(s3: Lake, tmp_path: Path) -> None:
    digest = make_bundle(tmp_path / "bundle")
    address = f"{s3.root}/bundles/1"
    assert buckets.upload_bundle(tmp_path / "bundle", address) == digest
    back = buckets.download_bundle(address, tmp_path / "back", digest)
    assert (back / MODEL_FILE).read_bytes() == (tmp_path / "bundle" / MODEL_FILE).read_bytes()

    bucket, prefix = buckets.split(address)
    buckets.client().put_object(Bucket=bucket, Key=f"{prefix}/{MODEL_FILE}", Body=b"tampered")
    with pytest.raises(BundleRejected, match="expected SHA-256"):
        buckets.download_bundle(address, tmp_path / "again", digest)
    assert not (tmp_path / "again").exists()
    with pytest.raises(NothingStored):
        buckets.download_bundle(f"{s3.root}/bundles/2", tmp_path / "none", digest)
