"""Recordings through the engine: exact without clients, and clients in the queues by the stated rules."""

from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import aiohttp
import numpy as np
import polars as pl
import pytest
from deltalake import write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st

from lake.errors import BadInput, UsageError
from lake.instruments import instrument
from lake.intervals import MINUTE
from lake.tables import BARS_1M
from market import book as books
from market import engine as engines
from market import recording as rec
from market import replay, requests
from market.book import BUY, SELL
from market.exchange import Exchange
from market.l2 import ASK, BID
from market.orders import NewOrder, Order
from market.recording import BOOK_SET, KIND, LEVELS_SET, TRADED, Recording
from market.replay_venue import Replay, build_replay_venue, market_lots, recorded_lots, replay_exchange
from market.server import listening

BTC = instrument("binance:BTC/USDT")
START = 1_700_000_040_000_000
Rows = list[tuple[int, int, int]]


def recording(*events: tuple[int, Rows]) -> Recording:
    """Events a second apart: a kind and rows of side, tick, lots."""
    updates = [row for _, rows in events for row in rows]
    ends = np.cumsum([len(rows) for _, rows in events])
    table = [(START + k * 10**6, kind, ends[k] - len(rows), ends[k]) for k, (kind, rows) in enumerate(events)]
    return Recording(BTC, np.array(table), np.array(updates).reshape(-1, 3), np.full(len(events), -1))


def played(*events: tuple[int, Rows]) -> tuple[Exchange, Replay]:
    return replay_exchange(recording(*events), 1, Decimal(0), Decimal(1_000_000), 1)


def order(exchange: Exchange, side: int, ticks: int, lots: int) -> Order:
    new = NewOrder(0, side, "LIMIT", lots * BTC.quantity_step, price=ticks * BTC.price_tick)
    return exchange.submit(exchange.accounts[0], new)


def best(exchange: Exchange, side: int) -> list[int]:
    return [int(value) for value in books.depth(exchange.engine.book, 0, side, 1)[0]]


SNAPSHOT = (BOOK_SET, [(BID, 4_000_000, 1000), (BID, 3_999_990, 500), (ASK, 4_000_010, 800)])
SALE = (TRADED, [(BID, 4_000_000, 400)])


def test_a_client_behind_a_recorded_level_waits_until_what_was_ahead_has_traded() -> None:
    exchange, play = played(SNAPSHOT, SALE, (TRADED, [(BID, 4_000_000, 700)]))
    play.play_to(1)
    own = order(exchange, BUY, 4_000_000, 300)
    play.play_to(2)
    exchange.settle()
    assert own.filled_lots == 0, "400 of 1000 ahead"
    play.play_to(3)
    exchange.settle()
    assert own.filled_lots == 100, "600 ahead, the rest of 700 is ours"
    assert own.fills[0].is_maker


def test_a_level_that_shrinks_loses_what_is_behind_the_client_first() -> None:
    down = (LEVELS_SET, [(BID, 4_000_000, 1100)])
    exchange, play = played(SNAPSHOT, (LEVELS_SET, [(BID, 4_000_000, 1500)]), down, (TRADED, [(BID, 4_000_000, 1001)]))
    play.play_to(1)
    own = order(exchange, BUY, 4_000_000, 300)
    play.play_to(3)
    assert market_lots(exchange.engine.book, 0, BUY, 4_000_000) == 1100
    play.play_to(4)
    exchange.settle()
    assert own.filled_lots == 1, "1000 stayed ahead although the level lost 400"


def test_a_trade_meets_a_client_who_bids_more_first() -> None:
    exchange, play = played(SNAPSHOT, SALE)
    play.play_to(1)
    own = order(exchange, BUY, 4_000_005, 300)
    play.play_to(2)
    exchange.settle()
    assert (own.status, own.fills[0].price) == ("FILLED", 4_000_005)
    assert market_lots(exchange.engine.book, 0, BUY, 4_000_000) == 900


def test_a_trade_beyond_the_recorded_book_prints_at_its_own_price_and_the_next_change_restores_the_book() -> None:
    lower = (TRADED, [(BID, 3_999_980, 40)])
    exchange, play = played(SNAPSHOT, lower, (LEVELS_SET, [(ASK, 4_000_010, 801)]))
    play.play_to(2)
    tape = exchange.engine.book.tape[: int(exchange.engine.book.tape_rows[0])]
    assert tape[:, [books.TAPE_PRICE, books.TAPE_LOTS]].tolist() == [[3_999_980, 40]]
    assert int(exchange.engine.book.meta[0, books.BUY_LEVELS]) == 0
    play.play_to(3)
    assert (best(exchange, BUY), best(exchange, SELL)) == ([4_000_000, 1000], [4_000_010, 801])


