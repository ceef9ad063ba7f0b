"""From a prediction to a position: the one rule that training evaluates and live trades. Plain floats, no imports."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from lake.errors import ContractViolated


@dataclass(frozen=True, slots=True)
class PolicyParameters:
    """Numbers of the rule, chosen on training data and carried by the bundle's manifest."""

    full_weight_return: float
    """Gross expected return over the horizon, as a fraction, at which the position is full."""
    band: float
    """Smallest change of weight worth an order."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.full_weight_return) and self.full_weight_return > 0):
            raise ContractViolated(f"policy full_weight_return: expected above 0, found {self.full_weight_return}.")
        if not 0 <= self.band <= 1:
            raise ContractViolated(f"policy band: expected within [0, 1], found {self.band}.")

    def to_dict(self) -> dict[str, float]:
        """For the manifest's `policy`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "PolicyParameters":
        """Read the manifest's `policy`.

        Raises:
            ContractViolated: a name is missing or unknown, or a number is out of range.
        """
        expected = {"full_weight_return", "band"}
        if set(values) != expected:
            raise ContractViolated(f"policy: expected {sorted(expected)}, found {sorted(values)}. Train it again.")
        return cls(float(values["full_weight_return"]), float(values["band"]))


DEFAULT_BAND = 0.1


def target_weight(prediction: float, current: float, parameters: PolicyParameters, cost: float) -> float:
    """Return the weight to hold, in [0, 1]; `current` itself where no order is worth its cost.

    `prediction` is the expected net return over the horizon, after a round trip of twice `cost` (a fraction per
    side); `current` may lie outside [0, 1] when prices have moved. The gross return, prediction + 2 · cost, sets the
    desired weight: none at or below zero, full from `full_weight_return`, linear between. The position moves there
    only when the change is at least `band`, or when it completes an exit or an entry (desired 0 or 1).
    A prediction that is not a number changes nothing.
    """
    gross = prediction + 2.0 * cost
    if not math.isfinite(gross):
        return current
    desired = min(max(gross / parameters.full_weight_return, 0.0), 1.0)
    if desired == current:
        return current
    if abs(desired - current) >= parameters.band or desired in (0.0, 1.0):
        return desired
    return current
