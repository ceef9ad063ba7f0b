"""Stylised facts: the estimators on series whose answer is known, the bands on simulated and real markets."""

import json
from pathlib import Path

import numpy as np
import pytest

from lake.errors import BadInput
from market import facts
from market.adversity_bars import history_bars
from market.bars import read_bars
from market.facts import BAR_FACTS, FLOW_FACTS, autocorrelation, concavity, decay_exponent, fit_impact, hill, kurtosis
from market.facts_report import write_report
from market.scenario import Scenario, simulate_history

RNG = np.random.default_rng(5)


def test_estimators_find_what_was_put_in() -> None:
    pareto = (1 - RNG.random(200_000)) ** (-1 / 3)
    assert hill(pareto) == pytest.approx(3, rel=0.05)
    assert kurtosis(RNG.standard_normal(200_000)) == pytest.approx(3, abs=0.1)
    noise = RNG.standard_normal(100_000)
    smooth = np.convolve(noise, np.ones(4) / 4, "valid")
    assert [autocorrelation(smooth, lag) for lag in (1, 3, 5)] == pytest.approx([0.75, 0.25, 0], abs=0.02)
    assert autocorrelation(np.ones(50), 1) == 0.0
    lags = facts.LAGS.astype(float)
    assert decay_exponent(0.3 * lags**-0.25) == pytest.approx(0.25)
    volume = np.exp(RNG.standard_normal(50_000))
    assert concavity(volume, volume**0.5 * np.abs(RNG.standard_normal(50_000))) == pytest.approx(0.5, abs=0.06)
    share = 10 ** RNG.uniform(-4, -2, 2_000)
    found = fit_impact(share, 0.8 * share**0.5 + 0.1 * np.sqrt(share) * RNG.standard_normal(2_000))
    assert found == pytest.approx((0.5, 0.8), rel=0.1)


@pytest.mark.parametrize(("preset", "seed"), [("regimes", 1), ("regimes", 2), ("regimes", 3), ("rough", 2)])
def test_the_simulated_bars_have_every_fact(preset: str, seed: int) -> None:
    measured = facts.measure_bars(preset, history_bars(simulate_history(Scenario(seed, 120, preset=preset))))
    failing = {f.name: measured.facts[f.name] for f in BAR_FACTS if not f.holds(measured.facts[f.name])}
    assert failing == {}


def test_the_default_market_lacks_the_long_memory_that_the_presets_have() -> None:
    default = facts.measure_bars("default", history_bars(simulate_history(Scenario(2, 120)))).facts
    rich = facts.measure_bars("rich", history_bars(simulate_history(Scenario(2, 120, preset="regimes")))).facts
    assert rich["long memory"] > 2 * default["long memory"]
    assert rich["tail exponent"] < default["tail exponent"]


def test_a_random_walk_fails_where_it_should() -> None:
    bars = history_bars(simulate_history(Scenario(1, 20)))
    walk = 100 * np.exp(np.cumsum(1e-3 * RNG.standard_normal(bars.values.shape[:2]), axis=0))
    bars.values[:, :, :4] = walk[:, :, None]
    measured = facts.measure_bars("walk", bars).facts
    failing = {fact.name for fact in BAR_FACTS if not fact.holds(measured[fact.name])}
    assert {"kurtosis", "volatility memory", "long memory", "volume and volatility", "pair correlation"} <= failing


def test_the_real_bars_have_every_fact(shared_data: Path) -> None:
    path = shared_data / "ohlcv" / "binance_spot_BTC-USDT_5m.parquet"
    if not path.exists():
        pytest.skip(f"no {path}: BTC's bars are not in the real data")
    measured = facts.measure_bars("BTC", read_bars([path])).facts
    assert all(fact.holds(measured[fact.name]) for fact in BAR_FACTS if fact.name != "pair correlation")


def test_the_flow_of_the_crowd_has_the_facts_that_an_hour_can_show(tmp_path: Path) -> None:
    flow = facts.measure_flow(2, 1.0, "regimes")
    short = {"flow kurtosis", "impact exponent", "flow return memory"}  # these need more minutes than a test has
    failing = {
        f.name: flow.facts[f.name] for f in FLOW_FACTS if f.name not in short and not f.holds(flow.facts[f.name])
    }
    assert failing == {}
    bars = facts.measure_bars("regimes", history_bars(simulate_history(Scenario(2, 10, preset="regimes"))))
    table = facts.compared([bars, flow], [bars])
    assert [row["fact"] for row in table] == [fact.name for fact in (*BAR_FACTS, *FLOW_FACTS)]
    assert all(row["source"] for row in table) and json.dumps(table)
    out = tmp_path / "facts.html"
    write_report(out, "a test", table, [bars, flow], [bars])
    assert "Stylised facts: a test" in out.read_text() and "<script src" not in out.read_text()


@pytest.mark.slow
def test_large_orders_pay_about_the_square_root_in_the_whole_market() -> None:
    runs = [facts.measure_flow(seed, 1.5, "regimes") for seed in (2, 3)]
    found = np.mean([run.facts["impact exponent"] for run in runs])
    assert found == pytest.approx(0.55, abs=0.2)  # longer runs: 0.4 to 0.7


def test_too_few_bars_are_refused() -> None:
    with pytest.raises(BadInput, match="2000 bars"):
        facts.measure_bars("short", history_bars(simulate_history(Scenario(1, 2))))
