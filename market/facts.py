"""Stylised facts: what returns, volumes and order flow of real markets have in common, measured on simulated and real.

    python -m market.facts --scenario regimes --seed 1 --out facts.html        beside ../shared/data (BITACORA_DATA)
    python -m market.facts --scenario rough --bars BTC_5m.parquet --json       beside your own bars, as JSON
    python -m market.facts --hours 6 …                                         and the crowd's order flow, six hours

Every fact has a pass band and the paper it comes from. Facts of bars are measured on five-minute bars, per instrument,
and averaged; facts of the order flow on the trades and quotes of an embedded exchange with `--agents crowd`.
docs/market-scenarios.md shows what they gave.
"""

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from lake import command
from lake.errors import BadInput
from lake.intervals import DAY, HOUR, MINUTE
from market import crowd_flow, worlds
from market.adversity_bars import history_bars
from market.bars import Bars, read_bars
from market.book import BUY, SELL, TAPE_BUYER_IS_MAKER, TAPE_INSTRUMENT, TAPE_TAKER_ORDER
from market.candles import CLOSE as BAR_CLOSE
from market.crowd import Crowd
from market.execution import CLOSE, HIGH, LOW, OPEN, VOLUME, Floats
from market.scenario import Scenario, simulate_history

FIVE_MINUTES = 5 * MINUTE
LAGS = np.unique(np.round(np.geomspace(1, 288, 24)).astype(int))
"""Lags of the autocorrelation curves, in five-minute bars: to a day."""
TAIL_SHARE = 0.01
"""Part of the absolute returns that Hill's estimator takes."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One stylised fact."""

    name: str
    low: float
    high: float
    what: str
    source: str

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high


BAR_FACTS = (
    Fact("kurtosis", 5, 300, "of five-minute returns; a normal has 3", "Cont 2001, Quant. Finance 1, fact 2"),
    Fact("tail exponent", 2, 5, "Hill, largest 1 % of |returns|", "Gopikrishnan et al. 1999, PRE 60, 5305"),
    Fact("aggregation", 0, 1, "kurtosis of hourly over that of five-minute returns", "Cont 2001, fact 4"),
    Fact("return memory", 0, 0.05, "mean |autocorrelation| of returns, lags 2 to 20", "Cont 2001, fact 1"),
    Fact("volatility memory", 0.1, 0.7, "autocorrelation of |returns|, lag 1", "Cont 2001, fact 6"),
    Fact("long memory", 0.01, 0.5, "the same, mean of lags 60 to 288", "Liu et al. 1999, PRE 60, 1390"),
    Fact("memory decay", 0.05, 0.8, "exponent of its decay", "Cont 2001, fact 8: 0.2 to 0.4"),
    Fact("volume and volatility", 0.2, 0.95, "correlation of volume and |return|", "Karpoff 1987, JFQA 22, 109"),
    Fact("concave in volume", 0.2, 0.9, "exponent of mean |return| in volume", "Lillo et al. 2003, Nature 421, 129"),
    Fact("seasonality", 1.15, 5, "mean |return|, busiest hour over quietest", "Andersen, Bollerslev 1997, JEF 4, 115"),
    Fact("leverage", -0.3, 0.1, "correlation of a return and the next hour's |return|", "Bouchaud et al. 2001, PRL 87"),
    Fact("pair correlation", 0.1, 0.95, "of two instruments' hourly returns", "Plerou et al. 1999, PRL 83, 1471"),
)
FLOW_FACTS = (
    Fact("impact exponent", 0.4, 0.7, "of a large order's size in its impact", "Tóth et al. 2011, PRX 1, 021006"),
    Fact("impact factor", 0.1, 2, "Y in Y σ √(Q/V)", "Donier, Bonart 2015, Market Microstr. Liq. 1: bitcoin"),
    Fact("sign memory 1", 0.05, 0.9, "autocorrelation of trade signs, lag 1", "Lillo, Farmer 2004, SNDE 8(3)"),
    Fact("sign memory 10", 0.005, 0.6, "the same, lag 10", "Lillo, Farmer 2004"),
    Fact("spread and volatility", 0.05, 1, "correlation over minutes", "Wyart et al. 2008, Quant. Finance 8, 41"),
    Fact("flow return memory", 0, 0.12, "mean |autocorrelation| of minutes, lags 2 to 10", "Cont 2001, fact 1"),
    Fact("flow kurtosis", 3.2, 300, "of one-minute returns", "Cont 2001, fact 2"),
    Fact("flow volume", 0.1, 0.95, "correlation of a minute's volume and |return|", "Karpoff 1987"),
)


