"""Files that people bring, good and bad."""

from pathlib import Path

import polars as pl
import pytest

from jobs.bar_files import read_bars
from lake.errors import BadInput
from lake.intervals import MINUTE
from tests.lake.raw_bars import START

HEADER = "ts,open,high,low,close,volume\n"
LINE = "{at},100,101,99,100.5,2\n"


def write(path: Path, *lines: str) -> Path:
    path.write_text("".join(lines))
    return path


def csv_lines(*times: object) -> list[str]:
    return [HEADER, *(LINE.format(at=at) for at in times)]


@pytest.mark.parametrize(
    "times",
    [
        ["2024-01-29T00:00:00Z", "2024-01-29T00:05:00Z"],
        ["2024-01-29 00:00:00", "2024-01-29 00:05"],
        ["2024-01-29", "2024-01-29T00:05:00.000+00:00"],
        [1706486400000, 1706486700000],
    ],
)
def test_a_time_may_be_iso_text_or_milliseconds(tmp_path: Path, times: list[object]) -> None:
    bars = read_bars(write(tmp_path / "b.csv", *csv_lines(*times)), "5m")
    assert bars["ts"].to_list() == [START, START + 5 * MINUTE]
    assert bars.row(0)[1:] == (100.0, 101.0, 99.0, 100.5, 2.0)


def test_an_empty_cell_is_null_and_left_to_the_checks(tmp_path: Path) -> None:
    bars = read_bars(write(tmp_path / "b.csv", HEADER, "2024-01-29,,101,99,100,1\n"), "5m")
    assert bars["open"].to_list() == [None]


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        ([HEADER, "2024-01-29,abc,1,1,1,1\n"], "row 1, column open: expected a number, found 'abc'"),
        ([HEADER, "yesterday,1,1,1,1,1\n"], "row 1, column ts: expected a time"),
        ([HEADER, "2024-01-29,1,1,1,1,1,7,8,9\n"], "cannot be read as csv"),
        (["a,b\n", "1,2\n"], "no column open_time, open, high, low, close, volume"),
        ([HEADER], "no rows"),
        ([], "no column"),
    ],
)
def test_a_malformed_file_is_refused_and_the_place_named(tmp_path: Path, lines: list[str], what: str) -> None:
    with pytest.raises(BadInput, match=r"b\.csv") as refused:
        read_bars(write(tmp_path / "b.csv", *lines), "5m")
    assert what in str(refused.value)


def test_another_timeframe_than_said_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "b.csv", *csv_lines("2024-01-29T00:00", "2024-01-29T00:01", "2024-01-29T00:02"))
    with pytest.raises(BadInput, match="expected bars 300 s apart for --timeframe 5m, found most of them 60 s apart"):
        read_bars(path, "5m")


def test_a_damaged_parquet_and_an_unknown_suffix_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read as parquet"):
        read_bars(write(tmp_path / "b.parquet", "PAR1 but no"), "5m")
    with pytest.raises(BadInput, match=r"expected \.csv, \.parquet or \.feather"):
        read_bars(write(tmp_path / "b.txt", "x"), "5m")
    with pytest.raises(BadInput, match="no such file"):
        read_bars(tmp_path / "absent.csv", "5m")


def test_the_real_files_read(shared_data: Path) -> None:
    bars = read_bars(shared_data / "ohlcv" / "binance_spot_BTC-USDT_5m.parquet", "5m")
    assert bars.height == 71_769
    assert bars.schema["ts"] == pl.Int64


@pytest.mark.parametrize("suffix", ["feather", "arrow"])
@pytest.mark.parametrize("compression", ["uncompressed", "lz4", "zstd"])
def test_a_feather_file_reads_as_its_parquet(tmp_path: Path, suffix: str, compression: str) -> None:
    frame = pl.DataFrame(
        {"open_time": [START, START + 5 * MINUTE], **dict.fromkeys(("open", "high", "low", "close", "volume"), 1.5)}
    ).with_columns(pl.col("open_time").cast(pl.Datetime("us", "UTC")))
    frame.write_parquet(tmp_path / "b.parquet")
    frame.write_ipc(tmp_path / f"b.{suffix}", compression=compression)  # type: ignore[arg-type]
    assert read_bars(tmp_path / f"b.{suffix}", "5m").equals(read_bars(tmp_path / "b.parquet", "5m"))
    (tmp_path / f"cut.{suffix}").write_bytes((tmp_path / f"b.{suffix}").read_bytes()[:-100])
    with pytest.raises(BadInput, match=f"cannot be read as {suffix}"):
        read_bars(tmp_path / f"cut.{suffix}", "5m")