def test_what_a_client_takes_comes_back_when_the_recording_next_sets_the_level() -> None:
    exchange, play = played(SNAPSHOT, (LEVELS_SET, [(BID, 1, 1)]), (LEVELS_SET, [(ASK, 4_000_010, 800)]))
    play.play_to(1)
    own = order(exchange, BUY, 4_000_010, 300)
    assert own.status == "FILLED"
    play.play_to(2)
    assert best(exchange, SELL) == [4_000_010, 500]
    play.play_to(3)
    assert best(exchange, SELL) == [4_000_010, 800]


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just(LEVELS_SET), st.integers(0, 1), st.integers(0, 8), st.integers(0, 50)),
            st.tuples(st.just(TRADED), st.integers(0, 1), st.integers(0, 8), st.integers(1, 60)),
        ),
        max_size=30,
    ),
    st.lists(st.tuples(st.integers(0, 29), st.integers(0, 1), st.integers(0, 17), st.integers(1, 40)), max_size=6),
)
def test_money_is_conserved_and_the_market_equals_the_recording(
    changes: list[tuple[int, int, int, int]], clients: list[tuple[int, int, int, int]]
) -> None:
    """Bids lie at 100 to 108, asks at 109 to 117 ticks: the recorded book never crosses."""
    rows = [(kind, [(side, 100 + place + 9 * side, lots)]) for kind, side, place, lots in changes]
    exchange, play = played((BOOK_SET, [(BID, 104, 5), (ASK, 112, 5)]), (TRADED, [(BID, 104, 1)]), *rows)
    totals = exchange.engine.accounts.balances.sum(axis=(0, 2)).tolist()
    for k in range(len(rows) + 2):
        play.play_to(k + 1)
        for _, side, place, lots in (each for each in clients if each[0] == k):
            _take(exchange, side, 100 + place, lots)
        exchange.settle()
    assert exchange.engine.accounts.balances.sum(axis=(0, 2)).tolist() == totals
    assert int(exchange.engine.accounts.balances.min()) >= 0
    if not clients:
        for side in (BUY, SELL):
            for tick in range(95, 120):
                touched = play._touched[: int(play._count[0])].tolist()
                if [side, tick] not in touched:
                    held = market_lots(exchange.engine.book, 0, side, tick)
                    assert held == recorded_lots(play.levels, side, tick)


def _take(exchange: Exchange, side: int, ticks: int, lots: int) -> None:
    """An immediate-or-cancel order of the client, whatever the venue's filters say."""
    exchange.engine = engines.with_room(exchange.engine, 1)
    owner = exchange.accounts[0].owner
    request = engines.new_request(0, owner, side, lots, engines.LIMIT, ticks)
    request[engines.REQ_TIF] = engines.IOC
    requests.submit(exchange.engine, request, exchange.time)


