"""Every measure of a backtest, with block-bootstrap intervals.

Risk and significance are measured on daily returns where there are 60 days, else on hourly ones, else on bars.
Intervals join blocks of those periods; all columns of a period (return, exposure, trading, references) stay together.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lake.intervals import DAY, HOUR
from market import execution as x
from market import metrics
from market import round_trips as rt
from market.execution import Floats
from market.round_trips import round_trips
from market.significance import (
    SharpeSample,
    bootstrap_intervals,
    deflated_sharpe,
    minimum_track_record,
    probabilistic_sharpe,
)
from market.simulation import Run

ENOUGH_PERIODS = 60
INTERVAL_LEVEL = 0.9


@dataclass(frozen=True, slots=True)
class Periods:
    """A run summed up by days, hours or bars: what intervals resample."""

    length: int
    """µs."""
    ends: NDArray[np.int64]
    """Index of each period's last bar."""
    columns: tuple[str, ...]
    rows: Floats
    """[periods, columns]: return, exposure, traded notional over equity, cost and shortfall over equity, references."""

    @property
    def per_year(self) -> float:
        return metrics.DAYS_PER_YEAR * DAY / self.length

    @property
    def returns(self) -> Floats:
        return self.rows[:, 0]


FIXED = ("return", "exposure", "traded", "slippage", "shortfall")


def period_length(run: Run) -> int:
    """A day, an hour or a bar in µs: the longest of which there are enough, never shorter than a bar."""
    span = len(run.bars.open_time) * run.bars.timeframe
    enough = (length for length in (DAY, HOUR) if span >= ENOUGH_PERIODS * length and length >= run.bars.timeframe)
    return next(enough, run.bars.timeframe)


def buy_and_hold(run: Run) -> Floats:
    """[n]: equity of equal shares bought at each instrument's first open and held, without costs."""
    values = run.bars.values
    closes = run.bars.last_closes()
    firsts = np.array([values[~np.isnan(values[:, j, x.OPEN]), j, x.OPEN][0] for j in range(values.shape[1])])
    return np.asarray(np.where(np.isnan(closes), 1.0, closes / firsts).mean(axis=1))


def periods(run: Run, references: Mapping[str, Floats]) -> Periods:
    """Sum a run up; `references` are prices at each bar [n], their returns become columns."""
    length = period_length(run)
    labels = run.bars.open_time // length
    ends = np.flatnonzero(np.diff(labels, append=labels[-1] + 1))
    starts = np.concatenate(([0], ends[:-1] + 1))
    bars = run.fills[:, x.FILL_BAR].astype(np.int64)
    notional = np.abs(run.fills[:, x.FILL_QUANTITY]) * run.fills[:, x.FILL_PRICE]
    late = run.fills[:, x.FILL_QUANTITY] * (run.fills[:, x.FILL_PRICE] - run.fills[:, x.FILL_DECIDED])
    sums = [
        np.add.reduceat(np.bincount(bars, weights, len(labels)) / run.equity, starts)
        for weights in (notional, run.fills[:, x.FILL_COST], np.nan_to_num(late))
    ]
    columns = [_returns(run.equity, ends, run.conditions.capital)]
    columns += [np.add.reduceat(run.exposure, starts) / (ends - starts + 1), *sums]
    columns += [_returns(series, ends, float(series[0])) for series in references.values()]
    return Periods(length, ends, (*FIXED, *references), np.column_stack(columns))


def _returns(series: Floats, ends: NDArray[np.int64], start: float) -> Floats:
    at = np.concatenate(([start], series[ends]))
    return np.asarray(at[1:] / at[:-1] - 1.0)


def _measures(columns: tuple[str, ...], per_year: float, rows: Floats) -> dict[str, float]:
    """What can be measured on any sample of periods."""
    returns = rows[:, 0]
    equity = metrics.equity_curve(np.maximum(returns, -1.0 + 1e-9))
    traded = float(rows[:, 2].sum())
    out = {
        "total_return": metrics.total_return(equity),
        "annual_return": metrics.annual_return(equity, per_year),
        "volatility": float(returns.std(ddof=1) * math.sqrt(per_year)),
        "sharpe": metrics.sharpe(returns, per_year),
        "sortino": metrics.sortino(returns, per_year),
        "calmar": metrics.calmar(equity, per_year),
        "max_drawdown": metrics.max_drawdown(equity),
        "longest_drawdown_days": metrics.longest_drawdown(equity) * metrics.DAYS_PER_YEAR / per_year,
        "value_at_risk_95": metrics.value_at_risk(returns),
        "expected_shortfall_95": metrics.expected_shortfall(returns),
        "tail_ratio": metrics.tail_ratio(returns),
        "skewness": metrics.skewness(returns),
        "kurtosis": metrics.kurtosis(returns),
        "exposure": float(rows[:, 1].mean()),
        "turnover_per_day": traded / len(rows) * per_year / metrics.DAYS_PER_YEAR,
        "average_slippage_bps": float(rows[:, 3].sum()) / traded * 1e4 if traded else 0.0,
        "average_shortfall_bps": float(rows[:, 4].sum()) / traded * 1e4 if traded else 0.0,
    }
    for at in range(len(FIXED), rows.shape[1]):
        out[f"correlation_{columns[at]}"] = metrics.correlation(returns, rows[:, at])
        out[f"beta_{columns[at]}"] = metrics.beta(returns, rows[:, at])
    return out


