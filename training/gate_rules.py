"""The numbers the gate judges by. Changing one is a decision to write down (docs/decisions)."""

from dataclasses import dataclass

from market.metrics import bootstrap_mean_interval
from training.labels import Floats


@dataclass(frozen=True, slots=True)
class Rules:
    """What a candidate has to show."""

    min_days: int = 120
    """Out-of-sample days, the same for everyone compared."""
    level: float = 0.9
    """Of the interval; its lower bound must be above zero."""
    block_days: int = 5
    """Days that are resampled together."""
    draws: int = 5_000
    """Bootstrap draws."""
    seed: int = 0
    """Of the bootstrap: the same candidate gets the same verdict."""


RULES = Rules()


def interval(differences: Floats, rules: Rules = RULES) -> tuple[float, float, float]:
    """Lower bound, mean, upper bound of the mean daily difference, a fraction of capital per day."""
    return bootstrap_mean_interval(differences, rules.block_days, rules.draws, rules.level, rules.seed)