def autocorrelation(x: Floats, lag: int) -> float:
    """Sample autocorrelation at one lag; zero for a constant."""
    centred = x - x.mean()
    spread = float(centred @ centred)
    return float(centred[:-lag] @ centred[lag:]) / spread if spread > 0 else 0.0


def kurtosis(x: Floats) -> float:
    centred = x - x.mean()
    return float((centred**4).mean() / (centred**2).mean() ** 2)


def hill(x: Floats, share: float = TAIL_SHARE) -> float:
    """Hill's estimator of the tail exponent from the largest `share` of |x|."""
    ordered = np.sort(np.abs(x))[::-1]
    count = max(10, int(len(ordered) * share))
    return float(1 / np.log(ordered[:count] / ordered[count]).mean())


def decay_exponent(curve: Floats, lags: Floats = LAGS) -> float:
    """Minus the slope of log autocorrelation against log lag, over the lags where it is positive."""
    positive = curve > 0.005
    if positive.sum() < 3:
        return math.inf
    return float(-np.polyfit(np.log(lags[positive]), np.log(curve[positive]), 1)[0])


def concavity(volume: Floats, size: Floats) -> float:
    """Exponent β of E[size | volume] ∝ volume^β, over ten equally filled bins of volume."""
    order = np.argsort(volume)
    bins = np.array_split(order[volume[order] > 0], 10)
    x, y = (np.array([values[b].mean() for b in bins]) for values in (volume, size))
    return float(np.polyfit(np.log(x), np.log(np.maximum(y, 1e-12)), 1)[0])


def five_minutes(bars: Bars) -> Bars:
    """Bars of five minutes from bars of one; others as they are."""
    if bars.timeframe != MINUTE:
        return bars
    rows = len(bars.values) // 5 * 5
    parts = bars.values[:rows].reshape(-1, 5, *bars.values.shape[1:])
    values = np.empty_like(parts[:, 0])
    values[:, :, OPEN], values[:, :, CLOSE] = parts[:, 0, :, OPEN], parts[:, -1, :, CLOSE]
    values[:, :, HIGH], values[:, :, LOW] = parts[..., HIGH].max(axis=1), parts[..., LOW].min(axis=1)
    values[:, :, VOLUME] = parts[..., VOLUME].sum(axis=1)
    return Bars(bars.instruments, bars.open_time[:rows:5], values, FIVE_MINUTES)


@dataclass(frozen=True, slots=True)
class Measured:
    """One market's facts, and the curves of its first instrument for the plots."""

    name: str
    facts: dict[str, float]
    curves: dict[str, Floats]


def measure_bars(name: str, bars: Bars) -> Measured:
    """Facts of bars, averaged over the instruments that have them.

    Raises:
        BadInput: fewer than 2,000 bars.
    """
    bars = five_minutes(bars)
    if len(bars.open_time) < 2_000:
        raise BadInput(f"{name}: expected at least 2000 bars of five minutes, found {len(bars.open_time)}.")
    rows, curves = [], []
    for k in range(len(bars.instruments)):
        held = bars.of(k)
        returns = np.diff(np.log(held.close))
        volume, hours = held.volume[1:], held.open_time[1:] % DAY // HOUR
        row, curve = _measure(returns, volume, hours)
        rows.append(row)
        curves.append(curve)
    facts = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
    facts["pair correlation"] = _pairs(bars)
    return Measured(name, facts, curves[0])


