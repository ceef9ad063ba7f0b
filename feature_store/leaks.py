"""Leak detection: rebuild from what was known then, and compare; plus overlapping splits and fills that came too early.

A **pipeline** is any function from raw tables to rows of features:

    def features(tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame      # decision_time [, instrument], columns…

Each raw table has `available_time`, the instant its row could be known; a corrected row is a further row. At a random
cut-off the pipeline is run again, once on the rows available by then, once with every number that came later changed.
Both times every row it decided up to the cut-off must come out as it did from the whole history: a value that differs,
or a row that is missing, knew something of the future. This finds shifted columns, centred windows, scaling over the
whole sample, wrong joins, restated candles, values as of the crawl and days labelled by another clock alike, because it
does not look for any of them. The changed future finds what this one happens to hide, such as a maximum of the whole
sample that was reached early.

Two leaks leave the features as they are: training rows whose label reaches into the test (`overlaps`), and fills at a
price that was gone when the decision was made (`early_fills`).
"""

import runpy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import polars as pl

from feature_store.errors import FileRefused, LeakCheckRefused
from feature_store.scan import compute
from feature_store.service import FeatureService
from feature_store.view import BAR_COLUMNS, Floats, Times
from lake.intervals import Interval, format_time, to_datetime
from lake.tables.bars import PUBLICATION_DELAY

Tables = Mapping[str, pl.DataFrame]
Pipeline = Callable[[Tables], pl.DataFrame]

DECISION, AVAILABLE = "decision_time", "available_time"
_TIME = pl.Datetime("us", "UTC")
_KEYS = (DECISION, "instrument")


@dataclass(frozen=True, slots=True)
class Leak:
    """One value that knew the future, the first found of its column."""

    column: str
    cut: int
    """Cut-off at which it showed, µs."""
    decision_time: int
    known_then: str
    """What comes out of the data known at the cut-off."""
    with_future: str
    """What the whole history gives for the same row."""
    rows: int
    """Rows of this column that differ at this cut-off."""

    def __str__(self) -> str:
        return (
            f"{self.column}: the row of {format_time(self.decision_time)} is {self.known_then} with what was known at "
            f"{format_time(self.cut)} and {self.with_future} with what came later ({self.rows} such rows)."
        )


def load_pipeline(path: Path) -> Pipeline:
    """The function `features` of a Python file.

    Raises:
        FileRefused: no such file, it does not run, or it defines no `features`.
    """
    try:
        names = runpy.run_path(str(path))
    except Exception as error:  # whatever the file raises is its author's to read
        raise FileRefused(f"{path}: cannot run it: {type(error).__name__}: {error}") from None
    pipeline = names.get("features")
    if not callable(pipeline):
        raise FileRefused(f"{path}: expected a function features(tables), found none.")
    return cast(Pipeline, pipeline)


def known_at(tables: Tables, time: int) -> dict[str, pl.DataFrame]:
    """Every table's rows that were available at `time` (µs)."""
    return {name: table.filter(pl.col(AVAILABLE) <= to_datetime(time)) for name, table in tables.items()}


def changed_after(tables: Tables, time: int, rng: np.random.Generator) -> dict[str, pl.DataFrame]:
    """The same tables, every number of a row that came after `time` multiplied by something between 1/5 and 5."""
    changed = {}
    for name, table in tables.items():
        numbers = [column for column, kind in table.schema.items() if kind.is_numeric()]
        factor = pl.Series(np.exp(rng.uniform(-np.log(5), np.log(5), table.height)))
        later = pl.col(AVAILABLE) > to_datetime(time)
        changed[name] = table.with_columns(
            pl.when(later).then(pl.col(column) * factor).otherwise(column).cast(table.schema[column]).alias(column)
            for column in numbers
        )
    return changed


