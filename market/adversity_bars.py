"""Adversities on stored bars: for the gate, for backtests, for whoever asks what a model does on a bad day.

`perturb` is vectorised, seeded by the event, changes nothing before the event starts, and says what happened when.
Prices outside the event's instruments stay as they were; a lasting shift stays in all later bars.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lake.errors import UsageError
from lake.intervals import MINUTE, SECOND
from market.adversity_events import (
    Adversity,
    ExchangeOutage,
    FeedFreeze,
    FlashCrash,
    FundingShock,
    LiquidityWithdrawal,
    MicroSpikes,
    VolatilityShock,
)
from market.bars import Bars
from market.execution import CLOSE, HIGH, LOW, OPEN, VOLUME, Floats
from market.scenario import History

Mask = NDArray[np.bool_]

POINTS = 12
"""Moments inside a bar at which a shift is looked at for the bar's extremes."""


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that happened, for labels in plots and for tests."""

    what: str
    instruments: tuple[str, ...]
    start: int
    """µs."""
    end: int
    size: float
    """The event's largest effect, in its own terms: log price, a multiplier, a share, a rate."""


@dataclass(frozen=True, slots=True)
class Perturbed:
    """Bars after an event, and what happened."""

    bars: Bars
    happened: tuple[Happening, ...]


def history_bars(history: History) -> Bars:
    """One-minute bars of a simulated past."""
    fields = [history.open, history.high, history.low, history.close, history.volume]
    return Bars(history.instruments, history.open_time, np.stack(fields, axis=2).transpose(1, 0, 2).copy(), MINUTE)


def perturb(bars: Bars, event: Adversity) -> Perturbed:
    """Let an event happen in bars, `start_minutes` after the first opens.

    Raises:
        UsageError: it starts after the last bar, or none of the instruments can be hit.
    """
    start = int(bars.open_time[0] + event.start_minutes * MINUTE)
    hit = np.array([event.hits(name) for name in bars.instruments])
    if not hit.any():
        raise UsageError(f"adversity {event.name}: hits none of {', '.join(bars.instruments)}.")
    if start > bars.open_time[-1]:
        raise UsageError(f"adversity {event.name}: starts after the last bar; choose a smaller start_minutes.")
    end = start + int(event.seconds * SECOND)
    values = bars.values.copy()
    elapsed = (bars.open_time - start) / SECOND
    running = (bars.open_time + bars.timeframe > start) & (bars.open_time < end)
    size = _change(values, hit, elapsed, running, bars.timeframe / SECOND, event)
    names = tuple(name for name, struck in zip(bars.instruments, hit, strict=True) if struck)
    happened = Happening(event.name, names, start, end, size)
    funding = bars.funding
    if funding is not None and isinstance(event, FundingShock):  # paid at some closes only
        shock = event.shift(elapsed + bars.timeframe / SECOND)[:, None] * hit
        funding = np.where(funding != 0, funding + shock, funding)
    return Perturbed(replace(bars, values=values, funding=funding), (happened,))


def _change(values: Floats, hit: Mask, elapsed: Floats, running: Mask, length: float, event: Adversity) -> float:
    """Change `values` [n, k, 5] in place; returns the largest effect."""
    match event:
        case MicroSpikes():
            return _spikes(values, hit, elapsed, length, event)
        case VolatilityShock():
            return _wilder(values, hit, event.gain(elapsed + length / 2))
        case LiquidityWithdrawal():
            return _thinner(values, hit, running, event)
        case FeedFreeze():
            return _frozen(values, hit, running)
        case ExchangeOutage():
            values[np.ix_(running, hit)] = np.nan
            return float(running.sum())
        case _:
            return _shifted(values, hit, elapsed, running, length, event)


