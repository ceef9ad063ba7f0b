"""Backtest a strategy file over bars, trades or order books, with every measure, its interval, and a critique.

A strategy file holds one Strategy class (market/strategy.py); FILE.py:NAME picks one of several. It is run as code.
"""

import argparse
import dataclasses
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from lake import command
from lake.errors import UsageError
from lake.intervals import HOUR, SECOND, format_time
from market import backtest_options as options
from market.bars import Bars, read_bars
from market.conditions import Conditions, Terms
from market.critique import Critique, criticise
from market.execution import Floats
from market.funding import read_funding, with_funding
from market.results import Results, measure
from market.round_trips import fills_frame, trips_frame
from market.simulation import Run, backtest, follow_weights, portfolio_weights
from market.strategy import Strategy, WeightStrategy, apply_settings
from market.strategy_file import load_strategy, settings_of
from market.venue_options import venue_run

REFERENCES = ("BTC", "ETH")
"""Bases whose instruments a result is correlated with where the bars hold them."""


def runner(make: Callable[[], Strategy], bars: Bars, by_event: bool = False) -> Callable[[Conditions], Run]:
    """A function that runs a fresh strategy under any conditions; weights are computed once."""
    strategy = make()
    if isinstance(strategy, WeightStrategy) and not by_event:
        weights = portfolio_weights(strategy, bars)
        return lambda conditions: follow_weights(weights, bars, conditions)
    return lambda conditions: backtest(make(), bars, conditions, compiled=False)


def references(bars: Bars, files: list[Path]) -> dict[str, Floats]:
    """Prices to correlate with: BTC and ETH where the bars hold them, and the files' closes, as of each bar."""
    closes = bars.last_closes()
    out = {}
    for j, name in enumerate(bars.instruments):
        base = name.split(":", 1)[-1].split("/")[0]
        if base in REFERENCES and not np.isnan(closes[0, j]):
            out[base.lower()] = closes[:, j]
    for path in files:
        other = read_bars([path])
        at = np.searchsorted(other.open_time, bars.open_time, side="right") - 1
        if (at < 0).any():
            raise UsageError(f"{path}: expected bars from {format_time(int(bars.open_time[0]))} on.")
        out[path.stem] = other.last_closes()[at, 0]
    return out


def as_json(strategy: Strategy, results: Results, critique: Critique | None) -> dict[str, Any]:
    """Everything but the single trades, for programs; numbers that are not finite become null."""
    run = results.run
    document = {
        "strategy": type(strategy).__name__,
        "parameters": {name: value for name, value in strategy.parameters().items() if _plain(value)},
        "instruments": list(run.bars.instruments),
        "start": format_time(int(run.bars.open_time[0])),
        "end": format_time(int(run.bars.open_time[-1]) + run.bars.timeframe),
        "bars": int(np.isfinite(run.bars.values[:, :, 0]).sum()),
        "conditions": run.conditions.described(),
        "measured_on": _length(results.periods.length),
        "measures": results.measures,
        "intervals_90": results.intervals,
        "critique": critique.to_dict() if critique else None,
    }
    return _finite(document)


def _length(period: int) -> str:
    return f"{period / SECOND:g} s" if period < HOUR else f"{period / HOUR:g} h"


def _plain(value: Any) -> bool:
    return isinstance(value, bool | int | float | str)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_table(frame: pl.DataFrame, path: Path) -> None:
    """Write parquet or csv by the file's ending."""
    if path.suffix == ".parquet":
        frame.write_parquet(path)
    elif path.suffix == ".csv":
        frame.write_csv(path)
    else:
        raise UsageError(f"{path}: expected a file ending in .parquet or .csv.")


def equity_frame(run: Run) -> pl.DataFrame:
    """Equity and exposure at each close."""
    closes = pl.Series(run.bars.open_time + run.bars.timeframe).cast(pl.Datetime("us", "UTC"))
    return pl.DataFrame({"time": closes, "equity": run.equity, "exposure": run.exposure})


@dataclasses.dataclass(frozen=True, slots=True)
class Task:
    """What to run again and again, and how much data one run plays."""

    rerun: Callable[[Any], Run]
    conditions: Terms
    events: int
    """Bars, or rows of trades and order books."""
    described: dict[str, Any]


def bar_task(make: Callable[[], Strategy], arguments: argparse.Namespace) -> Task:
    """A backtest over bars."""
    names = [name for name in arguments.instrument.split(",") if name]
    bars = read_bars(arguments.bars, names)
    if arguments.funding:
        bars = with_funding(bars, read_funding(arguments.funding, bars.instruments))
    events = int(np.isfinite(bars.values[:, :, 0]).sum())
    conditions = options.bar_conditions(arguments)
    return Task(runner(make, bars, arguments.by_event), conditions, events, {})


def tick_task(make: Callable[[], Strategy], arguments: argparse.Namespace) -> Task:
    """A backtest over recorded trades or order books."""
    from market import feed as f
    from market.l2_backtest import tick_backtest

    conditions = options.tick_conditions(arguments)
    feed = f.read_feed(arguments.l2, arguments.trades, conditions.latency)
    if arguments.funding:
        feed = f.with_funding(feed, read_funding(arguments.funding, feed.instruments)).heard(conditions.latency)
    compiled = not arguments.by_event
    return Task(lambda terms: tick_backtest(make(), feed, terms, compiled), conditions, len(feed.rows), f.as_dict(feed))


def venue_task(make: Callable[[], Strategy], arguments: argparse.Namespace) -> Task:
    """A backtest through the embedded exchange: it runs once, since costs and delay are the market's own."""
    names = [name for name in arguments.instrument.split(",") if name]
    arguments.no_critique = True
    return Task(lambda terms: venue_run(make(), arguments, terms, names), options.bar_conditions(arguments), 0, {})


def task(make: Callable[[], Strategy], arguments: argparse.Namespace) -> Task:
    """By the kind of data given."""
    ticks = bool(arguments.l2 or arguments.trades)
    if ticks + bool(arguments.bars) + bool(arguments.venue) != 1:
        raise UsageError("data: expected one of --bars, --trades and --l2, or --venue; see --help for examples.")
    if arguments.venue:
        return venue_task(make, arguments)
    return tick_task(make, arguments) if ticks else bar_task(make, arguments)


def main() -> int:
    arguments = options.parser(__doc__).parse_args()
    strategy_class, settings = load_strategy(arguments.strategy), settings_of(arguments.set)

    def make() -> Strategy:
        return apply_settings(strategy_class, settings)

    strategy = make()
    given = task(make, arguments)
    run = given.rerun(given.conditions)
    began = time.perf_counter()
    run = given.rerun(given.conditions) if run.compiled else run  # the first time loads the compiled code
    seconds = time.perf_counter() - began if run.compiled else math.nan
    others = references(run.bars, arguments.reference)
    results = measure(run, others, arguments.trials, arguments.trials_deviation, arguments.draws)
    critique = None if arguments.no_critique else criticise(strategy, results, given.rerun)
    document = as_json(strategy, results, critique) | given.described
    for frame, path in (
        (trips_frame(results.trips, run.bars), arguments.round_trips),
        (fills_frame(run.fills, run.bars), arguments.fills),
        (equity_frame(run), arguments.equity),
    ):
        if path:
            write_table(frame, path)
    if arguments.html:
        from market.backtest_report import write_report

        write_report(arguments.html, document, results, critique)
    if arguments.json:
        print(json.dumps(document))
    else:
        from market.backtest_text import text

        print(text(document, given.events or document["bars"], seconds))
    return 0


if __name__ == "__main__":
    command.run(main)
