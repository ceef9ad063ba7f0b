"""Anomaly checks against recordings whose defects are known: bad ticks are found, real crashes are kept."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from lake.anomalies import (
    ANOMALIES,
    FROZEN_ROWS,
    crossed,
    diverged,
    early,
    frozen,
    labelled_early,
    locked,
    skewed,
    spikes,
)  # fmt: skip
from lake.intervals import MINUTE, parse_time, to_datetime, to_us
from lake.sources.coingecko import end_of
from lake.tables import TABLES

TIME = pl.Datetime("us", "UTC")


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


def test_a_bid_that_reaches_the_ask_is_told() -> None:
    quotes = pl.DataFrame({"bid": [1.0, 2.0, 3.0, None], "ask": [2.0, 2.0, 2.0, 2.0]})
    assert locked(quotes).to_list() == [False, True, True, False]
    books = pl.DataFrame({"bid_prices": [[1.0, 0.5], [2.0]], "ask_prices": [[1.5, 2.0], [1.9, 2.5]]})
    assert crossed(books).to_list() == [False, True]


def venues(data: Path) -> pl.DataFrame:
    """BTC and ETH of Coinbase (2017-09-03, 2018-04-04 to 06) and of Bitfinex on the same days."""
    coinbase = pl.read_parquet(data / "ohlcv/coinbase_spot_1m_trades_2017-2018.parquet").filter(
        pl.col("symbol").is_in(["btcusd", "ethusd"])
    )
    coin = "coinbase:" + pl.col("symbol").str.head(3).str.to_uppercase() + "/USD"
    parts = [coinbase.select("open", "high", "low", "close", "volume", instrument=coin, open_time="ts")]
    for name in ("BTC-USD_1m_2017", "BTC-USD_1m_2018", "ETH-USD_1m_2018"):
        label = f"bitfinex:{name[:3]}/USD"
        parts.append(bitfinex(data, name).with_columns(instrument=pl.lit(label)).select(parts[0].columns))
    days = pl.col("open_time").dt.date().is_in(coinbase["ts"].dt.date().unique().implode())
    return pl.concat([part.with_columns(pl.col("open_time").cast(TIME)) for part in parts]).filter(days)


def test_a_move_that_no_other_venue_made_is_told_and_common_moves_are_kept(shared_data: Path) -> None:
    rows = venues(shared_data).sort("instrument", "open_time")
    assert rows["instrument"].n_unique() == 4 and rows.height > 20_000
    quiet = diverged(rows)
    assert quiet.sum() == 0, rows.filter(quiet)
    tick = pl.col("instrument").eq("coinbase:BTC/USD") & pl.col("open_time").eq(datetime(2018, 4, 5, 12, tzinfo=UTC))
    assert rows.filter(tick).height == 1
    planted = rows.with_columns(low=pl.when(tick).then(pl.col("low") * 0.9).otherwise("low"))
    assert planted.filter(diverged(planted)).select("instrument", "open_time").rows() == [
        ("coinbase:BTC/USD", datetime(2018, 4, 5, 12, tzinfo=UTC))
    ]
    both = pl.col("open_time").eq(datetime(2018, 4, 5, 12, tzinfo=UTC)) & pl.col("instrument").str.ends_with("BTC/USD")
    crash = rows.with_columns(low=pl.when(both).then(pl.col("low") * 0.9).otherwise("low"))
    assert not diverged(crash).any(), "a crash that both venues had is none of one's own"
    alone = planted.filter(pl.col("instrument").str.starts_with("coinbase"))
    assert not diverged(alone).any(), "without another venue nothing is told"


def test_labels_that_are_a_day_early_are_found_in_the_raw_export_and_not_in_what_the_parser_makes(
    shared_data: Path,
) -> None:
    told = pl.read_csv(shared_data / "ohlcv/coingecko_btc-usd_1d_price_mcap_volume.csv").select(
        pl.col("snapped_at").str.strptime(TIME, "%Y-%m-%d %H:%M:%S %Z", strict=False).alias("event_time"),
        value="price", entity=pl.lit("BTC"), metric=pl.lit("price_usd"),
    )  # fmt: skip
    minutes = pl.concat([bitfinex(shared_data, f"BTC-USD_1m_{year}") for year in (2017, 2018)])
    closed = pl.col("open_time").cast(TIME).dt.offset_by("1m")
    bars = minutes.select("close", event_time=closed, instrument=pl.lit("bitfinex:BTC/USD"))
    naive = told.filter(pl.col("event_time").dt.year().is_between(2017, 2018))
    wrong = naive.filter(labelled_early(naive, bars))["event_time"]
    assert wrong.len() > 280
    assert wrong.max() is not None and wrong.max() <= datetime(2018, 2, 4, tzinfo=UTC)  # type: ignore[operator]
    shifted = pl.Series([to_datetime(end_of(to_us(at))) for at in naive["event_time"]], dtype=TIME)
    right = naive.with_columns(event_time=shifted)
    assert not labelled_early(right, bars).any()


def test_a_row_known_before_it_ended_is_told() -> None:
    noon = datetime(2024, 1, 1, 12, tzinfo=UTC)
    times = {"event_time": [noon, noon], "available_time": [noon, noon - timedelta(microseconds=1)]}
    assert early(pl.DataFrame(times)).to_list() == [False, True]


def test_a_recorder_behind_the_venue_is_told_by_its_connection() -> None:
    sent = datetime.fromisoformat("2024-08-09T00:00:00+00:00")
    received = [sent - timedelta(seconds=1.27), sent - timedelta(seconds=1.26), sent + timedelta(seconds=0.1)]
    frames = pl.DataFrame({"connection": ["a", "a", "b"], "event_time": [sent] * 3, "received_time": received})
    assert skewed(frames).to_list() == [True, True, False]


def test_every_declared_check_reads_columns_its_table_has() -> None:
    for name, checks in ANOMALIES.items():
        assert all(set(check.columns) <= set(TABLES[name].schema.names) for check in checks)
        others = [(check.against[0], check.against[1:]) for check in checks if check.against]
        assert all(set(columns) <= set(TABLES[other].schema.names) for other, columns in others)
