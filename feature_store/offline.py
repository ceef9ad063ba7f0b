"""The point-in-time join: what a label may know of the features."""

from collections.abc import Sequence

import polars as pl

from feature_store.errors import JoinRefused

_LABEL_COLUMNS = ("instrument", "decision_time")
_FEATURE_COLUMNS = ("instrument", "event_time", "available_time")


def point_in_time_join(
    labels: pl.DataFrame, features: pl.DataFrame, columns: Sequence[str], lookback_us: int
) -> pl.DataFrame:
    """Attach to each label the newest feature row that was available when the decision was made.

    A feature row counts from its `available_time` on (that instant included), not from its `event_time`: late data
    never reaches back into the past. Newest means the latest `event_time`; so an old bar corrected late does not push
    out a newer one, and of several revisions of one bar the last that was available counts. A label whose newest row
    ended more than `lookback_us` before the decision keeps nulls.

    Args:
        labels: `instrument`, `decision_time` and anything else, in any order, which is kept.
        features: `instrument`, `event_time`, `available_time` and the columns, in any order.
        columns: feature columns to attach, appended to the label's own in this order.
        lookback_us: how old a row may be at the decision, in microseconds from its `event_time`.

    Raises:
        JoinRefused: a column is missing, a name is on both sides, or the times are of different types.
    """
    _check(labels, features, columns)
    joined = (
        labels.with_row_index("_order")
        .sort("decision_time")
        .join_asof(
            _newest_known(features.select(*_FEATURE_COLUMNS, *columns)),
            left_on="decision_time",
            right_on="available_time",
            by="instrument",
            strategy="backward",
            check_sortedness=False,  # both sides are sorted above
        )
        .sort("_order")
    )
    age = pl.col("decision_time") - pl.col("event_time")
    limit = pl.lit(lookback_us) if labels["decision_time"].dtype.is_integer() else pl.duration(microseconds=lookback_us)
    fresh = [pl.when(age <= limit).then(pl.col(name)).alias(name) for name in columns]
    return joined.with_columns(fresh).select(*labels.columns, *columns)


def _newest_known(features: pl.DataFrame) -> pl.DataFrame:
    """Rows that were their instrument's newest when they became available, sorted; one per instrument and instant."""
    ordered = features.sort("available_time", "event_time", maintain_order=True)
    newest = pl.col("event_time") == pl.col("event_time").cum_max().over("instrument")
    return ordered.filter(newest).unique(["instrument", "available_time"], keep="last", maintain_order=True)


def _check(labels: pl.DataFrame, features: pl.DataFrame, columns: Sequence[str]) -> None:
    for side, frame, expected in (
        ("labels", labels, _LABEL_COLUMNS),
        ("features", features, (*_FEATURE_COLUMNS, *columns)),
    ):
        missing = [name for name in expected if name not in frame.columns]
        if missing:
            raise JoinRefused(f"{side}: expected columns {', '.join(missing)}, found {', '.join(frame.columns)}.")
    shared = sorted((set(labels.columns) | set(_FEATURE_COLUMNS)) & set(columns))
    if shared:
        raise JoinRefused(f"labels already have {', '.join(shared)}: expected new names. Rename or drop them.")
    types = {f"decision_time {labels['decision_time'].dtype}"} | {
        f"{name} {features[name].dtype}" for name in ("event_time", "available_time")
    }
    if len({text.split(" ", 1)[1] for text in types}) > 1:
        raise JoinRefused(f"expected one type for all times, found {', '.join(sorted(types))}.")
