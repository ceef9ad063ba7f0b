"""The age of what is stored, by the market's clock: late tables are named with what was expected and found."""

import time
from dataclasses import replace

import pytest

from bitacora.cli import main
from lake.freshness import Age, ages, market_clock
from lake.intervals import DAY, HOUR, MINUTE, SECOND, format_time
from lake.storage import Lake
from lake.tables import BARS_1M, PROMOTIONS, RAW_BARS, TABLES
from tests.jobs.test_find_gaps import store_minutes
from tests.lake.raw_bars import BTC, START, bronze, kline, raw, store

WALL = START + 900 * DAY
"""The wall's clock, years after the market's."""


def received(lake: Lake, minute: int, wall: int) -> None:
    """One bar of the market's past, received at `wall`."""
    at = START + minute * MINUTE
    store(lake, bronze([raw(kline(at), at, received_time=wall)]))


def test_the_markets_clock_goes_on_from_the_newest_receipt(lake: Lake) -> None:
    assert market_clock(lake, RAW_BARS, WALL) is None
    received(lake, 5, WALL)
    received(lake, 3, WALL - HOUR)
    assert market_clock(lake, RAW_BARS, WALL + 7 * SECOND) == START + 6 * MINUTE + 7 * SECOND


def test_a_table_is_late_by_the_clock_of_what_it_is_made_of(lake: Lake) -> None:
    received(lake, 9, WALL)
    store_minutes(lake, BTC, range(10))
    fresh = {age.table: age for age in ages(lake, WALL)}
    assert set(fresh) == {"raw_bars_v1", "bars_1m_v1"}
    assert not any(age.late for age in fresh.values())
    allowed = int(BARS_1M.freshness or 0)
    assert not any(age.late for age in ages(lake, WALL + allowed))
    late = ages(lake, WALL + allowed + 2 * SECOND)
    assert [age.table for age in late if age.late] == ["raw_bars_v1", "bars_1m_v1"]
    assert str(late[1]) == f"bars_1m_v1: expected at most 2.0 h old, found 2.0 h ({format_time(late[1].newest or 0)})"


def test_a_source_that_speaks_while_silver_stands_still_makes_only_silver_late(lake: Lake) -> None:
    store_minutes(lake, BTC, range(10))
    received(lake, 10 + 3 * 60, WALL)
    assert {age.table: age.late for age in ages(lake, WALL)} == {"raw_bars_v1": False, "bars_1m_v1": True}


def test_an_empty_table_is_late_and_one_without_a_rhythm_is_not_asked(lake: Lake) -> None:
    lake.append(RAW_BARS, bronze([]))
    assert [(age.late, str(age)) for age in ages(lake, WALL)] == [
        (True, "raw_bars_v1: no row, expected one at most 2.0 h old")
    ]
    assert PROMOTIONS.freshness is None
    assert replace(Age("t", 1, 0, 1), now=2).late


def test_every_table_that_jobs_refresh_by_time_says_how_old_it_may_be() -> None:
    silent = {t.name for t in TABLES.values() if t.layer == "bronze" and t.freshness is None}
    assert silent == set(), "a bronze table whose death nobody would notice"
    assert all(t.history().freshness is None and t.quarantine().freshness is None for t in TABLES.values())


def test_the_command_names_the_late_and_exits_65(lake: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    received(lake, 9, time.time_ns() // 1000)
    store_minutes(lake, BTC, range(10))
    with pytest.raises(SystemExit) as fine:
        main(["lake", "freshness"])
    assert (int(fine.value.code or 0), capsys.readouterr().out.count("fresh ")) == (0, 2)
    received(lake, 9 + 24 * 60, time.time_ns() // 1000)
    with pytest.raises(SystemExit) as late:
        main(["lake", "freshness", "--json"])
    assert late.value.code == 65
    assert "bars_1m_v1: expected at most 2.0 h old, found 24.0 h" in capsys.readouterr().err
