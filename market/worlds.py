"""Named markets for `Scenario(preset=…)`: four regimes with labels, long-memory volatility, jumps, seasonality.

    python -m market.server --scenario crisis          the embedded exchange in one of them
    python -m market.facts --scenario regimes …        what its statistics look like beside real data

The preset `default` is the market of the demo (`market/process.py`: two regimes, one volatility scale) and is not
listed here. All others run `market/regimes.py` with a `World`. Sources of the ingredients: regimes as a Markov chain,
Hamilton (1989); volatility as a sum of mean-reverting scales whose autocorrelation decays like a power law, Calvet and
Fisher (2004), Corsi (2009); jumps that raise volatility, Aït-Sahalia, Cacho-Diaz and Laeven (2015); falls that raise
volatility more than rises (leverage), Bouchaud, Matacz and Potters (2001).
"""

from dataclasses import dataclass

import numpy as np

from lake.errors import UsageError
from market.regimes import SCALES, Coefficients, Floats

REGIMES = ("bull", "bear", "range", "crisis")
"""Labels of a world, in the order of every tuple below."""
DEFAULT_REGIMES = ("calm", "turbulent")
"""Labels of the preset `default`."""

Four = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class World:
    """What a preset changes; tuples of four follow `REGIMES`."""

    stay_hours: Four = (72.0, 54.0, 60.0, 10.0)
    """Mean time spent in a regime once entered."""
    follows: tuple[Four, Four, Four, Four] = (
        (0.0, 0.30, 0.58, 0.12),
        (0.32, 0.0, 0.50, 0.18),
        (0.52, 0.40, 0.0, 0.08),
        (0.20, 0.45, 0.35, 0.0),
    )
    """Row: the regime left; column: chance of the one entered."""
    drift: Four = (0.30, -0.30, 0.0, -0.80)
    """Daily drift in daily deviations; nothing without structure."""
    volatility: Four = (0.80, 1.00, 0.65, 2.40)
    """Multiplier of the volatility, in units of its root mean square over the regimes of `World()`."""
    correlation: Four = (0.0, 0.10, -0.05, 0.45)
    """Added to the scenario's pair correlation: in a crisis everything falls together."""
    jumps: Four = (0.7, 1.2, 0.5, 6.0)
    """Multiplier of the jump rates."""
    jump_bias: Four = (0.1, -0.3, 0.0, -0.8)
    """Mean of a jump in its deviations; nothing without structure."""
    volume: Four = (1.1, 0.95, 0.75, 2.0)
    """Multiplier of the volume."""
    reversion_hours: Four = (0.0, 0.0, 8.0, 0.0)
    """Half-life of the pull back to the price at which the regime began; 0 is none. Nothing without structure."""
    scale_hours: tuple[float, ...] = (0.2, 1.5, 10.0, 60.0, 360.0)
    """Half-lives of the mean-reverting parts of the log volatility."""
    scale_deviation: tuple[float, ...] = (0.20, 0.24, 0.24, 0.22, 0.18)
    """Their stationary deviations."""
    shared_volatility: float = 0.6
    """Correlation of two instruments' log volatilities."""
    leverage: float = 0.12
    """How much of the two fastest scales' innovation is minus the return shock."""
    jump_excitation: float = 0.5
    """Added to the fastest scale of an instrument's log volatility when it jumps."""
    season: float = 0.28
    """Amplitude of the daily cycle of the variance, peak at 15:00 UTC."""
    sessions: float = 0.10
    """Amplitude of the three peaks at 00:00, 08:00 and 16:00 UTC, when funding is paid and sessions open."""

    def __post_init__(self) -> None:
        if len(self.scale_hours) != SCALES or len(self.scale_deviation) != SCALES:
            raise UsageError(f"world: expected {SCALES} volatility scales, found {len(self.scale_hours)}.")
        if any(abs(sum(row) - 1) > 1e-9 or row[i] for i, row in enumerate(self.follows)):
            raise UsageError("world: expected each row of follows to sum to one and to leave its own regime.")