def find_leaks(
    pipeline: Pipeline, tables: Tables, cuts: int = 100, seed: int = 0, tolerance: float = 1e-9
) -> list[Leak]:
    """Run the pipeline again at random cut-offs; returns at most one leak per column, none if it is clean.

    Args:
        cuts: how many, drawn without repetition from the decision times of the second half of the rows.
        tolerance: largest relative difference that is no leak; 0 asks for the very same number.

    Raises:
        LeakCheckRefused: a table without `available_time`, or rows without `decision_time` or twice with the same key.
    """
    for name, table in tables.items():
        if table.schema.get(AVAILABLE) != _TIME:
            raise LeakCheckRefused(
                f"table {name}: expected {AVAILABLE} as {_TIME}, found {table.schema.get(AVAILABLE)}."
            )
    whole = _rows(pipeline(tables))
    leaks: dict[str, Leak] = {}
    rng = np.random.default_rng(seed)
    for cut in draw_cuts(whole[DECISION].unique().sort(), cuts, seed):
        decided = whole.filter(pl.col(DECISION) <= to_datetime(cut))
        for known in (known_at(tables, cut), changed_after(tables, cut, rng)):
            for leak in _differences(decided, _rows(pipeline(known)), cut, tolerance):
                leaks.setdefault(leak.column, leak)
    return list(leaks.values())


