"""python -m feature_store, as a quant calls it."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from walks import walk

from feature_store.__main__ import main
from feature_store.catalogue import all_services
from feature_store.scan import compute
from feature_store.service import DEFAULT
from feature_store.view import BAR_COLUMNS


@pytest.fixture
def bars() -> pl.DataFrame:
    times, rows = walk(700, seed=1)
    frame = pl.DataFrame(rows, list(BAR_COLUMNS), orient="row")
    return frame.insert_column(0, pl.Series("open_time", times).cast(pl.Datetime("us", "UTC")))


def command(bars: Path, out: Path, timeframe: str = "5m") -> int:
    return main(
        [
            "compute",
            "--bars",
            str(bars),
            "--instrument",
            "binance:BTC/USDT",
            "--timeframe",
            timeframe,
            "--out",
            str(out),
        ]
    )


@pytest.mark.parametrize("suffix", ["parquet", "csv", "feather"])
@pytest.mark.parametrize("form", ["us", "ns naive ts", "ms number", "text"])
def test_compute_writes_one_row_per_bar_null_until_warm(
    bars: pl.DataFrame, tmp_path: Path, suffix: str, form: str
) -> None:
    time = pl.col("open_time")
    times = {
        "us": time,
        "ns naive ts": time.dt.replace_time_zone(None).cast(pl.Datetime("ns")).alias("ts"),
        "ms number": time.dt.epoch("ms"),
        "text": time.dt.to_string("%Y-%m-%dT%H:%M:%SZ"),
    }
    source, out = tmp_path / f"bars.{suffix}", tmp_path / "new" / "features.parquet"
    given = bars.select(times[form], *BAR_COLUMNS)
    writer = {"parquet": given.write_parquet, "csv": given.write_csv, "feather": given.write_ipc}[suffix]
    writer(source)
    assert command(source, out) == 0
    found = pl.read_parquet(out)
    assert found["open_time"].to_list() == bars["open_time"].to_list()
    expected = compute(DEFAULT, bars["open_time"].to_physical().to_numpy(), bars.select(BAR_COLUMNS).to_numpy())
    assert found["log_return_480"].null_count() == 480
    values = found.select(DEFAULT.feature_names).to_numpy()
    np.testing.assert_array_equal(values, expected)


def test_join_attaches_the_features_that_were_available(bars: pl.DataFrame, tmp_path: Path) -> None:
    bars.write_parquet(tmp_path / "bars.parquet")
    assert command(tmp_path / "bars.parquet", tmp_path / "features.parquet") == 0
    features = pl.read_parquet(tmp_path / "features.parquet")
    features.select("instrument", decision_time="available_time").write_parquet(tmp_path / "labels.parquet")
    paths = {name: str(tmp_path / f"{name}.parquet") for name in ("labels", "features", "out")}
    arguments = ["join", *(word for name, path in paths.items() for word in (f"--{name}", path))]
    assert main([*arguments, "--columns", "sma_20,rsi_14"]) == 0
    assert pl.read_parquet(paths["out"]).select("sma_20", "rsi_14").equals(features.select("sma_20", "rsi_14"))


def test_list_tells_every_column(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json"]) == 0
    for one in json.loads(capsys.readouterr().out):
        declared = all_services()[one["service"]]
        assert one["content_hash"] == declared.content_hash
        assert [column["name"] for column in one["columns"]] == list(declared.feature_names)
    assert main(["list"]) == 0
    assert "realized_vol_60" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda frame: frame.drop("volume"), "expected columns volume"),
        (lambda frame: frame.rename({"open_time": "when"}), "expected columns open_time"),
        (lambda frame: frame.with_columns(close=pl.lit("much")), "expected numbers in close"),
        (lambda frame: frame.with_columns(close=pl.lit(None, pl.Float64)), "finite"),
        (lambda frame: frame.with_columns(open_time=pl.lit("today")), "cannot read time 'today'"),
        (lambda frame: frame.reverse(), "sorted"),
        (lambda frame: pl.concat([frame, frame.tail(1)]), "each once"),
        (lambda frame: frame.with_columns(low=-pl.col("low")), "above zero"),
    ],
)
def test_bad_bars_end_in_exit_code_65_and_one_line(
    bars: pl.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: object, why: str
) -> None:
    assert callable(change)
    change(bars).write_parquet(tmp_path / "bars.parquet")
    assert command(tmp_path / "bars.parquet", tmp_path / "out.parquet") == 65
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert why in error
    assert not (tmp_path / "out.parquet").exists()


def test_a_wrong_timeframe_is_told_by_the_grid(
    bars: pl.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bars.write_parquet(tmp_path / "bars.parquet")
    assert command(tmp_path / "bars.parquet", tmp_path / "out.parquet", "15m") == 65
    assert "15m grid" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["missing.parquet", "bars.xlsx", "torn.parquet", "torn.csv"])
def test_a_file_that_does_not_read_is_told_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 and then nothing")
    (tmp_path / "torn.csv").write_text('open_time,open\n"2024')
    assert command(tmp_path / name, tmp_path / "out.parquet") == 65
    assert name in capsys.readouterr().err


def test_wrong_usage_ends_in_exit_code_64(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["compute", "--timeframe", "7m"])
    assert ended.value.code == 64
    assert main(["list", "--service", "nothing"]) == 64
    assert "unknown feature service 'nothing'" in capsys.readouterr().err
