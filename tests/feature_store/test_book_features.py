"""Features of books and trades: each against its formula, batch against live on a real capture, and cut short."""

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from walks import same_bits

from feature_store.book import BOOK, BookRows, BookStream, compute_book, rows_of
from feature_store.book_inputs import (
    ASK_PRICE,
    ASK_QUANTITY,
    BID_PRICE,
    BID_QUANTITY,
    BUCKET,
    TIME,
    TRADE_PRICE,
    TRADE_QUANTITY,
    TRADE_SIDE,
    WIDTH,
)
from feature_store.errors import BarsRefused
from feature_store.view import Floats
from lake.intervals import DAY, MILLISECOND
from lake.wire.books import Book
from lake.wire.captures import read_capture
from lake.wire.feeds import feed
from lake.wire.frames import parse

N = 2_500


def made(n: int = N, seed: int = 0) -> Floats:
    """Books of ten levels that move by ticks, and a third of the rows trades."""
    rng = np.random.default_rng(seed)
    rows = np.zeros((n, WIDTH))
    mid = np.round(60_000 + np.cumsum(rng.integers(-2, 3, n)) * 0.1, 1)
    levels = np.arange(10) * 0.1
    rows[:, TIME] = DAY + 50 * MILLISECOND * np.arange(n)
    half = 0.1 * rng.integers(1, 4, n)
    rows[:, BID_PRICE : BID_PRICE + 10] = np.round((mid - half)[:, None] - levels, 1)
    rows[:, ASK_PRICE : ASK_PRICE + 10] = np.round((mid + half)[:, None] + levels, 1)
    rows[:, BID_QUANTITY : BID_QUANTITY + 10] = np.round(rng.lognormal(0, 1, (n, 10)), 3) + 0.001
    rows[:, ASK_QUANTITY : ASK_QUANTITY + 10] = np.round(rng.lognormal(0, 1, (n, 10)), 3) + 0.001
    trades = np.flatnonzero(rng.random(n) < 0.4)[1:]
    for i in trades:  # a trade stands beside the book before it
        rows[i, BID_PRICE:TRADE_PRICE] = rows[i - 1, BID_PRICE:TRADE_PRICE]
    rows[:, TRADE_PRICE] = np.nan
    rows[trades, TRADE_PRICE] = mid[trades]
    rows[trades, TRADE_QUANTITY] = np.round(rng.lognormal(-2, 1.5, len(trades)), 5) + 1e-5
    rows[trades, TRADE_SIDE] = rng.choice([-1.0, 1.0], len(trades))
    rows[:, BUCKET] = 1.5
    return rows


@pytest.fixture(scope="module")
def rows() -> Floats:
    return made()


@pytest.fixture(scope="module")
def values(rows: Floats) -> dict[str, Floats]:
    found = compute_book(BOOK, rows)
    return {name: found[:, i] for i, name in enumerate(BOOK.feature_names)}


def levels(rows: Floats, start: int, count: int = 10) -> Floats:
    return rows[:, start : start + count]


def test_spread_and_microprice_equal_their_formulas(rows: Floats, values: dict[str, Floats]) -> None:
    bid, ask, bids, asks = (rows[:, i] for i in (BID_PRICE, ASK_PRICE, BID_QUANTITY, ASK_QUANTITY))
    mid, micro = (bid + ask) / 2, (bid * asks + ask * bids) / (bids + asks)
    np.testing.assert_allclose(values["spread_1"], ask - bid, rtol=1e-9)
    np.testing.assert_allclose(values["spread_bps_1"], 1e4 * (ask - bid) / mid, rtol=1e-9)
    np.testing.assert_allclose(values["microprice_distance_bps_1"], 1e4 * (micro / mid - 1), atol=1e-9)


@pytest.mark.parametrize("depth", [1, 5, 10])
def test_imbalance_equals_its_formula(rows: Floats, values: dict[str, Floats], depth: int) -> None:
    bids, asks = (levels(rows, start, depth).sum(axis=1) for start in (BID_QUANTITY, ASK_QUANTITY))
    np.testing.assert_allclose(values[f"book_imbalance_{depth}"], (bids - asks) / (bids + asks), rtol=1e-9, atol=1e-12)


