"""The derivatives of the present: prices near their index, funding from the premium, conservation through all of it."""

from dataclasses import replace

import numpy as np
import pytest

from lake.instruments import INSTRUMENTS
from lake.intervals import HOUR, MINUTE, SECOND
from market import clearing
from market.agents import MAKER, STEP_SECONDS, TAKER, Agents
from market.basis import funding_rate, premium_index
from market.book import UNIT
from market.contracts import CON_MARGIN, FREE, FUTURE, future, perpetual, scales_of, spot
from market.engine import EV_FUNDING, EV_KIND, EV_SETTLED, Engine, new_engine, with_room
from market.futures_past import FUNDING_PERIOD, Past, simulate_past
from market.futures_world import FuturesWorld, open_derivatives
from market.margin import POS_COST, POS_LOTS
from market.requests import execute
from market.scenario import History, Scenario, simulate_history

HISTORY = simulate_history(Scenario(3, days=2))
NOW = HISTORY.state.time_us
SPOT = [spot(INSTRUMENTS[name]) for name in HISTORY.instruments]


class Ring:
    """A venue of spot and derivatives without its exchange: engine, agents and world in the order of a step."""

    def __init__(self, past: Past, seed_history: History = HISTORY) -> None:
        self.time = NOW
        self.engine: Engine = new_engine([*SPOT, *past.contracts], 4)
        self.engine.accounts.balances[1:3, : len(SPOT) + 1, FREE] = 10**9 * UNIT
        self.spot = Agents(seed_history, scales_of(SPOT))
        self.world, self.agents = open_derivatives(self, past, self.spot, len(SPOT))
        self.events: list[list[int]] = []
        self.trades = 0

    def run(self, seconds: float) -> None:
        end = self.time + round(seconds * SECOND)
        while self.time < end:
            self.time += round(STEP_SECONDS * SECOND)
            assert self.agents is not None
            for agents in (self.spot, self.agents):
                count = agents.act(STEP_SECONDS, self.time)
                self.engine = with_room(self.engine, count)
                execute(self.engine, agents.commands, count, self.time - 1)
            self.world.step(self.time)
            self.events += self.engine.events[: self.engine.event_rows[0]].tolist()
            self.trades += int(self.engine.book.tape_rows[0])
            self.engine.event_rows[0] = self.engine.book.tape_rows[0] = 0


def _past(expiry: int = NOW + 30 * 86_400 * SECOND) -> Past:
    return simulate_past(HISTORY, [perpetual("BTC"), perpetual("ETH"), future("BTC", expiry)], 3)


@pytest.fixture(scope="module")
def ring() -> Ring:
    ring = Ring(_past())
    ring.run(600)
    return ring


def test_agents_make_books_around_the_basis(ring: Ring) -> None:
    world = ring.world
    assert ring.trades > 500
    for k in range(3):
        ticks = world._survey[world.first + k]
        assert ticks[2] - 1e-6 <= ticks[0] < ticks[1] <= ticks[3] + 1e-6  # impact prices are averages
        best = ticks * float(world.contracts[k].instrument.price_tick)
        assert best[0] == pytest.approx(world.index[k], rel=0.003 if k < 2 else 0.02)
        assert abs(world.mark[k] / (best[0] + best[1]) * 2 - 1) < 0.0008


def test_nothing_is_made_or_lost(ring: Ring) -> None:
    before = Ring(_past())
    totals = clearing.totals(before.engine)
    before.run(30)
    assert clearing.totals(before.engine) == totals
    assert clearing.totals(ring.engine) == totals
    assert (ring.engine.accounts.positions[:, :, POS_LOTS].sum(axis=0) == 0).all()


def test_open_interest_begins_where_the_past_ends_and_moves_with_trades(ring: Ring) -> None:
    fresh = Ring(_past())
    np.testing.assert_array_equal(fresh.world.interest(), _past().open_interest[:, -1])
    assert (ring.world.interest() != fresh.world.interest()).any()
    assert ring.world.open_interest.values.shape[1] == _past().open_interest.shape[1] + 2


def test_marks_are_noted_every_minute_after_the_past(ring: Ring) -> None:
    assert ring.world.marks.values.shape == (3, len(HISTORY.open_time) + 10)
    step = np.abs(np.diff(np.log(ring.world.marks.values[0])))
    assert step[-10:].max() < 20 * step[:-10].mean()


