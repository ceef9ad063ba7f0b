"""`bitacora parity`: the same strategy file and seed through the backtest at the exchange and through live.

With `--speed lockstep` (the default) the market waits for live: orders must be the same one by one, the profit equal
within 1 bp of the capital. At a running speed live is late; the difference is shared out to latency, queue and fees,
which add up to it (`market/attribution.py`). Both processes are the real ones, on loopback, in a folder of their own.
"""

import contextlib
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

import orjson

from bitacora import show, web
from bitacora.home import REPOSITORY
from lake.errors import Unavailable, UsageError
from lake.instruments import INSTRUMENTS, Instrument, instruments
from lake.intervals import MILLISECOND
from lake.journal import Record, read_journal
from market.attribution import SIDE, Arrival, attribute, rerun, result_of
from market.clock import parse_speed
from market.conditions import Conditions
from market.orders import NewOrder
from market.runner import Runner
from market.scenario import Scenario
from market.strategy import apply_settings
from market.strategy_file import load_strategy, settings_of
from market.turns import Execution
from market.venue_backtest import TYPES, VenueRun, backtest_venue, plain

TOLERANCE_BPS = Decimal(1)
READY_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Task:
    """What to compare."""

    strategy: str
    settings: dict[str, str]
    seed: int
    hours: float
    speed: str
    capital: Decimal
    """Quote, of all instruments together."""
    traded: tuple[Instrument, ...]
    days: int
    fee_bps: float = 5.0

    @property
    def lockstep(self) -> bool:
        return self.speed == "lockstep"

    @property
    def step(self) -> int:
        """Market µs between two stops in lockstep, as often as the strategy asks for."""
        strategy = apply_settings(load_strategy(self.strategy), self.settings)
        return Runner(strategy, self.traded, self.capital).step

    @property
    def scenario(self) -> Scenario:
        return Scenario(self.seed, days=self.days)

    @property
    def conditions(self) -> Conditions:
        return Conditions(capital=float(self.capital), fee_bps=self.fee_bps)


def compare(task: Task) -> dict[str, Any]:
    """Run both sides and set them against each other; JSON-ready."""
    strategy = apply_settings(load_strategy(task.strategy), task.settings)
    run, _ = backtest_venue(strategy, task.scenario, task.hours, task.conditions, task.traded)
    with tempfile.TemporaryDirectory(prefix="parity-") as folder:
        records = trade_live(task, run.start, run.end, Path(folder))
    return judge(task, run, records)


def judge(task: Task, run: VenueRun, records: Sequence[Record]) -> dict[str, Any]:
    """Orders side by side, profits, and where the difference comes from. What happens at the end itself is left out."""
    before = {each.id: each for each in task.traded}
    expected = [(o.time, o.instrument, o.side, o.type, o.quantity, o.price) for o in run.orders if o.time < run.end]
    found = [order for order in intents(records) if order[0] < run.end]
    arrivals = arrivals_of(records, task.traded)
    later, marks = rerun(arrivals, task.scenario, task.conditions, task.traded, run.end)
    results = [result_of(each, marks, before, run.end) for each in (run.executions, later, executions_of(records))]
    parts = attribute(*results)
    basis_points = parts["total"] / task.capital * 10_000
    equal = sum(a == b for a, b in zip(expected, found, strict=False))
    same = expected == found
    return {
        "ok": not task.lockstep or (same and abs(basis_points) <= TOLERANCE_BPS),
        "strategy": task.strategy, "seed": task.seed, "hours": task.hours, "speed": task.speed,
        "orders": {"backtest": len(expected), "live": len(found), "equal_in_order": equal},
        "fills": {"backtest": len(run.executions), "live": sum(r["kind"] == "fill" for r in records)},
        "pnl": {"backtest": results[0].net, "live_orders_in_backtest": results[1].net, "live": results[2].net},
        "difference_bps_of_capital": round(basis_points, 6),
        "parts": parts, "delay_ms": delays(records),
    }  # fmt: skip


# -- live's side ------------------------------------------------------------------------------------------------------


