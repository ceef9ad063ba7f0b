"""What stands, what was known before, and that no order of arrival and no later row changes either."""

from datetime import UTC, datetime
from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from lake.intervals import SECOND, to_datetime
from lake.revisions import Folded, fold

TIME = pl.Datetime("us", "UTC")
KEY, CONTENT = ("instrument", "event_time"), ("value", "word")
END, DELAY = 100 * SECOND, 2 * SECOND
SCHEMA = {
    "instrument": pl.String, "event_time": TIME, "available_time": TIME, "market_time": TIME, "value": pl.Float64,
    "word": pl.String, "payload_hash": pl.String,
}  # fmt: skip


def candidate(sent: int, value: float | None, word: str | None = "a", instrument: str = "BTC") -> dict[str, Any]:
    """A row of the event that ended at 100 s, whose content was known at `sent` seconds."""
    times = {"event_time": to_datetime(END), "available_time": to_datetime(END + DELAY)}
    market = {"market_time": to_datetime(sent * SECOND), "payload_hash": f"{value}{word}"}
    return {"instrument": instrument, "value": value, "word": word} | times | market


def folded(*rows: dict[str, Any]) -> Folded:
    return fold(pl.DataFrame(rows, schema=SCHEMA), KEY, CONTENT)


def at(seconds: int) -> datetime:
    return to_datetime(seconds * SECOND)


def known(found: Folded, time: datetime) -> list[tuple[str, float | None, str | None]]:
    """What `Lake.as_of` reads: rows that were available, and that nothing had replaced yet."""
    before = found.superseded.filter(pl.col("superseded_time") > time).drop("superseded_time")
    rows = pl.concat([found.standing.filter(pl.col("available_time") <= time), before])
    rows = rows.filter(pl.col("available_time") <= time)
    return rows.select("instrument", *CONTENT).sort("instrument").rows()


def test_a_correction_counts_from_when_it_was_sent_and_the_older_row_is_kept() -> None:
    found = folded(candidate(500, 2.0), candidate(101, 1.0), candidate(300, 1.0))
    assert found.standing.select("value", "available_time").rows() == [(2.0, at(500))]
    times = found.superseded.select("value", "available_time", "superseded_time").rows()
    assert times == [(1.0, at(102), at(500))]
    assert found.lost.is_empty()
    assert known(found, at(101)) == []
    assert known(found, at(499)) == [("BTC", 1.0, "a")]
    assert known(found, at(500)) == [("BTC", 2.0, "a")]


def test_what_was_replaced_before_it_was_available_was_never_known() -> None:
    found = folded(candidate(100, 1.0), candidate(101, 2.0))
    assert found.standing.select("value", "available_time").rows() == [(2.0, at(102))]
    assert found.superseded.is_empty()


def test_a_contradiction_of_the_same_instant_is_lost_with_its_reason() -> None:
    found = folded(candidate(101, 1.0), candidate(101, 2.0))
    assert found.standing["value"].to_list() == [1.0]
    assert found.lost.select("value", "reason").rows() == [(2.0, "contradicts a row without being sent later")]


def test_a_null_says_nothing_and_a_last_digit_is_no_correction() -> None:
    third = 0.1 + 0.2
    found = folded(candidate(101, 0.3), candidate(200, third), candidate(300, None), candidate(400, 0.3, None))
    assert found.standing.select("value", "market_time").rows() == [(0.3, at(101))]
    assert found.superseded.is_empty()
    assert found.lost.is_empty()


def test_infinite_and_undefined_numbers_agree_with_themselves_alone() -> None:
    infinite, undefined = float("inf"), float("nan")
    assert folded(candidate(101, infinite), candidate(200, infinite)).superseded.is_empty()
    assert folded(candidate(101, undefined), candidate(200, undefined)).superseded.is_empty()
    assert folded(candidate(101, infinite), candidate(200, 1.0)).superseded.height == 1
    assert folded(candidate(101, 1.0), candidate(200, infinite)).superseded.height == 1


def test_no_rows_fold_to_none() -> None:
    assert [frame.height for frame in folded()] == [0, 0, 0]


arrivals = st.lists(
    st.builds(
        candidate,
        st.integers(100, 112),
        st.sampled_from([1.0, 2.0, 1.0 + 1e-15, None]),
        st.sampled_from(["a", "b", None]),
        st.sampled_from(["BTC", "ETH"]),
    ),
    max_size=12,
)


@given(arrivals, st.randoms())
def test_any_order_with_repetitions_gives_the_same(rows: list[dict[str, Any]], random: Any) -> None:
    one = folded(*rows)
    shuffled = [*rows, *random.choices(rows, k=3)] if rows else []
    random.shuffle(shuffled)
    other = folded(*shuffled)
    assert one.standing.equals(other.standing)
    assert one.superseded.equals(other.superseded)
    assert one.lost.unique().sort(pl.all()).equals(other.lost.unique().sort(pl.all()))


@given(arrivals, st.integers(95, 115))
def test_what_was_known_at_a_time_is_what_the_rows_until_then_give(rows: list[dict[str, Any]], seconds: int) -> None:
    """The first row of a key counts from its declared time, even where it was fetched later; so it is always there."""
    everything = pl.DataFrame(rows, schema=SCHEMA).sort(*KEY, "market_time", "payload_hash", maintain_order=True)
    first = everything.unique(list(KEY), keep="first", maintain_order=True)["market_time"].max()
    cut = max(at(seconds), first or datetime(1970, 1, 1, tzinfo=UTC))
    until = fold(everything.filter(pl.col("market_time") <= cut), KEY, CONTENT)
    assert known(fold(everything, KEY, CONTENT), cut) == known(until, cut)


@given(arrivals)
def test_history_and_standing_rows_follow_one_another_without_gap(rows: list[dict[str, Any]]) -> None:
    found = folded(*rows)
    chain = pl.concat([found.superseded, found.standing.with_columns(superseded_time=pl.lit(None, TIME))])
    for _, states in chain.sort("available_time").group_by("instrument"):
        assert states["available_time"][0] == to_datetime(END + DELAY)
        assert states["available_time"].to_list()[1:] == states["superseded_time"].to_list()[:-1]
        assert states["available_time"].is_unique().all()
