"""A backtest through the embedded exchange: the same seed gives the same run, money adds up, the command reports it."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from lake.errors import UsageError
from lake.instruments import instruments
from market.conditions import Conditions
from market.scenario import Scenario
from market.strategy import apply_settings
from market.strategy_file import load_strategy
from market.venue_backtest import VenueRun, backtest_venue

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"
TRADED = instruments(("binance:BTC/USDT", "binance:SOL/USDT"))
CONDITIONS = Conditions(capital=20_000)


def run(hours: float = 0.5, seed: int = 3, conditions: Conditions = CONDITIONS) -> VenueRun:
    strategy = apply_settings(load_strategy(str(EXAMPLES / "reversion.py")), {})
    return backtest_venue(strategy, Scenario(seed, days=1), hours, conditions, TRADED)[0]


def test_a_seed_fixes_every_order_and_fees_lower_the_result() -> None:
    first, again, free = run(), run(), run(conditions=replace(CONDITIONS, fee_bps=0.0))
    assert first.orders and first.executions
    assert (first.orders, first.executions, first.pnl) == (again.orders, again.executions, again.pnl)
    assert free.pnl > first.pnl


def test_cash_and_coins_are_what_the_executions_add_up_to() -> None:
    result = run()
    cash, held = Decimal(20_000), {each.id: Decimal(0) for each in TRADED}
    for e in result.executions:
        sign = 1 if e.side == "buy" else -1
        cash -= sign * e.price * e.quantity + (e.fee if e.fee_asset == "USDT" else 0)
        held[e.instrument] += sign * e.quantity - (0 if e.fee_asset == "USDT" else e.fee)
    assert (cash, held) == (result.runner.cash, result.runner.held)
    assert all(quantity >= 0 for quantity in held.values())


def test_hours_must_be_whole_bars() -> None:
    with pytest.raises(UsageError, match="whole number"):
        run(hours=0.01)
