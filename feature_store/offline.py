"""The point-in-time join: what a label may know of the features.

Both sides are walked once in the order of time, as they would have happened: a feature row becomes its entity's newest
when it becomes available, a label takes what is newest then. That is linear in both, needs no search, and cannot see a
row that comes later in the walk.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt
import polars as pl

from feature_store.errors import JoinRefused
from feature_store.view import Times

Codes = npt.NDArray[np.int64]
_TIMES = ("event_time", "available_time")
_NEVER = -(2**62)


@dataclass(frozen=True, slots=True)
class Source:
    """One table to join from: rows with the entity columns, event_time, available_time and `columns`."""

    frame: pl.DataFrame
    columns: tuple[str, ...]
    lookback_us: int
    by: tuple[str, ...] = ("instrument",)


def point_in_time_join(
    labels: pl.DataFrame,
    features: pl.DataFrame,
    columns: Sequence[str],
    lookback_us: int,
    by: Sequence[str] = ("instrument",),
) -> pl.DataFrame:
    """Attach to each label the newest feature row that was available when the decision was made.

    A feature row counts from its `available_time` on (that instant included), not from its `event_time`: late data
    never reaches back into the past. Newest means the latest `event_time`; so an old bar corrected late does not push
    out a newer one, and of several revisions of one bar the last that was available counts (of two that became
    available together, the later in the frame). A label whose newest row ended more than `lookback_us` before the
    decision keeps nulls, as does one without an entity.

    Args:
        labels: the entity columns, `decision_time` and anything else, in any order, which is kept.
        features: the entity columns, `event_time`, `available_time` and the columns, in any order; fastest in the
            order of `available_time`. Superseded revisions belong in it beside those that replaced them.
        columns: feature columns to attach, appended to the label's own in this order.
        lookback_us: how old a row may be at the decision, in microseconds from its `event_time`.
        by: the entity columns, on both sides.

    Raises:
        JoinRefused: a column is missing, a name is on both sides, a time is null, or the times are of different types.
    """
    return join_sources(labels, [Source(features, tuple(columns), lookback_us, tuple(by))])


def join_sources(labels: pl.DataFrame, sources: Sequence[Source]) -> pl.DataFrame:
    """Join several tables at once, each by its own entity columns and lookback; their columns follow in order.

    Raises:
        JoinRefused: as `point_in_time_join`; two sources share a column.
    """
    taken = list(labels.columns)
    for source in sources:
        _check(labels, source, taken)
        taken += source.columns
    times = _microseconds(labels["decision_time"])
    order = _order(times)
    with ThreadPoolExecutor() as pool:  # the walk and Polars both let go of the interpreter
        parts = list(pool.map(lambda source: _attached(labels, source, times, order), sources))
    return pl.concat([labels, *parts], how="horizontal") if parts else labels


def rows_to_attach(labels: pl.DataFrame, source: Source) -> pl.Series:
    """For each label the place in the source's frame of the row to attach; null where there is none."""
    _check(labels, source, labels.columns)
    times = _microseconds(labels["decision_time"])
    return _places(labels, source, times, _order(times))


def _attached(labels: pl.DataFrame, source: Source, times: Times, order: Codes | None) -> pl.DataFrame:
    places = _places(labels, source, times, order)
    return source.frame.select(pl.col(source.columns).gather(places))


def _places(labels: pl.DataFrame, source: Source, times: Times, order: Codes | None) -> pl.Series:
    frame = source.frame
    if not (labels.height and frame.height):
        return pl.Series("place", [None] * labels.height, pl.UInt32)
    wanted, known, count = _codes(labels, frame, source.by)
    events, available = (_microseconds(frame[name]) for name in _TIMES)
    nothing = np.empty(0, np.int64)
    feature_order = _order(available)
    found = _walk(
        times, wanted, nothing if order is None else order,
        events, available, known, nothing if feature_order is None else feature_order,
        count, source.lookback_us,
    )  # fmt: skip
    places = pl.Series("place", found)
    return places.set(places < 0, None).cast(pl.UInt32)


