"""From bronze answers to observations, without Spark: parse, judge every number alone, then fold what was told of one.

The unit of work is a source's entity, since one answer tells of many months. The outcome is a pure function of the
answers: in whatever order and pieces they came.
"""

from collections.abc import Iterator
from typing import Any

import polars as pl

from jobs.silver import outcome, refusals
from lake.errors import BadInput
from lake.intervals import to_us
from lake.revisions import fold
from lake.sources.registry import metric, parser
from lake.sources.source import Metric, Observation, Raw
from lake.sources.units import convert
from lake.tables import OBSERVATIONS

_TIME = pl.Datetime("us", "UTC")
RECEIVED = ("source", "entity", "metric", "told", "told_unit", "market_time", "payload_hash")
"""What a refused row keeps, besides its event time."""
_SCHEMA = {
    **dict.fromkeys(("source", "entity", "metric", "unit", "told_unit", "payload_hash", "reason"), pl.String),
    **dict.fromkeys(("event_time", "available_time", "market_time"), pl.Int64),
    **dict.fromkeys(("value", "told"), pl.Float64),
}
_TOLD_IN_ADVANCE = "about a time after the source's clock"


def kernel(answers: pl.DataFrame) -> pl.DataFrame:
    """`jobs.silver.outcome` of bronze rows: everything that was ever answered about one or more entities."""
    rows = candidates(answers)
    good, bad = rows.filter(pl.col("reason").is_null()), rows.filter(pl.col("reason").is_not_null())
    folded = fold(good, OBSERVATIONS.key, ("value",), what="number")
    frozen = folded.standing.with_columns(reason=_frozen())
    bad = pl.concat(
        [bad, folded.lost.select(rows.columns), frozen.filter(pl.col("reason").is_not_null()).select(rows.columns)]
    )
    standing = frozen.filter(pl.col("reason").is_null())
    refused = refusals(bad.with_columns(instrument=pl.col("entity")), RECEIVED)
    return outcome(OBSERVATIONS, standing, refused, folded.superseded)


def candidates(answers: pl.DataFrame) -> pl.DataFrame:
    """One row per number told, with `market_time`, when it was known, and `reason`, null for a good one."""
    rows = [row for answer in answers.iter_rows(named=True) for row in _numbers(answer)]
    frame = pl.DataFrame(rows, schema=_SCHEMA)
    times = pl.col("event_time", "available_time", "market_time").cast(_TIME)
    frame = frame.with_columns(times).with_columns(month=pl.col("event_time").dt.strftime("%Y-%m"))
    broken = [pl.when(~pl.sql_expr(c.sql).fill_null(False)).then(pl.lit(c.reason)) for c in OBSERVATIONS.checks]
    checked = pl.concat_str(*broken, separator="; ", ignore_nulls=True)
    return frame.with_columns(
        reason=pl.coalesce("reason", pl.when(checked != "").then(checked)),
    )


def _numbers(answer: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every number of one answer; one row with a reason where it cannot be read."""
    clock = to_us(answer["market_time"])
    common = {"source": answer["source"], "payload_hash": answer["payload_hash"], "market_time": clock}
    raw = Raw(answer["entity"], answer["endpoint"], answer["request"], answer["payload"], clock)
    try:
        told = list(parser(answer["source"], answer["endpoint"])(raw))
    except (BadInput, LookupError, TypeError, ValueError, AttributeError) as error:
        reason = f"answer cannot be read: {type(error).__name__}: {error}"[:300]
        yield common | {"entity": answer["entity"], "event_time": clock, "metric": "", "reason": reason}
        return
    for one in told:
        yield common | _judged(one, metric(answer["source"], one.metric), clock)


def _judged(told: Observation, declared: Metric | None, clock: int) -> dict[str, Any]:
    row: dict[str, Any] = {
        "entity": told.entity, "metric": told.metric, "event_time": told.event_time, "told": told.value,
        "told_unit": told.unit or None,
    }  # fmt: skip
    if told.problem or declared is None:
        return row | {"reason": told.problem or f"metric {told.metric!r} is not declared"}
    known = told.event_time + declared.delay
    row |= {"unit": declared.unit, "available_time": max(known, clock) if declared.restated else known}
    if told.known_time is not None:
        row |= {"available_time": max(told.event_time, told.known_time), "market_time": told.known_time}
    if told.event_time > clock:
        return row | {"reason": _TOLD_IN_ADVANCE}
    if told.value is None:
        return row
    try:
        value = convert(told.value, told.unit or declared.unit, declared.unit)
    except BadInput as error:
        return row | {"reason": str(error)}
    return row | {"value": value, "reason": _out_of_range(value, declared)}


def _out_of_range(value: float, declared: Metric) -> str | None:
    low, high = declared.minimum, declared.maximum
    if (low is not None and value < low) or (high is not None and value > high):
        return f"{declared.name} is outside [{'-∞' if low is None else low}, {'∞' if high is None else high}]"
    return None


def _frozen() -> pl.Expr:
    """The reason of a row whose predecessors said the same so often that the feed stands still; judged by the past
    alone, so a row's fate never depends on what came after it."""
    series = ["source", "entity", "metric"]
    run = (pl.col("value") != pl.col("value").shift(1)).fill_null(True).cum_sum().over(series, order_by="event_time")
    at = pl.int_range(1, pl.len() + 1).over([*series, run], order_by="event_time")
    limit = pl.struct("source", "metric").map_elements(_limit, return_dtype=pl.Int64, skip_nulls=False)
    said = pl.format("frozen feed: the same value {} times in a row", at)
    return pl.when(at >= limit).then(said)


def _limit(of: dict[str, str]) -> int | None:
    declared = metric(of["source"], of["metric"])
    return declared.frozen_after if declared else None