def _measure(returns: Floats, volume: Floats, hours: Any) -> tuple[dict[str, float], dict[str, Floats]]:
    sizes = np.abs(returns)
    hourly = returns[: len(returns) // 12 * 12].reshape(-1, 12).sum(axis=1)
    memory = np.array([autocorrelation(sizes, int(lag)) for lag in LAGS])
    linear = np.array([autocorrelation(returns, lag) for lag in range(1, 21)])
    season = np.array([sizes[hours == hour].mean() for hour in range(24)])
    later = np.convolve(sizes, np.ones(12) / 12, "valid")[1:]
    ordered = np.sort(sizes / sizes.std())[::-1][: len(sizes) // 10]
    at = np.unique(np.geomspace(1, len(ordered), 200).astype(int)) - 1
    facts = {
        "kurtosis": kurtosis(returns),
        "tail exponent": hill(returns),
        "aggregation": kurtosis(hourly) / kurtosis(returns),
        "return memory": float(np.abs(linear[1:]).mean()),
        "volatility memory": float(memory[0]),
        "long memory": float(memory[LAGS >= 60].mean()),
        "memory decay": decay_exponent(memory),
        "volume and volatility": float(np.corrcoef(sizes, volume)[0, 1]),
        "concave in volume": concavity(volume, sizes),
        "seasonality": float(season.max() / season.min()),
        "leverage": float(np.corrcoef(returns[: len(later)], later)[0, 1]),
    }
    curves = {
        "memory": memory,
        "linear": linear,
        "season": season / season.mean(),
        "tail": np.array([ordered[at], (at + 1) / len(sizes)]),
    }
    return facts, curves


def _pairs(bars: Bars) -> float:
    """Mean correlation of hourly returns; NaN for one instrument alone."""
    closes = np.log(bars.last_closes()[11::12])
    returns = np.diff(closes[~np.isnan(closes).any(axis=1)], axis=0)
    count = returns.shape[1]
    if count < 2 or len(returns) < 24:
        return math.nan
    return float(np.corrcoef(returns.T)[np.triu_indices(count, 1)].mean())


# -- order flow -------------------------------------------------------------------------------------------------------


def fit_impact(share: Floats, impact: Floats) -> tuple[float, float]:
    """Exponent δ and factor Y of impact = Y share^δ by weighted least squares; an order's variance grows with it."""
    grid = np.arange(0.05, 1.5, 0.01)
    errors, factors = [], []
    for exponent in grid:
        shape = share**exponent
        factor = float((shape * impact / share).sum() / (shape * shape / share).sum())
        errors.append(float(((impact - factor * shape) ** 2 / share).sum()))
        factors.append(factor)
    best = int(np.argmin(errors))
    return float(grid[best]), factors[best]


def measure_flow(seed: int, hours: float, preset: str) -> Measured:
    """Let the crowd trade for so many hours of market time and measure its order flow."""
    from market.venue import build_venue

    scenario = Scenario(seed, days=1, preset=preset)
    exchange = build_venue(scenario, 1.0, "crowd", 0, Decimal(5), Decimal(0)).exchange
    (crowd,) = exchange.crowds
    if not isinstance(crowd, Crowd):
        raise BadInput(f"measure_flow: expected the venue's agents to be a crowd, found {type(crowd).__name__}.")
    minutes, count = int(hours * 60), len(exchange.instruments)
    spreads, sigmas = np.empty((minutes, count)), np.empty((minutes, count))
    signs: list[list[float]] = [[] for _ in range(count)]
    for m in range(minutes):
        exchange.advance(exchange.time + MINUTE)
        sigmas[m] = crowd.flow.sigma
        for i in range(count):
            bid, ask = exchange.depth(i, BUY, 1), exchange.depth(i, SELL, 1)
            spreads[m, i] = ask[0, 0] / bid[0, 0] - 1 if len(bid) and len(ask) else np.nan
        _collect(exchange.outbox.trades, signs)
        exchange.outbox.trades.clear()
    bars = exchange.candles.bars[:, -minutes - 1 : -1]
    return Measured("crowd", *_flow_facts(bars, spreads, sigmas, signs, crowd.finished))


def _collect(trades: Sequence[Sequence[int]], signs: list[list[float]]) -> None:
    """One sign per taking order: an order that eats several quotes is one decision."""
    last = [-1] * len(signs)
    for row in trades:
        i = row[TAPE_INSTRUMENT]
        if row[TAPE_TAKER_ORDER] != last[i]:
            signs[i].append(-1.0 if row[TAPE_BUYER_IS_MAKER] else 1.0)
            last[i] = row[TAPE_TAKER_ORDER]


def _flow_facts(
    bars: Any, spreads: Floats, sigmas: Floats, signs: list[list[float]], done: Floats
) -> tuple[dict[str, float], dict[str, Floats]]:
    returns = np.diff(np.log(bars[:, :, BAR_CLOSE].astype(np.float64)), axis=1)
    volumes = bars[:, 1:, 4].astype(np.float64)
    lags = np.unique(np.round(np.geomspace(1, 100, 16)).astype(int))
    memory = np.array([[autocorrelation(np.array(row), int(lag)) for lag in lags] for row in signs]).mean(axis=0)
    share = done[:, crowd_flow.DONE_LOTS] / (done[:, crowd_flow.DONE_VOLUME] * DAY / 1e6)
    impact = done[:, crowd_flow.DONE_IMPACT] / (done[:, crowd_flow.DONE_SIGMA] * math.sqrt(DAY / 1e6))
    exponent, factor = fit_impact(share, impact)
    halves = np.array_split(np.argsort(share), min(8, max(2, len(share) // 20)))
    linear = np.array([[abs(autocorrelation(row, lag)) for lag in range(2, 11)] for row in returns])
    facts = {
        "impact exponent": exponent,
        "impact factor": factor,
        "sign memory 1": float(memory[0]),
        "sign memory 10": float(np.interp(10, lags, memory)),
        "spread and volatility": _mean_correlation(spreads.T, sigmas.T),
        "flow return memory": float(linear.mean()),
        "flow kurtosis": float(np.mean([kurtosis(row) for row in returns])),
        "flow volume": _mean_correlation(volumes, np.abs(returns)),
    }
    curves = {
        "signs": np.array([lags, memory]),
        "impact": np.array([[values[b].mean() for b in halves] for values in (share, impact)]),
    }
    return facts, curves


def _mean_correlation(a: Floats, b: Floats) -> float:
    rows = [(x[~np.isnan(x)], y[~np.isnan(x)]) for x, y in zip(a, b, strict=True)]
    return float(np.mean([np.corrcoef(x, y)[0, 1] for x, y in rows]))


# -- the comparison ---------------------------------------------------------------------------------------------------


def _data_folder() -> Path:
    default = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
    return Path(os.environ.get("BITACORA_DATA", default))


def real_signs() -> list[Measured]:
    """Sign memory of the recorded trades in the folder of real data; none where it is absent."""
    path = _data_folder() / "trades" / "binance_spot_XRP-ETH_aggtrades_2019-10.parquet"
    if not path.exists():
        return []
    side = pl.read_parquet(path).sort("timestamp", maintain_order=True)["side"]
    signs = np.where(side.to_numpy() == "buy", 1.0, -1.0)
    facts = {f"sign memory {lag}": autocorrelation(signs, lag) for lag in (1, 10)}
    return [Measured("XRP-ETH 2019", facts, {})]


def real_files() -> list[Path]:
    """Five-minute bars of four coins in the folder of real data; none where it is absent."""
    folder = _data_folder() / "ohlcv"
    names = ("BTC", "ETH", "SOL", "XRP")
    return [p for name in names if (p := folder / f"binance_spot_{name}-USDT_5m.parquet").exists()]


def compared(simulated: Sequence[Measured], real: Sequence[Measured]) -> list[dict[str, Any]]:
    """One row per fact: its band and source, each market's value, and whether the simulated ones hold."""
    rows = []
    for fact in (*BAR_FACTS, *FLOW_FACTS):
        ours = {m.name: m.facts[fact.name] for m in simulated if fact.name in m.facts}
        if ours:
            rows.append(
                {
                    "fact": fact.name, "what": fact.what, "low": fact.low, "high": fact.high, "source": fact.source,
                    "simulated": ours, "real": {m.name: m.facts[fact.name] for m in real if fact.name in m.facts},
                    "holds": all(fact.holds(value) for value in ours.values()),
                }
            )  # fmt: skip
    return rows


def main() -> int:
    """The command line."""
    from market.facts_report import write_report

    parser = command.parser("market.facts", __doc__)
    parser.add_argument("--seed", type=int, default=1, help="of the simulated market")
    parser.add_argument("--scenario", choices=worlds.NAMES, default="regimes", help="preset of the simulated market")
    parser.add_argument("--days", type=int, default=120, help="of simulated bars")
    parser.add_argument("--hours", type=float, default=0, help="of the crowd's order flow; 0 leaves it out")
    parser.add_argument("--bars", type=Path, nargs="+", help="real bars; by default those of the data folder")
    parser.add_argument("--out", type=Path, help="HTML report")
    parser.add_argument("--json", action="store_true", help="print the table as JSON")
    options = parser.parse_args()
    past = simulate_history(Scenario(options.seed, options.days, preset=options.scenario))
    simulated = [measure_bars(options.scenario, history_bars(past))]
    if options.hours > 0:
        simulated.append(measure_flow(options.seed, options.hours, options.scenario))
    files = options.bars or real_files()
    real = [measure_bars(path.stem.replace("binance_spot_", ""), read_bars([path])) for path in files]
    if len(real) > 1 and not options.bars:
        pairs = measure_bars("real", read_bars(files)).facts["pair correlation"]
        real[0].facts["pair correlation"] = pairs
    real += real_signs()
    table = compared(simulated, real)
    if options.out:
        title = f"{options.scenario}, seed {options.seed}, {options.days} days"
        write_report(options.out, title, table, simulated, real)
    print(json.dumps(table, indent=1) if options.json else _text(table))
    return 0


def _text(table: Sequence[dict[str, Any]]) -> str:
    lines = []
    for row in table:
        ours = " ".join(f"{value:.3g}" for value in row["simulated"].values())
        real = " ".join(f"{value:.3g}" for value in row["real"].values() if not math.isnan(value))
        verdict = "holds" if row["holds"] else "FAILS"
        lines.append(f"{verdict} {row['fact']:22} {ours:>8}  [{row['low']:g}, {row['high']:g}]  real: {real}")
    return "\n".join(lines)


if __name__ == "__main__":
    command.run(main)