def test_depth_and_slope_equal_their_formulas(rows: Floats, values: dict[str, Floats]) -> None:
    mid = (rows[:, BID_PRICE] + rows[:, ASK_PRICE]) / 2
    prices = np.hstack([levels(rows, BID_PRICE), levels(rows, ASK_PRICE)])
    sizes = np.hstack([levels(rows, BID_QUANTITY), levels(rows, ASK_QUANTITY)])
    centre = (prices * sizes).sum(axis=1) / sizes.sum(axis=1)
    np.testing.assert_allclose(values["depth_price_distance_bps_10"], 1e4 * (centre / mid - 1), atol=1e-7)
    for side, price, quantity in (("bid", BID_PRICE, BID_QUANTITY), ("ask", ASK_PRICE, ASK_QUANTITY)):
        np.testing.assert_array_equal(values[f"queue_{side}_1"], rows[:, quantity])
        np.testing.assert_allclose(values[f"depth_{side}_10"], levels(rows, quantity).sum(axis=1), rtol=1e-12)
        for row in (0, 700, N - 1):
            away = 1e4 * np.abs(levels(rows, price)[row] / mid[row] - 1)
            depth = np.cumsum(levels(rows, quantity)[row])
            slope = np.linalg.lstsq(away[:, None], depth, rcond=None)[0][0]
            assert values[f"book_slope_{side}_10"][row] == pytest.approx(slope, rel=1e-6)  # away has lost digits


def test_order_flow_imbalance_equals_that_of_cont(rows: Floats, values: dict[str, Floats]) -> None:
    updates = np.flatnonzero(rows[:, TRADE_SIDE] == 0)
    bid, ask, bids, asks = (rows[updates, i] for i in (BID_PRICE, ASK_PRICE, BID_QUANTITY, ASK_QUANTITY))
    gain = (bid[1:] >= bid[:-1]) * bids[1:] - (bid[1:] <= bid[:-1]) * bids[:-1]
    gain -= (ask[1:] <= ask[:-1]) * asks[1:] - (ask[1:] >= ask[:-1]) * asks[:-1]
    oracle = np.convolve(gain, np.ones(100), "valid")
    np.testing.assert_allclose(values["order_flow_imbalance_100"][updates[100:]], oracle, atol=1e-9)
    assert np.isnan(values["order_flow_imbalance_100"][: updates[100]]).all()


def test_trade_imbalance_and_lambda_equal_their_formulas(rows: Floats, values: dict[str, Floats]) -> None:
    trades = np.flatnonzero(rows[:, TRADE_SIDE])
    signed = rows[trades, TRADE_SIDE] * rows[trades, TRADE_QUANTITY]
    mid = (rows[trades, BID_PRICE] + rows[trades, ASK_PRICE]) / 2
    assert np.isnan(values["trade_imbalance_100"][: trades[99]]).all()
    assert np.isnan(values["kyle_lambda_100"][: trades[100]]).all()
    for at in (100, 101, 250, len(trades) - 1):
        window = signed[at - 99 : at + 1]
        found = values["trade_imbalance_100"][trades[at]]
        assert found == pytest.approx(window.sum() / np.abs(window).sum(), rel=1e-9)
        slope = np.polyfit(window, mid[at - 99 : at + 1] - mid[at - 100 : at], 1)[0]
        assert values["kyle_lambda_100"][trades[at]] == pytest.approx(slope, rel=1e-9)


