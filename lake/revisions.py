"""What stands for a key when several rows were received for it, and what was known before.

Candidates of one key are judged in the order in which their content was known (`market_time`, the source's clock): the
first counts; one that says the same is dropped; other content sent later is a correction, known from the moment it was
sent, and the row it replaces becomes history; other content that is not later contradicts, and is lost to quarantine.

The judgement of a row depends on earlier rows alone. So the outcome does not depend on the order of arrival, and
cutting the candidates at any instant gives what was known then: a correction never reaches an earlier time.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import polars as pl

TOLERANCE = 1e-12
"""Two sources' float64 numbers agree within this relative difference: a sum's last digit depends on its order."""

ORDER = ("market_time", "payload_hash")
SUPERSEDED = "superseded_time"


class Folded(NamedTuple):
    """The three fates of a candidate that does not merely repeat another one."""

    standing: pl.DataFrame
    """One row per key, the newest known; sorted by key."""
    superseded: pl.DataFrame
    """Rows that a correction replaced, plus `superseded_time`: they counted from available_time until then."""
    lost: pl.DataFrame
    """Rows that contradict without being later, with their `reason`."""


def fold(
    rows: pl.DataFrame,
    key: Sequence[str],
    content: Sequence[str],
    order: Sequence[str] = ORDER,
    tolerance: float = TOLERANCE,
    what: str = "row",
) -> Folded:
    """Judge the candidates of each key.

    A row replaced before it was ever available (a correction within the publication delay) was never known: it leaves
    no history. A null says nothing: it agrees with any value.

    Args:
        rows: good candidates in any order, with `market_time` and `available_time`, which is the earliest instant the
            row may count from: event end plus the declared publication delay.
        content: the columns that make two rows say different things.
        order: sorts the candidates of one key; starts with `market_time`, ends with what tells rows apart.
        tolerance: relative, of float columns; everything else must be equal.
        what: the row's name in the reason of a lost one.
    """
    rows = rows.sort(*key, *order, maintain_order=True)
    alone = ~rows.select(key).is_duplicated()
    several = rows.filter(~alone)
    said = [_agrees(pl.col(name), pl.col(name).first().over(key), several.schema[name], tolerance) for name in content]
    calm = several.select(pl.all_horizontal(pl.lit(True), *said)).to_series().alias("calm")
    calm = several.select(*key).with_columns(calm).select(pl.col("calm").all().over(key)).to_series()
    standing, superseded, lost = _judge(several.filter(~calm), key, content, tolerance, what)
    repeated = several.filter(calm).unique(list(key), keep="first", maintain_order=True)
    return Folded(pl.concat([rows.filter(alone), repeated, standing]).sort(key), superseded, lost)


def _agrees(one: pl.Expr, other: pl.Expr, dtype: pl.DataType, tolerance: float) -> pl.Expr:
    """`agree` for a column; equality first, since infinities have no difference. Polars holds NaN equal to NaN."""
    agrees = one.is_null() | other.is_null() | (one == other)
    if dtype.is_float():
        apart = (one - other).abs()
        agrees |= apart.is_finite() & (apart <= tolerance * pl.max_horizontal(one.abs(), other.abs()))
    return agrees


def agree(one: dict[str, Any], other: dict[str, Any], content: Sequence[str], tolerance: float = TOLERANCE) -> bool:
    """Whether two rows say the same; a value that one of them does not have says nothing."""
    return all(_same(one[name], other[name], tolerance) for name in content)


def _same(a: Any, b: Any, tolerance: float) -> bool:
    if a is None or b is None or a == b:
        return True
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=tolerance) or (math.isnan(a) and math.isnan(b))
    return False


def _judge(
    rows: pl.DataFrame, key: Sequence[str], content: Sequence[str], tolerance: float, what: str
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """The keys with real disagreement, one candidate after the other; few in any market's data."""
    standing, superseded, lost = [], [], []
    for _, group in rows.group_by(key, maintain_order=True):
        stands, *others = group.iter_rows(named=True)
        for other in others:
            if agree(stands, other, content, tolerance):
                continue
            if other["market_time"] <= stands["market_time"]:
                lost.append(other | {"reason": f"contradicts a {what} without being sent later"})
                continue
            known = max(other["market_time"], other["available_time"])
            if stands["available_time"] < known:
                superseded.append(stands | {SUPERSEDED: known})
            stands = other | {"available_time": known}
        standing.append(stands)
    with_end = {**rows.schema, SUPERSEDED: pl.Datetime("us", "UTC")}
    with_reason = {**rows.schema, "reason": pl.String()}
    return (
        pl.DataFrame(standing, schema=rows.schema),
        pl.DataFrame(superseded, schema=with_end),
        pl.DataFrame(lost, schema=with_reason),
    )
