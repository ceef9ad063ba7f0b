"""The crowd: prices made by order flow, makers who mind what they hold, and large orders that pay the square root."""

import math
from decimal import Decimal

import numpy as np
import pytest

from lake.intervals import MINUTE
from market import crowd_flow
from market.book import BUY, SELL
from market.crowd import META_LEAST, Crowd, _empty
from market.crowd_flow import CELLS, HALF_CELLS, settle_field
from market.exchange import Exchange
from market.leadlag import FairPath, Follower
from market.orders import NewOrder
from market.scenario import LiveProcess, Scenario, simulate_history
from market.venue import build_venue

BTC = 0


def market(seed: int = 3, preset: str = "regimes") -> tuple[Exchange, Crowd]:
    scenario = Scenario(seed, days=1, preset=preset)
    exchange = build_venue(scenario, 1.0, "crowd", 1, Decimal(5), Decimal(100_000)).exchange
    crowd = exchange.crowds[0]
    assert isinstance(crowd, Crowd)
    return exchange, crowd


def test_the_crowd_trades_on_both_sides_and_loses_no_unit() -> None:
    exchange, crowd = market()
    totals, trades = exchange.totals(), 0
    for _ in range(20):
        exchange.advance(exchange.time + MINUTE)
        trades += len(exchange.outbox.trades)
        exchange.outbox.trades.clear()
        for i in range(6):
            bid, ask = exchange.depth(i, BUY, 1)[0, 0], exchange.depth(i, SELL, 1)[0, 0]
            assert 0 < ask - bid < 20e-4 * bid
    assert exchange.totals() == totals and exchange.least_balance() >= 0
    assert trades > 2_000
    assert np.abs(crowd.displaced).max() < 0.005
    assert 0.1 < np.abs(crowd.inventories).mean() < 20


def test_the_same_seed_gives_the_same_crowd() -> None:
    bars = []
    for _ in range(2):
        exchange, _ = market(seed=5)
        exchange.advance(exchange.time + 5 * MINUTE)
        bars.append(exchange.candles.bars[:, -5:].copy())
    assert np.array_equal(*bars)


def test_a_client_who_buys_much_moves_the_price_and_it_comes_back() -> None:
    moved, still = market(seed=7), market(seed=7)
    for exchange, _ in (moved, still):
        exchange.advance(exchange.time + 2 * MINUTE)
    exchange, crowd = moved
    account = exchange.accounts[0]
    exchange.engine.accounts.balances[account.owner, exchange.column("USDT"), 0] = 10**17
    for _ in range(40):
        exchange.submit(account, NewOrder(BTC, BUY, "MARKET", Decimal("2")))
        exchange.advance(exchange.time + MINUTE // 20)
    still[0].advance(exchange.time)
    pushed = crowd.displaced[BTC] - still[1].displaced[BTC]
    assert pushed > 5e-4
    for other, _ in (moved, still):
        other.advance(other.time + 30 * MINUTE)
    assert crowd.displaced[BTC] - still[1].displaced[BTC] < 0.8 * pushed


def test_the_field_of_patient_interest_gives_the_square_root() -> None:
    crowd = Crowd(simulate_history(Scenario(1, days=1)), np.zeros((6, 4), np.int64))
    model = crowd._model
    field, meet, at = _empty(6, model, np.zeros(6)).field[BTC].copy(), 0.0, {}
    for second in range(1, 6401):
        sold = 0.25 * model.volume[BTC]  # makers pass on what a large buyer took from them
        meet = settle_field(field, meet, sold, model.cell[BTC], model.slope[BTC], model.diffusion[BTC], 0.0)
        at[second] = meet
    seconds = np.array([100, 400, 1600, 6400])
    exponent = np.polyfit(np.log(seconds), np.log([at[s] for s in seconds]), 1)[0]
    assert exponent == pytest.approx(0.5, abs=0.08)
    assert at[1600] == pytest.approx(2 * at[400], rel=0.1)  # four times the size, twice the impact


def test_an_undisturbed_field_stays_where_it_is() -> None:
    field = -1000.0 * (np.arange(CELLS) - HALF_CELLS + 0.5)
    before, meet = field.copy(), 0.0
    for _ in range(1000):
        meet = settle_field(field, meet, 0.0, 1e-4, 1000.0, 0.1, 0.01)
    assert field == pytest.approx(before) and meet == pytest.approx(0.0, abs=1e-9)


def test_makers_shift_their_quotes_against_what_they_hold() -> None:
    history = simulate_history(Scenario(1, days=1))
    prices = []
    for held in (-10.0, 0.0, 10.0):
        crowd = Crowd(history, np.zeros((6, 4), np.int64))
        crowd._state.inventory[:] = held * crowd._trade_lots[:, None]
        rng = np.random.Generator(np.random.PCG64(1))
        out = crowd.commands
        count = crowd_flow._quote_makers(rng, out, 0, BTC, crowd._state, crowd._model, 4_000_000.0, 200.0, 1.0)
        bids = [int(row[4]) for row in out[:count] if row[3] == BUY]
        asks = [int(row[4]) for row in out[:count] if row[3] == SELL]
        assert max(bids) < min(asks)
        prices.append(np.mean(bids + asks))
    assert prices[0] > prices[1] > prices[2]


def test_a_follower_is_the_leader_some_time_ago_and_a_little_noise() -> None:
    history = simulate_history(Scenario(2, days=1))
    path = FairPath(LiveProcess(history.state))
    exact, noisy = Follower(path, 1, 0.4, 0.0), Follower(path, 1, 0.4, 5.0, 30.0)
    led, followed, apart = [], [], []
    for _ in range(4_000):
        led.append(path.step(0.2).log_price)
        followed.append(exact.step(0.2).log_price)
        apart.append(noisy.step(0.2).log_price - followed[-1])
    assert np.array(followed[2:]) == pytest.approx(np.array(led[:-2]), abs=1e-12)
    assert np.std(apart) * 1e4 == pytest.approx(5.0, rel=0.3)
    assert path.at(path.seconds - 0.1) == pytest.approx((led[-1] + led[-2]) / 2)


def test_large_orders_are_counted_with_what_they_did() -> None:
    exchange, crowd = market(seed=9)
    exchange.advance(exchange.time + 40 * MINUTE)
    done = crowd.finished
    assert len(done) > 10
    share = done[:, crowd_flow.DONE_LOTS] / (crowd._model.volume[done[:, 0].astype(int)] * 86_400)
    assert (share >= META_LEAST * (1 - 1e-9)).all() and (done[:, crowd_flow.DONE_SECONDS] > 0).all()
    impact = done[:, crowd_flow.DONE_IMPACT] / (done[:, crowd_flow.DONE_SIGMA] * math.sqrt(86_400))
    assert impact.mean() > 0.002  # buyers end higher, sellers lower, than they began