def test_funding_is_paid_at_the_rate_of_the_premiums() -> None:
    ring = Ring(_past())
    ring.world.step(NOW + FUNDING_PERIOD - 2 * SECOND)  # nobody acted: the books are empty, the premium is zero
    ring.time = NOW + FUNDING_PERIOD - 2 * SECOND
    ring.world._premiums[0] = [0.001, 0.002, 0.003]
    before = clearing.totals(ring.engine)
    ring.run(2)
    paid = ring.world.funding[0][-1]
    impact = ring.world._survey[ring.world.first, 2:] * 0.1
    last = premium_index(float(ring.world.index[0]), *impact.tolist())  # sampled at the instant of the payment
    expected = funding_rate(np.array([0.001, 0.002, 0.003, last]))
    assert (paid.time, paid.rate) == (NOW + FUNDING_PERIOD, expected)
    rows = [row for row in ring.events if row[EV_KIND] == EV_FUNDING]
    assert {row[3] for row in rows} == {MAKER, TAKER}
    taker = next(row for row in rows if row[3] == TAKER and row[1] == ring.world.first)
    worth = ring.world.interest()[0] * float(ring.world.contracts[0].instrument.quantity_step) * paid.mark
    assert -taker[9] / UNIT == pytest.approx(worth * expected, rel=0.01)
    assert clearing.totals(ring.engine) == before


def test_a_future_converges_to_its_index_and_settles_there_to_the_tick() -> None:
    ring = Ring(_past(NOW + 60 * SECOND))
    ring.run(59)
    k, i = 2, ring.world.first + 2
    assert ring.world.contracts[k].kind == FUTURE
    gap = ring.world.mark[k] / ring.world.index[k] - 1
    assert abs(gap) < 0.0002
    before = clearing.totals(ring.engine)
    ring.run(3)
    settled = [row for row in ring.events if row[EV_KIND] == EV_SETTLED]
    assert {row[3] for row in settled} >= {MAKER, TAKER}
    assert len({row[5] for row in settled}) == 1
    assert (ring.engine.accounts.positions[:, i, [POS_LOTS, POS_COST]] == 0).all()
    assert ring.world.settled == {k}
    assert clearing.totals(ring.engine) == before
    ring.run(2)  # its market stays closed, the others go on
    assert ring.engine.book.meta[i, 2:4].sum() >= 0
    assert (ring.engine.accounts.positions[:, i, POS_LOTS] == 0).all()


def test_the_same_seed_gives_the_same_market() -> None:
    one, two = Ring(_past()), Ring(_past())
    one.run(20)
    two.run(20)
    np.testing.assert_array_equal(one.engine.accounts.balances, two.engine.accounts.balances)
    np.testing.assert_array_equal(one.world.mark, two.world.mark)


def test_derivatives_change_nothing_for_spot() -> None:
    with_them = Ring(_past())
    with_them.run(20)
    alone: Engine = new_engine(SPOT, 4)
    alone.accounts.balances[1:3, :, FREE] = 10**9 * UNIT
    agents, time = Agents(HISTORY, scales_of(SPOT)), NOW
    for _ in range(40):
        time += round(STEP_SECONDS * SECOND)
        count = agents.act(STEP_SECONDS, time)
        alone = with_room(alone, count)
        execute(alone, agents.commands, count, time - 1)
        alone.book.tape_rows[0] = 0
    np.testing.assert_array_equal(
        alone.accounts.balances[:3], with_them.engine.accounts.balances[:3, : alone.accounts.balances.shape[1]]
    )


def test_without_agents_the_mark_is_the_index() -> None:
    past = _past()
    ring = Ring(past)
    world, agents = open_derivatives(ring, past, None, len(SPOT))
    assert agents is None
    world.step(NOW + MINUTE)
    np.testing.assert_allclose(world.mark, world.index, rtol=2e-4)
    assert world.next_funding() == NOW + 8 * HOUR
    assert isinstance(replace(past, contracts=past.contracts), Past)
    assert ring.engine.accounts.contracts[world.first, CON_MARGIN] >= 0
    assert isinstance(world, FuturesWorld)