def test_bars_and_trades_become_recordings() -> None:
    times = [START // MINUTE * MINUTE, START // MINUTE * MINUTE + MINUTE]
    bars = pl.DataFrame({
        "open_time": times, "open": [100.0, 101.0], "high": [103.0, 101.0], "low": [99.0, 98.0], "close": [101.0, 98.5],
        "volume": [0.00008, 0.0001],
    })  # fmt: skip
    made = rec.of_bars(bars, Path("b.parquet"), BTC)
    trades = made.events[made.events[:, KIND] == TRADED]
    assert [int(made.updates[row[2], 1]) for row in trades] == [
        10_000,
        9_900,
        10_300,
        10_100,
        10_100,
        10_100,
        9_800,
        9_850,
    ]
    exchange, _ = replay_exchange(made, 0, Decimal(0), Decimal(0), 1)
    exchange.advance(times[1] + MINUTE)
    rows = exchange.candles.bars[0, -3:-1]
    assert rows[:, :5].tolist() == [[10_000, 10_300, 9_900, 10_100, 8], [10_100, 10_100, 9_800, 9_850, 10]]
    told_trades = pl.DataFrame({"time": times, "price": [100.0, 99.5], "quantity": [0.1, 0.2], "side": ["buy", "SELL"]})
    told = rec.of_trades(told_trades, Path("t.parquet"), BTC)
    assert told.updates[told.events[told.events[:, KIND] == TRADED][:, 2], 0].tolist() == [ASK, BID]
    with pytest.raises(BadInput, match="side"):
        rec.of_trades(told_trades.drop("side"), Path("t.parquet"), BTC)
    with pytest.raises(UsageError, match="replay"):
        rec.read_recording(["a.parquet", "b.parquet"], BTC)


def test_a_table_of_the_lake_becomes_the_same_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = START // MINUTE * MINUTE + np.arange(3) * MINUTE
    bars = pl.DataFrame({
        "open_time": opened, "open": [100.0, 101.0, 98.0], "high": [103.0, 101.0, 99.0], "low": [99.0, 98.0, 97.0],
        "close": [101.0, 98.5, 98.0], "volume": [0.00008, 0.0001, 0.0002],
    })  # fmt: skip
    time = pl.col("open_time").cast(pl.Datetime("us", "UTC"))
    stored = bars.with_columns(
        time, event_time=time + pl.duration(minutes=1), available_time=time + pl.duration(seconds=61),
        month=time.dt.strftime("%Y-%m"), source=pl.lit("test"), payload_hash=pl.lit("00"), instrument=pl.lit(BTC.id),
    )  # fmt: skip
    stored = pl.concat([stored, stored.with_columns(instrument=pl.lit("binance:ETH/USDT"), open=pl.lit(1.0))])
    missing = [name for name in BARS_1M.schema.names if name not in stored.columns]
    rows = stored.with_columns(pl.lit(None).alias(name) for name in missing).select(BARS_1M.schema.names)
    (tmp_path / BARS_1M.path).mkdir(parents=True)
    write_deltalake(str(tmp_path / BARS_1M.path), rows.to_arrow().cast(BARS_1M.schema))
    monkeypatch.setenv("LAKE_URI", str(tmp_path))
    told, direct = rec.read_recording([f"lake:{BARS_1M.name}"], BTC), rec.of_bars(bars, Path("b.parquet"), BTC)
    assert np.array_equal(told.events, direct.events) and np.array_equal(told.updates, direct.updates)
    with pytest.raises(BadInput, match="holds no rows of binance:SOL/USDT"):
        rec.read_recording([f"lake:{BARS_1M.name}"], instrument("binance:SOL/USDT"))


@pytest.fixture(scope="module")
def spot_files(shared_data: Path) -> list[Path]:
    paths = [shared_data / f"orderbook/binance_spot_btcusdt_{day}.jsonl.gz" for day in ("20240808", "20240809")]
    if not all(path.is_file() for path in paths):
        pytest.skip(f"no {paths[0]}: the recorded order books are not in the real data")
    return paths


def test_the_spot_capture_through_the_engine_equals_every_quote(spot_files: list[Path]) -> None:
    made, capture = rec.of_capture(spot_files[:1], BTC), replay.read_capture(spot_files[:1])
    exchange, play = replay_exchange(made, 0, Decimal(0), Decimal(0), 1)
    found = []
    for k in np.flatnonzero(made.events[:, KIND] == LEVELS_SET).tolist():
        play.play_to(k + 1)
        found.append((int(made.ids[k]), *best(exchange, BUY), *best(exchange, SELL)))
    factors = [
        capture.tick / Fraction(made.instrument.price_tick),
        capture.step / Fraction(made.instrument.quantity_step),
    ]
    quotes = replay.quotes(capture)
    quotes[:, [1, 3]] *= int(factors[0])
    quotes[:, [2, 4]] *= int(factors[1])
    assert replay.compare_quotes(np.array(found), quotes) == (564, 564)


def test_the_bar_of_the_engines_tape_equals_the_stored_one(spot_files: list[Path], shared_data: Path) -> None:
    made = rec.of_capture(spot_files, BTC)
    exchange, _ = replay_exchange(made, 0, Decimal(0), Decimal(0), 1)
    opened = 1_723_161_600_000_000  # 2024-08-09 00:00 UTC
    exchange.advance(opened + 5 * MINUTE)
    number = (opened - exchange.candles.start) // (5 * MINUTE)
    row = exchange.candles.aggregated(0, "5m", number, 1)[0].tolist()
    tick, step = made.instrument.price_tick, made.instrument.quantity_step
    stored = (
        pl.scan_parquet(shared_data / "ohlcv/binance_spot_BTC-USDT_5m*.parquet")
        .filter(pl.col("ts").dt.epoch("us") == opened)
        .select("open", "high", "low", "close", "volume")
        .collect()
        .row(0)
    )
    assert (*(float(value * tick) for value in row[:4]), float(row[4] * step)) == stored


async def test_a_replayed_file_is_served_like_any_market(tmp_path: Path) -> None:
    path, opened = tmp_path / "bars.parquet", START // MINUTE * MINUTE
    pl.DataFrame({
        "open_time": [opened, opened + MINUTE], "open": [100.0, 101.0], "high": [103.0, 101.0], "low": [99.0, 98.0],
        "close": [101.0, 98.5], "volume": [8.0, 10.0],
    }).write_parquet(path)  # fmt: skip
    venue = build_replay_venue([str(path)], BTC, "lockstep", 1, Decimal(5), Decimal(1000))
    async with listening(venue) as (public, admin), aiohttp.ClientSession() as http:
        async with http.post(f"http://{admin}/advance", json={"to": opened + 2 * MINUTE}) as reply:
            assert (await reply.json())["reached"]
        query = {"symbol": "BTCUSDT", "interval": "1m", "startTime": str(opened // 1000), "limit": "2"}
        async with http.get(f"http://{public}/api/v3/klines", params=query) as reply:
            rows = await reply.json()
    assert [[float(value) for value in row[1:6]] for row in rows] == [[100, 103, 99, 101, 8], [101, 101, 98, 98.5, 10]]
