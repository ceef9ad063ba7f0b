"""Judging and folding bronze rows, by hand-written rows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.bar_rows import fold, refused, typed_rows
from lake.intervals import MINUTE, SECOND
from lake.revisions import Folded
from lake.tables import BARS_1M, BARS_5M
from tests.lake.raw_bars import START, frame, frame_of, kline, raw


def reasons(*rows: dict[str, object]) -> list[str | None]:
    return typed_rows(frame_of(rows), BARS_1M)["reason"].to_list()


def test_a_good_row_becomes_a_bar_with_both_clocks() -> None:
    (row,) = typed_rows(frame_of([raw(kline(START), START)]), BARS_1M).iter_rows(named=True)
    assert row["reason"] is None
    assert (row["open"], row["high"], row["low"], row["close"], row["volume"]) == (100.0, 101.5, 99.5, 100.5, 2.5)
    assert (row["event_time"] - row["open_time"]).total_seconds() == 60
    assert (row["available_time"] - row["event_time"]).total_seconds() == 1
    assert row["month"] == "2024-01"


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (kline(START, o="-100.0", l="-100.0"), "a price is missing, zero, negative or not finite"),
        (kline(START, c="NaN"), "a price is missing, zero, negative or not finite"),
        (kline(START, h="99.0"), "high is below low, open or close"),
        (kline(START, l="100.2"), "low is above open or close"),
        (kline(START, v="-1"), "volume is missing, negative or not finite"),
        (kline(START, v="inf"), "volume is missing, negative or not finite"),
        (kline(START, step=5 * MINUTE), "length is not the stream's timeframe"),
        ("{not json", "payload does not parse"),
        ("[1]", "payload does not parse"),
    ],
)
def test_a_row_that_breaks_a_rule_carries_the_reason(payload: str, reason: str) -> None:
    (found,) = reasons(raw(payload, START))
    assert found is not None
    assert reason in found


def test_off_grid_future_foreign_and_misfiled_rows_are_refused() -> None:
    off = START + 7 * SECOND
    assert reasons(
        raw(kline(off), off),
        raw(kline(START), START, market_time=START + MINUTE - 1),
        raw(kline(START), START, instrument="kraken:DOGE/USDT"),
        raw(kline(START), START + MINUTE),
    ) == [
        "open time is off the 60 s grid",
        "timestamp in the venue's future",
        "instrument is not an id of its venue",
        "open time is not the bronze row's event time",
    ]


def test_an_open_bar_of_a_stream_is_refused() -> None:
    rows = frame_of([raw(frame(START, closed=False), START, "ws:kline_5m")])
    assert typed_rows(rows, BARS_5M)["reason"].to_list() == ["bar is not closed"]


def folded(*rows: dict[str, object]) -> Folded:
    return fold(typed_rows(frame_of(rows), BARS_1M), BARS_1M)


def test_the_same_content_received_twice_is_one_bar_known_since_the_first() -> None:
    later = raw(kline(START, n=7, h="101.50"), START, market_time=START + 10 * MINUTE)
    bars, _, lost = folded(raw(kline(START), START), later)
    assert (bars.height, lost.height) == (1, 0)
    assert bars["available_time"].dt.epoch("us").to_list() == [START + MINUTE + SECOND]


def test_other_content_sent_later_is_a_correction_known_from_then() -> None:
    sent = START + 10 * MINUTE
    bars, _, lost = folded(raw(kline(START, c="100.75"), START, market_time=sent), raw(kline(START), START))
    assert bars["close"].to_list() == [100.75]
    assert bars["available_time"].dt.epoch("us").to_list() == [sent]
    assert lost.is_empty()


def test_a_contradiction_at_the_same_instant_keeps_one_bar_and_loses_none() -> None:
    bars, _, lost = folded(raw(kline(START), START), raw(kline(START, c="100.75"), START))
    assert (bars.height, lost.height) == (1, 1)
    kept = refused(lost)
    assert kept["reason"].to_list() == ["contradicts a bar without being sent later"]
    assert '"payload":' in kept["row"][0]


@given(
    st.permutations(range(6)),
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["100.1", "100.2"])), min_size=6, max_size=6),
)
def test_the_fold_does_not_depend_on_the_order_of_arrival(order: list[int], seen: list[tuple[int, str]]) -> None:
    rows = [
        raw(kline(START, c=close), START, market_time=START + (1 + late) * MINUTE, run_id=str(at))
        for at, (late, close) in enumerate(seen)
    ]
    one, before, lost = folded(*rows)
    other, before_too, lost_too = folded(*(rows[at] for at in order))
    assert one.equals(other)
    assert before.equals(before_too)
    assert sorted(refused(lost)["row_hash"]) == sorted(refused(lost_too)["row_hash"])


def test_a_refusal_has_the_same_hash_whenever_it_is_made() -> None:
    row = raw(kline(START, v="-1"), START)
    again = row | {"received_time": START + 99 * MINUTE, "run_id": "later"}
    one, two = (refused(typed_rows(frame_of([r]), BARS_1M)) for r in (row, again))
    assert one["row_hash"].to_list() == two["row_hash"].to_list()
