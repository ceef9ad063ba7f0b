"""The bar environment against a plain one written apart, and what it must never do."""

import math
from dataclasses import dataclass, field, replace
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

from lake.errors import UsageError
from lake.intervals import MINUTE
from market.env import MarketEnv, MarketVectorEnv
from market.env_bars import BarsWorld, BarTerms
from market.strategy import BarArrays

BARS = 700
TERMS = BarTerms(impact_bars=20, episode_bars=60, most_latency=3)


def random_bars(seed: int = 1, n: int = BARS, deviation: float = 0.004) -> BarArrays:
    rng = np.random.default_rng(seed)
    closes = 100 * np.exp(np.cumsum(rng.normal(0, deviation, n)))
    opens = np.concatenate(([100.0], closes[:-1])) * np.exp(rng.normal(0, deviation / 4, n))
    highs = np.maximum(opens, closes) * np.exp(np.abs(rng.normal(0, deviation / 2, n)))
    lows = np.minimum(opens, closes) * np.exp(-np.abs(rng.normal(0, deviation / 2, n)))
    return BarArrays(np.arange(n) * 5 * MINUTE, opens, highs, lows, closes, rng.lognormal(4, 1, n))


def flat_bars(n: int = 200, price: float = 100.0) -> BarArrays:
    """A market that only trembles a little, so that it has a volatility."""
    closes = price * np.where(np.arange(n) % 2, 1.0005, 1.0)
    return BarArrays(np.arange(n) * MINUTE, closes, closes, closes, closes, np.full(n, 50.0))


def one(bars: BarArrays, terms: BarTerms = TERMS, **more: Any) -> MarketEnv:
    return MarketEnv(lambda n: BarsWorld(n, bars, terms=terms, **more))


