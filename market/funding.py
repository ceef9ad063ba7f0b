"""Funding payments of perpetuals out of files: who is long pays rate × the position's worth, who is short gets it.

A file (parquet, feather, csv) has `ts` or `time`, `funding_rate` as a fraction of the notional, and `instrument` or
`symbol` where it holds several. Venues stamp a settlement up to some milliseconds late.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from lake.errors import BadInput
from market.bars import Bars, file_frame, times_us

LABELS = ("instrument", "symbol")


def _base(name: str) -> str:
    """BTC of `binance:BTC/USDT:USDT`, `BTC-USDT` or `BTCUSDT`."""
    plain = name.split(":", 1)[-1] if "/" in name else name
    return plain.replace("-", "/").split("/")[0].removesuffix("USDT")


def read_funding(paths: Sequence[Path], instruments: Sequence[str]) -> list[tuple[int, int, float]]:
    """(time in µs, index of the instrument, rate) by time.

    A file without an instrument column belongs to the instrument whose base its name holds, or to the only one.

    Raises:
        BadInput: a file of another shape, a rate that is no fraction, or one that belongs to no instrument.
    """
    bases = {_base(name): j for j, name in enumerate(instruments)}
    payments: list[tuple[int, int, float]] = []
    for path in paths:
        frame = file_frame(path, "funding rates")
        if "funding_rate" not in frame.columns:
            raise BadInput(f"{path}: expected a column funding_rate, found {frame.columns}.")
        label = next((name for name in LABELS if name in frame.columns), None)
        times = times_us(frame, path, ("ts", "time")).to_list()
        rates = frame["funding_rate"].cast(pl.Float64).to_list()
        owners = [_base(str(name)) for name in frame[label]] if label else [_of_file(path, bases)] * frame.height
        if not any(owner in bases for owner in owners):
            raise BadInput(
                f"{path}: expected funding of {', '.join(bases)}, found {', '.join(sorted(set(owners))[:8])}."
            )
        for time, owner, rate in zip(times, owners, rates, strict=True):
            if rate is None or not abs(rate) < 1:
                raise BadInput(f"{path}: expected rates as fractions of the notional, found {rate}.")
            if owner in bases:
                payments.append((time, bases[owner], rate))
    return sorted(payments)


def _of_file(path: Path, bases: dict[str, int]) -> str:
    named = [base for base in bases if base in path.stem.replace("-", "_").split("_")]
    return named[0] if named else next(iter(bases)) if len(bases) == 1 else path.stem


def with_funding(bars: Bars, payments: Sequence[tuple[int, int, float]]) -> Bars:
    """Bars whose closes pay: a payment counts at the last bar that closed by its time."""
    funding = np.zeros(bars.values.shape[:2])
    closes = bars.open_time + bars.timeframe
    for time, j, rate in payments:
        at = int(np.searchsorted(closes, time, side="right")) - 1
        if at >= 0 and time < closes[-1] + bars.timeframe:
            funding[at, j] += rate
    return replace(bars, funding=funding)
