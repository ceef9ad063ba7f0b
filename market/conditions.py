"""The conditions of a backtest: capital, costs, delay and limits, a sentence each."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol, Self

import numpy as np

from lake.errors import UnknownInstrument, UsageError
from lake.instruments import instrument
from lake.intervals import SECOND
from market import execution
from market.execution import Floats, Ledger, new_ledger


class Terms(Protocol):
    """What measures, critique and reports ask of any conditions, over bars or ticks."""

    @property
    def capital(self) -> float: ...
    @property
    def has_impact(self) -> bool: ...
    def with_costs(self, factor: float) -> Self: ...
    def with_capital(self, factor: float) -> Self: ...
    def later(self) -> tuple[str, Self]: ...
    def latency_seconds(self, timeframe: int) -> float: ...
    def described(self) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Conditions:
    """How orders are filled and paid for. The defaults are meant to be met in practice, not to flatter."""

    capital: float = 10_000.0
    """Quote at the start."""
    fee_bps: float = 5.0
    """Of the notional, per side."""
    slippage_bps: float = 1.0
    """Half spread and slippage of what takes liquidity."""
    impact: float = 1.0
    """Y of the square-root impact law; 0 switches impact off."""
    delay_bars: int = 1
    """Bars from the signal's close to the bar at whose open its order can fill first; never below 1."""
    leverage: float = 1.0
    """Largest gross exposure over equity."""
    shorts: bool = False
    """Whether positions below zero are allowed."""
    stop_loss: float = 0.0
    """Fraction of the entry price lost at which a position is closed; 0 is never."""
    trailing_stop: float = 0.0
    """The same from the best price since entry."""
    take_profit: float = 0.0
    """Fraction of the entry price gained at which a resting order closes a position; 0 is never."""
    drift: float = math.inf
    """Difference between held and wanted weight that is traded back although the weight is unchanged."""
    limit_share: float = 0.1
    """Largest share of a bar's volume that one of our limit orders gets."""
    permanent: float = 0.0
    """Share of an order's impact that later orders of the same side meet."""
    half_life_bars: float = math.inf
    """In which that share relaxes."""

    def __post_init__(self) -> None:
        if self.delay_bars < 1:
            raise UsageError(
                f"delay_bars: expected at least 1, found {self.delay_bars}: a bar cannot fill its own signal."
            )
        if not (self.capital > 0 and math.isfinite(self.capital)) or not self.leverage > 0:
            raise UsageError(f"capital and leverage: expected above 0, found {self.capital} and {self.leverage}.")
        rates = (self.fee_bps, self.slippage_bps, self.impact, self.stop_loss, self.trailing_stop, self.take_profit)
        if not all(rate >= 0 and math.isfinite(rate) for rate in rates) or self.fee_bps >= 10_000:
            raise UsageError(f"costs and exits: expected finite numbers from 0, found {rates}.")
        if self.stop_loss >= 1 or self.trailing_stop >= 1 or not 0 < self.limit_share <= 1 or not self.drift >= 0:
            raise UsageError("stops: expected below 1; limit_share within (0, 1]; drift from 0.")
        if not 0 <= self.permanent <= 1 or not self.half_life_bars > 0:
            raise UsageError("permanent: expected within [0, 1]; half_life_bars above 0.")

    def with_costs(self, factor: float) -> "Conditions":
        """Fees, slippage and impact times a factor."""
        return replace(
            self, fee_bps=self.fee_bps * factor, slippage_bps=self.slippage_bps * factor, impact=self.impact * factor
        )

    def with_capital(self, factor: float) -> "Conditions":
        """Capital times a factor."""
        return replace(self, capital=self.capital * factor)

    def later(self) -> tuple[str, "Conditions"]:
        """What the critique calls it, and the same with slower orders."""
        return "one bar later", replace(self, delay_bars=self.delay_bars + 1)

    @property
    def has_impact(self) -> bool:
        """Whether larger orders pay more."""
        return self.impact > 0.0

    def latency_seconds(self, timeframe: int) -> float:
        """From a close to the open at which its orders fill, with bars of so many µs."""
        return (self.delay_bars - 1) * timeframe / SECOND

    def described(self) -> dict[str, Any]:
        """Names and plain values."""
        return asdict(self)

    def terms(self, bars_per_day: float) -> Floats:
        """What the compiled code reads."""
        terms = np.zeros(execution.TERM_FIELDS)
        terms[execution.FEE], terms[execution.SLIPPAGE] = self.fee_bps * 1e-4, self.slippage_bps * 1e-4
        terms[execution.IMPACT], terms[execution.LEVERAGE] = self.impact, self.leverage
        terms[execution.SHORTS], terms[execution.DRIFT] = float(self.shorts), self.drift
        terms[execution.STOP_LOSS], terms[execution.TRAILING_STOP] = self.stop_loss, self.trailing_stop
        terms[execution.TAKE_PROFIT], terms[execution.BARS_PER_DAY] = self.take_profit, bars_per_day
        terms[execution.PERMANENT], terms[execution.KEPT] = self.permanent, 0.5 ** (1.0 / self.half_life_bars)
        return terms

    def ledger(self, instruments: Sequence[str]) -> Ledger:
        """A fresh account; instruments of the catalogue bring their quantity step and least notional."""
        steps, notionals = np.zeros(len(instruments)), np.zeros(len(instruments))
        for j, name in enumerate(instruments):
            try:
                known = instrument(name)
            except UnknownInstrument:
                continue
            steps[j], notionals[j] = float(known.quantity_step), float(known.min_notional)
        return new_ledger(self.capital, steps, notionals)
