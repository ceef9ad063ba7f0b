"""Bars and features as files, for a quant's laptop: no lake, no JVM."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import polars as pl

from feature_store.alignment import Observations, observations, widened
from feature_store.errors import FileRefused
from feature_store.scan import compute
from feature_store.service import FeatureService
from feature_store.view import BAR_COLUMNS, Floats, Times
from lake.errors import UsageError
from lake.intervals import parse_time

_TIME = pl.Datetime("us", "UTC")
_TIME_NAMES = ("open_time", "ts")
_READERS: dict[str, Callable[[Path], pl.DataFrame]] = {
    ".parquet": pl.read_parquet,
    ".csv": pl.read_csv,
    ".feather": pl.read_ipc,
}


def read_table(path: Path) -> pl.DataFrame:
    """A parquet, CSV or feather file.

    Raises:
        FileRefused: no such file, another suffix, or a content that does not parse.
    """
    reader = _READERS.get(path.suffix)
    if reader is None:
        raise FileRefused(f"{path}: expected one of {', '.join(_READERS)}, found {path.suffix or 'no suffix'!r}.")
    try:
        return reader(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise FileRefused(f"{path}: cannot read it as {path.suffix[1:]}: {error}") from None


def read_bars(path: Path) -> tuple[Times, Floats]:
    """Open times (UTC microseconds) and float64[n, 5] of a file with open_time or ts, open, high, low, close, volume.

    Times may be timestamps of any unit (UTC if no zone is written), ISO 8601 text, or whole numbers since the epoch,
    whose unit (seconds to nanoseconds) is told by their size.

    Raises:
        FileRefused: the file does not read, a column is missing or no number, a time is null or unreadable.
    """
    frame = read_table(path)
    name = next((name for name in _TIME_NAMES if name in frame.columns), "open_time")
    missing = [column for column in (name, *BAR_COLUMNS) if column not in frame.columns]
    if missing:
        raise FileRefused(f"{path}: expected columns {', '.join(missing)}, found {', '.join(frame.columns)}.")
    for column in BAR_COLUMNS:
        if not frame[column].dtype.is_numeric():
            raise FileRefused(f"{path}: expected numbers in {column}, found {frame[column].dtype}.")
    times = _microseconds(path, frame[name])
    # A null is no number: it becomes NaN, which the scan refuses by name and row.
    columns = [frame[column].cast(pl.Float64).fill_null(np.nan).to_numpy() for column in BAR_COLUMNS]
    return times, np.column_stack(columns)


def _microseconds(path: Path, times: pl.Series) -> Times:
    if times.null_count():
        raise FileRefused(f"{path}: {times.name} is null in {times.null_count()} rows.")
    if times.dtype == pl.Datetime:
        return times.dt.timestamp("us").to_numpy()
    if times.dtype.is_integer():
        numbers = times.cast(pl.Int64).to_numpy()
        return numbers if not len(numbers) else _scaled(numbers)
    try:
        return np.array([parse_time(text) for text in times.cast(pl.String)], np.int64)
    except UsageError as error:
        raise FileRefused(f"{path}: {times.name}: {error}") from None


def _scaled(numbers: Times) -> Times:
    """Seconds, milliseconds, microseconds or nanoseconds: for 1973…5138 their sizes do not overlap."""
    size = int(np.abs(numbers).max())
    if size < 10**11:
        return numbers * 1_000_000
    if size < 10**14:
        return numbers * 1_000
    return numbers if size < 10**17 else numbers // 1_000


def feature_table(
    service: FeatureService, instrument: str, open_times: Times, bars: Floats,
    references: Mapping[str, tuple[Times, Floats]] = MappingProxyType({}), series: pl.DataFrame | None = None,
) -> pl.DataFrame:  # fmt: skip
    """One row per bar: the key and time columns of gold, then the features, null until warm.

    Args:
        references: open times and bars by input name, e.g. `btc_close`; taken as published on time.
        series: rows of observations_v1, where the service reads series.
    """
    bar_us = service.periods.bar_us
    observed = {name: Observations.closes(times, rows, bar_us) for name, (times, rows) in references.items()}
    if series is not None:
        observed |= observations(series, service, instrument)
    matrix, available_times = widened(service, open_times, bars, observed)
    values = compute(service, open_times, matrix)
    times = {"open_time": open_times, "event_time": open_times + bar_us, "available_time": available_times}
    return pl.DataFrame(
        [pl.Series("instrument", [instrument] * len(open_times), pl.String)]
        + [pl.Series(name, column).cast(_TIME) for name, column in times.items()]
        + [pl.Series(name, values[:, i]).fill_nan(None) for i, name in enumerate(service.feature_names)]
    )
