"""The derivatives' past: bars, marks, funding and open interest that fit the simulated past of the spot pairs.

Everything follows from the spot history and the seed: a contract's price is its coin's spot price times one plus the
fair basis of `market.basis`, whose process then continues into the present. Vectorised over minutes; half a year of ten
contracts takes a second. Open interest is drawn (nobody held anything then) and ends at what the agents hold when the
present begins.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lake.instruments import INSTRUMENTS
from lake.intervals import HOUR, MINUTE
from market.basis import BasisProcess, funding_rate
from market.contracts import FUTURE, PERPETUAL, Contract, future, perpetual, quarterly_expiries
from market.kernel import njit
from market.scenario import INSTRUMENT_PROCESSES, Floats, History, InstrumentProcess

FUNDING_PERIOD = 8 * HOUR
"""Payments at 00:00, 08:00 and 16:00 UTC."""
OPEN_INTEREST_STEP = 5 * MINUTE
AVERAGED_MINUTES = 5
"""Of the basis in the mark price."""
DATED = ("BTC", "ETH")
"""Coins that have quarterly futures, the next two."""
_SHAPE = {PERPETUAL: (2.0, 2.0, 0.6), FUTURE: (0.1, 0.3, 2.0)}
"""Per kind: volume, size of a trade and spread as multiples of the spot pair's."""
OPEN_INTEREST_DAYS = {PERPETUAL: 0.25, FUTURE: 1.0}
"""Typical open interest, in days of the contract's typical volume."""
_INTEREST_DEVIATION, _INTEREST_HALF_LIFE = 0.15, 72 * HOUR
_VOLUME_SCATTER = 0.25


class Funding(NamedTuple):
    """One payment: when, the rate as a share of the position, and the mark price it was paid on."""

    time: int
    rate: float
    mark: float


@dataclass(frozen=True, slots=True)
class Past:
    """Rows are the derivatives in order of `contracts`; the last minute is the last of the history."""

    contracts: tuple[Contract, ...]
    spot_rows: tuple[int, ...]
    """Row of each contract's coin in the spot history: its index."""
    processes: tuple[InstrumentProcess, ...]
    """Volume, trade size and spread of each contract."""
    history: History
    """Bars of the derivatives alone; `state` is the spot process's."""
    basis: BasisProcess
    """Stands at the end of the history."""
    marks: Floats
    """[contracts, minutes]: the mark price at each minute's end, on the tick."""
    funding: tuple[list[Funding], ...]
    """Per contract, oldest first; empty for dated futures."""
    open_interest: NDArray[np.int64]
    """[contracts, samples] lots, every `OPEN_INTEREST_STEP` from the start; the last one holds when the past ends."""


def derivative_contracts(history: History, venue: str = "binance") -> tuple[Contract, ...]:
    """A perpetual of every coin of the history, and the next two quarterly futures of the largest."""
    bases = [INSTRUMENTS[name].base for name in history.instruments]
    expiries = quarterly_expiries(history.state.time_us, 2)
    dated = [future(base, expiry, venue) for base in bases if base in DATED for expiry in expiries]
    return (*(perpetual(base, venue) for base in bases), *dated)


def process_of(contract: Contract) -> InstrumentProcess:
    """What the agents of a contract trade, from the spot pair's."""
    held = INSTRUMENT_PROCESSES[f"binance:{contract.base_asset}/USDT"]
    volume, size, spread = _SHAPE[contract.kind]
    return replace(
        held, volume_per_minute=held.volume_per_minute * volume, trade_quantity=held.trade_quantity * size,
        spread_bps=held.spread_bps * spread,
    )  # fmt: skip


def simulate_past(history: History, contracts: Sequence[Contract], seed: int) -> Past:
    """The derivatives' past beside a spot history; a pure function of its arguments."""
    bases = [INSTRUMENTS[name].base for name in history.instruments]
    rows = tuple(bases.index(contract.base_asset) for contract in contracts)
    process = BasisProcess(contracts, seed, int(history.open_time[0]))
    basis = process.path(history.open_time + MINUTE)
    processes = tuple(process_of(contract) for contract in contracts)
    bars = _bars(history, contracts, rows, basis, seed)
    funding = tuple(
        _funding(history, rows[k], basis[k], processes[k].spread_bps * 0.5e-4) if c.kind == PERPETUAL else []
        for k, c in enumerate(contracts)
    )
    marks = np.stack([_marks(history, bars, k, rows[k], basis[k], c, funding[k]) for k, c in enumerate(contracts)])
    interest = np.stack([_interest(history, c, processes[k], _generator(seed, 79, k)) for k, c in enumerate(contracts)])
    return Past(tuple(contracts), rows, processes, bars, process, marks, funding, interest)


def joined(history: History, past: Past) -> History:
    """Spot and derivatives in one, for the candles of an exchange that trades both."""
    names = ("open", "high", "low", "close", "volume", "quote_volume", "trade_count", "signal")
    both: dict[str, Any] = {
        name: np.concatenate((getattr(history, name), getattr(past.history, name))) for name in names
    }
    return replace(history, instruments=history.instruments + past.history.instruments, **both)


