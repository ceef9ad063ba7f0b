"""From a prediction to a position: the one rule that training evaluates and live trades.

Plain floats and no numeric package, because live's order path imports it. docs/market.md shows how the defaults were
found: by simulating the rule on the embedded market with the predictions of real models.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from lake.errors import ContractViolated

DEFAULT_BAND = 0.06
DEFAULT_NEUTRAL_WEIGHT = 0.5


@dataclass(frozen=True, slots=True)
class PolicyParameters:
    """Numbers of the rule, chosen on training data and carried by the bundle's manifest."""

    full_weight_return: float
    """Gross expected return over the horizon, as a fraction, at which the position is full. One deviation of the
    model's gross predictions on its training data does well."""
    band: float = DEFAULT_BAND
    """Distance from the desired weight that is not worth an order."""
    neutral_weight: float = DEFAULT_NEUTRAL_WEIGHT
    """Desired weight when no gross return is expected, in [0, 1)."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.full_weight_return) and self.full_weight_return > 0):
            raise ContractViolated(f"policy full_weight_return: expected above 0, found {self.full_weight_return}.")
        if not 0 <= self.band < 1:
            raise ContractViolated(f"policy band: expected within [0, 1), found {self.band}.")
        if not 0 <= self.neutral_weight < 1:
            raise ContractViolated(f"policy neutral_weight: expected within [0, 1), found {self.neutral_weight}.")

    def to_dict(self) -> dict[str, float]:
        """For the manifest's `policy`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, float]) -> "PolicyParameters":
        """Read the manifest's `policy`.

        Raises:
            ContractViolated: a name is missing or unknown, or a number is out of range.
        """
        if set(values) != set(cls.__slots__):
            raise ContractViolated(f"policy: expected {sorted(cls.__slots__)}, found {sorted(values)}. Train it again.")
        try:
            return cls(**{name: float(value) for name, value in values.items()})
        except (TypeError, ValueError):
            raise ContractViolated(f"policy: expected numbers, found {dict(values)}. Train it again.") from None


def desired_weight(gross: float, parameters: PolicyParameters) -> float:
    """The weight to hold if orders were free, in [0, 1]: linear in the gross expected return of one horizon.

    It is `neutral_weight` when nothing is expected and 1 from `full_weight_return`; going on along the same line it
    reaches 0 at a loss of full_weight_return · neutral / (1 − neutral).
    """
    neutral = parameters.neutral_weight
    return min(max(neutral + (1.0 - neutral) * gross / parameters.full_weight_return, 0.0), 1.0)


def target_weight(prediction: float, current: float, parameters: PolicyParameters, cost: float) -> float:
    """Return the weight to hold: within [0, 1] if it calls for an order, `current` itself where none is worth its cost.

    `prediction` is the expected net return over the horizon, after a round trip of twice `cost` (a fraction per side),
    so the gross return is prediction + 2 · cost. Costs are not charged against each horizon again, because a position
    outlives many of them; they are met by trading little (Davis & Norman 1990: with proportional costs, hold inside a
    band around the desired weight, and from outside it move to the band's nearest edge only). A desired weight of zero
    is the exception: then everything is sold.

    `current` may lie outside [0, 1] when prices have moved. A prediction that is not finite changes nothing.
    """
    gross = prediction + 2.0 * cost
    if not math.isfinite(gross):
        return current
    desired = desired_weight(gross, parameters)
    if desired == 0.0:
        return 0.0
    if abs(current - desired) <= parameters.band:
        return current
    edge = desired + parameters.band if current > desired else desired - parameters.band
    return min(max(edge, 0.0), 1.0)
