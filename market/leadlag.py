"""Lead and lag between venues: one fair price, seen by a second venue some hundred milliseconds later and with noise.

Hasbrouck (1995) calls the leader's part the information share. The follower's log price at time t is the leader's at
t − lag plus a noise of its own that reverts to zero, so that the two never part for long and the spread between them
is sometimes wider than costs.
"""

import math
from bisect import bisect_right

import numpy as np

from market.scenario import Floats, Flow, LiveProcess

KEPT_SECONDS = 60.0
"""How far back the leader's path is remembered."""


class FairPath:
    """A process whose last minute can be looked up; hand it to the leader's agents."""

    def __init__(self, process: LiveProcess) -> None:
        self._process = process
        self._seconds = [0.0]
        self._prices = [process.state.values[0].copy()]
        count = len(self._prices[0])
        self.flow = Flow(self._prices[0], np.zeros(count), np.zeros(count))
        """Of the last step."""

    @property
    def seconds(self) -> float:
        """Market time since the path began."""
        return self._seconds[-1]

    def step(self, dt_seconds: float) -> Flow:
        """As `LiveProcess.step`."""
        self.flow = self._process.step(dt_seconds)
        self._seconds.append(self._seconds[-1] + dt_seconds)
        self._prices.append(self.flow.log_price)
        if len(self._seconds) > 512 and self._seconds[256] < self._seconds[-1] - KEPT_SECONDS:
            del self._seconds[:256], self._prices[:256]
        return self.flow

    def at(self, seconds: float) -> Floats:
        """Log prices at a time since the path began, between two steps on the line between them.

        Times before what is kept give the oldest, times not reached yet the newest.
        """
        after = bisect_right(self._seconds, seconds)
        if after == 0 or after == len(self._seconds):
            return self._prices[min(after, len(self._prices) - 1)]
        start, end = self._seconds[after - 1], self._seconds[after]
        share = (seconds - start) / (end - start)
        return self._prices[after - 1] * (1 - share) + self._prices[after] * share


class Follower:
    """Fair prices of a venue that follows; step the leader first."""

    def __init__(
        self, path: FairPath, seed: int, lag_seconds: float = 0.3, noise_bps: float = 2.0, half_life: float = 20.0
    ) -> None:
        """Follow `path` with noise of a stationary deviation in basis points that halves in `half_life` seconds."""
        self._path, self._lag, self._half_life = path, lag_seconds, half_life
        self._deviation = noise_bps * 1e-4
        self._seconds = path.seconds
        self._rng = np.random.Generator(np.random.PCG64([seed, 733]))
        self._noise = self._deviation * self._rng.standard_normal(len(path.flow.log_price))

    def step(self, dt_seconds: float) -> Flow:
        """The leader's prices of `lag` ago, with noise; its volatility and volume of now."""
        self._seconds += dt_seconds
        fade = 0.5 ** (dt_seconds / self._half_life)
        kick = self._deviation * math.sqrt(1 - fade * fade)
        self._noise = fade * self._noise + kick * self._rng.standard_normal(len(self._noise))
        flow = self._path.flow
        return Flow(self._path.at(self._seconds - self._lag) + self._noise, flow.sigma, flow.volume_per_second)
