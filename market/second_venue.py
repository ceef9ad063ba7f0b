"""A second venue, `andina`, beside the first: the same coins and formats, other rules, fees, latency and order flow.

Its agents trade around the first venue's fair price as it was some hundred milliseconds ago, with a noise of their own
(`market/leadlag.py`), so the venues' prices differ a little at all times: mostly by less than it costs to use, now and
then by more. Its past is the first venue's, seen through the same noise and on its own coarser grid.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np

from lake.instruments import ANDINA
from market import derivatives
from market.agents import Agents
from market.candles import Candles
from market.contracts import Contract, scales_of, spot
from market.exchange import Exchange, fee_rate
from market.futures_desk import FuturesDesk
from market.futures_past import joined
from market.kernel import njit
from market.leadlag import FairPath, Follower
from market.scenario import Floats, Flow, History

NAME = "andina"
_STREAM = 2
"""Number of its agents' random stream; the first venue's agents have 1."""


@dataclass(frozen=True, slots=True)
class SecondVenue:
    """What differs from the first venue."""

    latency_ms: float = 25.0
    """Market time from a request's arrival to matching, constant part."""
    jitter_ms: float = 10.0
    """Mean of the exponential part on top."""
    lag_seconds: float = 0.3
    """How far its prices are behind."""
    noise_bps: float = 6.0
    """Stationary deviation of its fair price from the first venue's."""
    noise_half_life: float = 60.0
    """Seconds in which half of a deviation is gone."""
    volume_share: float = 0.35
    """Its volume, as a part of the first venue's."""
    maker_fee_bps: Decimal = Decimal(2)
    taker_fee_bps: Decimal = Decimal(6)
    futures_maker_fee_bps: Decimal = Decimal(1)
    futures_taker_fee_bps: Decimal = Decimal("5.5")


class Share:
    """A process with only a part of its volume."""

    def __init__(self, process: Follower, share: float) -> None:
        self._process, self._share = process, share

    def step(self, dt_seconds: float) -> Flow:
        flow = self._process.step(dt_seconds)
        return flow._replace(volume_per_second=flow.volume_per_second * self._share)


def build_second(
    history: History, path: FairPath, terms: SecondVenue, agents: bool, accounts: int, quote_balance: Decimal,
    with_derivatives: bool = False,
) -> tuple[Exchange, FuturesDesk | None]:  # fmt: skip
    """The second exchange at the end of its past; `path` is what the first venue's agents trade around."""
    instruments = [ANDINA[f"{NAME}:{name.partition(':')[2]}"] for name in history.instruments]
    contracts, seed = [spot(instrument) for instrument in instruments], history.state.scenario.seed
    spot_scales = scales_of(contracts)
    ticks, lots = _grid(contracts)
    seen = seen_history(history, terms, ticks, lots)
    past = derivatives.past_of(seen, NAME, _STREAM) if with_derivatives else None
    if past is not None:
        contracts += past.contracts
        seen = joined(seen, past)
        ticks, lots = _grid(contracts)
    candles = Candles.after(seen, scales_of(contracts), ticks, lots)
    follower = Follower(path, seed, terms.lag_seconds, terms.noise_bps, terms.noise_half_life)
    crowd = Agents(history, spot_scales, Share(follower, terms.volume_share), instruments, _STREAM)
    exchange = Exchange(
        contracts, candles, [crowd] if agents else [], terms.taker_fee_bps, accounts, seed, quote_balance,
        venue=NAME, maker_fee_bps=terms.maker_fee_bps,
    )  # fmt: skip
    if past is None:
        return exchange, None
    fees = fee_rate(terms.futures_maker_fee_bps), fee_rate(terms.futures_taker_fee_bps)
    return exchange, derivatives.open_desk(exchange, past, crowd if agents else None, quote_balance, fees)


def _grid(contracts: Sequence[Contract]) -> tuple[Floats, Floats]:
    """Counts per unit of price and of quantity, [contracts]."""
    ticks = np.array([float(1 / contract.instrument.price_tick) for contract in contracts])
    return ticks, np.array([float(1 / contract.instrument.quantity_step) for contract in contracts])


def seen_history(history: History, terms: SecondVenue, ticks: Floats, lots: Floats) -> History:
    """The first venue's bars with this venue's noise, volume and grid; vectorised, from the scenario's seed.

    `ticks` and `lots` are counts per unit of price and quantity, [instruments].
    """
    rng = np.random.Generator(np.random.PCG64([history.state.scenario.seed, _STREAM, 1]))
    noise = _reverting(rng, history.close.shape, terms)
    before, after = np.exp(noise[:, :-1]), np.exp(noise[:, 1:])
    grid = ticks[:, None]
    open_, close = _on_grid(history.open * before, grid), _on_grid(history.close * after, grid)
    high = np.maximum(_on_grid(history.high * np.maximum(before, after), grid), np.maximum(open_, close))
    low = np.minimum(_on_grid(history.low * np.minimum(before, after), grid), np.minimum(open_, close))
    scatter = np.exp(0.3 * rng.standard_normal(history.volume.shape))
    volume = np.maximum(1, np.rint(history.volume * terms.volume_share * scatter * lots[:, None])) / lots[:, None]
    mean = history.quote_volume / history.volume * 0.5 * (before + after)
    trades = np.maximum(1, np.rint(history.trade_count * terms.volume_share)).astype(np.int64)
    return replace(
        history, open=open_, high=high, low=low, close=close, volume=volume,
        quote_volume=volume * np.clip(mean, low, high), trade_count=trades,
    )  # fmt: skip


def _reverting(rng: np.random.Generator, shape: tuple[int, ...], terms: SecondVenue) -> Floats:
    """The noise at the bars' ends, log price [instruments, minutes + 1]; as `Follower`'s, once a minute."""
    fade = 0.5 ** (60.0 / terms.noise_half_life)
    noise = terms.noise_bps * 1e-4 * rng.standard_normal((shape[0], shape[1] + 1))
    noise[:, 1:] *= np.sqrt(1 - fade * fade)
    _accumulate(noise, fade)
    return noise


@njit(cache=True, nogil=True)
def _accumulate(noise, fade):  # type: ignore[no-untyped-def]
    for i in range(noise.shape[0]):
        for minute in range(1, noise.shape[1]):
            noise[i, minute] += fade * noise[i, minute - 1]


def _on_grid(prices: Floats, grid: Floats) -> Floats:
    return np.maximum(1.0, np.rint(prices * grid)) / grid
