"""The leak check: every planted leak is caught, no honest pipeline is accused, the services are clean."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from walks import WEEK_BARS, every_service, wide_walk

from feature_store.__main__ import main
from feature_store.errors import LeakCheckRefused
from feature_store.leaks import bars_table, early_fills, find_leaks, find_service_leaks, known_at, overlaps
from feature_store.service import CATALOGUE, DEFAULT, FeatureService
from feature_store.view import CLOSE, FeatureView, Floats, Output, kernel
from lake.intervals import HOUR, MINUTE, Interval, to_datetime
from tests.feature_store.planted_leaks import CONTROLS, LEAKS, START, over_bars, world
from tests.feature_store.walks import walk

_TIME = pl.Datetime("us", "UTC")


@pytest.mark.parametrize("name", LEAKS)
def test_a_planted_leak_is_caught(name: str) -> None:
    found = find_leaks(LEAKS[name], world(), cuts=30, seed=2)
    assert found, name
    assert found[0].known_then != found[0].with_future
    assert found[0].decision_time <= found[0].cut


@pytest.mark.parametrize("name", CONTROLS)
def test_an_honest_pipeline_is_not_accused(name: str) -> None:
    assert find_leaks(CONTROLS[name], world(), cuts=30, seed=2) == []


def test_there_are_enough_of_both() -> None:
    assert len(LEAKS) >= 20 and len(CONTROLS) >= 20


def test_a_leak_names_column_row_and_both_values() -> None:
    found = find_leaks(over_bars(lambda bars: pl.col("close").shift(-1)), world(), cuts=5)
    (leak,) = found
    assert str(leak).startswith("feature: the row of 2024-")
    assert "is None with what was known at" in str(leak)


@pytest.mark.parametrize("service", [DEFAULT, CATALOGUE])
def test_the_services_are_clean_at_a_hundred_cut_offs(service: FeatureService) -> None:
    times, bars = walk(3, 4_500)
    assert find_service_leaks(service, times, bars, cuts=100, seed=4) == []


@kernel
def _count_bars(state: Floats, bar: Floats, out: Floats) -> None:
    state[0] += 1.0
    out[0] = bar[CLOSE] * state[0]


def test_a_service_that_depends_on_where_a_scan_began_is_caught() -> None:
    counts = FeatureView("counts", 1, ("close",), 1, 1, _count_bars, (Output("counts", "1", "bars so far"),))
    service = dataclasses.replace(DEFAULT, name="counting", views=(counts,))
    times, bars = walk(3, 4_500)
    assert find_service_leaks(service, times, bars, cuts=50) == []  # anchored: a rebuild starts where the scan did
    table = bars_table(times[:600], bars[:600], 5 * MINUTE)
    last = over_bars(lambda rows: pl.lit(float(rows.height)) * pl.col("close"))
    assert find_leaks(last, {"bars": table.with_columns(pl.col("high"))}, cuts=10)


def test_what_is_known_ends_at_the_cut() -> None:
    tables = known_at(world(), START + HOUR)
    assert all(table["available_time"].max() <= to_datetime(START + HOUR) for table in tables.values() if table.height)
    assert tables["bars"].height == 11


def test_a_table_without_its_clock_is_refused() -> None:
    tables = world()
    with pytest.raises(LeakCheckRefused, match=r"table bars: expected available_time"):
        find_leaks(LEAKS["shifted by one"], tables | {"bars": tables["bars"].drop("available_time")})
    with pytest.raises(LeakCheckRefused, match="expected decision_time"):
        find_leaks(lambda tables: tables["bars"], tables)
    with pytest.raises(LeakCheckRefused, match="found some twice"):
        find_leaks(lambda tables: pl.concat([over_bars(lambda bars: pl.col("close"))(tables)] * 2), tables)


def test_training_labels_that_reach_into_the_test_are_found() -> None:
    train = [Interval(k * HOUR, k * HOUR + 3 * HOUR) for k in range(10)]
    test = [Interval(8 * HOUR, 11 * HOUR)]
    assert overlaps(train[:6], test) == []
    assert overlaps(train[:7], test) == [(6, 0)]
    assert overlaps(train[:6], test, embargo=1) == [(5, 0)]
    assert overlaps([Interval(12 * HOUR, 13 * HOUR)], test, embargo=2 * HOUR) == [(0, 0)]


def test_fills_that_nobody_could_have_had_are_found() -> None:
    opened = START + 5 * MINUTE * np.arange(6)
    bars = pl.DataFrame({"open_time": opened, "close_time": opened + 5 * MINUTE, "low": 99.0, "high": 101.0})
    bars = bars.with_columns(pl.col("open_time", "close_time").cast(_TIME))
    decided = START + 10 * MINUTE
    cases = [
        (decided, decided, 100.0, None),
        (decided, decided + 7 * MINUTE, 101.0, None),
        (decided, decided - MINUTE, 100.0, "filled before the decision"),
        (decided + MINUTE, decided + 2 * MINUTE, 100.0, "filled inside the bar that was still open"),
        (decided, decided + MINUTE, 101.5, "a price the bar never showed"),
        (decided, decided + 10 * HOUR, 100.0, "no bar at the time of the fill"),
    ]
    fills = pl.DataFrame([case[:3] for case in cases], ["decision_time", "fill_time", "price"], orient="row")
    found = early_fills(fills.with_columns(pl.col("decision_time", "fill_time").cast(_TIME)), bars)
    assert found["reason"].to_list() == [case[3] for case in cases if case[3]]


def test_the_command_checks_a_service_and_a_file_of_ones_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    times, bars = walk(900)
    file = tmp_path / "bars.parquet"
    names = ("open", "high", "low", "close", "volume")
    pl.DataFrame({"open_time": times} | {name: bars[:, i] for i, name in enumerate(names)}).write_parquet(file)
    arguments = ["leaks", "--bars", str(file), "--timeframe", "5m", "--cuts", "20"]
    assert main(arguments) == 0
    assert "no leak found" in capsys.readouterr().out
    pipeline = tmp_path / "mine.py"
    pipeline.write_text(
        "import polars as pl\n"
        "def features(tables):\n"
        "    decided = pl.col('available_time').alias('decision_time')\n"
        "    return tables['bars'].select(decided, next=pl.col('close').shift(-1), last=pl.col('close'))\n"
    )
    assert main([*arguments, "--pipeline", str(pipeline), "--json"]) == 65
    printed = capsys.readouterr()
    (leak,) = json.loads(printed.out)["leaks"]
    assert leak["column"] == "next" and "Use only what was available" in printed.err
    pipeline.write_text("import nothing_of_that_name")
    assert main([*arguments, "--pipeline", str(pipeline)]) == 65
    assert "cannot run it: ModuleNotFoundError" in capsys.readouterr().err


@pytest.mark.nightly
@every_service
def test_a_thousand_cut_offs_leave_every_value_as_it_was(service: FeatureService) -> None:
    times, bars = wide_walk(service, 3 * WEEK_BARS, seed=21, missing=0.01)
    assert find_service_leaks(service, times, bars, cuts=1_000, seed=22) == []
