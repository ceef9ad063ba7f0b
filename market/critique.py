"""What speaks against a backtest, found automatically: each finding says what was looked at, found and expected."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from market import execution as x
from market import metrics
from market import round_trips as rt
from market.bars import Bars
from market.conditions import Conditions, Terms
from market.results import Results, buy_and_hold, periods
from market.simulation import Run
from market.strategy import BarArrays, Strategy, WeightStrategy

Verdict: TypeAlias = Literal["ok", "warning", "fault"]
Rerun: TypeAlias = Callable[[Any], Run]

FEW_TRADES = 30
"""Below so many round trips a mean says little."""
TRADES_PER_PARAMETER = 10
LUCKY_SHARE = 0.5
"""Share of the profit that one trade may bring."""
SHORT_DAYS = 180
MONTH_DAYS = 30
CAPACITY_STEPS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1_000.0, 3_000.0, 10_000.0)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    name: str
    verdict: Verdict
    found: str
    why: str
    """What it would mean."""


@dataclass(frozen=True, slots=True)
class Variant:
    """The same strategy under other conditions."""

    name: str
    capital: float
    total_return: float
    annual_return: float
    sharpe: float

    def gain(self, days: float) -> float:
        """Return a year, or in all where a year of it says nothing: from less than a month of data."""
        return self.annual_return if days >= MONTH_DAYS else self.total_return


@dataclass(frozen=True, slots=True)
class Critique:
    """Findings, faults first, and the runs they rest on."""

    findings: tuple[Finding, ...]
    variants: tuple[Variant, ...]
    """Costs ×0, ×0.5, ×1, ×2, and one bar (or, on ticks, 50 ms) later."""
    capacity: tuple[Variant, ...]
    """By capital."""

    def to_dict(self) -> dict[str, Any]:
        return {name: [asdict(item) for item in getattr(self, name)] for name in self.__dataclass_fields__}


def _variant(name: str, run: Run) -> Variant:
    summed = periods(run, {})
    equity = np.concatenate(([run.conditions.capital], run.equity[summed.ends]))
    annual = metrics.annual_return(equity, summed.per_year)
    ratio = metrics.sharpe(summed.returns, summed.per_year)
    return Variant(name, run.conditions.capital, metrics.total_return(equity), annual, ratio)


def criticise(strategy: Strategy, results: Results, rerun: Rerun) -> Critique:
    """Look for what makes a backtest lie: `rerun` runs the same strategy anew under other conditions."""
    base = results.run.conditions
    factors = {"costs ×0": 0.0, "costs ×0.5": 0.5, "costs ×2": 2.0}
    variants = [_variant(name, rerun(base.with_costs(factor))) for name, factor in factors.items()]
    variants.insert(2, _variant("as run", results.run))
    delay, slower = base.later()
    variants.append(_variant(delay, rerun(slower)))
    capacity = tuple(_variant(f"capital ×{step:g}", rerun(base.with_capital(step))) for step in CAPACITY_STEPS)
    by_bars = isinstance(base, Conditions)
    findings = [
        *_ruin(results),
        *(look_ahead(strategy, results.run.bars) if isinstance(strategy, WeightStrategy) and by_bars else ()),
        _few_trades(results),
        _lucky_trade(results),
        _parameters(strategy, results),
        _sample(results),
        _luck(results),
        _halves(results),
        _benchmark(results),
        _costs(variants),
        _delay(variants, delay),
        _capacity(capacity, base, results.measures["days"]),
    ]
    order: dict[Verdict, int] = {"fault": 0, "warning": 1, "ok": 2}
    return Critique(tuple(sorted(findings, key=lambda f: order[f.verdict])), tuple(variants), capacity)


def _finding(name: str, bad: bool, found: str, why: str, verdict: Verdict = "warning") -> Finding:
    return Finding(name, verdict if bad else "ok", found, why)


def _ruin(results: Results) -> list[Finding]:
    at = results.run.ruined_at
    if at is None:
        return []
    return [
        _finding("ruin", True, f"nothing left after bar {at}", "The capital was lost: no measure matters.", "fault")
    ]


def _part(bars: BarArrays, start: int, end: int) -> BarArrays:
    times, *values = bars
    return BarArrays(times[start:end], *(column[start:end] for column in values))


def look_ahead(strategy: WeightStrategy, bars: Bars, cuts: int = 5) -> list[Finding]:
    """Whether weights change when the future is cut off, or when only `memory` bars of the past are given.

    The first is a leak; the second means live, fed bar by bar, would trade something else.
    """
    own = bars.of(0)
    n, memory = len(own.close), strategy.memory
    whole = np.asarray(strategy.weights(own), np.float64)
    leaks, forgets = 0, 0
    for cut in np.linspace(0.3, 0.97, cuts):
        end = max(1, int(n * cut))
        short = np.asarray(strategy.weights(_part(own, 0, end)), np.float64)
        leaks += not np.array_equal(short, whole[:end], equal_nan=True)
        recent = np.asarray(strategy.weights(_part(own, max(0, end - memory), end)), np.float64)
        forgets += not np.array_equal(recent[-1:], whole[end - 1 : end], equal_nan=True)
    return [
        _finding(
            "look-ahead", leaks > 0, f"{leaks} of {cuts} cuts of the future change past weights",
            "Weights that change when later bars are removed have seen them.", "fault",
        ),
        _finding(
            "memory", forgets > 0, f"{forgets} of {cuts} weights differ when only {memory} bars are given",
            "Live keeps `memory` bars: it would hold something else.", "fault",
        ),
    ]  # fmt: skip


def _closed_pnl(results: Results) -> x.Floats:
    return results.trips[results.trips[:, rt.EXIT_BAR] >= 0, rt.PNL]


def _few_trades(results: Results) -> Finding:
    count = len(_closed_pnl(results))
    why = f"Fewer than {FEW_TRADES} round trips cannot tell skill from chance."
    return _finding("too few trades", count < FEW_TRADES, f"{count} round trips", why)


def _lucky_trade(results: Results) -> Finding:
    pnl = _closed_pnl(results)
    total, best = float(pnl.sum()), float(pnl.max(initial=0.0))
    why = f"A result that rests on one trade (over {LUCKY_SHARE:.0%} of the profit) will not come again."
    if total <= 0:
        return Finding("one lucky trade", "ok", "no profit to explain", why)
    found = f"the best trade brings {best / total:.0%} of the profit"
    return _finding("one lucky trade", best > LUCKY_SHARE * total, found, why)


def _parameters(strategy: Strategy, results: Results) -> Finding:
    count, trades = len(strategy.parameters()), len(_closed_pnl(results))
    why = f"Below {TRADES_PER_PARAMETER} round trips per parameter the choice of parameters explains the result."
    found = f"{count} parameters, {trades} round trips"
    return _finding("parameter count", trades < TRADES_PER_PARAMETER * count, found, why)


def _sample(results: Results) -> Finding:
    days, needed = results.measures["days"], results.measures.get("minimum_track_record_days", math.inf)
    least = max(SHORT_DAYS, needed)
    needs = f"needs {needed:.0f} to be above zero at 95 %" if math.isfinite(needed) else "is not above zero"
    found = f"{days:.0f} days; this Sharpe ratio {needs}"
    return _finding("short sample", days < least, found, f"Below {SHORT_DAYS} days one market mood decides.")


def _luck(results: Results) -> Finding:
    level = results.measures.get("deflated_sharpe", 0.0)
    low, high = results.intervals.get("sharpe", (math.nan, math.nan))
    found = f"deflated Sharpe {level:.2f}; Sharpe {results.measures['sharpe']:.2f}, 90 % within {low:.2f} to {high:.2f}"
    why = "Below 0.95 the best of the trials may be worthless; count them all with --trials."
    return _finding("significance", not level >= 0.95 or not low > 0, found, why)


def _halves(results: Results) -> Finding:
    returns, per_year = results.periods.returns, results.periods.per_year
    middle = len(returns) // 2
    if middle < 2:
        return Finding("stability", "warning", "too short to halve", "A strategy should earn in both halves.")
    first, second = (metrics.sharpe(part, per_year) for part in (returns[:middle], returns[middle:]))
    found = f"Sharpe {first:.2f} in the first half, {second:.2f} in the second"
    return _finding("stability", min(first, second) <= 0, found, "A strategy should earn in both halves.")


def _benchmark(results: Results) -> Finding:
    held = float(buy_and_hold(results.run)[-1] - 1.0)
    ours = results.measures["total_return"]
    why = "Holding the same instruments without a strategy is the cheapest alternative."
    return _finding("buy and hold", ours <= held, f"{ours:+.1%} against {held:+.1%} by holding", why)


def _costs(variants: list[Variant]) -> Finding:
    by_name = {variant.name: variant for variant in variants}
    half, run, double = (by_name[name].total_return for name in ("costs ×0.5", "as run", "costs ×2"))
    found = f"{half:+.1%} at half the costs, {run:+.1%} as run, {double:+.1%} at double"
    why = "A result that double costs turn into a loss depends on a guess."
    return _finding("cost sensitivity", double <= 0, found, why)


def _delay(variants: list[Variant], delay: str) -> Finding:
    by_name = {variant.name: variant for variant in variants}
    run, later = by_name["as run"].sharpe, by_name[delay].sharpe
    found = f"Sharpe {run:.2f} as run, {later:.2f} {delay}"
    why = "An edge that a little delay halves is one of speed, or comes from the fill."
    return _finding("delay sensitivity", later < 0.5 * run or later <= 0, found, why)


def _capacity(capacity: tuple[Variant, ...], base: Terms, days: float) -> Finding:
    why = "Impact eats the edge of a larger account; capacity is the capital that keeps half the return."
    gains = [variant.gain(days) for variant in capacity]
    if not base.has_impact:
        return Finding("capacity", "warning", "not measured: impact is switched off", why)
    if gains[0] <= 0:
        return Finding("capacity", "warning", "none: no return at the capital given", why)
    keeps = [variant.capital for variant, gain in zip(capacity, gains, strict=True) if gain >= 0.5 * gains[0]]
    more = " or more" if keeps[-1] == capacity[-1].capital else ""
    return _finding("capacity", keeps[-1] <= base.capital, f"about {keeps[-1]:,.0f}{more}", why)
