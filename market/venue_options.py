"""`python -m market.backtest STRATEGY --venue embedded`: the options of a backtest through the embedded exchange."""

import argparse
from collections.abc import Sequence

from lake.errors import UsageError
from lake.instruments import INSTRUMENTS, instruments
from market.conditions import Conditions
from market.lockstep import parse_step
from market.simulation import Run
from market.strategy import Strategy

VENUES = ("embedded",)


def add_venue_options(parser: argparse.ArgumentParser) -> None:
    """What `--venue embedded` needs beside the conditions; only capital and fee_bps of those apply."""
    group = parser.add_argument_group("through the embedded exchange, with its agents and its matching")
    group.add_argument("--venue", choices=VENUES, help="instead of --bars: trade at the exchange itself")
    group.add_argument("--seed", type=int, default=1, help="of its world, as market.server --seed")
    group.add_argument("--hours", type=float, default=24.0, help="of market time, after the history")
    group.add_argument("--days", type=int, default=180, help="of history, as market.server --days")
    group.add_argument("--timeframe", default="5m", help="of the bars the strategy sees")
    group.add_argument(
        "--step",
        help="when orders and fills pass: every 1m, 5m, or so many ms (default: as often as the strategy asks)",
    )


def venue_run(strategy: Strategy, arguments: argparse.Namespace, conditions: Conditions, names: Sequence[str]) -> Run:
    """Run a strategy at the exchange that the options describe.

    Raises:
        UsageError: options that contradict each other, or commands that make no sense.
    """
    from market.scenario import Scenario
    from market.venue_backtest import backtest_venue

    if arguments.bars:
        raise UsageError("--venue: expected without --bars; the exchange makes its own.")
    unused = [name for name in ("shorts", "stop_loss", "trailing_stop", "take_profit") if getattr(conditions, name)]
    if unused:
        raise UsageError(f"--venue: {', '.join(unused)} belong to bars; give such orders in the strategy.")
    traded = instruments(names or tuple(INSTRUMENTS)[:6])
    scenario = Scenario(arguments.seed, days=arguments.days)
    return backtest_venue(
        strategy,
        scenario,
        arguments.hours,
        conditions,
        traded,
        arguments.timeframe,
        parse_step(arguments.step) if arguments.step else 0,
    )[1]
