"""Bars for a backtest: of files, aligned over instruments, or of the embedded market's own past.

    python -m market.bars --seed 1 --days 180 --timeframe 5m --out bars.parquet      write simulated bars

A file (parquet, feather, csv) has `open_time` or `ts`, open, high, low, close and volume, and may hold several
instruments in a column `instrument` or `symbol`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lake import command
from lake.errors import BadInput, UsageError
from lake.intervals import DAY, MINUTE, format_time, timeframe_us
from market.execution import BAR_FIELDS, CLOSE, Floats
from market.strategy import BarArrays

COLUMNS = ("open", "high", "low", "close", "volume")
KEYED = ("instrument", "open_time", *COLUMNS)


@dataclass(frozen=True, slots=True)
class Bars:
    """Bars of k instruments on one grid of open times; NaN where an instrument has none."""

    instruments: tuple[str, ...]
    open_time: NDArray[np.int64]
    """µs [n], ascending."""
    values: Floats
    """[n, k, BAR_FIELDS]."""
    timeframe: int
    """µs."""
    funding: Floats | None = None
    """[n, k]: the rate paid on what is held at each close (market/funding.py); None: no perpetuals."""

    @property
    def days(self) -> float:
        return float(self.open_time[-1] - self.open_time[0] + self.timeframe) / DAY

    @property
    def bars_per_day(self) -> float:
        return DAY / self.timeframe

    def of(self, index: int) -> BarArrays:
        """The bars one instrument has."""
        held = ~np.isnan(self.values[:, index, CLOSE])
        return BarArrays(self.open_time[held], *np.ascontiguousarray(self.values[held, index].T))

    def head(self, count: int) -> "Bars":
        """The first `count` bars."""
        funding = None if self.funding is None else self.funding[:count]
        return Bars(self.instruments, self.open_time[:count], self.values[:count], self.timeframe, funding)

    def rates(self) -> Floats:
        """[n, k] funding rates, or [0, k] where none are paid, as the compiled code takes them."""
        return np.zeros((0, len(self.instruments))) if self.funding is None else self.funding

    def last_closes(self) -> Floats:
        """[n, k]: the close of each instrument's last bar so far; NaN before its first."""
        closes = pl.from_numpy(self.values[:, :, CLOSE], orient="row")
        return closes.with_columns(pl.all().fill_nan(None).forward_fill()).to_numpy().astype(np.float64)