def test_vpin_equals_buckets_cut_from_the_cumulated_volume(rows: Floats, values: dict[str, Floats]) -> None:
    trades, bucket = np.flatnonzero(rows[:, TRADE_SIDE]), rows[0, BUCKET]
    quantity, side = rows[trades, TRADE_QUANTITY], rows[trades, TRADE_SIDE]
    ends = np.cumsum(quantity)
    for at in (len(trades) // 2, len(trades) - 1):
        full = int(ends[at] / bucket)
        assert full > 60
        edges = bucket * np.arange(full - 50, full + 1)
        net = np.interp(edges, np.concatenate([[0.0], ends]), np.concatenate([[0.0], np.cumsum(side * quantity)]))
        oracle = np.abs(np.diff(net)).mean() / bucket
        assert values["vpin_50"][trades[at]] == pytest.approx(oracle, rel=1e-9)
    first = int(np.searchsorted(ends, 50 * bucket))
    assert np.isnan(values["vpin_50"][: trades[first]]).all()
    assert math.isfinite(values["vpin_50"][trades[first]])


def test_one_huge_trade_ends_and_fills_every_bucket() -> None:
    rows = made(300)
    at = int(np.flatnonzero(rows[:, TRADE_SIDE])[5])
    rows[at, TRADE_QUANTITY] = 1e12
    assert compute_book(BOOK, rows)[at, BOOK.feature_names.index("vpin_50")] == pytest.approx(1.0)


def test_an_empty_side_is_nan_where_said_and_leaves_no_trace(rows: Floats) -> None:
    thin = rows.copy()
    thin[1_000, ASK_PRICE : ASK_PRICE + 10], thin[1_000, ASK_QUANTITY : ASK_QUANTITY + 10] = np.nan, 0.0
    found, whole = compute_book(BOOK, thin), compute_book(BOOK, rows)
    for i, output in enumerate(BOOK.outputs):
        assert np.isnan(found[1_000, i]) == (output.nan == "while a side of the book is empty"), output.name
    np.testing.assert_allclose(found[1_400:], whole[1_400:], rtol=1e-9)


# -- batch and live ---------------------------------------------------------------------------------------------------


def replay(rows: Floats) -> Floats:
    stream = BookStream()
    return np.array([stream.update(row) for row in rows])


def test_a_stream_gives_the_bits_of_the_batch_over_midnight(rows: Floats) -> None:
    moved = rows.copy()
    moved[:, TIME] += DAY - 50 * MILLISECOND * 1_200
    batch = compute_book(BOOK, moved)
    assert same_bits(replay(moved), batch)
    assert same_bits(compute_book(BOOK, moved[1_200:]), batch[1_200:]), "a day needs nothing of the day before"
    assert np.isnan(batch[1_205, BOOK.feature_names.index("trade_imbalance_100")])


@pytest.mark.parametrize("cut", [1, 137, 1_100, 2_499])
def test_later_rows_change_no_earlier_feature(rows: Floats, cut: int) -> None:
    changed = rows.copy()
    changed[cut:, BID_QUANTITY : BID_QUANTITY + 10] *= 3.0
    whole = compute_book(BOOK, rows)[:cut]
    assert same_bits(compute_book(BOOK, rows[:cut]), whole)
    assert same_bits(compute_book(BOOK, changed)[:cut], whole)


def test_the_interpreter_gives_the_same_numbers(rows: Floats) -> None:
    program = (
        "import sys; sys.path.insert(0, 'tests/feature_store')\n"
        "import hashlib; from test_book_features import made; from feature_store.book import BOOK, compute_book\n"
        "print(hashlib.sha256(compute_book(BOOK, made(900)).tobytes()).hexdigest())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            check=True,
            env=os.environ | {"NUMBA_DISABLE_JIT": disabled},
            capture_output=True,
            text=True,
        ).stdout
        for disabled in ("0", "1")  # with 1 every index is checked by Python
    }
    assert len(found) == 1


def test_rows_of_another_shape_are_refused() -> None:
    with pytest.raises(BarsRefused, match=r"rows \[n, 45\]"):
        compute_book(BOOK, np.ones((3, 5)))
    assert compute_book(BOOK, np.empty((0, WIDTH))).shape == (0, len(BOOK.outputs))


def test_batch_equals_live_on_a_real_capture(shared_data: Path) -> None:
    path = shared_data / "orderbook" / "binance_spot_btcusdt_20240809.jsonl.gz"
    frames = read_capture(path, "binance", "BTCUSDT").with_row_index("row")
    first = read_capture(shared_data / "orderbook" / "binance_spot_btcusdt_20240808.jsonl.gz", "binance", "BTCUSDT")
    if not frames["stream"].str.starts_with("rest:").any():
        frames = first.vstack(frames.drop("row")).with_row_index("row")
    parsed = parse(feed("binance"), frames)
    rows = rows_of("binance", parsed.of("book"), parsed.of("trade"), bucket=2.0)
    assert len(rows) > 5_000
    books = rows[rows[:, TRADE_SIDE] == 0]
    assert (books[:, ASK_PRICE] > books[:, BID_PRICE]).all()
    batch = compute_book(BOOK, rows)
    assert same_bits(replay(rows), batch)
    warm = dict(zip(BOOK.feature_names, np.isfinite(batch[-1]), strict=True))
    assert all(warm.values()), warm
    distance = batch[:, BOOK.feature_names.index("microprice_distance_bps_1")]
    assert np.nanmax(np.abs(distance)) < 5
    assert np.isnan(distance).sum() < 10, "trades before the first book alone"
    half = len(rows) // 2
    assert same_bits(compute_book(BOOK, rows[:half]), batch[:half]), "what comes later changes nothing"


def test_a_trade_stands_beside_the_book_that_it_met() -> None:
    writer, book = BookRows(bucket=1.0), Book()
    book.apply({"is_snapshot": True, "bids": [["99.5", "2"]], "asks": [["100.5", "1"], ["101", "4"]], "last_id": 1})
    shown = writer.book(5, book)
    traded = writer.trade(6, 100.5, 0.25, taker_bought=True)
    assert shown[[TIME, BID_PRICE, ASK_PRICE + 1, ASK_QUANTITY + 1, TRADE_SIDE]].tolist() == [
        5.0,
        99.5,
        101.0,
        4.0,
        0.0,
    ]
    assert np.isnan(shown[[BID_PRICE + 1, TRADE_PRICE]]).all()
    assert traded[[TIME, BID_PRICE, TRADE_PRICE, TRADE_QUANTITY, TRADE_SIDE]].tolist() == [6.0, 99.5, 100.5, 0.25, 1.0]