def _bars(history: History, contracts: Sequence[Contract], rows: tuple[int, ...], basis: Floats, seed: int) -> History:
    shape = (len(contracts), len(history.open_time))
    open_, high, low, close, volume, quote = (np.empty(shape) for _ in range(6))
    trades = np.empty(shape, np.int64)
    for k, (contract, s) in enumerate(zip(contracts, rows, strict=True)):
        tick, step = float(contract.instrument.price_tick), float(contract.instrument.quantity_step)
        before = np.concatenate((basis[k, :1], basis[k, :-1]))
        open_[k] = _on(history.open[s] * (1 + before), tick)
        close[k] = _on(history.close[s] * (1 + basis[k]), tick)
        middle = 1 + 0.5 * (before + basis[k])
        high[k] = np.maximum(_on(history.high[s] * middle, tick), np.maximum(open_[k], close[k]))
        low[k] = np.minimum(_on(history.low[s] * middle, tick), np.minimum(open_[k], close[k]))
        factor, size, _ = _SHAPE[contract.kind]
        noise = _generator(seed, 78, k).standard_normal(shape[1])
        scatter = np.exp(_VOLUME_SCATTER * noise - 0.5 * _VOLUME_SCATTER**2)
        volume[k] = np.maximum(_on(history.volume[s] * factor * scatter, step), step)
        quote[k] = _on(volume[k] * 0.25 * (open_[k] + high[k] + low[k] + close[k]), tick * step)
        trades[k] = 1 + (history.trade_count[s] * (factor / size) * scatter).astype(np.int64)
    return replace(
        history, instruments=tuple(contract.id for contract in contracts), open=open_, high=high, low=low,
        close=close, volume=volume, quote_volume=quote, trade_count=trades, signal=np.zeros(shape),
    )  # fmt: skip


def _generator(seed: int, stream: int, k: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64([seed, stream, k]))


def _on(values: Floats, grid: float) -> Floats:
    """On the grid, as the nearest float to the decimal: multiples of one over a whole number."""
    per_unit = round(1 / grid)
    return np.maximum(np.rint(values * per_unit), 1) / per_unit


def _funding(history: History, s: int, basis: Floats, half_spread: float) -> list[Funding]:
    """Every period's payment from the premium of its minutes (`market.basis.premium_index`, over arrays)."""
    prices = 1 + basis
    premiums = np.maximum(0, prices * (1 - half_spread) - 1) - np.maximum(0, 1 - prices * (1 + half_spread))
    minutes = FUNDING_PERIOD // MINUTE
    first = -int(history.open_time[0]) % FUNDING_PERIOD // MINUTE or minutes
    found = []
    for end in range(first, len(basis) + 1, minutes):
        rate = funding_rate(premiums[max(0, end - minutes) : end])
        mark = float(history.close[s, end - 1] * (1 + basis[end - 1]))
        found.append(Funding(int(history.open_time[0]) + end * MINUTE, rate, round(mark, 8)))
    return found


def _marks(
    history: History, bars: History, k: int, s: int, basis: Floats, contract: Contract, funding: list[Funding]
) -> Floats:
    """The median of Binance's three prices at the end of each minute (see `market.basis.mark_price`)."""
    index = history.close[s]
    sums = np.cumsum(np.concatenate((np.zeros(1), basis * index)))
    first = np.maximum(np.arange(len(index)) + 1 - AVERAGED_MINUTES, 0)
    average = (sums[1:] - sums[first]) / (np.arange(len(index)) + 1 - first)
    by_funding = index.copy()
    if funding:
        ends = history.open_time + MINUTE
        rates = np.array([0.0] + [payment.rate for payment in funding])
        last = np.searchsorted([payment.time for payment in funding], ends, "right")
        by_funding = index * (1 + rates[last] * (-ends % FUNDING_PERIOD) / FUNDING_PERIOD)
    middle = np.median(np.stack((by_funding, index + average, bars.close[k])), axis=0)
    return _on(middle, float(contract.instrument.price_tick))


def _interest(
    history: History, contract: Contract, process: InstrumentProcess, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Lots: a mean-reverting path around a share of the day's volume."""
    samples = len(history.open_time) * MINUTE // OPEN_INTEREST_STEP + 1
    keep = 0.5 ** (OPEN_INTEREST_STEP / _INTEREST_HALF_LIFE)
    path = _reverting(rng.standard_normal(samples), keep)
    level = process.volume_per_minute * 1440 * OPEN_INTEREST_DAYS[contract.kind]
    lots = level / float(contract.instrument.quantity_step)
    return np.rint(lots * np.exp(_INTEREST_DEVIATION * path)).astype(np.int64)


@njit(cache=True, nogil=True)
def _reverting(normals, keep):  # type: ignore[no-untyped-def]
    """A stationary first-order path of deviation one."""
    out = np.empty(len(normals))
    level, push = 0.0, (1.0 - keep * keep) ** 0.5
    for n in range(len(normals)):
        level = normals[n] if n == 0 else keep * level + push * normals[n]
        out[n] = level
    return out
