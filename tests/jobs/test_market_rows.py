"""Frames become rows of the silver tables: real captures, both clocks, jitter, refusals, and what is told twice."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from jobs.bronze import store
from jobs.market_rows import ROWS, days_to_build, kernel, outcome_of, slices
from jobs.raw_frames import raw_frames
from lake.intervals import DAY, HOUR, Interval, parse_time
from lake.storage import Lake
from lake.tables import BOOKS, FUNDING, MARKS, OPTION_QUOTES, QUOTES, RAW_FRAMES, TABLES, TRADES
from lake.wire.captures import read_capture

NOON = parse_time("2024-08-08T12:00")
EVER = Interval(0, 10**16)


def frames(*payloads: str, venue: str = "binance_usdm", at: int = NOON, market: int | None = None) -> pl.DataFrame:
    """Bronze rows of frames received a millisecond apart."""
    return raw_frames(
        pl.DataFrame(
            {
                "venue": venue, "connection": "c", "sequence": range(len(payloads)), "stream": "ws",
                "received_us": [at + 1000 * i for i in range(len(payloads))],
                "market_us": [None if market is None else market + 1000 * i for i in range(len(payloads))],
                "payload": payloads,
            },
            schema_overrides={"market_us": pl.Int64},
        ),
        "run",
    )  # fmt: skip


def trade(at: int, number: int = 7, price: str = "61804.70", quantity: str = "0.5") -> str:
    ms = at // 1000
    return (
        f'{{"e":"trade","E":{ms},"s":"BTCUSDT","t":{number},"p":"{price}","q":"{quantity}","T":{ms},"m":true,'
        '"X":"MARKET"}'
    )


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (
            "BYBIT",
            {"trades_v1": 347, "book_changes_v1": 20_809, "books_v1": 6, "quotes_v1": 144, "open_interest_v1": 20}
            | {"marks_v1": 89},
        ),
        ("DERIBIT", {"book_changes_v1": 149, "books_v1": 8, "option_quotes_v1": 89}),
        ("BINANCE_FUTURES", {"trades_v1": 91, "book_changes_v1": 11_910, "books_v1": 4, "quotes_v1": 613}),
    ],
)  # fmt: skip
def test_a_real_capture_fills_the_tables(shared_data: Path, file: str, expected: dict[str, int]) -> None:
    capture = read_capture(shared_data / f"wire/cryptofeed_{file}.jsonl.zst").with_columns(
        connection=pl.lit("c"), sequence=pl.int_range(pl.len(), dtype=pl.Int64), market_us=pl.lit(None, pl.Int64)
    )
    raw = raw_frames(capture, "run")
    rows = {name: outcome_of(TABLES[name], raw, EVER) for name in ROWS}
    assert {name: len(found) for name, found in rows.items() if len(found)} == expected
    for name, found in rows.items():
        table = TABLES[name]
        assert found["reason"].null_count() == len(found) if "reason" in found.columns else True
        standing = found.select(table.schema.names)
        assert not standing.select(table.key).is_duplicated().any()
        assert (standing["available_time"] >= standing["event_time"]).all()
        assert standing.select(c.name for c in table.columns if not c.nullable).null_count().sum_horizontal().sum() == 0


def test_a_unit_holds_what_happened_in_it_and_no_more(shared_data: Path) -> None:
    capture = read_capture(shared_data / "orderbook/binance_spot_btcusdt_20240808.jsonl.gz", "binance", "BTCUSDT")
    raw = raw_frames(
        capture.with_columns(
            connection=pl.lit("c"), sequence=pl.int_range(pl.len(), dtype=pl.Int64), market_us=pl.lit(None, pl.Int64)
        ),
        "run",
    )
    midnight = parse_time("2024-08-09")
    whole = outcome_of(TRADES, raw, EVER)
    parts = [outcome_of(TRADES, raw, Interval(start, start + DAY)) for start in (midnight - DAY, midnight)]
    assert pl.concat(parts).sort("event_time", "trade_id").equals(whole.sort("event_time", "trade_id"))
    assert [part["day"].unique().to_list() for part in parts if len(part)] == [["2024-08-08"], ["2024-08-09"]]


def test_a_trade_is_known_when_received_by_the_markets_clock() -> None:
    late = outcome_of(TRADES, frames(trade(NOON), at=NOON + 250_000), EVER).row(0, named=True)
    assert late["event_time"] == datetime(2024, 8, 8, 12, tzinfo=UTC)
    assert late["available_time"] == datetime(2024, 8, 8, 12, 0, 0, 250_000, tzinfo=UTC)
    early = outcome_of(TRADES, frames(trade(NOON), at=NOON - 1_270_000), EVER).row(0, named=True)
    assert early["available_time"] == early["event_time"], "a recorder whose clock runs behind knows nothing early"
    simulated = frames(trade(NOON), at=NOON + 700 * DAY, market=NOON + 1)
    assert outcome_of(TRADES, simulated, EVER)["available_time"][0] == datetime(2024, 8, 8, 12, 0, 0, 1, tzinfo=UTC)


def test_a_trade_told_twice_stands_once_as_first_known() -> None:
    found = outcome_of(TRADES, frames(trade(NOON), trade(NOON), trade(NOON, 8)), EVER)
    assert found["trade_id"].to_list() == ["7", "8"]
    assert found["available_time"][0] == datetime(2024, 8, 8, 12, tzinfo=UTC)


def test_a_corrected_trade_never_reaches_an_earlier_time() -> None:
    raw = frames(trade(NOON), trade(NOON, price="61000.00"), at=NOON + 1000)
    found = outcome_of(TRADES, raw, EVER)
    standing = found.filter(pl.col("superseded_time").is_null()).row(0, named=True)
    before = found.filter(pl.col("superseded_time").is_not_null()).row(0, named=True)
    assert (standing["price"], before["price"]) == (61000.0, 61804.7)
    assert standing["available_time"] == before["superseded_time"] > before["available_time"]
    first_alone = outcome_of(TRADES, raw[:1], EVER).row(0, named=True)
    assert {name: before[name] for name in TRADES.schema.names} == {
        name: first_alone[name] for name in TRADES.schema.names
    }, "what was known then is what is told of then"


def test_bad_frames_and_rows_are_refused_with_the_reason_and_touch_no_other() -> None:
    raw = frames(
        trade(NOON), trade(NOON, 8, price="-1"), '{"e":"trade","s":', trade(NOON, 9).replace("BTCUSDT", "NOPE"),
        trade(NOON - 2 * HOUR, 10).replace(f'"E":{(NOON - 2 * HOUR) // 1000}', f'"E":{NOON // 1000}'),
        '{"e":"unheard","E":1}',
    )  # fmt: skip
    found = outcome_of(TRADES, raw, EVER)
    good, bad = found.filter(pl.col("reason").is_null()), found.filter(pl.col("reason").is_not_null())
    assert good["trade_id"].to_list() == ["7"]
    assert sorted(bad["reason"]) == [
        "price or quantity is missing, zero, negative or not finite",
        "told more than an hour after it happened",
        "trade does not parse",
        "unknown kind of message: unheard",
        "unknown symbol",
    ]
    assert bad["row_hash"].n_unique() == 5


@pytest.mark.parametrize("jitter_ms", [0, 1, 7, 16])
def test_funding_is_snapped_to_its_hour(jitter_ms: int) -> None:
    at = NOON // 1000 + jitter_ms
    row = f'{{"symbol":"BTCUSDT","fundingTime":{at},"fundingRate":"0.0001","markPrice":"61000.1"}}'
    found = outcome_of(FUNDING, frames(row), EVER).row(0, named=True)
    assert (found["event_time"], found["rate"]) == (datetime(2024, 8, 8, 12, tzinfo=UTC), 0.0001)
    off = outcome_of(FUNDING, frames(row.replace(str(at), str(at + 600_000))), EVER)
    assert off["reason"].to_list() == ["no time of a settlement"]


def test_real_funding_jitter_is_snapped(shared_data: Path) -> None:
    real = pl.read_parquet(shared_data / "derivatives/binance_perp_BTC-USDT_funding.parquet")
    stamps = real["ts"].dt.epoch("ms").to_list()
    texts = [
        f'{{"symbol":"BTCUSDT","fundingTime":{at},"fundingRate":"{rate!r}","markPrice":"1"}}'
        for at, rate in zip(stamps, real["funding_rate"], strict=True)
    ]
    found = outcome_of(FUNDING, pl.concat([frames(t, at=s * 1000) for t, s in zip(texts, stamps, strict=True)]), EVER)
    assert any(at % 3_600_000 for at in stamps)
    assert len(found) == len(real)
    assert (found["event_time"].dt.epoch("us") % HOUR == 0).all()


def test_basis_is_mark_over_index_less_one() -> None:
    mark = (
        f'{{"e":"markPriceUpdate","E":{NOON // 1000},"s":"BTCUSDT","p":"101","i":"100","r":"0.0001",'
        f'"T":{(NOON + HOUR) // 1000}}}'
    )
    found = outcome_of(MARKS, frames(mark), EVER).row(0, named=True)
    assert found["basis"] == pytest.approx(0.01)
    assert found["next_funding_time"] == datetime(2024, 8, 8, 13, tzinfo=UTC)


def test_a_crossed_quote_is_refused() -> None:
    crossed = f'{{"e":"bookTicker","u":1,"E":{NOON // 1000},"s":"BTCUSDT","b":"11","B":"1","a":"10","A":"1"}}'
    assert outcome_of(QUOTES, frames(crossed), EVER)["reason"].to_list() == ["bid is above ask"]


def test_an_option_is_named_by_its_parts(shared_data: Path) -> None:
    ticker = (
        '{"params":{"channel":"ticker.BTC-27DEC24-100000-C.raw","data":{"instrument_name":"BTC-27DEC24-100000-C",'
        f'"timestamp":{NOON // 1000},"underlying_price":62e3,"mark_price":0.01,"mark_iv":55.5,"best_bid_price":0.009,'
        '"best_bid_amount":3.0,"best_ask_price":0.0,"best_ask_amount":0.0,"open_interest":1.0,"stats":{"volume":2.0}}}}'
    )
    found = outcome_of(OPTION_QUOTES, frames(ticker, venue="deribit"), EVER).row(0, named=True)
    assert found["instrument"] == "deribit:BTC/USD:BTC-241227-100000-C"
    assert (found["strike"], found["is_call"], found["mark_iv"], found["bid"], found["ask"]) == (
        100_000.0, True, 0.555, 0.009, None,
    )  # fmt: skip
    assert found["expiry_time"] == datetime(2024, 12, 27, 8, tzinfo=UTC)


def test_a_snapshot_gives_its_best_levels_best_first() -> None:
    levels = [f'["{price}","{price}"]' for price in range(1, 31)]
    text = f'{{"lastUpdateId":7,"E":{NOON // 1000},"symbol":"BTCUSDT","bids":[{",".join(levels)}],"asks":[["99","2"]]}}'
    found = outcome_of(BOOKS, frames(text), EVER).row(0, named=True)
    assert found["bid_prices"] == [float(price) for price in range(30, 10, -1)] == found["bid_quantities"]
    assert (found["ask_prices"], found["ask_quantities"]) == ([99.0], [2.0])


def test_only_days_that_frames_can_tell_of_are_built(lake: Lake) -> None:
    store(lake, RAW_FRAMES, frames(trade(NOON)), "run")
    later = frames(trade(NOON + 400 * DAY), at=NOON + 400 * DAY).with_columns(connection=pl.lit("d"))
    version = lake.version(RAW_FRAMES)
    store(lake, RAW_FRAMES, later, "run")
    day = parse_time("2024-08-08")
    every = [day - DAY, day, day + 399 * DAY, day + 400 * DAY]
    assert [unit.start for unit in days_to_build(lake, None, version + 1)] == every[1:]
    assert [unit.start for unit in days_to_build(lake, version, version + 1)] == every[3:]
    assert days_to_build(lake, version + 1, version + 1) == []


def test_a_busy_day_is_cut_at_whole_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.market_rows.MOST_FRAMES", 100)
    day = parse_time("2024-08-08")
    hours = {count: {(unit.end - unit.start) // HOUR for unit in slices(day, count)} for count in (0, 100, 101, 700)}
    assert hours == {0: {24}, 100: {24}, 101: {12}, 700: {3}}
    assert {len(slices(day, count)) for count in (10_000, 10**9)} == {24}, "an hour is the shortest"
    for count in (0, 101, 700, 10**9):
        cut = slices(day, count)
        assert [unit.start for unit in cut] == [day, *(unit.end for unit in cut[:-1])] and cut[-1].end == day + DAY


def test_a_day_in_slices_is_the_day_as_a_whole(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Late trades, trades told twice, broken ones and those told too late: each falls to one slice."""
    random, day = np.random.default_rng(5), parse_time("2024-08-08")
    rows, times = [], [day + int(ms) * 1000 for ms in random.integers(0, DAY // 1000, 390)]
    for number in range(400):
        at = times[number % 390]
        told = at + int(random.integers(0, 5_400_000)) * 1000
        text = trade(at, number % 390, price="-1" if number % 390 % 97 == 0 else "61804.70")
        text = text.replace(f'"E":{at // 1000}', f'"E":{told // 1000}')
        rows.append(frames(text, at=told).with_columns(sequence=pl.lit(number, pl.Int64)))
    store(lake, RAW_FRAMES, pl.concat(rows), "run")
    version = lake.version(RAW_FRAMES)
    (whole,) = (unit for unit in days_to_build(lake, None, version) if unit.start == day)
    monkeypatch.setattr("jobs.market_rows.MOST_FRAMES", 40)
    cut = [unit for unit in days_to_build(lake, None, version) if day <= unit.start < day + DAY]
    assert len(cut) == 12
    work = kernel(TRADES)
    together = pl.concat([work(lake, version, unit) for unit in cut], how="diagonal")
    expected = work(lake, version, whole)
    assert together.sort("trade_id", "row_hash").equals(expected.select(together.columns).sort("trade_id", "row_hash"))
    assert 0 < expected["reason"].is_not_null().sum() < 250 < expected.height
