"""Read a person's file of bars, or say exactly what is wrong with it."""

from pathlib import Path

import polars as pl

from lake.errors import BadInput
from lake.intervals import MILLISECOND, timeframe_us
from lake.wire.bars import FILE_FIELDS, LAST_TIME

_READERS = {".parquet": pl.read_parquet, ".feather": pl.read_ipc, ".arrow": pl.read_ipc}


def read_bars(path: Path, timeframe: str) -> pl.DataFrame:
    """The file's rows: `ts` int64 UTC microseconds and five float64 columns, null where a cell is empty.

    Raises:
        BadInput: the file cannot be read, a column is missing, a cell is no number or time, there is no row, or most
            bars are not `timeframe` apart.
    """
    frame = _read(path)
    time_column = "ts" if "ts" in frame.columns else "open_time"
    missing = [name for name in (time_column, *FILE_FIELDS) if name not in frame.columns]
    if missing:
        raise BadInput(
            f"{path.name}: no column {', '.join(missing)}: expected ts (or open_time), {', '.join(FILE_FIELDS)}; "
            f"found {', '.join(frame.columns) or 'none'}."
        )
    if frame.is_empty():
        raise BadInput(f"{path.name}: no rows.")
    bars = frame.select(
        _times(path, frame[time_column]).alias("ts"), *(_numbers(path, frame[name]).alias(name) for name in FILE_FIELDS)
    )
    _require_timeframe(path, bars["ts"], timeframe)
    return bars


def _read(path: Path) -> pl.DataFrame:
    if not path.is_file():
        raise BadInput(f"{path}: no such file.")
    suffix = path.suffix.lower()
    try:
        if suffix == ".csv":
            return pl.read_csv(path, infer_schema=False, raise_if_empty=False)
        if suffix in _READERS:
            frame = _READERS[suffix](path)
            return frame if isinstance(frame, pl.DataFrame) else pl.DataFrame(frame)
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        raise BadInput(f"{path.name} cannot be read as {suffix[1:]}: {str(error).splitlines()[0]}") from None
    raise BadInput(f"{path.name}: expected .csv, .parquet or .feather, found {suffix or 'no suffix'}.")


def _times(path: Path, column: pl.Series) -> pl.Series:
    """Open times in UTC microseconds."""
    if column.dtype == pl.Date or isinstance(column.dtype, pl.Datetime):
        micros = column.cast(pl.Datetime("us")).dt.epoch("us") if column.dtype == pl.Date else column.dt.epoch("us")
    elif column.dtype == pl.String:
        micros = _times_from_text(column)
    else:
        micros = column.cast(pl.Int64, strict=False) * MILLISECOND
    odd = micros.is_null() | (micros < 0) | (micros >= LAST_TIME)
    if odd.any():
        raise BadInput(_at(path, column, odd, "expected a time (ISO 8601, UTC, or milliseconds)"))
    return micros


def _times_from_text(column: pl.Series) -> pl.Series:
    texts = column.str.strip_chars()
    millis = texts.str.extract(r"^([0-9]{1,15})$").cast(pl.Int64, strict=False) * MILLISECOND
    iso = texts.str.replace(" ", "T", literal=True).str.replace("(Z|[+]00:?00)$", "")
    shaped = iso.str.extract(r"^(\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:[.]\d{1,9})?)?)?)$")
    full = shaped.str.replace(r"^(\d{4}-\d\d-\d\d)$", "${1}T00:00").str.replace(r"(T\d\d:\d\d)$", "${1}:00")
    parsed = full.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False).dt.epoch("us")
    return pl.select(pl.coalesce(millis, parsed)).to_series()


def _numbers(path: Path, column: pl.Series) -> pl.Series:
    """Numbers as float64; an empty cell is null."""
    cells = column
    if column.dtype == pl.String:
        stripped = column.str.strip_chars()
        cells = pl.select(pl.when(stripped != "").then(stripped)).to_series()
    numbers = cells.cast(pl.Float64, strict=False)
    odd = numbers.is_null() & cells.is_not_null()
    if odd.any():
        raise BadInput(_at(path, column, odd, "expected a number"))
    return numbers


def _at(path: Path, column: pl.Series, odd: pl.Series, expected: str) -> str:
    first = int(odd.arg_true()[0])
    return (
        f"{path.name}: row {first + 1}, column {column.name}: {expected}, found {column[first]!r}. Nothing was stored."
    )


def _require_timeframe(path: Path, times: pl.Series, timeframe: str) -> None:
    step = timeframe_us(timeframe)
    steps = times.unique().sort().diff().drop_nulls()
    if steps.is_empty():
        return
    usual = int(steps.mode().sort()[0])
    if usual != step:
        raise BadInput(
            f"{path.name}: expected bars {step // 1_000_000} s apart for --timeframe {timeframe}, "
            f"found most of them {usual / 1_000_000:g} s apart. Name the file's own timeframe."
        )
