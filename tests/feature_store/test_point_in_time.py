"""No label learns what could not be known: late rows, corrections, old rows, rows of another instrument."""

from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_store.errors import JoinRefused
from feature_store.offline import Source, join_sources, point_in_time_join

LABELS = {"instrument": pl.String, "decision_time": pl.Int64}
FEATURES = {"instrument": pl.String, "event_time": pl.Int64, "available_time": pl.Int64, "x": pl.Float64}
ROW = tuple[str, int, int, float]


def labels(*rows: tuple[str, int]) -> pl.DataFrame:
    return pl.DataFrame(rows, LABELS, orient="row")


def features(*rows: ROW) -> pl.DataFrame:
    return pl.DataFrame(rows, FEATURES, orient="row")


def joined(wanted: pl.DataFrame, known: pl.DataFrame, lookback: int = 1_000) -> list[float | None]:
    return point_in_time_join(wanted, known, ["x"], lookback)["x"].to_list()


def test_a_row_counts_from_the_instant_it_is_available() -> None:
    known = features(("a", 10, 12, 1.0), ("a", 20, 22, 2.0))
    assert joined(labels(("a", 11), ("a", 12), ("a", 21), ("a", 22)), known) == [None, 1.0, 1.0, 2.0]


def test_labels_keep_their_order_columns_and_instrument() -> None:
    wanted = labels(("b", 30), ("a", 30), ("c", 30), ("a", 15)).with_columns(y=pl.Series([1, 2, 3, 4]))
    known = features(("a", 10, 10, 1.0), ("b", 10, 10, 2.0), ("a", 20, 20, 3.0))
    result = point_in_time_join(wanted, known, ["x"], 100)
    assert result.columns == ["instrument", "decision_time", "y", "x"]
    assert result.rows() == [("b", 30, 1, 2.0), ("a", 30, 2, 3.0), ("c", 30, 3, None), ("a", 15, 4, 1.0)]


def test_a_planted_late_correction_never_reaches_an_earlier_label_nor_hides_a_newer_bar() -> None:
    known = features(("a", 10, 10, 1.0), ("a", 20, 20, 2.0), ("a", 10, 25, -1.0), ("a", 20, 40, -2.0))
    wanted = labels(("a", 15), ("a", 22), ("a", 26), ("a", 39), ("a", 40))
    assert joined(wanted, known) == [1.0, 2.0, 2.0, 2.0, -2.0]


def test_a_row_that_only_came_late_is_not_seen_before() -> None:
    known = features(("a", 10, 10, 1.0), ("a", 20, 500, 2.0))
    assert joined(labels(("a", 30), ("a", 499), ("a", 500)), known) == [1.0, 1.0, 2.0]


def test_an_old_row_is_null_by_the_age_of_its_event_not_of_its_arrival() -> None:
    known = features(("a", 10, 95, 1.0))
    assert joined(labels(("a", 100), ("a", 110), ("a", 111)), known, lookback=100) == [1.0, 1.0, None]


def test_times_may_be_timestamps() -> None:
    time = pl.Datetime("us", "UTC")
    wanted = labels(("a", 110), ("a", 111)).cast({"decision_time": time})
    known = features(("a", 10, 95, 1.0)).cast({"event_time": time, "available_time": time})
    assert joined(wanted, known, lookback=100) == [1.0, None]


def test_what_cannot_be_joined_is_refused() -> None:
    known = features(("a", 10, 12, 1.0))
    with pytest.raises(JoinRefused, match="features: expected columns z"):
        point_in_time_join(labels(("a", 1)), known, ["z"], 1)
    with pytest.raises(JoinRefused, match="labels: expected columns decision_time"):
        point_in_time_join(labels(("a", 1)).drop("decision_time"), known, ["x"], 1)
    with pytest.raises(JoinRefused, match="already have x"):
        point_in_time_join(labels(("a", 1)).with_columns(x=0.0), known, ["x"], 1)
    with pytest.raises(JoinRefused, match="one type for all times"):
        point_in_time_join(labels(("a", 1)), known.cast({"event_time": pl.Datetime("us", "UTC")}), ["x"], 1)