@numba.njit(cache=True, nogil=True)
def _walk(
    times: Times, wanted: Codes, order: Codes,
    events: Times, available: Times, known: Codes, feature_order: Codes,
    count: int, lookback: int,
) -> Codes:  # fmt: skip
    """Place of the row for each label, -1 for none. Orders are empty where the rows lie in order already."""
    newest = np.full(count, -1, np.int64)
    newest_event = np.full(count, _NEVER, np.int64)
    found = np.full(len(times), -1, np.int64)
    at = 0
    for step in range(len(times)):
        label = order[step] if len(order) else step
        now = times[label]
        while at < len(available):
            row = feature_order[at] if len(feature_order) else at
            if available[row] > now:
                break
            entity = known[row]
            if entity >= 0 and events[row] >= newest_event[entity]:
                newest[entity], newest_event[entity] = row, events[row]
            at += 1
        entity = wanted[label]
        if entity >= 0 and newest[entity] >= 0 and now - newest_event[entity] <= lookback:
            found[label] = newest[entity]
    return found


def _order(times: Times) -> Codes | None:
    """A stable order of rows by time; None where they lie in order."""
    if bool(np.all(times[1:] >= times[:-1])):
        return None
    return np.argsort(times, kind="stable").astype(np.int64, copy=False)


def _codes(labels: pl.DataFrame, features: pl.DataFrame, by: Sequence[str]) -> tuple[Codes, Codes, int]:
    """The entity of each row as a number, the same on both sides, -1 where null or of no label; and their bound."""
    wanted, known, count = _column_codes(labels[by[0]], features[by[0]])
    for name in by[1:]:
        more, other, size = _column_codes(labels[name], features[name])
        wanted, known = (np.where((a < 0) | (b < 0), -1, a * size + b) for a, b in ((wanted, more), (known, other)))
        count *= size
    return wanted, known, count


def _column_codes(left: pl.Series, right: pl.Series) -> tuple[Codes, Codes, int]:
    """Categories of one kind are numbered alike already; anything else is numbered by the labels' names."""
    if not (left.dtype == right.dtype and isinstance(left.dtype, (pl.Categorical, pl.Enum))):
        kind = pl.Enum(left.drop_nulls().unique().cast(pl.String).sort())
        left, right = (one.cast(pl.String).cast(kind, strict=False) for one in (left, right))
    codes = [one.to_physical().cast(pl.Int64).fill_null(-1).to_numpy() for one in (left, right)]
    return codes[0], codes[1], 1 + max(int(one.max(initial=0)) for one in codes)


def _microseconds(times: pl.Series) -> Times:
    if isinstance(times.dtype, pl.Datetime):
        return times.dt.epoch("us").to_numpy()
    return times.cast(pl.Int64).to_numpy()


def _check(labels: pl.DataFrame, source: Source, taken: Sequence[str]) -> None:
    features, columns, by = source.frame, source.columns, source.by
    for side, frame, times, expected in (
        ("labels", labels, ("decision_time",), (*by, "decision_time")),
        ("features", features, _TIMES, (*by, *_TIMES, *columns)),
    ):
        missing = [name for name in expected if name not in frame.columns]
        if missing:
            raise JoinRefused(f"{side}: expected columns {', '.join(missing)}, found {', '.join(frame.columns)}.")
        for name in times:
            if frame[name].null_count():
                raise JoinRefused(f"{side}: {name} is null in {frame[name].null_count()} rows. Drop or date them.")
    shared = sorted((set(taken) | {*by, *_TIMES}) & set(columns))
    if shared:
        raise JoinRefused(f"labels already have {', '.join(shared)}: expected new names. Rename or drop them.")
    types = {f"decision_time {labels['decision_time'].dtype}"} | {f"{name} {features[name].dtype}" for name in _TIMES}
    if len({text.split(" ", 1)[1] for text in types}) > 1:
        raise JoinRefused(f"expected one type for all times, found {', '.join(sorted(types))}.")
    if not by:
        raise JoinRefused("by: expected at least one entity column, found none.")
