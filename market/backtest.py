"""Backtest a strategy file over bars: fills, equity, every measure with its interval, and a critique.

    python -m market.bars --out bars.parquet
    python -m market.backtest docs/examples/momentum.py --bars bars.parquet --html report.html

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
from lake.intervals import format_time
from market.bars import Bars, read_bars
from market.conditions import Conditions
from market.critique import Critique, criticise
from market.execution import Floats
from market.results import Results, measure
from market.round_trips import fills_frame, trips_frame
from market.simulation import Run, backtest, follow_weights, portfolio_weights
from market.strategy import Strategy, WeightStrategy, apply_settings
from market.strategy_file import load_strategy, settings_of

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
        base = name.split(":")[-1].split("/")[0]
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
        "measured_on": f"{results.periods.length / 3_600_000_000:g} h",
        "measures": results.measures,
        "intervals_90": results.intervals,
        "critique": critique.to_dict() if critique else None,
    }
    return _finite(document)


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


def arguments_parser() -> argparse.ArgumentParser:
    parser = command.parser("market.backtest", __doc__)
    parser.add_argument("strategy", metavar="STRATEGY", help="FILE.py or FILE.py:NAME")
    parser.add_argument("--bars", nargs="+", type=Path, required=True, metavar="F", help="parquet, feather or csv")
    parser.add_argument("--instrument", default="", help="names of the files' instruments, comma-separated")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter of the strategy")
    for f in dataclasses.fields(Conditions):
        option = "--" + f.name.replace("_", "-")
        if f.type is bool or f.type == "bool":
            parser.add_argument(option, action="store_true")
        else:
            kind = int if isinstance(f.default, int) else float
            parser.add_argument(option, type=kind, default=f.default, help="%(default)s")
    parser.add_argument("--by-event", action="store_true", help="feed a weight strategy bar by bar too")
    parser.add_argument(
        "--trials", type=int, default=1, help="variants tried before this one was picked, itself included"
    )
    parser.add_argument("--trials-deviation", type=float, help="of their annual Sharpe ratios")
    parser.add_argument("--draws", type=int, default=1_000, help="of the bootstrap; 0: no intervals")
    parser.add_argument("--reference", nargs="*", type=Path, default=[], metavar="F", help="bars to correlate with")
    parser.add_argument("--no-critique", action="store_true", help="one run only")
    parser.add_argument("--html", type=Path, metavar="OUT", help="self-contained report")
    parser.add_argument("--trades", type=Path, metavar="OUT", help="round trips, parquet or csv")
    parser.add_argument("--fills", type=Path, metavar="OUT", help="every fill, parquet or csv")
    parser.add_argument("--equity", type=Path, metavar="OUT", help="equity at each close, parquet or csv")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    return parser


def main() -> int:
    arguments = arguments_parser().parse_args()
    strategy_class, settings = load_strategy(arguments.strategy), settings_of(arguments.set)
    conditions = Conditions(**{f.name: getattr(arguments, f.name) for f in dataclasses.fields(Conditions)})
    bars = read_bars(arguments.bars, [name for name in arguments.instrument.split(",") if name])
    strategy = apply_settings(strategy_class, settings)
    rerun = runner(lambda: apply_settings(strategy_class, settings), bars, arguments.by_event)
    run = rerun(conditions)
    began = time.perf_counter()
    run = rerun(conditions) if run.compiled else run  # the first time loads the compiled code
    seconds = time.perf_counter() - began if run.compiled else math.nan
    others = references(bars, arguments.reference)
    results = measure(run, others, arguments.trials, arguments.trials_deviation, arguments.draws)
    critique = None if arguments.no_critique else criticise(strategy, results, rerun)
    document = as_json(strategy, results, critique)
    for frame, path in (
        (trips_frame(results.trips, bars), arguments.trades),
        (fills_frame(run.fills, bars), arguments.fills),
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

        print(text(document, seconds))
    return 0


if __name__ == "__main__":
    command.run(main)
