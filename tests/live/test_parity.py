"""One strategy file, one seed: through the backtest at the exchange and through live in lockstep, the same orders."""

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bitacora.chain import Books
from bitacora.lineage import Tracer
from bitacora.parity import Task, intents, judge
from jobs import ingest_journal
from jobs.command import Job, parser
from lake.instruments import instruments
from lake.intervals import HOUR
from lake.journal import Record, read_journal
from lake.settings import HomeSettings
from lake.storage import Lake
from live.journal import Journal
from live.node import Node
from live.settings import LiveSettings
from market.conditions import Conditions
from market.runner import Runner
from market.scenario import Scenario
from market.server import listening
from market.strategy import apply_settings
from market.strategy_file import load_strategy
from market.venue import build_venue
from market.venue_backtest import VenueRun, backtest_venue

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"
STRATEGIES = {
    "momentum": (str(EXAMPLES / "momentum.py"), {"lookback": "6", "scale": "0.002"}),
    "reversion": (str(EXAMPLES / "reversion.py"), {"share": "0.05"}),
    "maker": (str(EXAMPLES / "market_maker.py"), {}),
    "flow": (str(EXAMPLES / "flow.py"), {}),
}
TRADED = instruments(("binance:BTC/USDT", "binance:SOL/USDT", "binance:ADA/USDT"))
CAPITAL = Decimal(10_000)
DAYS = 2


def backtest(source: str, settings: dict[str, str], seed: int, hours: float) -> VenueRun:
    conditions = Conditions(capital=float(CAPITAL * len(TRADED)))
    strategy = apply_settings(load_strategy(source), settings)
    return backtest_venue(strategy, Scenario(seed, days=DAYS), hours, conditions, TRADED)[0]


async def trade_live(source: str, settings: dict[str, str], seed: int, hours: float, home: Path) -> list[Record]:
    """Live's journal after so many hours in lockstep with a served exchange, stopped where they end."""
    venue = build_venue(Scenario(seed, days=DAYS), "lockstep", True, 1, Decimal(5), CAPITAL * len(TRADED))
    strategy = apply_settings(load_strategy(source), settings)
    venue.lockstep.step = Runner(strategy, TRADED, CAPITAL).step
    end = venue.exchange.time + round(hours * HOUR)
    async with listening(venue) as (public, admin), aiohttp.ClientSession() as http:
        body: dict[str, Any] = {"to": end, "clients": 1, "wait": 0}
        async with http.post(f"http://{admin}/advance", json=body) as reply:
            assert reply.status == 200
        keys = venue.exchange.accounts[0]
        options = LiveSettings(
            rest_url=f"http://{public}", ws_url=f"ws://{public}", api_key=keys.api_key, api_secret=keys.api_secret,
            capital_per_instrument=CAPITAL, max_order_notional=Decimal(10**6), max_position_notional=Decimal(10**6),
            instruments=tuple(each.id for each in TRADED), lockstep=True,
        )  # fmt: skip
        journal = Journal.open(home / "live" / "journal")
        node = Node(options, home, journal, http, (source, settings))
        running = asyncio.create_task(node.run())
        try:
            async with asyncio.timeout(250):
                while venue.exchange.time < end or not venue.lockstep.acknowledged(end):
                    await venue.lockstep.news.wait()
        finally:
            node.stopping.set()
            assert await running == 0
            journal.close()
    return read_journal(home / "live" / "journal" / "journal.log")[0]


def traced(home: Path) -> list[dict[str, Any]]:
    """The chain behind every order, from the lake that the journal was landed in."""
    arguments = parser("ingest_journal", "")
    arguments.set_defaults(journal=None)
    lake = Lake(str(home / "lake"))
    ingest_journal.run(Job("ingest_journal", HomeSettings(home=home), lake, arguments.parse_args([])))
    books = Books(lake, FakeRegistry())  # type: ignore[arg-type]
    orders = books.orders(None)
    tracer = Tracer(books, orders)
    return [tracer.trace(order, verify=True) for order in orders]


