"""Gymnasium environments over the market's kernels: one market (`MarketEnv`) or thousands in step (`MarketVectorEnv`).

    env = MarketVectorEnv(lambda n: BarsWorld(n, bars, features, names), num_envs=4096)
    env = MarketEnv(lambda n: BookWorld(n))                  # also gymnasium.make("Bitacora/Market-v0")

**World.** `market.env_bars.BarsWorld` plays over bars and features; `market.env_book.BookWorld` over a limit order
book with other traders in it. Both are compiled; a single environment is the same code with n = 1, and environment *i*
of a vector seeded *s* is the single one seeded *s + i*.

**Action.** Continuous: [size −1…1 (buy above 0), price offset 0…1 (0 takes, above 0 rests that far away), stop 0…1
(0 none)]. Discrete: the same three from a few levels each (`SIZES`, `OFFSETS`, `STOPS`).

**Observation.** float32; `world.names` names the columns: features, book depth, inventory, latency, time.

A vector restarts an environment in the step after its episode ended, with reward 0 (Gymnasium's NEXT_STEP).
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol, TypeAlias

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from lake.errors import UsageError

Floats = NDArray[np.float64]
Actions: TypeAlias = Literal["continuous", "discrete"]

SIZES = (-1.0, -0.5, 0.0, 0.5, 1.0)
OFFSETS = (0.0, 0.1, 0.3, 1.0)
STOPS = (0.0, 0.2, 0.5, 1.0)
BOUND = 1e9
"""No observation is beyond it."""


class World(Protocol):
    """`n` compiled markets; see `market.env_bars.BarsWorld`."""

    names: tuple[str, ...]
    observations: NDArray[np.float32]
    rewards: Floats
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]

    def reset(self, seeds: NDArray[np.uint64] | None, start: int | None = None) -> None: ...
    def step(self, actions: Floats, restart: bool) -> None: ...
    def info(self) -> dict[str, NDArray[Any]]: ...


MakeWorld: TypeAlias = Callable[[int], World]


def _default_world(n: int) -> World:
    from market.env_book import BookWorld

    return BookWorld(n)


class _Actions:
    """The action space and how an action becomes the kernel's three numbers."""

    def __init__(self, kind: Actions) -> None:
        if kind not in ("continuous", "discrete"):
            raise UsageError(f"actions: expected 'continuous' or 'discrete', found {kind!r}.")
        self._levels = None if kind == "continuous" else (np.array(SIZES), np.array(OFFSETS), np.array(STOPS))
        low, high = np.array([-1, 0, 0], np.float32), np.ones(3, np.float32)
        self.space: spaces.Space[Any] = (
            spaces.Box(low, high)
            if self._levels is None
            else spaces.MultiDiscrete([len(SIZES), len(OFFSETS), len(STOPS)])
        )

    def to_kernel(self, actions: Any, n: int) -> Floats:
        """[n, 3].

        Raises:
            UsageError: another shape, or a number that is not finite or not a level.
        """
        values = np.asarray(actions)
        if values.shape != (n, 3):
            raise UsageError(f"actions: expected shape ({n}, 3), found {values.shape}.")
        if self._levels is None:
            values = np.ascontiguousarray(values, np.float64)
            if not np.isfinite(values).all():
                raise UsageError("actions: expected finite numbers, found some that are not.")
            return values
        counts = [len(level) for level in self._levels]
        if not np.issubdtype(values.dtype, np.integer) or (values < 0).any() or (values >= counts).any():
            raise UsageError(f"actions: expected integers below {counts}, found {values[:3].tolist()}.")
        return np.stack([level[values[:, k]] for k, level in enumerate(self._levels)], axis=1)


def _observation_space(world: World) -> spaces.Box:
    return spaces.Box(-BOUND, BOUND, (len(world.names),), np.float32)


def _seeds(first: int, n: int) -> NDArray[np.uint64]:
    return np.array([(first + k) % 2**64 for k in range(n)], np.uint64)


def _start(options: dict[str, Any] | None) -> int | None:
    unknown = set(options or {}) - {"start"}
    if unknown:
        raise UsageError(f"reset options: expected only 'start', found {sorted(unknown)}.")
    return (options or {}).get("start")


class MarketEnv(gymnasium.Env[NDArray[np.float32], Any]):
    """One market."""

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 - as Gymnasium declares it

    def __init__(self, world: MakeWorld | None = None, actions: Actions = "continuous") -> None:
        """Build the world; None is an order book with other traders (`market.env_book`)."""
        self.world = (world or _default_world)(1)
        self._actions = _Actions(actions)
        self.action_space = self._actions.space
        self.observation_space = _observation_space(self.world)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begin an episode; `options={"start": bar}` chooses where, if the world has bars."""
        fresh = seed is not None or self._np_random is None
        super().reset(seed=seed)
        seeds = _seeds(self.np_random_seed, 1) if fresh else None
        self.world.reset(seeds, _start(options))
        return self.world.observations[0].copy(), self._info()

    def step(self, action: Any) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Play one step."""
        world = self.world
        world.step(self._actions.to_kernel(np.asarray(action)[None], 1), False)
        ended = bool(world.terminated[0]), bool(world.truncated[0])
        return world.observations[0].copy(), float(world.rewards[0]), *ended, self._info()

    def _info(self) -> dict[str, Any]:
        return {name: values[0].item() for name, values in self.world.info().items()}


class MarketVectorEnv(VectorEnv[NDArray[np.float32], Any, NDArray[Any]]):
    """Many markets, one compiled step."""

    def __init__(
        self, world: MakeWorld | None = None, num_envs: int = 1, actions: Actions = "continuous", copy: bool = True
    ) -> None:
        """Build the world; without `copy` each step overwrites the observations of the one before."""
        if num_envs < 1:
            raise UsageError(f"num_envs: expected at least 1, found {num_envs}.")
        self.num_envs, self._copy = num_envs, copy
        self.world = (world or _default_world)(num_envs)
        self._actions = _Actions(actions)
        self.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP, "render_modes": []}
        self.single_action_space, self.single_observation_space = self._actions.space, _observation_space(self.world)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begin an episode everywhere; environment i gets seed + i, or its own of a list."""
        first = self._np_random is None
        if isinstance(seed, int) or seed is None:
            super().reset(seed=seed)
            seeds = _seeds(self.np_random_seed, self.num_envs) if seed is not None or first else None
        elif len(seed) == self.num_envs and all(isinstance(each, int) for each in seed):
            seeds = np.array(seed, np.uint64)
        else:
            raise UsageError(f"seed: expected an integer or {self.num_envs} of them, found {seed!r:.100}.")
        self.world.reset(seeds, _start(options))
        return self._observations(), self.world.info()

    def step(
        self, actions: Any
    ) -> tuple[NDArray[np.float32], Floats, NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Play one step everywhere."""
        world = self.world
        world.step(self._actions.to_kernel(actions, self.num_envs), True)
        answers = (world.rewards, world.terminated, world.truncated)
        if self._copy:
            answers = (world.rewards.copy(), world.terminated.copy(), world.truncated.copy())
        return self._observations(), *answers, {}

    def _observations(self) -> NDArray[np.float32]:
        return self.world.observations.copy() if self._copy else self.world.observations


gymnasium.register(
    id="Bitacora/Market-v0", entry_point="market.env:MarketEnv", vector_entry_point="market.env:MarketVectorEnv"
)
