"""Bars rebuilt through our code equal the exchange's own, on real data, to the last bit."""

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from jobs.trade_bars import bars_from_trades, coarser_bars
from lake.errors import UsageError
from lake.intervals import DAY, HOUR, MINUTE

OHLCV = ("open", "high", "low", "close", "volume")
_TIME = pl.Datetime("us", "UTC")


def trades_of(shared_data: Path) -> pl.DataFrame:
    raw = pl.read_parquet(shared_data / "trades/binance_spot_XRP-ETH_aggtrades_2019-10.parquet")
    time = pl.from_epoch("timestamp", "ms").dt.cast_time_unit("us").dt.replace_time_zone("UTC")
    return raw.select(
        instrument=pl.lit("binance:XRP/ETH"), event_time=time, available_time=time, trade_id="id", aggregate=True,
        price="price", quantity="amount",
    )  # fmt: skip


def bars_of(file: Path, symbol: str | None = None) -> pl.DataFrame:
    rows = pl.read_parquet(file)
    name = pl.col("symbol") if "symbol" in rows.columns else pl.lit(symbol)
    rows = rows.select(name.alias("instrument"), pl.col("ts").cast(_TIME).alias("open_time"), *OHLCV)
    return rows if symbol is None else rows.filter(pl.col("instrument") == symbol)


def test_trades_rebuild_all_2469_stored_minutes_exactly(shared_data: Path) -> None:
    stored = bars_of(shared_data / "trades/binance_spot_XRP-ETH_1m_2019-10.parquet", "binance:XRP/ETH")
    built = bars_from_trades(trades_of(shared_data).sample(fraction=1.0, shuffle=True, seed=1), MINUTE)
    both = stored.join(built, on=["instrument", "open_time"], how="full", suffix="_built", coalesce=True)
    assert len(stored) == len(built) == len(both) == 2_469
    for name in OHLCV:
        assert (both[name] == both[f"{name}_built"]).all(), name
    assert built["trade_count"].sum() == 12_477


PAIRS = ("1000SATS-USDT", "BIFI-USDT", "BTC-USDT", "ETH-USDT", "RENDER-USDT", "XRP-USDT")


@pytest.mark.parametrize(
    ("file", "length"),
    [("6pairs_15m", 15 * MINUTE), ("72pairs_1h", HOUR), ("12pairs_4h", 4 * HOUR), ("72pairs_1d", DAY)],
)
def test_five_minutes_make_the_exchanges_coarser_bars_exactly(shared_data: Path, file: str, length: int) -> None:
    coarse = bars_of(shared_data / f"ohlcv/binance_spot_{file}.parquet")
    compared = silent = 0
    for pair in PAIRS:
        fine = bars_of(shared_data / f"ohlcv/binance_spot_{pair}_5m.parquet", pair)
        built = coarser_bars(fine, 5 * MINUTE, length)
        both = built.join(coarse, on=["instrument", "open_time"], suffix="_stored")
        for name in OHLCV:
            assert (both[name] == both[f"{name}_stored"]).all(), (pair, name)
        compared, silent = compared + len(both), silent + (fine["volume"] == 0).sum()
    assert compared > {DAY: 1_000, 4 * HOUR: 6_000}.get(length, 20_000)
    assert silent > 0, "the rule of bars without a trade is put to the test"


def test_a_bar_without_a_trade_gives_no_extreme() -> None:
    bars = pl.DataFrame(
        {
            "instrument": ["a"] * 3, "open_time": [timedelta(minutes=5 * i) for i in range(3)],
            "open": [9.0, 10.0, 11.0], "high": [9.0, 12.0, 11.5], "low": [9.0, 9.5, 10.5], "close": [9.0, 11.0, 11.2],
            "volume": [0.0, 1.0, 2.0],
        }
    ).with_columns(open_time=pl.col("open_time").cast(pl.Int64).cast(_TIME))  # fmt: skip
    assert coarser_bars(bars, 5 * MINUTE, 15 * MINUTE).select(OHLCV).rows() == [(10.0, 12.0, 9.5, 11.2, 3.0)]
    silent = bars.with_columns(volume=pl.lit(0.0))
    assert coarser_bars(silent, 5 * MINUTE, 15 * MINUTE).select(OHLCV).rows() == [(9.0, 12.0, 9.0, 11.2, 0.0)]
    assert coarser_bars(bars[:2], 5 * MINUTE, 15 * MINUTE).is_empty(), "an incomplete set makes no bar"


def test_bars_conserve_the_traded_quantity_and_refuse_a_mixture(shared_data: Path) -> None:
    trades = trades_of(shared_data)
    built = bars_from_trades(trades, HOUR)
    assert built["volume"].sum() == pytest.approx(trades["quantity"].sum(), rel=1e-12)
    mixed = pl.concat([trades[:1], trades[1:2].with_columns(aggregate=False)])
    with pytest.raises(UsageError, match="found both"):
        bars_from_trades(mixed, MINUTE)
    with pytest.raises(UsageError, match="no multiple"):
        coarser_bars(built, HOUR, HOUR + MINUTE)
