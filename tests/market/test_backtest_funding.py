"""Funding of perpetuals and the permanent part of impact, on bars."""

import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from bar_worlds import FREE, NAME, bars_of, random_bars

from lake.errors import BadInput, UsageError
from lake.intervals import HOUR, MINUTE
from market import execution as x
from market.conditions import Conditions
from market.funding import read_funding, with_funding
from market.impact import relaxed, square_root
from market.simulation import backtest, follow_weights
from market.strategy import Account, Bar, Command, Order, Strategy, Target


class Hold(Strategy):
    """All in after the first bar."""

    def on_bar(self, bar: Bar, account: Account) -> Iterable[Command]:
        return [Target(bar.instrument, 1.0)] if bar.open_time == 0 else ()


def test_who_is_long_pays_the_rate_on_what_is_held_at_the_close() -> None:
    bars = bars_of([(100, 100, 100, 100)] * 2 + [(110, 110, 110, 110)] * 2)
    paying = with_funding(bars, [(5 * MINUTE, 0, 0.5), (15 * MINUTE + 16_000, 0, 0.01), (10**12, 0, 0.9)])
    run = backtest(Hold(), paying, replace(FREE, capital=1_000.0))
    assert run.more["funding"] == pytest.approx(0.01 * 10 * 110)  # flat at the first close: nothing was held yet
    assert run.equity[-1] == pytest.approx(1_100 - run.more["funding"])
    short = follow_weights(np.full((4, 1), -1.0), paying, replace(FREE, capital=1_000.0, shorts=True))
    assert short.more["funding"] == pytest.approx(-0.01 * 10 * 110)


def test_both_ways_of_running_pay_the_same() -> None:
    bars = random_bars(600, 2)
    paying = with_funding(bars, [(at * HOUR, j, 1e-3) for at in range(1, 40) for j in (0, 1)])

    class Alternate(Strategy):
        def on_bar(self, bar: Bar, account: Account) -> Iterable[Command]:
            return [Target(bar.instrument, (bar.open_time // (50 * MINUTE) % 3 - 1) / 2)]

    weights = np.repeat(((bars.open_time // (50 * MINUTE) % 3 - 1) / 2)[:, None], 2, axis=1)
    conditions = Conditions(shorts=True, leverage=3.0, permanent=0.5, half_life_bars=20.0, drift=0.0)
    event, compiled = backtest(Alternate(), paying, conditions), follow_weights(weights, paying, conditions)
    assert event.more["funding"] == pytest.approx(compiled.more["funding"]) != 0.0
    assert event.equity == pytest.approx(compiled.equity)


def test_funding_files_are_matched_by_their_base(tmp_path: Path) -> None:
    times = [1_700_000_000_000, 1_700_000_000_000 + 28_800_000]
    pl.DataFrame({"ts": times, "funding_rate": [1e-4, -2e-4]}).write_csv(tmp_path / "perp_ETH-USDT_funding.csv")
    both = pl.DataFrame({"ts": times, "symbol": ["BTC-USDT", "XRP-USDT"], "funding_rate": [3e-4, 4e-4]})
    both.write_csv(tmp_path / "all.csv")
    names = ["binance:BTC/USDT:USDT", "binance:ETH/USDT:USDT"]
    found = read_funding([tmp_path / "perp_ETH-USDT_funding.csv", tmp_path / "all.csv"], names)
    first, second = (time * 1_000 for time in times)
    assert found == [(first, 0, 3e-4), (first, 1, 1e-4), (second, 1, -2e-4)]
    with pytest.raises(BadInput, match="expected funding of SOL"):
        read_funding([tmp_path / "all.csv"], ["binance:SOL/USDT:USDT"])
    pl.DataFrame({"ts": times, "funding_rate": [1.5, 0.0]}).write_csv(tmp_path / "bad.csv")
    with pytest.raises(BadInput, match="fractions"):
        read_funding([tmp_path / "bad.csv"], names[:1])


def test_the_recorded_funding_of_a_perpetual_is_read(shared_data: Path) -> None:
    path = shared_data / "derivatives/binance_perp_BTC-USDT_funding.parquet"
    found = read_funding([path], ["binance:BTC/USDT:USDT"])
    assert len(found) == 386 and found[0][0] % HOUR == 15_000  # 15 ms late


class Twice(Strategy):
    """Buys in two orders, then sells all."""

    def on_bar(self, bar: Bar, account: Account) -> Iterable[Command]:
        step = bar.open_time // bar_length(bar) - 300
        if step in (0, 1):
            yield Order(NAME, "buy", 1_000.0)
        if step == 2:
            yield Order(NAME, "sell", 2_000.0)


def bar_length(bar: Bar) -> int:
    return bar.close_time - bar.open_time


def prices(permanent: float, half_life: float = math.inf) -> list[float]:
    rng = np.random.default_rng(1)
    rows = [(100.0, 100.0 + (i % 2), 99.0, 100.0 + 0.2 * rng.standard_normal()) for i in range(310)]
    rows = [(o, max(o, h, c), min(o, low, c), c) for o, h, low, c in rows]
    conditions = Conditions(1e9, 0.0, 0.0, 1.0, permanent=permanent, half_life_bars=half_life)
    return list(backtest(Twice(), bars_of(rows), conditions).fills[:, x.FILL_PRICE])


def test_the_permanent_part_is_paid_by_who_goes_on_and_is_no_gift_to_who_turns_round() -> None:
    without, with_it, fading = prices(0.0), prices(0.5), prices(0.5, 1.0)
    assert with_it[0] == without[0]  # nothing came before
    assert without[1] < fading[1] < with_it[1]
    assert with_it[2] == without[2]


def test_the_formulas() -> None:
    assert square_root(0.8, 0.04, 25.0, 100.0) == pytest.approx(0.8 * 0.04 * 0.5)
    assert square_root(1.0, 0.04, 25.0, 0.0) == 0.0
    assert relaxed(0.1, 3.0, 3.0) == pytest.approx(0.05) and relaxed(0.1, 3.0, math.inf) == 0.1
    with pytest.raises(UsageError, match="permanent"):
        Conditions(permanent=1.5)
