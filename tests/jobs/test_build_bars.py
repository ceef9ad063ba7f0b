"""Bronze to silver on a real Spark session and a real Delta lake in a folder."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from jobs.bar_rows import expression
from jobs.silver import pieces
from lake.errors import ContractViolated, NothingStored
from lake.intervals import DAY, HOUR, MINUTE, SECOND, WEEK, Interval
from lake.storage import Lake
from lake.tables import BARS_1M, BARS_5M, RAW_BARS
from tests.lake.raw_bars import BTC, ETH, START, bronze, frame, kline, random_minutes, raw, store
from tests.lake_fixtures import RunJob

pytestmark = pytest.mark.spark

SPAN = Interval(START, START + WEEK)


def hashes(lake: Lake) -> list[str]:
    return [lake.content_hash(table, SPAN) for table in (BARS_1M, BARS_5M)]


def counts(summary: dict[str, Any], table: str = "bars_1m_v1") -> tuple[int, int, int, int]:
    entry = summary["tables"][table]
    return entry["inserted"], entry["updated"], entry["unchanged"], entry["refused"]


def test_minutes_become_five_minute_bars_and_a_rerun_changes_nothing(spark: Any, lake: Lake, run_job: RunJob) -> None:
    store(lake, random_minutes(3 * 24 * 60, start=START + DAY))  # over the end of January: two partitions
    summary = run_job("build_bars")
    assert counts(summary) == (8640, 0, 0, 0)
    assert counts(summary, "bars_5m_v1") == (1728, 0, 0, 0)
    assert (summary["start"], summary["end"]) == ("2024-01-30T00:00:00Z", "2024-02-02T00:00:00Z")
    before, version = hashes(lake), lake.version(BARS_5M)

    again = run_job("build_bars")  # the watermark: nothing to do
    assert (again["rows"], again["version"], again["start"]) == (0, version, None)
    forced = run_job("build_bars", start="2024-01-29", end="2024-02-05")
    assert counts(forced) == (0, 0, 8640, 0)
    assert counts(forced, "bars_5m_v1") == (0, 0, 1728, 0)
    assert (hashes(lake), lake.version(BARS_5M)) == (before, version)

    bars = lake.scan(BARS_5M).filter(pl.col("instrument") == ETH).sort("open_time").collect()
    minutes = lake.scan(BARS_1M).filter(pl.col("instrument") == ETH).sort("open_time").collect()
    assert bars["open"].to_list() == minutes["open"].gather_every(5).to_list()
    assert bars["high"].to_list() == minutes["high"].reshape((-1, 5)).arr.max().to_list()
    exact = [float(sum(Decimal(repr(v)) for v in five)) for five in minutes["volume"].reshape((-1, 5)).to_list()]
    assert bars["volume"].to_list() == exact
    assert bars["month"].unique().sort().to_list() == ["2024-01", "2024-02"]


def test_what_arrives_later_is_built_from_the_watermark_as_from_scratch(
    spark: Any, lake: Lake, run_job: RunJob, tmp_path: Any
) -> None:
    rows = random_minutes(30, [BTC])
    store(lake, rows.slice(0, 12))
    assert counts(run_job("build_bars"), "bars_5m_v1")[0] == 2  # minutes 10 and 11 wait for their bar
    store(lake, rows.slice(12, 18))
    correction = raw(kline(START + 3 * MINUTE, c="101.0"), START + 3 * MINUTE, market_time=START + HOUR)
    store(lake, bronze([correction]))
    summary = run_job("build_bars")
    assert counts(summary)[:2] == (18, 1)
    assert counts(summary, "bars_5m_v1")[:2] == (4, 1)
    corrected = lake.scan(BARS_5M).sort("open_time").first().collect()
    assert corrected["available_time"].dt.epoch("us").to_list() == [START + HOUR]

    scratch = Lake(str(tmp_path / "scratch"))
    store(scratch, rows)
    store(scratch, bronze([correction]))
    run_job("build_bars", in_lake=scratch)
    assert hashes(scratch) == hashes(lake)


def test_bad_rows_go_to_quarantine_once_and_block_nothing(spark: Any, lake: Lake, run_job: RunJob) -> None:
    bad = [
        raw(kline(START + 10 * MINUTE, o="-1.0", l="-1.0"), START + 10 * MINUTE),
        raw(kline(START + 11 * MINUTE, h="1.0"), START + 11 * MINUTE),
        raw(kline(START + DAY), START + DAY, market_time=START + HOUR),
        raw("{broken", START + 12 * MINUTE),
    ]
    store(lake, random_minutes(10, [BTC]))
    store(lake, bronze(bad))
    assert counts(run_job("build_bars")) == (10, 0, 0, 4)
    assert counts(run_job("build_bars", start="2024-01-29", end="2024-01-31")) == (0, 0, 10, 4)
    kept = lake.scan(BARS_1M.quarantine()).collect()
    assert kept.height == 4
    assert sorted(reason.split(":")[0] for reason in kept["reason"]) == [
        "a price is missing, zero, negative or not finite",
        "high is below low, open or close",
        "payload does not parse",
        "timestamp in the venue's future",
    ]
    assert all('"payload":' in row for row in kept["row"])


def test_missing_minutes_are_counted_and_make_no_bar(spark: Any, lake: Lake, run_job: RunJob) -> None:
    rows = random_minutes(20, [BTC])
    store(lake, rows.filter([at not in (6, 7) for at in range(20)]))
    summary = run_job("build_bars")
    assert summary["tables"]["bars_1m_v1"]["missing"] == 2
    assert (summary["tables"]["bars_5m_v1"]["rows"], summary["tables"]["bars_5m_v1"]["missing"]) == (3, 1)


def test_the_live_stream_joins_the_built_bars(spark: Any, lake: Lake, run_job: RunJob) -> None:
    store(lake, random_minutes(10, [BTC]))
    run_job("build_bars")
    built = lake.scan(BARS_5M).sort("open_time").collect().row(1, named=True)
    at = START + 5 * MINUTE
    names = {"o": "open", "h": "high", "l": "low", "c": "close", "v": "volume", "q": "quote_volume"}
    texts = {letter: repr(built[name]) for letter, name in names.items()}
    agrees = frame(at, **texts, n=built["trade_count"])
    store(
        lake,
        bronze(
            [
                raw(agrees, at, "ws:kline_5m", market_time=at + 10 * MINUTE),
                raw(frame(at + 5 * MINUTE), at + 5 * MINUTE, "ws:kline_5m"),
                raw(frame(START, v="777"), START, "ws:kline_5m", market_time=START + 5 * MINUTE),
            ]
        ),
    )
    summary = run_job("build_bars")
    assert counts(summary, "bars_5m_v1") == (1, 0, 2, 1)  # one new, none changed, one contradicts without being later
    bars = lake.scan(BARS_5M).sort("open_time").collect()
    assert bars["source"].to_list() == ["bars_1m", "bars_1m", "ws:kline_5m"]
    assert bars["available_time"].dt.epoch("us").to_list()[2] == at + 10 * MINUTE + SECOND
    assert "contradicts" in lake.scan(BARS_5M.quarantine()).collect()["reason"][0]


def test_only_the_asked_instruments_and_interval_are_built(spark: Any, lake: Lake, run_job: RunJob) -> None:
    store(lake, random_minutes(30))
    run_job("build_bars", instruments=BTC, start="2024-01-29T00:05", end="2024-01-29T00:15")
    assert lake.scan(BARS_1M).select("instrument", "open_time").unique().collect().height == 10
    assert set(lake.scan(BARS_1M).collect()["instrument"]) == {BTC}
    assert lake.scan(BARS_5M).collect().height == 2
    assert counts(run_job("build_bars")) == (50, 0, 10, 0)  # asking for a part moved no watermark


def test_a_failing_expectation_commits_nothing(
    spark: Any, lake: Lake, run_job: RunJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jobs import build_bars

    def broken(source: build_bars.Source, interval: Interval) -> pl.DataFrame:
        return one_minute(source, interval).with_columns(high=pl.lit(1.0))

    one_minute = build_bars.one_minute
    monkeypatch.setattr(build_bars, "one_minute", broken)
    store(lake, random_minutes(10, [BTC]))
    with pytest.raises(ContractViolated, match=r"high is below low, open or close: .*Nothing was committed"):
        run_job("build_bars")
    assert not lake.exists(BARS_1M)


def test_without_bronze_there_is_nothing_to_build(lake: Lake, run_job: RunJob) -> None:
    with pytest.raises(NothingStored, match=RAW_BARS.name):
        run_job("build_bars")


def test_every_check_means_the_same_in_polars_and_in_spark(spark: Any) -> None:
    odd = [None, float("nan"), float("inf"), -1.0, 0.0, 1.0, 2.0, 1e13]
    base = dict.fromkeys(("open", "high", "low", "close", "volume"), 1.0)
    rows = [base | {name: value} for name in base for value in odd]
    rows = [row | {"open_us": START + 30 * SECOND * at} for at, row in enumerate(rows)] + [base | {"open_us": None}]
    frame = pl.DataFrame(rows, schema_overrides={"open_us": pl.Int64}).with_columns(
        open_time=pl.col("open_us").cast(pl.Datetime("us", "UTC"))
    )
    checks = (*BARS_1M.checks, *BARS_5M.checks)
    ours = frame.select(expression(check.sql).alias(str(at)) for at, check in enumerate(checks))
    theirs = spark.createDataFrame(frame.drop("open_us").to_arrow(compat_level=pl.CompatLevel.oldest())).selectExpr(
        *[f"coalesce({check.sql}, false) AS `{at}`" for at, check in enumerate(checks)]
    )
    assert ours.rows() == [tuple(row) for row in theirs.collect()]


def test_an_interval_is_cut_at_month_ends() -> None:
    cut = pieces(Interval.parse("2023-12-30T12:00", "2024-02-01T00:01"), "month")
    assert [str(unit) for unit in cut] == [
        "[2023-12-30T12:00:00Z, 2024-01-01T00:00:00Z)",
        "[2024-01-01T00:00:00Z, 2024-02-01T00:00:00Z)",
        "[2024-02-01T00:00:00Z, 2024-02-01T00:01:00Z)",
    ]
    january = Interval.parse("2024-01-01", "2024-02-01")
    assert pieces(january, "month") == [january]
    assert len(pieces(january, "day")) == 31


def test_what_comes_later_is_one_sorted_file_a_month(spark: Any, lake: Lake, run_job: RunJob) -> None:
    for part in (BTC, ETH):  # the second is joined with what is held, which scatters its rows over Spark's tasks
        store(lake, random_minutes(600, [part]))
        run_job("build_bars")
    files = sorted(Path(lake.uri(BARS_1M)).glob("month=2024-01/*.parquet"))
    assert len(files) == 2
    for file in files:
        rows = pl.read_parquet(file, hive_partitioning=False)
        assert rows.height == 600 and rows.equals(rows.sort("instrument", "open_time"))
        assert rows.schema["open_time"] == pl.Datetime("us", "UTC"), "INT96 has no minimum and maximum"