def intents(records: Sequence[Record]) -> list[tuple[int, str, str, str, str, str]]:
    """Orders in the words of the backtest's `Placed`."""
    return [
        (
            r["event_time"], r["instrument"], r["side"], r["order_type"], plain(Decimal(r["quantity"])),
            "" if r["price"] is None else plain(Decimal(r["price"])),
        )
        for r in records if r["kind"] == "intent"
    ]  # fmt: skip


def executions_of(records: Sequence[Record]) -> list[Execution]:
    return [
        Execution(
            r["client_order_id"], r["instrument"], r["side"], r["event_time"], Decimal(r["price"]),
            Decimal(r["quantity"]), Decimal(r["fee"]), r["fee_asset"], int(r["trade_id"]),
        )
        for r in records if r["kind"] == "fill"
    ]  # fmt: skip


def arrivals_of(records: Sequence[Record], traded: Sequence[Instrument]) -> list[Arrival]:
    """When each order reached the venue, and when it was cancelled; orders that never arrived are left out."""
    names = list(INSTRUMENTS)
    seen: dict[str, tuple[int, int]] = {}
    gone: dict[str, tuple[int, int]] = {}
    for r in records:
        if r["kind"] in ("order", "fill"):
            seen.setdefault(r["client_order_id"], (r["event_time"], r["seq"]))
        if r["kind"] == "order" and r["status"] == "cancelled":
            gone[r["client_order_id"]] = (r["event_time"], r["seq"])
    ids = {each.id for each in traded}
    return [
        Arrival(
            r["client_order_id"], seen[r["client_order_id"]],
            NewOrder(
                names.index(r["instrument"]), SIDE[r["side"]],
                "LIMIT_MAKER" if r.get("post_only") else TYPES[r["order_type"]], Decimal(r["quantity"]),
                price=None if r["price"] is None else Decimal(r["price"]),
                time_in_force=r.get("time_in_force", "GTC"),
                stop_price=Decimal(r["stop_price"]) if "stop_price" in r else None,
            ),
            gone.get(r["client_order_id"]),
        )
        for r in records if r["kind"] == "intent" and r["client_order_id"] in seen and r["instrument"] in ids
    ]  # fmt: skip


def delays(records: Sequence[Record]) -> dict[str, float] | None:
    """Market milliseconds from the bar's close to the order's arrival: median and largest; None without orders."""
    closes = {r["decision_id"]: r["event_time"] for r in records if r["kind"] == "decision"}
    served = {r["client_order_id"]: r["decision_id"] for r in records if r["kind"] == "intent"}
    first: dict[str, int] = {}
    for r in records:
        if r["kind"] == "order":
            first.setdefault(r["client_order_id"], r["event_time"])
    found = [(at - closes[served[name]]) / 1000 for name, at in first.items() if served[name] in closes]
    return {"median": statistics.median(found), "most": max(found)} if found else None


