"""Anomaly checks against recordings whose defects are known: bad ticks are found, real crashes are kept."""

from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from lake.anomalies import ANOMALIES, FROZEN_ROWS, crossed, frozen, skewed, spikes
from lake.intervals import MINUTE, parse_time, to_datetime
from lake.tables import TABLES


def bitfinex(folder: Path, name: str) -> pl.DataFrame:
    rows = pl.read_parquet(folder / "ohlcv" / f"bitfinex_spot_{name}.parquet").unique("ts_ms")
    time = pl.from_epoch("ts_ms", "ms").dt.replace_time_zone("UTC").alias("open_time")
    return rows.select(pl.lit(name).alias("instrument"), time, "open", "high", "low", "close", "volume")


def found(bars: pl.DataFrame) -> list[str]:
    return bars.filter(spikes(bars)).sort("open_time")["open_time"].dt.strftime("%Y-%m-%d %H:%M").to_list()


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("BTC-USD_1m_2013", ["2013-04-16 04:38", "2013-07-01 18:01"]),
        ("LTC-USD_1m_2013", ["2013-06-26 19:58"]),
    ],
)
def test_the_known_bad_ticks_are_found(shared_data: Path, name: str, bad: list[str]) -> None:
    assert set(bad) <= set(found(bitfinex(shared_data, name)))


@pytest.mark.parametrize("name", ["NEO-USD_1m_2017", "ETH-USD_1m_2016"])
def test_real_crashes_are_kept(shared_data: Path, name: str) -> None:
    assert found(bitfinex(shared_data, name)) == []


def bars(prices: list[float], volume: float = 1.0) -> pl.DataFrame:
    times = [to_datetime(parse_time("2024-01-29") + at * MINUTE) for at in range(len(prices))]
    columns = dict.fromkeys(("open", "high", "low", "close"), prices)
    return pl.DataFrame({"instrument": "v:A", "open_time": times, **columns, "volume": volume})


def test_a_spike_upwards_is_found_and_a_move_that_stays_is_not() -> None:
    assert bars(spiked := [100.0] * 9 + [900.0] + [100.0] * 9).filter(spikes(bars(spiked))).height == 1
    assert not spikes(bars([100.0] * 9 + [10.0] * 9)).any()


def test_a_feed_that_repeats_is_frozen_and_one_without_trades_is_not() -> None:
    assert frozen(bars([1.0] * FROZEN_ROWS)).all()
    assert not frozen(bars([1.0] * (FROZEN_ROWS - 1) + [2.0])).any()
    assert not frozen(bars([1.0] * FROZEN_ROWS, volume=0.0)).any()


def test_a_bid_that_reaches_the_ask_is_crossed() -> None:
    quotes = pl.DataFrame({"bid": [1.0, 2.0, 3.0, None], "ask": [2.0, 2.0, 2.0, 2.0]})
    assert crossed(quotes).to_list() == [False, True, True, False]


def test_a_recorder_behind_the_venue_is_told_by_its_connection() -> None:
    sent = datetime.fromisoformat("2024-08-09T00:00:00+00:00")
    received = [sent - timedelta(seconds=1.27), sent - timedelta(seconds=1.26), sent + timedelta(seconds=0.1)]
    frames = pl.DataFrame({"connection": ["a", "a", "b"], "event_time": [sent] * 3, "received_time": received})
    assert skewed(frames).to_list() == [True, True, False]


def test_every_declared_check_reads_columns_its_table_has() -> None:
    for name, checks in ANOMALIES.items():
        assert all(set(check.columns) <= set(TABLES[name].schema.names) for check in checks)