class FakeRegistry:
    """No strategy asks for a model."""


def cash_and_positions(records: list[Record]) -> tuple[Decimal, dict[str, Decimal]]:
    """What the journal's fills add up to, without live's or the runner's arithmetic."""
    cash, held = Decimal(0), {each.id: Decimal(0) for each in TRADED}
    for r in (r for r in records if r["kind"] == "fill"):
        sign = 1 if r["side"] == "buy" else -1
        cash -= sign * Decimal(r["price"]) * Decimal(r["quantity"])
        held[r["instrument"]] += sign * Decimal(r["quantity"])
        if r["fee_asset"] == "USDT":
            cash -= Decimal(r["fee"])
        else:
            held[r["instrument"]] -= Decimal(r["fee"])
    return cash, held


@pytest.mark.parametrize(
    ("name", "seed", "hours"),
    [
        ("momentum", 1, 1.0), ("momentum", 2, 1.0), ("reversion", 1, 0.5), ("reversion", 2, 0.5),
        ("maker", 1, 1 / 12), ("flow", 1, 0.25),
        pytest.param("maker", 3, 1.0, marks=pytest.mark.nightly),
        pytest.param("flow", 4, 2.0, marks=pytest.mark.nightly),
        pytest.param("reversion", 4, 4.0, marks=pytest.mark.slow),
        pytest.param("momentum", 5, 4.0, marks=pytest.mark.slow),
    ],
)  # fmt: skip
async def test_backtest_and_live_give_the_same_orders_and_the_same_profit(
    name: str, seed: int, hours: float, tmp_path: Path
) -> None:
    source, settings = STRATEGIES[name]
    run = await asyncio.to_thread(backtest, source, settings, seed, hours)
    records = await trade_live(source, settings, seed, hours, tmp_path)
    expected = [(o.time, o.instrument, o.side, o.type, o.quantity, o.price) for o in run.orders]
    assert len(expected) >= 5 and len(run.executions) >= 5
    assert intents(records) == expected
    cash, held = cash_and_positions(records)
    assert (cash, held) == (run.runner.cash - run.runner.capital, run.runner.held)
    assert len(run.executions) == sum(r["kind"] == "fill" for r in records)
    decisions = {r["decision_id"]: r for r in records if r["kind"] == "decision"}
    bars = [r for r in decisions.values() if r["reason"] == "strategy"]
    assert len(bars) == len(TRADED) * round(hours * 12)
    assert all(r["decision_id"] in decisions for r in records if r["kind"] == "intent")
    chains = await asyncio.to_thread(traced, tmp_path)
    assert len(chains) == len(expected)
    assert [chain["problems"] for chain in chains if not chain["ok"]] == []
    kinds = {chain["links"]["decision"]["reason"] for chain in chains}
    assert kinds == {"maker": {"time"}, "flow": {"trade"}}.get(name, {"strategy"})


async def test_the_command_finds_no_difference_in_lockstep_and_says_where_one_comes_from(tmp_path: Path) -> None:
    source, settings = STRATEGIES["reversion"]
    run = await asyncio.to_thread(backtest, source, settings, 3, 0.5)
    records = await trade_live(source, settings, 3, 0.5, tmp_path)
    task = Task(source, settings, 3, 0.5, "lockstep", CAPITAL * len(TRADED), TRADED, DAYS)
    result = await asyncio.to_thread(judge, task, run, records)
    assert result["ok"] and result["orders"]["equal_in_order"] == result["orders"]["live"] > 0
    assert set(result["parts"].values()) == {0}
    dearer = [r | {"fee": str(2 * Decimal(r["fee"]))} if r["kind"] == "fill" else r for r in records]
    result = await asyncio.to_thread(judge, task, run, dearer)
    assert result["parts"]["fees"] == result["parts"]["total"] < 0
