"""The conditions of a backtest over trades or order books, a sentence each."""

import math
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from lake.errors import UsageError
from lake.intervals import MILLISECOND, SECOND
from market import desk as d
from market.execution import Floats
from market.latency import Latency
from market.queues import QueueModel

LATER_US = 50 * MILLISECOND
"""By how much the critique delays orders."""


@dataclass(frozen=True, slots=True)
class TickConditions:
    """How orders travel, queue, fill and are paid for."""

    capital: float = 10_000.0
    """Quote at the start."""
    maker_fee_bps: float = 2.0
    """Of the notional of what rested; below zero is a rebate."""
    taker_fee_bps: float = 5.0
    """Of the notional of what took."""
    latency: Latency = field(default_factory=Latency)
    """Of market data, orders and answers."""
    queue: QueueModel = field(default_factory=QueueModel)
    """Where resting orders stand; the default never moves forward but by trades."""
    slippage_bps: float = 0.0
    """Of what takes, beyond the recorded book or the last trade."""
    impact: float = 1.0
    """Y of the square-root law: paid at once where only trades are known, and what `permanent` is a share of."""
    permanent: float = 0.0
    """Share of an order's impact that later orders of the same side meet."""
    half_life_s: float = math.inf
    """In which that share relaxes."""
    leverage: float = 1.0
    """Largest gross exposure over equity."""
    shorts: bool = False
    """Whether positions below zero are allowed."""
    size: float = 1.0
    """Factor between the account the strategy sees and the real one: its quantities are traded so many times over."""

    def __post_init__(self) -> None:
        if not (self.capital > 0 and math.isfinite(self.capital)) or not self.leverage > 0 or not self.size > 0:
            raise UsageError(
                f"capital, leverage, size: expected above 0, found {self.capital}, {self.leverage}, {self.size}."
            )
        costs = (self.taker_fee_bps, self.slippage_bps, self.impact, self.permanent)
        if not all(cost >= 0 and math.isfinite(cost) for cost in costs) or not abs(self.maker_fee_bps) < 10_000:
            raise UsageError(f"costs: expected finite numbers from 0 (the maker's fee may be below), found {costs}.")
        if not self.half_life_s > 0 or self.permanent > 1:
            raise UsageError("half_life_s: expected above 0; permanent within [0, 1].")

    def with_costs(self, factor: float) -> "TickConditions":
        """Fees, slippage and impact times a factor; a rebate is a gain, so higher costs divide it."""
        rebate = self.maker_fee_bps < 0
        maker = self.maker_fee_bps / max(factor, 1.0) if rebate else self.maker_fee_bps * factor
        return replace(
            self, maker_fee_bps=maker, taker_fee_bps=self.taker_fee_bps * factor,
            slippage_bps=self.slippage_bps * factor, impact=self.impact * factor,
        )  # fmt: skip

    def with_capital(self, factor: float) -> "TickConditions":
        """Capital and every quantity times a factor."""
        return replace(self, capital=self.capital * factor, size=self.size * factor)

    def later(self) -> tuple[str, "TickConditions"]:
        """What the critique calls it, and the same with slower orders."""
        return "50 ms later", replace(self, latency=self.latency.later(LATER_US))

    @property
    def has_impact(self) -> bool:
        """Larger orders pay more: they walk the recorded book, or pay the law."""
        return True

    def latency_seconds(self, timeframe: int) -> float:
        """Median of the feed's and the order's way; a run measures what it met."""
        return (
            self.latency.feed[len(self.latency.feed) // 2] + self.latency.entry[len(self.latency.entry) // 2]
        ) / SECOND

    def described(self) -> dict[str, Any]:
        """Names and plain values."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return values | {"latency": self.latency.text, "queue": self.queue.text}

    def terms(self) -> Floats:
        """What the compiled code reads."""
        terms = np.zeros(d.TERM_FIELDS)
        terms[d.MAKER_FEE], terms[d.TAKER_FEE] = self.maker_fee_bps * 1e-4, self.taker_fee_bps * 1e-4
        terms[d.LEVERAGE], terms[d.SHORTS], terms[d.SIZE] = self.leverage, float(self.shorts), self.size
        terms[d.SLIPPAGE], terms[d.IMPACT] = self.slippage_bps * 1e-4, self.impact
        terms[d.PERMANENT], terms[d.HALF_LIFE] = self.permanent, self.half_life_s * 1e6
        return terms
