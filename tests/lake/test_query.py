"""SQL over the lake without a JVM."""

from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from bitacora.lake_commands import app
from lake.errors import NothingStored, UsageError
from lake.query import query
from lake.storage import Lake
from lake.tables import RAW_BARS
from tests.lake.raw_bars import BTC, random_minutes, store


def test_a_statement_sees_what_is_stored(lake: Lake) -> None:
    store(lake, random_minutes(10, [BTC]))
    store(lake, random_minutes(20, [BTC])[10:])
    answer = query(lake, "SELECT stream, count(*) AS n, min(event_time) AS first FROM raw_bars_v1 GROUP BY stream")
    rows = lake.scan(RAW_BARS).group_by("stream").agg(pl.len().alias("n"), pl.col("event_time").min().alias("first"))
    assert answer.to_dicts() == rows.collect().to_dicts()
    assert query(lake, "SELECT count(*) AS n FROM raw_bars_v1", {"raw_bars_v1": 0})["n"].to_list() == [10]


def test_tables_join_with_themselves_over_versions_and_windows(lake: Lake) -> None:
    store(lake, random_minutes(5, [BTC]))
    statement = (
        "WITH ranked AS (SELECT event_time, row_number() OVER (ORDER BY event_time) AS k FROM raw_bars_v1) "
        "SELECT a.k FROM ranked a JOIN ranked b ON a.k = b.k + 1 ORDER BY a.k"
    )
    assert query(lake, statement)["k"].to_list() == [2, 3, 4, 5]


@pytest.mark.parametrize(
    "statement", ["DELETE FROM raw_bars_v1", "DROP TABLE raw_bars_v1", "", "INSERT INTO x VALUES (1)"]
)
def test_only_reading_is_allowed(lake: Lake, statement: str) -> None:
    with pytest.raises(UsageError, match="expected a statement that reads"):
        query(lake, statement)


def test_what_is_wrong_is_named(lake: Lake) -> None:
    with pytest.raises(NothingStored, match="raw_bars_v1"):
        query(lake, "SELECT * FROM raw_bars_v1")
    store(lake, random_minutes(1, [BTC]))
    with pytest.raises(UsageError, match=r"nothing_v1.*Tables here: raw_bars_v1"):
        query(lake, "SELECT * FROM nothing_v1")
    with pytest.raises(UsageError, match=r"closing.*Tables here"):
        query(lake, "SELECT closing FROM raw_bars_v1")
    with pytest.raises(UsageError, match="does not read"):
        query(lake, "SELECT 1", {"raw_bars_v1": 0})


def test_the_command_prints_writes_and_limits(lake: Lake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    store(lake, random_minutes(8, [BTC]))
    monkeypatch.setenv("LAKE_URI", lake.root)
    runner, statement = CliRunner(), "SELECT event_time, stream FROM raw_bars_v1 ORDER BY event_time"
    printed = runner.invoke(app, ["sql", statement, "--limit", "3"])
    assert printed.exit_code == 0 and "8 rows, the first 3 shown" in printed.output
    out = tmp_path / "new" / "answer.csv"
    assert runner.invoke(app, ["sql", statement, "--out", str(out)]).exit_code == 0
    assert pl.read_csv(out).height == 8
    with pytest.raises(UsageError, match="ending in"):
        runner.invoke(app, ["sql", statement, "--out", "x.xlsx"], catch_exceptions=False)
