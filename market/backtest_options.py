"""The command line of `python -m market.backtest`: which data, under which conditions, what to write."""

import argparse
import ast
import dataclasses
import inspect
from itertools import pairwise
from pathlib import Path
from typing import Any

from lake import command
from lake.errors import UsageError
from market.conditions import Conditions
from market.latency import parse_latency
from market.queues import parse_queue
from market.tick_conditions import TickConditions
from market.venue_options import add_venue_options

TEACH = """
examples:
  bars, compiled, with a stop:
    python -m market.bars --out bars.parquet
    python -m market.backtest docs/examples/momentum.py --bars bars.parquet --stop-loss 0.03 --html report.html
  a recorded order book, 5 ms to the venue and back, the queue by a probabilistic model:
    python -m market.backtest docs/examples/market_maker.py --l2 binance:BTC/USDT:USDT=capture.jsonl.gz \\
        --latency feed=1ms,entry=5ms,ack=5ms --queue power3:3 --maker-fee-bps 0 --shorts --leverage 5
  trades alone (a resting order then needs a trade beyond its price):
    python -m market.backtest STRATEGY --trades binance:XRP/ETH=trades.parquet --latency lognormal:20ms:0.5
  a perpetual with its funding:
    python -m market.backtest STRATEGY --bars perp.parquet --shorts --funding funding.parquet
  through the embedded exchange, its agents and its matching:
    python -m market.backtest docs/examples/momentum.py --venue embedded --seed 1 --hours 24

The critique reruns the strategy with other costs, later (a bar, or 50 ms) and with more capital; --no-critique runs
once, as --venue does.
"""
TICK_TEXTS = {"latency": "0ms", "queue": "risk_averse"}


def parser(doc: str | None) -> argparse.ArgumentParser:
    """All options. Conditions left out are None: each kind of data has its own defaults."""
    out = command.parser("market.backtest", doc)
    out.epilog = TEACH
    out.add_argument("strategy", metavar="STRATEGY", help="FILE.py or FILE.py:NAME")
    data = out.add_argument_group("data (one kind)")
    data.add_argument("--bars", nargs="+", type=Path, metavar="F", help="parquet, feather or csv")
    data.add_argument(
        "--trades", nargs="+", default=[], metavar="[NAME=]F", help="time, price, quantity, side or buyer_maker"
    )
    data.add_argument(
        "--l2",
        nargs="+",
        default=[],
        metavar="[NAME=]F[,F]",
        help="captures of diffs and trades, continued after commas",
    )
    data.add_argument("--instrument", default="", help="names of the bar files' instruments, comma-separated")
    data.add_argument("--funding", nargs="*", type=Path, default=[], metavar="F", help="ts, funding_rate[, symbol]")
    data.add_argument("--reference", nargs="*", type=Path, default=[], metavar="F", help="bars to correlate with")
    out.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter of the strategy")
    _conditions(out)
    add_venue_options(out)
    out.add_argument("--by-event", action="store_true", help="feed a compiled strategy event by event too")
    judged = out.add_argument_group("judgement")
    judged.add_argument(
        "--trials", type=int, default=1, help="variants tried before this one was picked, itself included"
    )
    judged.add_argument("--trials-deviation", type=float, help="of their annual Sharpe ratios")
    judged.add_argument("--draws", type=int, default=1_000, help="of the bootstrap; 0: no intervals")
    judged.add_argument("--no-critique", action="store_true", help="one run only")
    written = out.add_argument_group("output")
    written.add_argument("--html", type=Path, metavar="OUT", help="self-contained report")
    written.add_argument("--round-trips", type=Path, metavar="OUT", help="round trips, parquet or csv")
    written.add_argument("--fills", type=Path, metavar="OUT", help="every fill, parquet or csv")
    written.add_argument("--equity", type=Path, metavar="OUT", help="equity at each close, parquet or csv")
    written.add_argument("--json", action="store_true", help="print JSON instead of text")
    return out


def _conditions(out: argparse.ArgumentParser) -> None:
    """An option for each field of both kinds of conditions."""
    bars = {f.name: f for f in dataclasses.fields(Conditions)}
    ticks = {f.name: f for f in dataclasses.fields(TickConditions)}
    groups = (
        (out.add_argument_group("conditions"), bars.keys() & ticks.keys()),
        (out.add_argument_group("conditions of bars"), bars.keys() - ticks.keys()),
        (out.add_argument_group("conditions of trades and order books"), ticks.keys() - bars.keys()),
    )
    told = {**_sentences(TickConditions), **_sentences(Conditions)}
    for group, names in groups:
        for name, field in {**bars, **ticks}.items():
            if name not in names:
                continue
            option, both = "--" + name.replace("_", "-"), [kind[name].default for kind in (bars, ticks) if name in kind]
            if name in TICK_TEXTS:
                shown = f"{told[name]} ({TICK_TEXTS[name]}; market/{_module(name)}.py lists them)"
                group.add_argument(option, default=None, metavar="HOW", help=shown)
            elif field.default is False:
                group.add_argument(option, action="store_true", default=None, help=told[name])
            else:
                kind = int if isinstance(field.default, int) else float
                defaults = "; on ticks ".join(f"{default:g}" for default in dict.fromkeys(both))
                group.add_argument(option, type=kind, default=None, metavar="N", help=f"{told[name]} ({defaults})")


def _module(name: str) -> str:
    return "queues" if name == "queue" else name


def _sentences(kind: type[Any]) -> dict[str, str]:
    """The sentence under each field of a dataclass; what it costs to read the source is paid for --help alone."""
    body = ast.parse(inspect.getsource(kind)).body[0]
    statements = body.body if isinstance(body, ast.ClassDef) else []
    found = {}
    for one, below in pairwise(statements):
        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name) and isinstance(below, ast.Expr):
            found[one.target.id] = " ".join(str(ast.literal_eval(below.value)).split()).replace("%", "%%")
    return found


def _given(arguments: argparse.Namespace, kind: type[Any], other: type[Any], what: str) -> dict[str, Any]:
    names = {f.name for f in dataclasses.fields(kind)}
    strange = [
        f.name for f in dataclasses.fields(other) if f.name not in names and _value(arguments, f.name) is not None
    ]
    if strange:
        options = ", ".join("--" + name.replace("_", "-") for name in strange)
        raise UsageError(f"{options}: not for {what}; see --help for the conditions of each kind of data.")
    return {name: _value(arguments, name) for name in names if _value(arguments, name) is not None}


def _value(arguments: argparse.Namespace, name: str) -> Any:
    return getattr(arguments, name)


def bar_conditions(arguments: argparse.Namespace) -> Conditions:
    """Conditions of a backtest over bars."""
    return Conditions(**_given(arguments, Conditions, TickConditions, "bars"))


def tick_conditions(arguments: argparse.Namespace) -> TickConditions:
    """Conditions of one over trades or order books; `--fee-bps` is for both fees."""
    both = arguments.fee_bps
    arguments.fee_bps = None
    given = _given(arguments, TickConditions, Conditions, "trades and order books")
    if both is not None:
        given = {"maker_fee_bps": both, "taker_fee_bps": both} | given
    if "latency" in given:
        given["latency"] = parse_latency(given["latency"])
    if "queue" in given:
        given["queue"] = parse_queue(given["queue"])
    return TickConditions(**given)