def draw_cuts(times: pl.Series, cuts: int, seed: int) -> list[int]:
    """Random instants among the decision times, of their second half, in order, µs."""
    late = times.dt.timestamp("us").to_numpy()[len(times) // 2 :]
    if not len(late):
        raise LeakCheckRefused("no rows to check: the pipeline returned none. Give it more history.")
    return sorted(np.random.default_rng(seed).choice(late, min(cuts, len(late)), replace=False).tolist())


def _rows(frame: pl.DataFrame) -> pl.DataFrame:
    if frame.schema.get(DECISION) != _TIME:
        raise LeakCheckRefused(f"pipeline: expected {DECISION} as {_TIME}, found {frame.schema.get(DECISION)}.")
    keys = [key for key in _KEYS if key in frame.columns]
    if frame.select(keys).is_duplicated().any():
        raise LeakCheckRefused(f"pipeline: expected one row per {' and '.join(keys)}, found some twice.")
    return frame.sort(keys)


def _differences(before: pl.DataFrame, again: pl.DataFrame, cut: int, tolerance: float) -> list[Leak]:
    """Columns of rows decided up to the cut-off that the rebuild gives another value."""
    keys = [key for key in _KEYS if key in before.columns]
    again = again.with_columns(pl.lit(True).alias("_rebuilt"))
    both = before.join(again, on=keys, how="left", suffix="_again", nulls_equal=True).sort(keys)
    missing = both.filter(pl.col("_rebuilt").is_null())
    if missing.height:
        first = _us(missing[DECISION][0])
        return [Leak("(row)", cut, first, "absent", "present", missing.height)]
    found = []
    for column in (name for name in before.columns if name not in keys):
        if f"{column}_again" not in both.columns:
            found.append(Leak(column, cut, _us(both[DECISION][0]), "absent", "present", both.height))
            continue
        differs = both.filter(_differs(both.schema[column], column, tolerance))
        if differs.height:
            row = differs.row(0, named=True)
            values = _shown(row[f"{column}_again"]), _shown(row[column])
            found.append(Leak(column, cut, _us(row[DECISION]), *values, differs.height))
    return found


def _differs(kind: pl.DataType, column: str, tolerance: float) -> pl.Expr:
    old, new = pl.col(column), pl.col(f"{column}_again")
    if not kind.is_float():
        return old.ne_missing(new)
    old, new = old.fill_nan(None), new.fill_nan(None)
    if tolerance == 0.0:
        return old.ne_missing(new)
    scale = pl.max_horizontal(old.abs(), new.abs())
    return (old.is_null() != new.is_null()) | ((old - new).abs() > tolerance * scale).fill_null(False)


def _us(moment: object) -> int:
    return int(pl.Series([moment], dtype=_TIME).dt.timestamp("us")[0])


def _shown(value: object) -> str:
    return f"{value:.10g}" if isinstance(value, float) else str(value)


# -- a service --------------------------------------------------------------------------------------------------------


def find_service_leaks(
    service: FeatureService, open_times: Times, bars: Floats, cuts: int = 100, seed: int = 0,
    stored: Floats | None = None,
) -> list[Leak]:  # fmt: skip
    """The same of a feature service, exactly: each cut-off is rebuilt from the bars closed by then, as live has them.

    A rebuild starts where a scan for its last row would start (`service.periods.scan_start`), so a thousand take some
    seconds.

    Args:
        stored: [n, k], features of the same bars as they were stored, to compare instead of computing them again.
    """
    periods = service.periods
    whole = compute(service, open_times, bars) if stored is None else stored
    leaks: dict[str, Leak] = {}
    for cut in draw_cuts(_decisions(service, open_times), cuts, seed):
        end = int(np.searchsorted(open_times, cut - PUBLICATION_DELAY - periods.bar_us, side="right"))
        last = int(open_times[end - 1])
        first, known = np.searchsorted(open_times, (periods.scan_start(last), periods.start(last))).tolist()
        again = compute(service, open_times[first:end], bars[first:end])[known - first :]
        before, after = (_frame(service, open_times[known:end], values) for values in (whole[known:end], again))
        for leak in _differences(before, after, cut, 0.0):
            leaks.setdefault(leak.column, leak)
    return list(leaks.values())


def _decisions(service: FeatureService, open_times: Times) -> pl.Series:
    return pl.Series(open_times + service.periods.bar_us + PUBLICATION_DELAY).cast(_TIME)


def _frame(service: FeatureService, open_times: Times, values: Floats) -> pl.DataFrame:
    columns = {name: values[:, i] for i, name in enumerate(service.feature_names)}
    return pl.DataFrame({DECISION: _decisions(service, open_times), **columns})


def bars_table(open_times: Times, bars: Floats, bar_us: int) -> pl.DataFrame:
    """Bars as a raw table for a pipeline: open_time, event_time, available_time and the numbers."""
    times = {"open_time": open_times, "event_time": open_times + bar_us}
    times[AVAILABLE] = times["event_time"] + PUBLICATION_DELAY
    columns = {name: bars[:, i] for i, name in enumerate(BAR_COLUMNS)}
    return pl.DataFrame({name: pl.Series(values).cast(_TIME) for name, values in times.items()} | columns)


# -- labels and fills -------------------------------------------------------------------------------------------------


def overlaps(train: Sequence[Interval], test: Sequence[Interval], embargo: int = 0) -> list[tuple[int, int]]:
    """Pairs (train, test) of rows whose spans, decision to end of label, share an instant.

    A training row that ends before the test begins must end `embargo` µs before; one that begins after the test has
    ended, as much later.
    """
    return [
        (i, j)
        for j, tested in enumerate(test)
        for i, one in enumerate(train)
        if one.start < tested.end + embargo and tested.start < one.end + embargo
    ]


def early_fills(fills: pl.DataFrame, bars: pl.DataFrame) -> pl.DataFrame:
    """Fills that nobody could have had: before the decision, or at a price the market did not show from then on.

    Args:
        fills: decision_time, fill_time, price.
        bars: open_time, close_time, low, high; one instrument, in order. A bar may fill a decision only if it opened
            at or after it, since within a bar nothing tells what came first.

    Returns:
        The rows of `fills` with the reason.
    """
    bars = bars.select("open_time", "close_time", "low", "high").sort("open_time")
    joined = fills.with_row_index().sort("fill_time").join_asof(bars, left_on="fill_time", right_on="open_time")
    inside = pl.col("fill_time") < pl.col("close_time")
    reason = (
        pl.when(pl.col("fill_time") < pl.col(DECISION)).then(pl.lit("filled before the decision"))
        .when(inside.not_().fill_null(True)).then(pl.lit("no bar at the time of the fill"))
        .when(pl.col("open_time") < pl.col(DECISION)).then(pl.lit("filled inside the bar that was still open"))
        .when(~pl.col("price").is_between(pl.col("low"), pl.col("high"))).then(pl.lit("a price the bar never showed"))
    )  # fmt: skip
    found = joined.with_columns(reason.alias("reason")).filter(pl.col("reason").is_not_null())
    return found.sort("index").select(*fills.columns, "reason")