@dataclass
class Plain:
    """The rules in the plainest Python: one environment, dictionaries and floats."""

    bars: BarArrays
    terms: BarTerms
    at: int
    latency: int
    cash: float = 1.0
    held: float = 0.0
    stop: float = 0.0
    shift: float = 0.0
    equity: float = 1.0
    peak: float = 1.0
    sent: dict[int, tuple[float, float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.first = self.bars.close[self.at]

    def history(self) -> tuple[float, float]:
        """Variance and impact of one capital, from the bars before the present one."""
        window = range(self.at - self.terms.impact_bars, self.at)
        returns = [math.log(self.bars.close[k] / self.bars.close[k - 1]) if k else 0.0 for k in window]
        variance = sum(r * r for r in returns) / len(returns)
        quote = sum(self.bars.volume[k] * self.bars.close[k] for k in window) / len(returns)
        return variance, self.terms.impact * math.sqrt(variance * self.terms.capital / quote)

    def take(self, quantity: float, price: float, impact: float) -> float:
        sign = math.copysign(1.0, quantity)
        cost = impact * math.sqrt(abs(quantity) * price)
        paid = price * (1 + sign * (self.terms.spread_bps / 2e4 + cost))
        self.pay(quantity, paid, self.terms.taker_fee_bps)
        self.shift += sign * self.terms.lasting * cost
        return paid

    def pay(self, quantity: float, price: float, fee_bps: float) -> None:
        self.cash -= quantity * price + abs(quantity) * price * fee_bps / 1e4
        self.held += quantity

    def step(self, size: float, offset: float, stop: float) -> float:
        terms = self.terms
        limit = 0.0
        if offset > 0:
            away = offset * terms.most_offset_bps / 1e4
            limit = self.bars.close[self.at] / self.first * (1 - away if size > 0 else 1 + away)
        self.sent[self.at + self.latency] = (size * terms.most_order, limit, stop * terms.most_stop_bps / 1e4)
        self.at += 1
        variance, impact = self.history()
        moved = (1 + self.shift) / self.first
        opened, high, low = (values[self.at] * moved for values in (self.bars.open, self.bars.high, self.bars.low))
        wanted, limit, away = self.sent.pop(self.at, (0.0, 0.0, 0.0))
        quantity = max(-terms.most_inventory - self.held, min(terms.most_inventory - self.held, wanted))
        paid = 0.0
        if (quantity > 0 and (not limit or opened <= limit)) or (quantity < 0 and (not limit or opened >= limit)):
            paid = self.take(quantity, opened, impact)
        elif (quantity > 0 and low < limit) or (quantity < 0 and high > limit):
            paid = limit
            self.pay(quantity, limit, terms.maker_fee_bps)
        if paid:
            self.stop = (paid * (1 - away) if self.held > 0 else paid * (1 + away)) if away else 0.0
        if self.stop and self.held > 0 and low <= self.stop:
            self.take(-self.held, min(opened, self.stop), impact)
            self.stop = self.held = 0.0
        elif self.stop and self.held < 0 and high >= self.stop:
            self.take(-self.held, max(opened, self.stop), impact)
            self.stop = self.held = 0.0
        equity = self.cash + self.held * self.bars.close[self.at] / self.first * (1 + self.shift)
        self.shift *= terms.decay
        peak = max(self.peak, equity)
        deeper = max(0.0, (peak - equity) - (self.peak - self.equity))
        reward = equity - self.equity - terms.inventory_risk * self.held**2 * variance - terms.drawdown_penalty * deeper
        self.equity, self.peak = equity, peak
        return reward


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    st.integers(0, 50),
    st.lists(
        st.tuples(st.floats(-1, 1), st.sampled_from([0.0, 0.05, 0.3, 1.0]), st.sampled_from([0.0, 0.01, 0.1, 1.0])),
        min_size=30,
        max_size=59,
    ),
)
def test_the_kernel_agrees_with_the_plain_rules(seed: int, actions: list[tuple[float, float, float]]) -> None:
    bars = random_bars(seed)
    env = one(bars)
    observed, info = env.reset(seed=seed)
    latency = round(float(observed[env.world.names.index("latency")]) * TERMS.most_latency)
    plain = Plain(bars, TERMS, info["bar"], latency)
    for action in actions:
        _, reward, terminated, truncated, info = env.step(np.array(action))
        assert not (terminated or truncated)
        assert reward == pytest.approx(plain.step(*action), abs=1e-12)
        assert info["equity"] == pytest.approx(plain.equity, abs=1e-12)
        assert info["inventory"] == pytest.approx(plain.held, abs=1e-12)


@pytest.mark.parametrize("actions", ["continuous", "discrete"])
def test_gymnasiums_checker_passes(actions: Any) -> None:
    gymnasium.register("Bitacora/Bars-test-v0", entry_point=lambda: MarketEnv(
        lambda n: BarsWorld(n, random_bars(), terms=TERMS), actions=actions
    ))  # fmt: skip
    check_env(gymnasium.make("Bitacora/Bars-test-v0").unwrapped)
    del gymnasium.registry["Bitacora/Bars-test-v0"]


def test_a_vector_is_its_single_environments_seed_by_seed() -> None:
    vector = MarketVectorEnv(lambda n: BarsWorld(n, random_bars(), terms=TERMS), num_envs=5)
    singles = [one(random_bars()) for _ in range(5)]
    seen, _ = vector.reset(seed=11)
    starts = [env.reset(seed=11 + k)[0] for k, env in enumerate(singles)]
    assert np.array_equal(seen, starts)
    assert len({tuple(row) for row in seen}) == 5
    rng = np.random.default_rng(3)
    for _ in range(TERMS.episode_bars):
        actions = rng.uniform([-1, 0, 0], 1, (5, 3))
        seen, rewards, terminated, truncated, _ = vector.step(actions)
        for k, env in enumerate(singles):
            one_seen, reward, one_terminated, one_truncated, _ = env.step(actions[k])
            assert np.array_equal(seen[k], one_seen)
            assert (rewards[k], terminated[k], truncated[k]) == (reward, one_terminated, one_truncated)
    assert truncated.all()
    seen, rewards, terminated, truncated, _ = vector.step(actions)
    assert not (rewards.any() or truncated.any()), "the step after an episode begins the next one"
    assert (seen[:, vector.world.names.index("time_left")] == 1.0).all()


def test_the_same_seed_gives_the_same_episode_and_another_seed_another() -> None:
    def play(seed: int) -> list[float]:
        env = one(random_bars())
        env.reset(seed=seed)
        rng = np.random.default_rng(0)
        return [env.step(rng.uniform([-1, 0, 0], 1))[1] for _ in range(50)]

    assert play(4) == play(4)
    assert play(4) != play(5)


def test_nothing_of_the_future_reaches_an_observation_or_a_reward() -> None:
    bars, cut = random_bars(), 150
    changed = BarArrays(bars.open_time, *(np.concatenate((c[:cut], c[cut:] * 3)) for c in bars[1:5]), bars.volume * 1)
    features = np.arange(BARS, dtype=np.float64)[:, None]
    for start in (cut - 60, cut - 31):
        runs = []
        for each in (bars, changed):
            env = one(each, features=features, names=["row"])
            seen, _ = env.reset(seed=9, options={"start": start})
            rng = np.random.default_rng(start)
            steps = [(seen, 0.0)]
            for _ in range(cut - 1 - start):
                seen, reward, *_ = env.step(rng.uniform([-1, 0, 0], 1))
                steps.append((seen, reward))
            assert seen[0] == cut - 1, "decides at the close of the last bar before the cut"
            runs.append(steps)
        for (seen, reward), (other, other_reward) in zip(*runs, strict=True):
            assert np.array_equal(seen, other) and reward == other_reward


def test_an_order_never_trades_in_the_bar_that_was_seen() -> None:
    bars = random_bars()
    env = one(bars, replace(TERMS, most_latency=1, taker_fee_bps=0, spread_bps=0, impact=0))
    _, info = env.reset(seed=1, options={"start": 100})
    _, _, _, _, info = env.step(np.array([1.0, 0, 0]))
    bought = 0.25
    expected = 1 + bought * (bars.close[101] - bars.open[101]) / bars.close[100]
    assert info["equity"] == pytest.approx(expected, rel=1e-12)


def test_a_larger_order_of_the_same_signal_earns_less_per_unit() -> None:
    rising = random_bars(deviation=0.0005)
    rising = BarArrays(rising.open_time, *(c * np.exp(0.003 * np.arange(BARS)) for c in rising[1:5]), rising.volume)
    per_unit = []
    for size in (0.1, 0.3, 1.0):
        env = one(rising, replace(TERMS, most_latency=1, most_order=1.0))
        env.reset(seed=1, options={"start": 100})
        env.step(np.array([size, 0, 0]))
        for _ in range(10):
            *_, info = env.step(np.zeros(3))
        *_, info = env.step(np.array([-size, 0, 0]))
        per_unit.append((info["equity"] - 1) / size)
    assert per_unit[0] > per_unit[1] > per_unit[2] > 0


def test_impact_is_square_root_and_decays() -> None:
    paid = {}
    for size in (0.25, 1.0):
        env = one(flat_bars(), replace(TERMS, most_latency=1, most_order=1.0, taker_fee_bps=0, spread_bps=0, lasting=0))
        env.reset(seed=1, options={"start": 100})
        *_, info = env.step(np.array([size, 0, 0]))
        *_, info = env.step(np.zeros(3))  # back at the price of the start
        paid[size] = (1 - info["equity"]) / size
    drift = 0.0005  # it buys at the upper price of the tremble
    assert (paid[1.0] - drift) / (paid[0.25] - drift) == pytest.approx(2.0, rel=0.01)


def test_risk_and_drawdown_cost_reward_but_no_money() -> None:
    actions = np.random.default_rng(2).uniform([-1, 0, 0], 1, (59, 3))
    sums, ends = [], []
    for terms in (TERMS, replace(TERMS, inventory_risk=0.0, drawdown_penalty=0.0)):
        env = one(random_bars(), terms)
        env.reset(seed=6)
        sums.append(sum(env.step(action)[1] for action in actions))
        ends.append(env.world.info()["equity"][0])
    assert ends[0] == ends[1]
    assert sums[1] == pytest.approx(ends[1] - 1, abs=1e-12), "without penalties the rewards sum to the profit"
    assert sums[0] < sums[1]


def test_ruin_ends_the_episode() -> None:
    falling = random_bars(deviation=0.0005)
    falling = BarArrays(falling.open_time, *(c * np.exp(-0.05 * np.arange(BARS)) for c in falling[1:5]), falling.volume)
    env = one(falling, replace(TERMS, most_latency=1, most_order=1.0))
    env.reset(seed=1, options={"start": 100})
    env.step(np.array([1.0, 0, 0]))
    for _ in range(59):
        *_, terminated, truncated, info = env.step(np.zeros(3))
        if terminated:
            break
    assert terminated and not truncated and info["equity"] <= TERMS.ruin


def test_what_makes_no_sense_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="features: expected"):
        BarsWorld(1, random_bars(), np.zeros((3, 1)), ["a"])
    with pytest.raises(UsageError, match="Give more bars"):
        BarsWorld(1, random_bars(n=50), terms=TERMS)
    with pytest.raises(UsageError, match="actions: expected shape"):
        env = one(random_bars())
        env.reset(seed=1)
        env.step(np.zeros(2))
    with pytest.raises(UsageError, match="finite"):
        env.step(np.array([math.nan, 0, 0]))
    with pytest.raises(UsageError, match="start"):
        env.reset(options={"start": 5})