EVENTS = st.tuples(st.sampled_from("ab"), st.integers(0, 50), st.integers(0, 30))
KNOWN = st.lists(EVENTS, max_size=40).map(
    lambda rows: features(*((name, at, at + delay, float(i)) for i, (name, at, delay) in enumerate(rows)))
)
WANTED = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 90)), max_size=20).map(lambda rows: labels(*rows))


def reference(wanted: pl.DataFrame, known: pl.DataFrame, lookback: int) -> list[set[float | None]]:
    """For each label every acceptable answer: of the rows available, the newest event's last available revision."""
    answers: list[set[float | None]] = []
    for instrument, now in wanted.rows():
        rows = [row for row in known.rows() if row[0] == instrument and row[2] <= now]
        newest = max((row[1:3] for row in rows), default=None)
        fresh = newest is not None and now - newest[0] <= lookback
        answers.append({row[3] for row in rows if row[1:3] == newest} if fresh else {None})
    return answers


@settings(max_examples=200, deadline=None)
@given(WANTED, KNOWN, st.integers(0, 60))
def test_the_join_agrees_with_a_plain_loop(wanted: pl.DataFrame, known: pl.DataFrame, lookback: int) -> None:
    found = joined(wanted, known, lookback)
    for answer, acceptable in zip(found, reference(wanted, known, lookback), strict=True):
        assert answer in acceptable


@settings(max_examples=100, deadline=None)
@given(WANTED, KNOWN, st.integers(0, 60))
def test_rows_available_later_change_no_label_made_before(wanted: pl.DataFrame, known: pl.DataFrame, now: int) -> None:
    past = wanted.filter(pl.col("decision_time") < now)
    assert joined(past, known) == joined(past, known.filter(pl.col("available_time") < now))


def test_pairs_of_labels_never_go_back_in_event_time() -> None:
    known = features(*(("a", t, t + (t * 7) % 11, float(t)) for t in range(0, 200, 3)))
    found = joined(labels(*(("a", t) for t in range(20, 200))), known)
    assert all(a <= b for a, b in pairwise(x for x in found if x is not None))


def test_several_entity_columns_must_all_match() -> None:
    wanted = pl.DataFrame({"asset": ["x", "x", "y", None], "venue": [1, 2, 1, 1], "decision_time": [9] * 4})
    known = pl.DataFrame(
        {"asset": ["x", "y", "x", None], "venue": [1, 1, 3, 1], "event_time": [1] * 4, "available_time": [1] * 4}
    ).with_columns(x=pl.Series([1.0, 2.0, 3.0, 4.0]))
    result = point_in_time_join(wanted, known, ["x"], 100, by=("asset", "venue"))
    assert result["x"].to_list() == [1.0, None, 2.0, None]


@settings(max_examples=60, deadline=None)
@given(WANTED, KNOWN, KNOWN, st.integers(0, 60))
def test_tables_joined_at_once_are_joined_as_one_by_one(
    wanted: pl.DataFrame, one: pl.DataFrame, other: pl.DataFrame, lookback: int
) -> None:
    second = other.rename({"x": "y"}).cast({"instrument": pl.Categorical})
    sources = [Source(one, ("x",), lookback), Source(second, ("y",), 20)]
    both = join_sources(wanted, sources)
    assert both.equals(point_in_time_join(point_in_time_join(wanted, one, ["x"], lookback), second, ["y"], 20))
    categories = join_sources(wanted.cast({"instrument": pl.Categorical}), sources)
    assert both.equals(categories.cast({"instrument": pl.String}))


def test_a_row_without_a_time_is_refused_by_name() -> None:
    known = features(("a", 10, 12, 1.0))
    with pytest.raises(JoinRefused, match="labels: decision_time is null in 1 rows"):
        joined(pl.DataFrame({"instrument": ["a"], "decision_time": [None]}, LABELS), known)
    with pytest.raises(JoinRefused, match="features: available_time is null in 1 rows"):
        joined(labels(("a", 1)), known.with_columns(available_time=pl.lit(None, pl.Int64)))
