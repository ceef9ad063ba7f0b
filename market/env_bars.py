"""Thousands of one-instrument markets over bars, in one compiled step: orders, costs, own impact, stops and reward.

A step is one bar. The decision is made when bar *t* has closed; the order arrives `latency` bars later, at an open,
and nothing of a bar is seen before it closes. Per step and environment, in this order:

1. The arriving order trades. A market order takes at the open, half a spread and the impact away; a limit order fills
   at the open if that is already better, else at its price if the bar trades *through* it, else it is lost.
2. The stop of the position, if it has one, exits at its price, or at the open if the bar opened beyond it.
3. The bar closes: equity, drawdown, reward and what the agent sees.

**Impact** (square root, e.g. Tóth et al. 2011, Anomalous price impact): a trade of quote value v costs `impact` · σ ·
√(v / V), with σ and V the deviation and the quote volume of the last `impact_bars` bars: a larger order of the same
signal earns less per unit. A share `lasting` of it stays in the price and decays by `decay` a bar.

**Reward**: change of equity (in capitals) − `inventory_risk` · inventory² · σ² − `drawdown_penalty` · deepening of the
drawdown. Quantities are in units of the capital at the episode's first close; so an inventory of 1 is all of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lake.errors import UsageError
from lake.intervals import DAY
from market.kernel import njit
from market.strategy import BarArrays

Floats = NDArray[np.float64]

ACTION_SIZE, ACTION_OFFSET, ACTION_STOP, ACTION_FIELDS = range(4)
# Columns of a world's state, [n, STATE_FIELDS]. Prices are relative to the episode's first close.
(
    INVENTORY, CASH, EQUITY, PEAK, STOP, SHIFT, FIRST_CLOSE, STATE_FIELDS,
) = range(8)  # fmt: skip
AT, ENDS, LATENCY, DONE, PLACE_FIELDS = range(5)
# Columns of the table of prices, [bars, PRICE_FIELDS].
OPEN, HIGH, LOW, CLOSE, IMPACT, VARIANCE, PRICE_FIELDS = range(7)
# Columns of the terms, as BarTerms.row() writes them.
(
    MOST_ORDER, MOST_INVENTORY, MOST_OFFSET, MOST_STOP, HALF_SPREAD, TAKER_FEE, MAKER_FEE, LASTING, DECAY,
    INVENTORY_RISK, DRAWDOWN_PENALTY, RUIN, MOST_LATENCY, EPISODE, TERM_FIELDS,
) = range(15)  # fmt: skip
OWN = ("inventory", "profit", "drawdown", "impact_of_largest_order", "latency", "time_left")
"""What every observation ends with."""


@dataclass(frozen=True, slots=True)
class BarTerms:
    """The rules of the game."""

    capital: float = 100_000.0
    """Quote; sets how large the orders are against the market's volume."""
    most_order: float = 0.25
    """Of the capital, at action size 1."""
    most_inventory: float = 1.0
    most_offset_bps: float = 50.0
    """Distance of a limit order from the last close at action offset 1; offset 0 is a market order."""
    most_stop_bps: float = 500.0
    """Distance of the stop from the price paid at action stop 1; 0 is none."""
    spread_bps: float = 1.0
    taker_fee_bps: float = 5.0
    maker_fee_bps: float = 2.0
    impact: float = 1.0
    impact_bars: int = 100
    lasting: float = 0.5
    decay: float = 0.9
    inventory_risk: float = 0.5
    drawdown_penalty: float = 0.1
    ruin: float = 0.2
    """The episode ends (terminated) when equity falls to this share of the capital."""
    most_latency: int = 1
    """Bars until an order arrives; each episode draws from 1 to this."""
    episode_bars: int = 288
    """Then the episode ends (truncated)."""

    def __post_init__(self) -> None:
        positive = (self.capital, self.most_order, self.most_inventory)
        if min(positive) <= 0 or self.most_latency < 1 or self.episode_bars < 2 or self.impact_bars < 2:
            raise UsageError(f"BarTerms: expected positive sizes, latency ≥ 1, episode and impact_bars ≥ 2: {self}")
        if not (0 <= self.decay < 1 and 0 <= self.ruin < 1 and 0 <= self.lasting <= 1):
            raise UsageError(f"BarTerms: expected decay, ruin in [0, 1) and lasting in [0, 1]: {self}")

    def row(self) -> Floats:
        """[TERM_FIELDS], as the kernel reads them."""
        bps = 1e-4
        return np.array([
            self.most_order, self.most_inventory, self.most_offset_bps * bps, self.most_stop_bps * bps,
            0.5 * self.spread_bps * bps, self.taker_fee_bps * bps, self.maker_fee_bps * bps, self.lasting, self.decay,
            self.inventory_risk, self.drawdown_penalty, self.ruin, self.most_latency, self.episode_bars,
        ])  # fmt: skip