def _trade_measures(rows: Floats) -> dict[str, float]:
    """Of round trips [n, 2]: pnl and bars held."""
    pnl = rows[:, 0]
    return {
        "hit_rate": metrics.hit_rate(pnl),
        "profit_factor": metrics.profit_factor(pnl),
        "average_trade": float(pnl.mean()),
    }


@dataclass(frozen=True, slots=True)
class Results:
    """A run measured."""

    run: Run
    periods: Periods
    trips: Floats
    measures: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    """By the same names; those that no resampling makes sense of are absent."""


def measure(
    run: Run,
    references: Mapping[str, Floats] | None = None,
    trials: int = 1,
    trials_deviation: float | None = None,
    draws: int = 1_000,
) -> Results:
    """Measure a run.

    Args:
        references: prices at each bar [n] by name, to correlate with; buy-and-hold is always one.
        trials: variants tried before this one was picked, this one included, for the deflated Sharpe ratio.
        trials_deviation: standard deviation of the trials' annual Sharpe ratios; None: as if by chance.
        draws: of the bootstrap; 0 leaves the intervals out.
    """
    summed = periods(run, {"buy_and_hold": buy_and_hold(run), **(references or {})})
    trips = round_trips(run.fills, run.bars)
    closed = trips[trips[:, rt.EXIT_BAR] >= 0]
    sampled = _measures(summed.columns, summed.per_year, summed.rows)
    by_trade = _trade_measures(closed[:, [rt.PNL]]) if len(closed) else {"hit_rate": 0.0, "profit_factor": 0.0}
    curve = np.concatenate(([run.conditions.capital], run.equity))
    measures = {**_whole(run, trips, closed), **sampled, **by_trade}
    measures["max_drawdown"] = metrics.max_drawdown(curve)  # on bars, where it is deepest
    measures["longest_drawdown_days"] = metrics.longest_drawdown(curve) * run.bars.timeframe / DAY
    measures |= _significance(summed, trials, trials_deviation)
    intervals: dict[str, tuple[float, float]] = {}
    if draws and len(summed.rows) >= 20:
        columns, per_year = summed.columns, summed.per_year
        intervals |= bootstrap_intervals(
            summed.rows, lambda rows: _measures(columns, per_year, rows), draws=draws, level=INTERVAL_LEVEL
        )
    if draws and len(closed) >= 20:
        pnl = closed[:, [rt.PNL]]
        intervals |= bootstrap_intervals(pnl, _trade_measures, draws=draws, level=INTERVAL_LEVEL)
    return Results(run, summed, trips, measures, intervals)


def _whole(run: Run, trips: Floats, closed: Floats) -> dict[str, float]:
    held = closed[:, rt.EXIT_BAR] - closed[:, rt.ENTRY_BAR]
    return {
        "pnl": float(run.equity[-1] - run.conditions.capital),
        "fees": float(run.fills[:, x.FILL_FEE].sum()),
        "slippage": float(run.fills[:, x.FILL_COST].sum()),
        "fills": float(len(run.fills)),
        "round_trips": float(len(closed)),
        "open_positions": float(len(trips) - len(closed)),
        "best_trade": float(closed[:, rt.PNL].max()) if len(closed) else 0.0,
        "worst_trade": float(closed[:, rt.PNL].min()) if len(closed) else 0.0,
        "mean_holding_hours": float(held.mean()) * run.bars.timeframe / HOUR if len(closed) else 0.0,
        "time_in_market": float((run.exposure > 0).mean()),
        "latency_seconds": run.conditions.latency_seconds(run.bars.timeframe),
        "days": run.bars.days,
        **run.more,
    }


def _significance(summed: Periods, trials: int, deviation: float | None) -> dict[str, float]:
    if len(summed.returns) < 2:
        return {}
    sample = SharpeSample.of_returns(summed.returns)
    spread = None if deviation is None else deviation / math.sqrt(summed.per_year)
    return {
        "probabilistic_sharpe": probabilistic_sharpe(sample),
        "deflated_sharpe": deflated_sharpe(sample, trials, spread),
        "minimum_track_record_days": minimum_track_record(sample) * metrics.DAYS_PER_YEAR / summed.per_year,
    }
