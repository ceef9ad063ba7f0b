"""The order-book environment: Gymnasium's contract, money lot by lot, impact, stops, and a crowd worth trading with."""

from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from lake.errors import UsageError
from market.book import BUY, SELL, depth
from market.env import MarketEnv, MarketVectorEnv
from market.env_book import NAMES, BookTerms, BookWorld

STILL = BookTerms(events=0, most_latency=0)
"""Nobody acts but the agent."""


def still(**more: Any) -> MarketEnv:
    env = MarketEnv(lambda n: BookWorld(n, replace(STILL, **more)))
    env.reset(seed=3)
    return env


def levels(env: MarketEnv, side: int) -> list[list[int]]:
    world = env.world
    assert isinstance(world, BookWorld)
    return depth(world.book, 0, side, 100).tolist()


def mid(env: MarketEnv) -> float:
    return 0.5 * (levels(env, BUY)[0][0] + levels(env, SELL)[0][0])


def test_gymnasiums_checker_passes_for_both_kinds_of_action() -> None:
    for actions in ("continuous", "discrete"):
        check_env(gymnasium.make("Bitacora/Market-v0", actions=actions).unwrapped)


def test_gymnasium_makes_the_compiled_vector() -> None:
    vector = gymnasium.make_vec("Bitacora/Market-v0", num_envs=3, vectorization_mode="vector_entry_point")
    seen, _ = vector.reset(seed=1)
    assert isinstance(vector.unwrapped, MarketVectorEnv)
    assert seen.shape == (3, len(NAMES))
    vector.close()


def test_a_vector_is_its_single_environments_seed_by_seed() -> None:
    terms = BookTerms(episode=40)
    vector = MarketVectorEnv(lambda n: BookWorld(n, terms), num_envs=4)
    singles = [MarketEnv(lambda n: BookWorld(n, terms)) for _ in range(4)]
    seen, _ = vector.reset(seed=21)
    assert np.array_equal(seen, [env.reset(seed=21 + k)[0] for k, env in enumerate(singles)])
    assert len({tuple(row) for row in seen}) == 4
    rng = np.random.default_rng(1)
    for _ in range(40):
        actions = rng.uniform([-1, 0, 0], 1, (4, 3))
        seen, rewards, terminated, truncated, _ = vector.step(actions)
        for k, env in enumerate(singles):
            one, reward, one_terminated, one_truncated, _ = env.step(actions[k])
            assert np.array_equal(seen[k], one)
            assert (rewards[k], terminated[k], truncated[k]) == (reward, one_terminated, one_truncated)
    assert truncated.all()


def test_thousands_of_books_stay_uncrossed_and_bounded() -> None:
    terms = BookTerms(episode=30)
    vector = MarketVectorEnv(lambda n: BookWorld(n, terms), num_envs=2000)
    vector.reset(seed=5)
    rng = np.random.default_rng(2)
    world = vector.world
    assert isinstance(world, BookWorld)
    for _ in range(70):
        seen, *_ = vector.step(rng.uniform([-1, 0, 0], 1, (2000, 3)))
    assert np.isfinite(seen).all()
    both = (seen[:, NAMES.index("bid_lots_1")] > 0) & (seen[:, NAMES.index("ask_lots_1")] > 0)
    bid, ask = seen[both, NAMES.index("bid_away_1")], seen[both, NAMES.index("ask_away_1")]
    assert both.mean() > 0.9 and (bid < 0).all() and (ask > 0).all() and (bid == -ask).all()
    assert (np.abs(seen[:, NAMES.index("inventory")]) <= 1).all()
    assert (world.book.meta[:, 3] <= terms.resting + 1).all()


def test_a_market_order_pays_what_the_levels_ask_and_the_fee() -> None:
    env = still(lasting=0, inventory_risk=0, drawdown_penalty=0)
    asks, lots, cost = levels(env, SELL), 20, 0
    for price, offered in asks:
        take = min(lots, offered)
        cost, lots = cost + take * price, lots - take
    _, reward, _, _, info = env.step(np.array([1.0, 0, 0]))
    assert lots == 0 and info["inventory"] == 20
    assert info["profit"] == pytest.approx(20 * mid(env) - cost - 20 * STILL.taker_fee)
    assert reward == pytest.approx(info["profit"] / STILL.most_inventory)


def test_a_limit_order_rests_and_replaces_the_one_before() -> None:
    env = still()
    env.step(np.array([0.5, 0.9, 0]))
    before = dict(levels(env, BUY))
    seen, *_, info = env.step(np.array([0.5, 0.5, 0]))
    own = seen[NAMES.index("own_order")]
    price = round(info["mid"] + float(own) * STILL.most_offset)
    assert info["inventory"] == 0
    assert dict(levels(env, BUY))[price] == before.get(price, 0) + 10
    assert sum(dict(levels(env, BUY)).values()) == sum(before.values()), "the one before is gone"


def test_a_larger_order_costs_more_per_lot() -> None:
    costs = []
    for size in (0.1, 0.5, 1.0):
        vector = MarketVectorEnv(lambda n: BookWorld(n, BookTerms(taker_fee=0, events=2)), num_envs=400)
        vector.reset(seed=8)
        action = np.zeros((400, 3))
        for signed in (size, 0.0, 0.0, -size):
            action[:, 0] = signed
            vector.step(action)
        costs.append(-vector.world.info()["profit"].mean() / (20 * size))
    assert 0 < costs[0] < costs[1] < costs[2]


def test_who_follows_the_signal_earns_more_than_who_ignores_or_inverts_it() -> None:
    def profit(sign: float) -> float:
        vector = MarketVectorEnv(lambda n: BookWorld(n, BookTerms(most_order=5)), num_envs=300)
        seen, _ = vector.reset(seed=4)
        rng = np.random.default_rng(0)
        for _ in range(300):
            action = np.zeros((300, 3))
            wanted = np.clip(2 * seen[:, 0] if sign else rng.normal(size=300), -1, 1) * (sign or 1)
            action[:, 0] = np.where(np.abs(wanted - seen[:, NAMES.index("inventory")]) > 0.5, np.sign(wanted), 0)
            action[:, 1] = 0.15
            seen, *_ = vector.step(action)
        return float(vector.world.info()["profit"].mean())

    follow, ignore, invert = profit(1), profit(0), profit(-1)
    assert follow > ignore > invert
    assert follow > 0 > invert


def test_a_stop_leaves_the_position() -> None:
    env = MarketEnv(lambda n: BookWorld(n, BookTerms(signal_weight=0, volatility=3, most_latency=0)))
    left = 0
    for seed in range(20):
        env.reset(seed=seed)
        *_, info = env.step(np.array([1.0, 0, 0.1]))
        bought_at = info["mid"]
        for _ in range(200):
            *_, info = env.step(np.zeros(3))
            if info["mid"] < bought_at - 30:
                break
        if info["mid"] < bought_at - 30:
            left += 1
            assert info["inventory"] == 0
    assert left >= 5


def test_ruin_ends_an_episode_and_a_start_bar_is_refused() -> None:
    env = MarketEnv(lambda n: BookWorld(n, BookTerms(ruin=1.0)))
    env.reset(seed=1)
    terminated, steps = False, 0
    while not terminated and steps < 500:
        _, _, terminated, truncated, _ = env.step(np.array([1.0 if steps % 2 else -1.0, 0, 0]))
        steps += 1
    assert terminated and not truncated
    with pytest.raises(UsageError, match="no bars"):
        env.reset(options={"start": 4})
    with pytest.raises(UsageError, match="BookTerms"):
        BookTerms(events=1, most_latency=2)
