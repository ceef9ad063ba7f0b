"""What stops a pipeline before it builds on nothing, or on less than yesterday; without a JVM."""

from typing import Any

import polars as pl
import pytest
from deltalake import write_deltalake

from lake.errors import ContractViolated, NothingStored
from lake.intervals import DAY, HOUR, MINUTE, Interval
from lake.presence import missing, silent
from lake.storage import Lake
from lake.tables import BARS_1M, BARS_5M, RAW_BARS
from tests.jobs.test_find_gaps import store_minutes
from tests.lake.raw_bars import BTC, ETH, START, bronze, kline, raw, store
from tests.lake_fixtures import RunJob


def quick(run_job: RunJob, table: str = "bars_1m_v1", **asked: Any) -> dict[str, Any]:
    return run_job("check_tables", table=table, quick=True, docs=False, **asked)


def test_an_empty_upstream_stops_what_follows(lake: Lake, run_job: RunJob) -> None:
    store_minutes(lake, BTC, range(3))
    lake.append(RAW_BARS, bronze([]))
    assert quick(run_job)["rows"] == 3
    with pytest.raises(ContractViolated, match=r"raw_bars_v1 v0: expected rows, found none; run the job that writes"):
        quick(run_job, "bars_1m_v1,raw_bars_v1")
    with pytest.raises(ContractViolated, match=r"expected rows in \[2024-02-01T00:00:00Z, .*found none"):
        quick(run_job, start="2024-02-01")
    with pytest.raises(NothingStored, match="bars_5m_v1"):
        quick(run_job, "bars_5m_v1")


def test_features_are_not_built_on_an_empty_table_without_a_word(lake: Lake, run_job: RunJob) -> None:
    write_deltalake(lake.uri(BARS_5M), BARS_5M.schema.empty_table())
    with pytest.raises(ContractViolated, match="bars_5m_v1 v0: expected rows, found none"):
        run_job("build_features")


def test_a_table_that_lost_an_instrument_stops_what_follows(lake: Lake, run_job: RunJob) -> None:
    store_minutes(lake, BTC, range(4 * 60))
    store_minutes(lake, ETH, range(60))
    with pytest.raises(ContractViolated, match=rf"partial: {ETH} is silent since 2024-01-29T01:00:01Z, others go on"):
        quick(run_job)
    with pytest.raises(ContractViolated, match=f"partial: {ETH}"):
        quick(run_job, start="2024-01-29T03:00", end="2024-01-29T04:00")
    assert quick(run_job, end="2024-01-29T02:00")["rows"] == 180, "it was whole then"


def test_members_are_judged_by_their_own_rhythm_and_may_end() -> None:
    def member(who: str, step: int, first: int, last: int) -> pl.DataFrame:
        return pl.DataFrame({"who": who, "at": range(START + first, START + last + 1, step)})

    until = START + 7 * DAY
    rows = pl.concat([
        member("steady", MINUTE, 5 * DAY, 7 * DAY),
        member("stopped", MINUTE, 5 * DAY, 7 * DAY - 3 * HOUR),
        member("daily, weekend", 2 * DAY, 0, 4 * DAY),
        member("daily, stopped", DAY, 0, 4 * DAY),
        member("seen once", DAY, DAY, DAY),
    ])  # fmt: skip
    assert [gone.member for gone in silent(rows, 2 * HOUR, until)] == ["daily, stopped", "stopped"]


def test_who_has_long_ended_is_not_missing(lake: Lake) -> None:
    store_minutes(lake, ETH, range(60))
    store_minutes(lake, BTC, range(11 * 1440, 11 * 1440 + 10))
    assert missing(lake, BARS_1M) == []
    end = START + 2 * DAY
    assert missing(lake, BARS_1M, Interval(START, end)) == []


def test_all_checks_every_table_that_is_stored(lake: Lake, run_job: RunJob) -> None:
    store_minutes(lake, BTC, range(3))
    store(lake, bronze([raw(kline(START), START)]))
    assert set(quick(run_job, "all")["tables"]) == {"raw_bars_v1", "bars_1m_v1"}