def trade_live(task: Task, start: int, end: int, home: Path) -> list[Record]:
    """Live's journal after trading from `start` to `end` at a fresh exchange."""
    options = ["--speed", "lockstep", "--limits", "off", "--seed", str(task.seed), "--days", str(task.days)]
    options += ["--fee-bps", str(task.fee_bps), "--quote-balance", str(task.capital)]
    options += ["--step", str(task.step // MILLISECOND)]
    with _process(["market.server", *options], {}, home / "exchange.log") as (_, ready):
        if task.lockstep:
            web.json_of("POST", f"{ready['admin']}/advance", {"to": end, "clients": 1, "wait": 0})
        command = ["live.node", "--strategy", task.strategy]
        for name, value in task.settings.items():
            command += ["--set", f"{name}={value}"]
        with _process(command, _live_environment(task, ready, home), home / "live.log") as (node, line):
            if not task.lockstep:
                _wait_for_feed(line["metrics"], len(task.traded))
                web.json_of("POST", f"{ready['admin']}/speed", {"speed": float(task.speed)})
            _follow(task, ready["admin"], node, end)
    return read_journal(home / "live" / "journal" / "journal.log")[0]


def _follow(task: Task, admin: str, node: "subprocess.Popen[str]", end: int) -> None:
    """Wait until the market stands at the end and live is done there, or has passed it."""
    while node.poll() is None:
        if task.lockstep:
            state = web.json_of("POST", f"{admin}/advance", {"to": end, "clients": 1, "wait": 2})
            done = bool(state["acknowledged"])
        else:
            time.sleep(0.1)
            done = int(web.json_of("GET", f"{admin}/clock")["market_time"]) >= end
        if done:
            return
    raise Unavailable(f"live ended with code {node.returncode} before the run was over.")


def _wait_for_feed(metrics: str, count: int) -> None:
    """Until live has seen every instrument: from then on no bar is missed."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        with urllib.request.urlopen(metrics, timeout=5) as reply:
            lines = reply.read().decode().splitlines()
        if sum(line.startswith("bitacora_live_feed_age_seconds{") for line in lines) >= count:
            return
        time.sleep(0.1)
    raise Unavailable("live's market feed did not come up.")


def _live_environment(task: Task, ready: dict[str, Any], home: Path) -> dict[str, str]:
    each = task.capital / len(task.traded)
    account = ready["accounts"][0]
    return {
        "BITACORA_HOME": str(home), "LIVE_REST_URL": ready["rest"], "LIVE_WS_URL": ready["ws"],
        "LIVE_API_KEY": account["api_key"], "LIVE_API_SECRET": account["api_secret"],
        "LIVE_CAPITAL_PER_INSTRUMENT": str(each), "LIVE_MAX_ORDER_NOTIONAL": str(10 * task.capital),
        "LIVE_MAX_POSITION_NOTIONAL": str(10 * task.capital), "LIVE_LOCKSTEP": str(task.lockstep).lower(),
        "LIVE_INSTRUMENTS": ",".join(traded.id for traded in task.traded),
    }  # fmt: skip


@contextlib.contextmanager
def _process(
    module: Sequence[str], environment: dict[str, str], log: Path
) -> Iterator[tuple["subprocess.Popen[str]", dict[str, Any]]]:
    """A process of ours and its ready line; stopped in order at the end.

    Raises:
        Unavailable: it ended before it was ready; the message has its last lines.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("LIVE_", "BITACORA_"))}
    with log.open("w") as stream:
        command = [sys.executable, "-m", *module]
        process = subprocess.Popen(
            command, cwd=REPOSITORY, env=inherited | environment, stdout=subprocess.PIPE, stderr=stream, text=True
        )
        try:
            yield process, _ready_line(process.stdout, log)
        finally:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(60)
            process.kill()
            process.wait()


def _ready_line(output: IO[str] | None, log: Path) -> dict[str, Any]:
    assert output is not None
    line = output.readline()
    if not line:
        raise Unavailable(f"a process ended before it was ready: {log.read_text()[-600:]}")
    ready: dict[str, Any] = orjson.loads(line)
    return ready


# -- the command ------------------------------------------------------------------------------------------------------


def command(
    strategy: str, settings: Sequence[str], seed: int, hours: float, speed: str, capital: float, names: str,
    days: int, as_json: bool,
) -> int:  # fmt: skip
    """Print the comparison; 0 if it holds, 65 if orders or profit differ in lockstep."""
    if parse_speed(speed) == "max":
        raise UsageError("--speed: expected lockstep or a number; at max nothing waits for live.")
    traded = instruments([name for name in names.split(",") if name] or tuple(INSTRUMENTS))
    path = strategy if ":" in strategy else str(Path(strategy).resolve())
    task = Task(path, settings_of(settings), seed, hours, speed, Decimal(str(capital)), traded, days)
    result = compare(task)
    if as_json:
        show.print_json(result)
    else:
        print(_text(result))
    return os.EX_OK if result["ok"] else os.EX_DATAERR


def _text(result: dict[str, Any]) -> str:
    orders, pnl = result["orders"], result["pnl"]
    rows = [(name, f"{value:.4f}") for name, value in (*result["parts"].items(),)]
    return "\n".join([
        f"{orders['backtest']} orders in the backtest, {orders['live']} in live, {orders['equal_in_order']} equal",
        f"profit {pnl['backtest']:.4f} in the backtest, {pnl['live']:.4f} in live: "
        f"{result['difference_bps_of_capital']:.4f} bp of the capital",
        show.columns(rows, ("part", "quote")),
        "holds" if result["ok"] else "DIFFERS",
    ])  # fmt: skip