def file_frame(path: Path, what: str = "bars") -> pl.DataFrame:
    """A parquet, feather or csv file as it is.

    Raises:
        UsageError: another ending.
        BadInput: it does not parse.
    """
    readers: dict[str, Any] = {".parquet": pl.read_parquet, ".feather": pl.read_ipc, ".csv": pl.read_csv}
    reader = readers.get(path.suffix)
    if reader is None:
        raise UsageError(f"{path}: expected a file ending in one of {', '.join(readers)}.")
    try:
        frame: pl.DataFrame = reader(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise BadInput(f"{path}: expected a {path.suffix[1:]} file of {what}: {str(error).splitlines()[0]}") from None
    return frame


def times_us(frame: pl.DataFrame, path: Path, names: Sequence[str] = ("open_time", "ts")) -> pl.Series:
    """Times in µs from a datetime, text, or integer column (s, ms or µs by its size).

    Raises:
        BadInput: no column of these names, or no times in it.
    """
    name = next((name for name in names if name in frame.columns), None)
    if name is None:
        raise BadInput(f"{path}: expected a column {' or '.join(names)}, found {frame.columns}.")
    column = frame[name]
    try:
        if column.dtype == pl.String:
            column = column.str.to_datetime(time_unit="us", time_zone="UTC")
        if column.dtype.is_temporal():
            return column.dt.epoch("us")
        times = column.cast(pl.Int64)
    except pl.exceptions.PolarsError as error:
        raise BadInput(f"{path}: {name} holds no times: {str(error).splitlines()[0]}") from None
    largest = int(times.abs().max() or 0)  # type: ignore[arg-type]
    factor = 1_000_000 if largest < 10**11 else 1_000 if largest < 10**14 else 1
    return times * factor


def _checked(path: Path, name: str) -> pl.DataFrame:
    frame = file_frame(path)
    missing = [column for column in COLUMNS if column not in frame.columns]
    if missing or frame.is_empty():
        raise BadInput(f"{path}: expected rows of {', '.join(COLUMNS)}, found {frame.height} rows, lacking {missing}.")
    labels = next((c for c in ("instrument", "symbol") if c in frame.columns), None)
    try:
        values = [frame[column].cast(pl.Float64).fill_null(np.nan) for column in COLUMNS]
    except pl.exceptions.PolarsError as error:
        raise BadInput(f"{path}: not numbers: {str(error).splitlines()[0]}") from None
    label = frame[labels].cast(pl.String) if labels else pl.Series("instrument", [name] * frame.height, pl.String)
    out = pl.DataFrame([label, times_us(frame, path).alias("open_time"), *values], schema=KEYED)
    prices, volume = pl.col(*COLUMNS[:4]), pl.col("volume")
    sound = pl.all_horizontal(prices.is_finite(), prices > 0, volume.is_finite(), volume >= 0)
    sound &= pl.col("low") <= pl.min_horizontal("open", "close", "high")
    sound &= pl.col("high") >= pl.max_horizontal("open", "close")
    bad = out.filter(~sound)
    if bad.height:
        row = bad.row(0, named=True)
        raise BadInput(f"{path}: {bad.height} impossible bars, the first at {format_time(row['open_time'])}: {row}.")
    twice = out.height - out.select("instrument", "open_time").n_unique()
    if twice:
        raise BadInput(f"{path}: {twice} bars share instrument and open time with another; expected each once.")
    return out


def read_bars(paths: Sequence[Path], names: Sequence[str] = ()) -> Bars:
    """Read files and align their instruments; `names` label files without an instrument column (default: their stem).

    Raises:
        BadInput: a file that does not parse, impossible bars, or the same bar twice.
        UsageError: as many names as files are expected, or none.
    """
    if names and len(names) != len(paths):
        raise UsageError(f"instruments: expected {len(paths)}, one for each file, found {', '.join(names)}.")
    labels = names or [path.stem for path in paths]
    frames = [_checked(path, name) for path, name in zip(paths, labels, strict=True)]
    whole = pl.concat(frames).sort("open_time", maintain_order=True)
    instruments = tuple(whole["instrument"].unique(maintain_order=True).sort().to_list())
    times, row = np.unique(whole["open_time"].to_numpy(), return_inverse=True)
    if len(times) < 2:
        raise BadInput(f"{', '.join(map(str, paths))}: expected at least two bars, found {len(times)}.")
    column = np.searchsorted(np.array(instruments), whole["instrument"].to_numpy())
    values = np.full((len(times), len(instruments), BAR_FIELDS), np.nan)
    values[row, column] = whole.select(COLUMNS).to_numpy()
    gaps, counts = np.unique(np.diff(times), return_counts=True)
    return Bars(instruments, times.astype(np.int64), values, int(gaps[counts.argmax()]))


def simulated_frame(seed: int, days: int, timeframe: str, structure: int = 1) -> pl.DataFrame:
    """The embedded market's past as a frame: instrument, open_time [µs], open, high, low, close, volume."""
    from market.scenario import Scenario, simulate_history

    history = simulate_history(Scenario(seed, days=days, structure=structure))
    each = timeframe_us(timeframe) // MINUTE
    shape = (len(history.instruments), -1, each)
    opens, closes = history.open.reshape(shape), history.close.reshape(shape)
    columns = {
        "open": opens[:, :, 0],
        "high": history.high.reshape(shape).max(axis=2),
        "low": history.low.reshape(shape).min(axis=2),
        "close": closes[:, :, -1],
        "volume": history.volume.reshape(shape).sum(axis=2),
    }
    times = history.open_time[::each]
    frames = (
        pl.DataFrame({"instrument": name, "open_time": times, **{c: values[j] for c, values in columns.items()}})
        for j, name in enumerate(history.instruments)
    )
    return pl.concat(frames)


def main() -> int:
    parser = command.parser("market.bars", __doc__)
    parser.add_argument("--seed", type=int, default=1, help="of the simulated market")
    parser.add_argument("--days", type=int, default=180)
    parser.add_argument("--timeframe", default="5m")
    parser.add_argument("--structure", type=int, default=1, help="0: nothing can be predicted")
    parser.add_argument("--instruments", default="", help="comma-separated; all by default")
    parser.add_argument("--out", type=Path, required=True, help="parquet")
    arguments = parser.parse_args()
    frame = simulated_frame(arguments.seed, arguments.days, arguments.timeframe, arguments.structure)
    chosen = [name for name in arguments.instruments.split(",") if name]
    unknown = set(chosen) - set(frame["instrument"].unique())
    if unknown:
        known = ", ".join(frame["instrument"].unique(maintain_order=True))
        raise UsageError(f"unknown instruments {', '.join(sorted(unknown))}: the simulated market has {known}.")
    frame = frame.filter(pl.col("instrument").is_in(chosen)) if chosen else frame
    frame.write_parquet(arguments.out)
    first, last = (format_time(int(frame["open_time"].to_numpy()[at])) for at in (0, -1))
    print(json.dumps({"out": str(arguments.out), "rows": frame.height, "first": first, "last": last}))
    return 0


if __name__ == "__main__":
    command.run(main)