def _only(regime: int) -> World:
    """A world that stays in one regime for about half a year and comes back to it at once."""
    stay = [1.0] * 4
    stay[regime] = 24.0 * 180
    follows = []
    for left in range(4):
        row = [0.0] * 4
        row[regime if left != regime else (regime + 2) % 4] = 1.0
        follows.append(tuple(row))
    return World(stay_hours=tuple(stay), follows=tuple(follows))  # type: ignore[arg-type]


PRESETS: dict[str, World] = {
    "regimes": World(),
    "bull": _only(0),
    "bear": _only(1),
    "range": _only(2),
    "crisis": World(
        stay_hours=(30.0, 24.0, 24.0, 36.0),
        follows=((0.0, 0.1, 0.1, 0.8), (0.2, 0.0, 0.0, 0.8), (0.2, 0.0, 0.0, 0.8), (0.6, 0.2, 0.2, 0.0)),
        drift=(0.9, -0.3, 0.0, -0.4),
        jump_bias=(0.1, -0.2, 0.0, -0.3),
    ),
    "jumpy": World(jumps=(6.0, 8.0, 5.0, 12.0)),
    "rough": World(scale_hours=(0.05, 0.3, 2.0, 20.0, 200.0), scale_deviation=(0.35, 0.33, 0.30, 0.25, 0.20)),
}
"""Every preset but `default`."""
NAMES = ("default", *PRESETS)


def world(preset: str) -> World | None:
    """The world of a preset; none for `default`.

    Raises:
        UsageError: no such preset.
    """
    if preset not in NAMES:
        raise UsageError(f"scenario preset: expected one of {', '.join(NAMES)}, found {preset!r}.")
    return PRESETS.get(preset)


def labels(preset: str) -> tuple[str, ...]:
    """Names of the regimes that `History.regime` counts."""
    return DEFAULT_REGIMES if world(preset) is None else REGIMES


def compiled(preset: str, structure: int, pair_correlation: float) -> Coefficients:
    """A preset in the kernel's units: seconds and variances; `structure` 0 takes out all that could be predicted."""
    chosen = PRESETS[preset]
    stay = np.array(chosen.stay_hours) * 3600
    reversion = [np.log(2) / (hours * 3600) if hours else 0.0 for hours in chosen.reversion_hours]
    return Coefficients(
        leave_rate=1 / stay,
        follows=np.cumsum(np.array(chosen.follows), axis=1),
        drift=np.array(chosen.drift) * structure / np.sqrt(86_400),
        level=np.array(chosen.volatility) / _root_mean_square(World()),
        correlation=np.clip(np.array(chosen.correlation) + pair_correlation, 0.0, 0.95),
        jumps=np.array(chosen.jumps),
        jump_bias=np.array(chosen.jump_bias) * structure,
        volume=np.array(chosen.volume),
        reversion=np.array(reversion) * structure,
        scale_rate=np.log(2) / (np.array(chosen.scale_hours) * 3600),
        scale_deviation=np.array(chosen.scale_deviation),
        shared_volatility=chosen.shared_volatility,
        leverage=chosen.leverage,
        jump_excitation=chosen.jump_excitation,
        season=chosen.season,
        sessions=chosen.sessions,
    )


def _root_mean_square(chosen: World) -> float:
    """Of the volatility multiplier in the long run."""
    return float(np.sqrt(stationary(chosen) @ np.array(chosen.volatility) ** 2))


def stationary(chosen: World) -> Floats:
    """Share of the time spent in each regime [4] in the long run: of the embedded chain, weighted by the stay."""
    visits = np.full(4, 0.25)
    lazy = 0.5 * (np.eye(4) + np.array(chosen.follows))  # half the steps stay: the same limit, without a period
    for _ in range(2_000):
        visits = visits @ lazy
    share = visits * np.array(chosen.stay_hours)
    return np.asarray(share / share.sum(), np.float64)
