"""Books and bars rebuilt from recordings: the real captures exactly, the procedure's cases by hand."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake.errors import BadInput
from lake.wire.binance_depth import BestQuote, DepthDiff, DepthSnapshot, Message
from market import l2, replay

Pair = tuple[str, str]


def diff(first: int, final: int, bid: str, quantity: str = "1", previous: int | None = None) -> DepthDiff:
    return DepthDiff(0, first, final, previous, [[bid, quantity]], [])


def captured(*messages: Message) -> replay.Capture:
    return replay.capture_from_messages(enumerate(messages))


BOOK = DepthSnapshot(10, [["99.0", "1"], ["98.5", "2"]], [["100.0", "3"]])


def best_bids(rebuilt: replay.Rebuilt, capture: replay.Capture) -> list[tuple[int, float]]:
    return [(int(row[0]), float(capture.prices(row[1:2])[0])) for row in rebuilt.best]


def test_buffered_diffs_apply_after_the_snapshot_and_old_ones_are_dropped() -> None:
    capture = captured(diff(7, 8, "99.5"), diff(9, 12, "99.7"), BOOK, diff(13, 13, "99.7", "0"))
    rebuilt = replay.rebuild(capture)
    assert best_bids(rebuilt, capture) == [(12, 99.7), (13, 99.0)]
    assert (rebuilt.dropped, rebuilt.gaps, rebuilt.unused) == (1, 0, 0)


def test_a_lost_message_makes_the_book_unusable_until_the_next_snapshot() -> None:
    later = DepthSnapshot(30, [["97.0", "1"]], [["100.0", "3"]])
    capture = captured(
        BOOK, diff(11, 11, "99.1"), diff(13, 14, "99.2"), diff(15, 31, "97.5"), later, diff(32, 32, "97.6")
    )
    rebuilt = replay.rebuild(capture)
    assert best_bids(rebuilt, capture) == [(11, 99.1), (31, 97.5), (32, 97.6)]
    assert (rebuilt.dropped, rebuilt.gaps, rebuilt.unused) == (1, 1, 0)


def test_a_snapshot_that_the_first_diff_does_not_reach_is_a_gap() -> None:
    rebuilt = replay.rebuild(captured(BOOK, diff(12, 13, "99.5"), diff(14, 14, "99.6")))
    assert (len(rebuilt.best), rebuilt.gaps, rebuilt.unused) == (0, 1, 2)


def test_futures_diffs_follow_by_their_previous_id() -> None:
    capture = captured(
        BOOK, diff(8, 20, "99.1", previous=5), diff(25, 30, "99.2", previous=20), diff(31, 40, "1", "1", 29)
    )
    rebuilt = replay.rebuild(capture)
    assert [row[0] for row in best_bids(rebuilt, capture)] == [20, 30]
    assert rebuilt.gaps == 1


def test_a_snapshot_nobody_waits_for_changes_nothing() -> None:
    stale = DepthSnapshot(5, [["1.0", "1"]], [["2.0", "1"]])
    capture = captured(BOOK, diff(11, 11, "99.1"), stale, diff(12, 12, "99.2"))
    assert best_bids(replay.rebuild(capture), capture) == [(11, 99.1), (12, 99.2)]


def test_quotes_are_compared_at_equal_update_ids_only() -> None:
    right, wrong = BestQuote(11, None, "99.1", "1", "100.0", "3"), BestQuote(12, None, "99.1", "1", "100.0", "4")
    capture = captured(
        BOOK, right, BestQuote(99, None, "1", "1", "2", "1"), diff(11, 11, "99.1"), wrong, diff(12, 12, "98")
    )
    assert replay.compare_quotes(replay.rebuild(capture).best, replay.quotes(capture)) == (2, 1)


def test_decimals_are_read_exactly() -> None:
    assert replay.units("61837.63000000") == 6183763000000
    assert replay.units("5") == 500000000
    assert replay.units("0.000000010000") == 1
    for bad in ("", "x", "1e5", "0.000000001", "1.2.3"):
        with pytest.raises(BadInput):
            replay.units(bad)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(1, 12), st.integers(0, 3)), max_size=80))
def test_levels_agree_with_a_dictionary(changes: list[tuple[int, int, int]]) -> None:
    book, naive = l2.new_levels(16), ({}, {})
    for side, tick, lots in changes:
        l2.set_level(book, side, tick, lots)
        naive[side][tick] = lots
        if not lots:
            del naive[side][tick]
    for side, held in enumerate(naive):
        ordered = sorted(held.items(), reverse=side == l2.BID)
        assert l2.depth(book, side, 99).tolist() == [list(row) for row in ordered]
        assert l2.best(book, side) == (ordered[0] if ordered else (-1, 0))


def test_a_book_grows_without_losing_a_level() -> None:
    book = l2.new_levels(4)
    for tick in range(4):
        l2.set_level(book, l2.ASK, tick, tick + 1)
    grown = l2.with_room(book, 100)
    l2.set_level(grown, l2.ASK, 50, 9)
    assert l2.depth(grown, l2.ASK, 99)[:, 0].tolist() == [0, 1, 2, 3, 50]


def test_the_command_names_the_line_that_does_not_parse(tmp_path: Path) -> None:
    file = tmp_path / "capture.gz"
    with gzip.open(file, "wb") as out:
        out.write(b'1 {"u":1,"b":"1","B":"1","a":"2","A":"1"}\n2 oops\n')
    with pytest.raises(BadInput, match=r"capture\.gz:2"):
        replay.read_capture([file])
    file.write_bytes(b"plain text")
    with pytest.raises(BadInput, match="gzipped"):
        replay.read_capture([file])


@pytest.fixture(scope="module")
def spot(shared_data: Path) -> Iterator[replay.Capture]:
    paths = [shared_data / f"orderbook/binance_spot_btcusdt_{day}.jsonl.gz" for day in ("20240808", "20240809")]
    if not paths[0].exists():
        pytest.skip(f"no {paths[0]}: the recorded order books are not in the real data")
    yield replay.read_capture(paths)


def test_the_rebuilt_spot_book_equals_every_quote_of_the_exchange(shared_data: Path, spot: replay.Capture) -> None:
    first = replay.read_capture([shared_data / "orderbook/binance_spot_btcusdt_20240808.jsonl.gz"])
    assert replay.compare_quotes(replay.rebuild(first).best, replay.quotes(first)) == (564, 564)
    rebuilt = replay.rebuild(spot)
    assert replay.compare_quotes(rebuilt.best, replay.quotes(spot)) == (1072, 1072)
    assert (rebuilt.gaps, rebuilt.unused) == (0, 0)
    assert (rebuilt.best[:, replay.BID_TICK] < rebuilt.best[:, replay.ASK_TICK]).all()


def test_the_bar_of_the_recorded_trades_equals_the_stored_one(shared_data: Path, spot: replay.Capture) -> None:
    bars = pl.DataFrame(replay.bars_from_trades(spot, "5m"))
    built = bars.filter(pl.col("open_time") == 1_723_161_600_000_000).row(0)[1:6]
    assert built == (61686.0, 61744.37, 61556.04, 61607.99, 221.61722)
    stored = pl.scan_parquet(shared_data / "ohlcv/binance_spot_BTC-USDT_5m*.parquet")
    row = stored.filter(pl.col("ts").dt.epoch("us") == 1_723_161_600_000_000).collect()
    assert built == row.select("open", "high", "low", "close", "volume").row(0)


@pytest.mark.parametrize(
    ("names", "points"),
    [(("usdm_btcusdt_20240808",), 629), (("cm_btcusd_perp_20240808", "cm_btcusd_perp_20240809"), 1885)],
)
def test_the_rebuilt_futures_books_equal_every_quote(shared_data: Path, names: tuple[str, ...], points: int) -> None:
    paths = [shared_data / f"orderbook/binance_{name}.jsonl.gz" for name in names]
    if not all(path.exists() for path in paths):
        pytest.skip(f"no {paths[0]}: the recorded order books are not in the real data")
    printed = json.loads(json.dumps(replay.summary(replay.read_capture(paths), "5m")))
    assert (printed["quotes_compared"], printed["quotes_equal"]) == (points, points)
    assert (printed["gaps"], printed["crossed"], printed["diffs_unused"]) == (0, 0, 0)
    assert np.isfinite(printed["level_changes_per_second"])