def _shifted(values: Floats, hit: Mask, elapsed: Floats, running: Mask, length: float, event: Adversity) -> float:
    """Move prices along the event's path; a bar's extremes see the path inside it."""
    inside = event.shift(elapsed[:, None] + np.linspace(0, length, POINTS)[None, :])
    inside[elapsed + length <= 0] = 0.0
    opens, closes, top, bottom = inside[:, 0], inside[:, -1], inside.max(axis=1), inside.min(axis=1)
    block = values[:, hit]
    # The highest point of the moved path: at least its ends, at most the bar's high where the path is highest.
    for field, shift in ((OPEN, opens), (CLOSE, closes), (HIGH, top), (LOW, bottom)):
        block[:, :, field] *= np.exp(shift)[:, None]
    block[:, :, HIGH] = np.fmax(block[:, :, HIGH], np.fmax(block[:, :, OPEN], block[:, :, CLOSE]))
    block[:, :, LOW] = np.fmin(block[:, :, LOW], np.fmin(block[:, :, OPEN], block[:, :, CLOSE]))
    if isinstance(event, FlashCrash) or hasattr(event, "volume"):
        block[running, :, VOLUME] *= event.volume
    values[:, hit] = block
    return float(inside.ravel()[np.abs(inside).argmax()])


def _spikes(values: Floats, hit: Mask, elapsed: Floats, length: float, event: MicroSpikes) -> float:
    """Wicks at random times; opens, closes and volumes stay."""
    times, signs = event.times()
    rows = np.floor((times - elapsed[0]) / length).astype(np.int64)
    for row, sign in zip(rows, signs, strict=True):
        if 0 <= row < len(values):
            field, best = (HIGH, np.fmax) if sign > 0 else (LOW, np.fmin)
            spike = values[row, hit, OPEN] * (1 + sign * event.size)
            values[row, hit, field] = best(values[row, hit, field], spike)
    return event.size


def _wilder(values: Floats, hit: Mask, gain: Floats) -> float:
    """Enlarge every move inside and between bars; where it ends the price stays where it got to."""
    changed = np.flatnonzero(gain != 1.0)
    if not len(changed):
        return 1.0
    logs = np.log(values[:, hit, :VOLUME])
    # Where prices were when each bar began: the last close there was, carried over bars that are missing.
    before = np.vstack([logs[:1, :, OPEN], logs[:-1, :, CLOSE]])
    rows = np.maximum.accumulate(np.where(np.isnan(before), 0, np.arange(len(before))[:, None]), axis=0)
    before = np.take_along_axis(before, rows, axis=0)
    moves = (logs - before[:, :, None]) * gain[:, None, None]
    extra = np.cumsum(np.nan_to_num((logs[:, :, CLOSE] - before) * (gain - 1.0)[:, None]), axis=0)
    start = before + np.vstack([np.zeros((1, extra.shape[1])), extra[:-1]])
    first = changed[0]
    values[first:, hit, :VOLUME] = np.exp(start[:, :, None] + moves)[first:]
    return float(gain.max())


def _thinner(values: Floats, hit: Mask, running: Mask, event: LiquidityWithdrawal) -> float:
    """Less volume, and prints at the far ends of a wide spread."""
    rng = np.random.default_rng([event.seed, 29])
    half = 0.5e-4 * event.spread
    block = values[np.ix_(running, hit)]
    signs = np.where(rng.random((2, *block.shape[:2])) < 0.5, -1.0, 1.0)
    block[:, :, OPEN] *= 1 + half * signs[0]
    block[:, :, CLOSE] *= 1 + half * signs[1]
    block[:, :, HIGH] = np.fmax(block[:, :, HIGH] * (1 + half), np.fmax(block[:, :, OPEN], block[:, :, CLOSE]))
    block[:, :, LOW] = np.fmin(block[:, :, LOW] * (1 - half), np.fmin(block[:, :, OPEN], block[:, :, CLOSE]))
    block[:, :, VOLUME] *= event.left
    values[np.ix_(running, hit)] = block
    return event.left


def _frozen(values: Floats, hit: Mask, running: Mask) -> float:
    """Repeat the last close known before, without volume."""
    first = int(np.argmax(running))
    last = values[max(first - 1, 0), hit, CLOSE if first else OPEN]
    for row in np.flatnonzero(running):
        values[row, hit, OPEN : CLOSE + 1] = last[:, None]
        values[row, hit, VOLUME] = 0.0
    return float(running.sum())
