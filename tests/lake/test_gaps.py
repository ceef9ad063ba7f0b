"""Holes and their reasons: by hand, and in real recordings whose holes are known."""

from pathlib import Path

import polars as pl

from lake.gaps import as_rows, coverage, explained, holes
from lake.intervals import DAY, HOUR, MINUTE, format_time, parse_time
from lake.tables import GAPS

START = parse_time("2024-01-29")


def grid(instrument: str, *spans: tuple[int, int], step: int = MINUTE) -> pl.DataFrame:
    """Rows at every minute of the spans (minutes since the start)."""
    times = [START + at * step for first, last in spans for at in range(first, last)]
    return pl.DataFrame({"instrument": instrument, "time": times})


def reasons(*rows: pl.DataFrame, other: pl.DataFrame | None = None) -> list[tuple[str, int, str]]:
    found = explained(pl.concat(rows), MINUTE, other)
    return found.select("instrument", "missing", "reason").sort("instrument").rows()


def test_a_hole_is_what_lies_between_two_rows_in_any_order() -> None:
    rows = pl.concat([grid("v:A", (5, 9)), grid("v:A", (0, 3)), grid("v:A", (0, 1)), grid("v:B", (2, 4))])
    assert holes(rows, MINUTE).rows() == [("v:A", START + 3 * MINUTE, START + 5 * MINUTE, 2)]


def test_the_reason_is_told_from_what_went_on_meanwhile() -> None:
    whole, holed = (0, 600), ((0, 100), (300, 600))
    assert reasons(grid("v:A", *holed), grid("v:B", whole)) == [("v:A", 200, "not_recorded")]
    assert reasons(grid("v:A", *holed), grid("v:B", *holed)) == [
        ("v:A", 200, "venue_outage"),
        ("v:B", 200, "venue_outage"),
    ]
    assert reasons(grid("v:A", *holed), grid("w:B", whole)) == [("v:A", 200, "unknown")]
    assert reasons(grid("v:A", (0, 9), (12, 99)), grid("v:B", whole)) == [("v:A", 3, "no_trades")]
    assert reasons(grid("binance:A", (0, 9), (12, 99)), grid("binance:B", whole)) == [("binance:A", 3, "not_recorded")]
    quotes = grid("v:A", whole)
    assert reasons(grid("v:A", *holed), grid("v:B", *holed), other=quotes)[0] == ("v:A", 200, "not_recorded")


def test_coverage_counts_days_without_any_row() -> None:
    rows = grid("v:A", (0, 24), (72, 84), step=HOUR)
    found = coverage(rows, HOUR)
    assert found["coverage"].to_list() == [1.0, 0.0, 0.0, 0.5]
    assert found["day"].is_sorted()


def test_rows_are_the_tables_but_for_the_wall_clock() -> None:
    rows = as_rows(explained(grid("v:A", (0, 9), (12, 99)), MINUTE), "bars_1m_v1", MINUTE)
    assert [*rows.columns, "found_time"] == GAPS.schema.names
    assert (rows["available_time"] > rows["end_time"]).all()


def bitfinex(folder: Path, name: str) -> pl.DataFrame:
    rows = pl.read_parquet(folder / "ohlcv" / f"bitfinex_spot_{name}-USD_1m_2016.parquet", columns=["ts_ms"])
    return rows.select(instrument=pl.lit(f"bitfinex:{name}/USD"), time=pl.col("ts_ms") * 1000)


def test_the_halt_and_the_missing_recording_of_2016_are_told_apart(shared_data: Path) -> None:
    rows = pl.concat([bitfinex(shared_data, "BTC"), bitfinex(shared_data, "ETH")])
    long = explained(rows, MINUTE).filter(pl.col("missing") > 5 * DAY // MINUTE).sort("instrument", "start")
    assert long.select(pl.col("instrument").str.slice(9, 3), "reason").rows() == [
        ("BTC", "not_recorded"),
        ("BTC", "venue_outage"),
        ("ETH", "not_recorded"),
        ("ETH", "venue_outage"),
    ]
    halt = long.row(1, named=True)
    assert (format_time(halt["start"]), format_time(halt["end"])) == ("2016-08-02T18:03:00Z", "2016-08-10T15:53:00Z")
    days = coverage(rows, MINUTE).filter(pl.col("instrument") == "bitfinex:BTC/USD")
    assert days.filter(pl.col("found") == 0).height == 60 + 7  # April 2 to May 31, August 3 to 9


def test_trades_that_stop_while_quotes_go_on_were_not_recorded(shared_data: Path) -> None:
    def times(kind: str) -> pl.DataFrame:
        rows = pl.read_parquet(shared_data / "ohlcv" / f"coinbase_spot_1m_{kind}_2017-2018.parquet")
        return rows.select(instrument="coinbase:" + pl.col("symbol"), time=pl.col("ts").dt.epoch("us"))

    start = parse_time("2018-04-04")
    found = explained(times("trades").filter(pl.col("time") >= start), MINUTE, times("quotes"))
    long = found.filter(pl.col("missing") > 400).sort("instrument")
    assert long.height == 4
    assert set(long["reason"]) == {"not_recorded"}
    assert [format_time(start)[11:16] for start in long["start"]] == ["16:49", "16:48", "16:53", "16:51"]