def price_table(bars: BarArrays, terms: BarTerms) -> Floats:
    """[bars, PRICE_FIELDS]; impact and variance of a bar come from the bars that closed before it.

    `IMPACT` is the impact of trading one capital, as a fraction of the price; it is NaN while there is no history.
    """
    closes = np.asarray(bars.close, np.float64)
    returns = np.diff(np.log(closes), prepend=np.log(closes[0]))
    window = terms.impact_bars
    deviation2 = _trailing_mean(returns**2, window)
    quote = _trailing_mean(np.asarray(bars.volume, np.float64) * closes, window)
    with np.errstate(divide="ignore", invalid="ignore"):
        impact = terms.impact * np.sqrt(deviation2 * terms.capital / quote)
    return np.column_stack([bars.open, bars.high, bars.low, closes, impact, deviation2])


def _trailing_mean(values: Floats, window: int) -> Floats:
    """Mean of the `window` values before each; NaN for the first ones."""
    sums = np.concatenate(([0.0], np.cumsum(values)))
    out = np.full(len(values), np.nan)
    out[window:] = (sums[window:-1] - sums[: -window - 1]) / window
    return np.maximum(out, 0.0)


@njit(cache=True, nogil=True, inline="always", _nrt=False)
def draw(state: Any) -> tuple[Any, float]:
    """Next state of a splitmix64 generator (Steele et al. 2014) and a uniform number in [0, 1)."""
    state = state + np.uint64(0x9E3779B97F4A7C15)
    z = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return state, (z >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@njit(cache=True, nogil=True, _nrt=False)
def begin(e: int, prices: Any, features: Any, terms: Any, place: Any, state: Any, seeds: Any, orders: Any) -> None:
    """Start an episode of environment `e` at a drawn bar."""
    length = int(terms[EPISODE])
    seeds[e], where = draw(seeds[e])
    seeds[e], late = draw(seeds[e])
    at = int(where * (len(prices) - length))
    place[e, AT], place[e, ENDS], place[e, DONE] = at, at + length, 0
    place[e, LATENCY] = 1 + int(late * terms[MOST_LATENCY])
    state[e, :] = 0.0
    state[e, CASH] = state[e, EQUITY] = state[e, PEAK] = 1.0
    state[e, FIRST_CLOSE] = 1.0 / prices[at, CLOSE]
    orders[e, :, :] = 0.0


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _observe(
    e: int, prices: Any, features: Any, place: Any, state: Any,
    largest: float, per_inventory: float, per_latency: float, per_episode: float, out: Any,
) -> None:  # fmt: skip
    at, width = place[e, AT], features.shape[1]
    for k in range(width):
        out[e, k] = features[at, k]
    out[e, width] = state[e, INVENTORY] * per_inventory
    out[e, width + 1] = state[e, EQUITY] - 1.0
    out[e, width + 2] = state[e, EQUITY] / state[e, PEAK] - 1.0
    out[e, width + 3] = prices[at, IMPACT] * largest
    out[e, width + 4] = place[e, LATENCY] * per_latency
    out[e, width + 5] = (place[e, ENDS] - at) * per_episode


@njit(cache=True, nogil=True, _nrt=False)
def observe(prices: Any, features: Any, terms: Any, place: Any, state: Any, out: Any) -> None:
    """Write what every agent sees."""
    largest = np.sqrt(terms[MOST_ORDER])
    for e in range(place.shape[0]):
        _observe(
            e, prices, features, place, state,
            largest, 1.0 / terms[MOST_INVENTORY], 1.0 / terms[MOST_LATENCY], 1.0 / terms[EPISODE], out,
        )  # fmt: skip


@njit(cache=True, nogil=True, error_model="numpy", fastmath=True, _nrt=False)
def step(
    prices: Any, features: Any, terms: Any, place: Any, state: Any, seeds: Any, orders: Any, actions: Any,
    restart: bool, out: Any, rewards: Any, terminated: Any, truncated: Any,
) -> None:  # fmt: skip
    """One bar of every environment; `actions` is [n, ACTION_FIELDS]: size −1…1, offset 0…1, stop 0…1.

    Where an episode has ended, `restart` begins the next one with reward 0 (Gymnasium's next-step autoreset);
    without it the environment stays as it is.
    """
    most_order, most_inventory = terms[MOST_ORDER], terms[MOST_INVENTORY]
    most_offset, most_stop, half_spread = terms[MOST_OFFSET], terms[MOST_STOP], terms[HALF_SPREAD]
    taker, maker, lasting, decay = terms[TAKER_FEE], terms[MAKER_FEE], terms[LASTING], terms[DECAY]
    risk, penalty, ruin = terms[INVENTORY_RISK], terms[DRAWDOWN_PENALTY], terms[RUIN]
    per_inventory, per_latency, per_episode = 1.0 / most_inventory, 1.0 / terms[MOST_LATENCY], 1.0 / terms[EPISODE]
    largest = np.sqrt(most_order)
    mask = orders.shape[1] - 1
    for e in range(place.shape[0]):
        if place[e, DONE]:
            if restart:
                begin(e, prices, features, terms, place, state, seeds, orders)
            rewards[e], terminated[e], truncated[e] = 0.0, False, False
        else:
            at = place[e, AT]
            scale = state[e, FIRST_CLOSE]
            size = min(1.0, max(-1.0, actions[e, ACTION_SIZE])) * most_order
            offset = min(1.0, max(0.0, actions[e, ACTION_OFFSET])) * most_offset
            stop_away = min(1.0, max(0.0, actions[e, ACTION_STOP])) * most_stop
            limit = 0.0
            if offset > 0.0:
                limit = prices[at, CLOSE] * scale * (1.0 - offset if size > 0.0 else 1.0 + offset)
            if mask:
                k = (at + place[e, LATENCY]) & mask
                orders[e, k, 0], orders[e, k, 1], orders[e, k, 2] = size, limit, stop_away
                k = (at + 1) & mask
                size, limit, stop_away = orders[e, k, 0], orders[e, k, 1], orders[e, k, 2]
                orders[e, k, 0] = 0.0
            at += 1
            held, cash, shift, stop = state[e, INVENTORY], state[e, CASH], state[e, SHIFT], state[e, STOP]
            moved = scale * (1.0 + shift)
            impact = prices[at, IMPACT]
            quantity = min(most_inventory - held, max(-most_inventory - held, size))
            if quantity != 0.0:
                opened = prices[at, OPEN] * moved
                sign = 1.0 if quantity > 0.0 else -1.0
                paid = 0.0
                if limit == 0.0 or sign * opened <= sign * limit:
                    by = impact * np.sqrt(sign * quantity * opened)
                    paid = opened * (1.0 + sign * (half_spread + by))
                    shift += sign * lasting * by
                    cash -= quantity * paid + sign * quantity * paid * taker
                elif sign * (prices[at, LOW] if sign > 0.0 else prices[at, HIGH]) * moved < sign * limit:
                    paid = limit
                    cash -= quantity * paid + sign * quantity * paid * maker
                if paid > 0.0:
                    held += quantity
                    stop = 0.0 if stop_away == 0.0 else paid * (1.0 - stop_away if held > 0.0 else 1.0 + stop_away)
            if stop > 0.0 and held != 0.0:
                sign = 1.0 if held > 0.0 else -1.0
                worst = (prices[at, LOW] if held > 0.0 else prices[at, HIGH]) * moved
                if sign * worst <= sign * stop:
                    opened = prices[at, OPEN] * moved
                    level = min(opened, stop) if held > 0.0 else max(opened, stop)
                    by = impact * np.sqrt(sign * held * level)
                    paid = level * (1.0 - sign * (half_spread + by))
                    cash += held * paid - sign * held * paid * taker
                    shift -= sign * lasting * by
                    held = stop = 0.0
            equity = cash + held * prices[at, CLOSE] * scale * (1.0 + shift)
            last, top = state[e, EQUITY], state[e, PEAK]
            peak = max(top, equity)
            deeper = max(0.0, (peak - equity) - (top - last))
            rewards[e] = equity - last - risk * held * held * prices[at, VARIANCE] - penalty * deeper
            state[e, INVENTORY], state[e, CASH], state[e, SHIFT], state[e, STOP] = held, cash, shift * decay, stop
            state[e, EQUITY], state[e, PEAK], place[e, AT] = equity, peak, at
            ended = equity <= ruin
            over = not ended and at >= place[e, ENDS]
            terminated[e], truncated[e] = ended, over
            place[e, DONE] = ended or over
        _observe(e, prices, features, place, state, largest, per_inventory, per_latency, per_episode, out)


class BarsWorld:
    """`n` environments over the same bars and features; see `market.env`."""

    def __init__(
        self, n: int, bars: BarArrays, features: NDArray[np.floating[Any]] | None = None,
        names: Sequence[str] = (), terms: BarTerms | None = None,
    ) -> None:  # fmt: skip
        """Prepare the tables.

        Args:
            bars: consecutive bars of one instrument, in the order of time.
            features: [bars, k], what is known when each bar has closed; the agent sees row *t* when it decides at the
                close of bar *t*. None: the return of the bar and of the last ten, in deviations.
            names: of the features.

        Raises:
            UsageError: shapes that do not fit, a price or feature that is not finite, or too few bars for one episode.
        """
        self.terms = terms or BarTerms()
        closes = np.asarray(bars.close, np.float64)
        if features is None:
            features, names = _returns(closes), ("return_1", "return_10")
        features = np.asarray(features)
        if features.ndim != 2 or len(features) != len(closes) or features.shape[1] != len(names):
            raise UsageError(
                f"features: expected [{len(closes)}, {len(names)}], one row per bar and a name for each column, found "
                f"shape {features.shape}."
            )
        prices = price_table(bars, self.terms)
        if not np.isfinite(prices[:, : CLOSE + 1]).all() or not (prices[:, : CLOSE + 1] > 0).all():
            raise UsageError("bars: expected prices above zero throughout, found some that are not.")
        self._first = first = self.terms.impact_bars
        if len(prices) - first <= self.terms.episode_bars + 1:
            raise UsageError(
                f"bars: expected more than {first + self.terms.episode_bars + 1}, the last {first} before an episode "
                f"included, found {len(prices)}. Give more bars or a shorter episode."
            )
        if not np.isfinite(prices[first:]).all():
            raise UsageError(f"bars: expected some volume within any {first} bars, found none somewhere.")
        if not np.isfinite(features[first:]).all():
            raise UsageError("features: expected finite numbers once the episode may begin, found some that are not.")
        self._prices = np.ascontiguousarray(prices[first:])
        columns = np.column_stack([features, _time_of_day(bars)])
        self._features = np.ascontiguousarray(columns[first:], np.float32)
        self.names = (*names, "time_of_day_sin", "time_of_day_cos", *OWN)
        self._row = self.terms.row()
        ring = 1 if self.terms.most_latency == 1 else 1 << self.terms.most_latency.bit_length()
        self._place = np.zeros((n, PLACE_FIELDS), np.int64)
        self._state, self._orders = np.zeros((n, STATE_FIELDS)), np.zeros((n, ring, 3))
        self._seeds = np.zeros(n, np.uint64)
        self.observations = np.zeros((n, len(self.names)), np.float32)
        self.rewards = np.zeros(n)
        self.terminated, self.truncated = np.zeros(n, np.bool_), np.zeros(n, np.bool_)

    def reset(self, seeds: NDArray[np.uint64] | None, start: int | None = None) -> None:
        """Begin an episode everywhere; without seeds each generator goes on. `start` is the bar to begin at."""
        if seeds is not None:
            self._seeds[:] = seeds
        self._place[:, DONE] = 1
        self.step(np.zeros((len(self._place), ACTION_FIELDS)), True)
        if start is not None:
            self._begin_at(start)

    def _begin_at(self, start: int) -> None:
        length, at = self.terms.episode_bars, start - self._first
        if not 0 <= at < len(self._prices) - length:
            last = self._first + len(self._prices) - length - 1
            raise UsageError(f"start: expected a bar from {self._first} to {last}, found {start}.")
        self._place[:, AT], self._place[:, ENDS] = at, at + length
        self._state[:, FIRST_CLOSE] = 1.0 / self._prices[at, CLOSE]
        observe(self._prices, self._features, self._row, self._place, self._state, self.observations)

    def step(self, actions: Floats, restart: bool) -> None:
        """One bar; the answers are in `observations`, `rewards`, `terminated` and `truncated` until the next call."""
        step(
            self._prices, self._features, self._row, self._place, self._state, self._seeds, self._orders, actions,
            restart, self.observations, self.rewards, self.terminated, self.truncated,
        )  # fmt: skip

    def info(self) -> dict[str, NDArray[Any]]:
        """[n] each: bar at whose close the agent decides, equity in capitals, inventory."""
        state = self._state
        return {
            "bar": self._place[:, AT] + self._first,
            "equity": state[:, EQUITY].copy(),
            "inventory": state[:, INVENTORY].copy(),
        }


def _returns(closes: Floats) -> Floats:
    logs = np.log(closes)
    deviation = max(1e-12, float(np.std(np.diff(logs[: max(2, len(logs) // 10)]))))
    out = np.zeros((len(closes), 2))
    out[1:, 0], out[10:, 1] = np.diff(logs) / deviation, (logs[10:] - logs[:-10]) / (deviation * np.sqrt(10.0))
    return out


def _time_of_day(bars: BarArrays) -> Floats:
    angle = 2 * np.pi * (np.asarray(bars.open_time) % DAY) / DAY
    return np.column_stack([np.sin(angle), np.cos(angle)])
