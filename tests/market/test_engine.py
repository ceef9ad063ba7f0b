"""Orders of all types: by hand where a rule has a name, and against the naive engine by the ten thousand."""

import numpy as np
import pytest
from engine_duel import CONTRACTS, Duel, duel, random_moves

from market import book as books
from market import engine as engines
from market import order_entry, requests, waiting_orders
from market.accounts import FREE
from market.book import BUY, SELL
from market.engine import (
    EXPIRE_BOTH,
    EXPIRE_MAKER,
    EXPIRE_TAKER,
    FOK,
    IOC,
    LIMIT,
    MARKET,
    POST_ONLY,
    STOP_LIMIT,
    STOP_MARKET,
    TAKE_PROFIT_MARKET,
    TRAILING_STOP,
)

PERPETUAL = 1
COLUMNS = {
    "tif": engines.REQ_TIF, "stop": engines.REQ_STOP, "trail": engines.REQ_TRAIL, "display": engines.REQ_DISPLAY,
    "reduce_only": engines.REQ_REDUCE_ONLY, "stp": engines.REQ_STP, "expiry": engines.REQ_EXPIRY,
    "trigger_by": engines.REQ_TRIGGER_BY,
}  # fmt: skip


class Market:
    """An engine with four rich owners."""

    def __init__(self) -> None:
        self.engine = engines.new_engine(CONTRACTS, 5)
        self.engine.accounts.balances[1:5, :, FREE] = 10**12

    def ask(
        self, owner: int, side: int, lots: int, price: int = 0, kind: int | None = None, i: int = 0, time: int = 0,
        **columns: int,
    ) -> tuple[int, int, int]:  # fmt: skip
        kind = (LIMIT if price else MARKET) if kind is None else kind
        request = engines.new_request(i, owner, side, lots, kind, price)
        for name, value in columns.items():
            request[COLUMNS[name]] = value
        self.engine = engines.with_room(self.engine, 1)
        return requests.submit(self.engine, request, time)

    def events(self) -> list[tuple[int, int, int]]:
        """Kind, order and reason of each."""
        rows = self.engine.events[: self.engine.event_rows[0]]
        return [tuple(row) for row in rows[:, [engines.EV_KIND, engines.EV_ORDER, engines.EV_REASON]].tolist()]

    def trades(self) -> list[tuple[int, int, int]]:
        """Maker order, price and lots of each."""
        rows = self.engine.book.tape[: self.engine.book.tape_rows[0]]
        columns = [books.TAPE_MAKER_ORDER, books.TAPE_PRICE, books.TAPE_LOTS]
        return [tuple(row) for row in rows[:, columns].tolist()]

    def depth(self, side: int, i: int = 0) -> list[list[int]]:
        return books.depth(self.engine.book, i, side, 99).tolist()

    def trade_at(self, price: int, i: int = 0) -> None:
        """Make a price: owner 3 sells one lot to owner 4."""
        self.ask(3, SELL, 1, price, i=i)
        self.ask(4, BUY, 1, price, i=i)


@pytest.fixture
def market() -> Market:
    return Market()


def test_fill_or_kill_fills_all_or_nothing(market: Market) -> None:
    market.ask(1, SELL, 5, 100)
    market.ask(1, SELL, 5, 101)
    order, filled, slot = market.ask(2, BUY, 11, 101, tif=FOK)
    assert (filled, slot) == (0, -1)
    assert market.events() == [(engines.EV_EXPIRED, order, engines.BY_TIF)]
    assert market.ask(2, BUY, 10, 101, tif=FOK)[1] == 10


def test_post_only_is_refused_where_it_would_take(market: Market) -> None:
    market.ask(1, SELL, 5, 100)
    assert market.ask(2, BUY, 1, 100, tif=POST_ONLY)[0] == engines.REFUSED_POST_ONLY
    assert market.ask(2, BUY, 1, 99, tif=POST_ONLY)[2] >= 0


def test_an_iceberg_shows_a_part_and_refills_at_the_back_of_the_queue(market: Market) -> None:
    ice, _, _ = market.ask(1, SELL, 10, 100, display=3)
    plain, _, _ = market.ask(2, SELL, 4, 100)
    assert market.depth(SELL) == [[100, 7]]
    market.ask(3, BUY, 8, 100)
    assert market.trades() == [(ice, 100, 3), (plain, 100, 4), (ice, 100, 1)]
    assert market.depth(SELL) == [[100, 2]]


def test_a_smaller_order_keeps_its_place_and_a_larger_one_goes_back(market: Market) -> None:
    first, _, slot = market.ask(1, SELL, 5, 100)
    second, _, _ = market.ask(2, SELL, 5, 100)
    assert requests.amend(market.engine, 0, slot, first, 100, 4, 0) == (first, 0, slot)
    market.ask(3, BUY, 1, 100)
    requests.amend(market.engine, 0, slot, first, 100, 9, 0)
    market.ask(3, BUY, 6, 100)
    assert market.trades() == [(first, 100, 1), (second, 100, 5), (first, 100, 1)]


def test_an_amended_order_may_trade_and_a_refused_change_changes_nothing(market: Market) -> None:
    market.ask(1, SELL, 5, 100)
    order, _, slot = market.ask(2, BUY, 5, 98)
    before = market.engine.accounts.balances.copy()
    answer = requests.amend(market.engine, 0, slot, order, 99, 10**10, 0)
    assert answer == (engines.REFUSED_BALANCE, 0, -1)
    assert (market.engine.accounts.balances == before).all()
    assert requests.amend(market.engine, 0, slot, order, 100, 7, 0) == (order, 5, slot)
    assert market.depth(BUY) == [[100, 2]]


@pytest.mark.parametrize(
    ("mode", "filled", "asks"), [(EXPIRE_TAKER, 2, [[101, 5]]), (EXPIRE_MAKER, 4, []), (EXPIRE_BOTH, 2, [])]
)
def test_self_trade_prevention_expires_whom_the_taker_says(
    market: Market, mode: int, filled: int, asks: list[list[int]]
) -> None:
    market.ask(2, SELL, 2, 100)
    market.ask(1, SELL, 5, 101)
    market.ask(2, SELL, 2, 102)
    got = market.ask(1, BUY, 9, 102, tif=IOC, stp=mode)[1]
    assert got == filled
    assert [level for level in market.depth(SELL) if level[0] == 101] == asks


def test_a_stop_enters_after_the_trade_that_reached_it(market: Market) -> None:
    market.trade_at(100)
    market.ask(1, BUY, 9, 90)
    stop, _, _ = market.ask(2, SELL, 3, kind=STOP_MARKET, stop=95)
    market.trade_at(96)
    assert market.events() == []
    market.trade_at(95)
    assert market.events() == [(engines.EV_TRIGGERED, stop, 0)]
    assert market.trades()[-1][1:] == (90, 3)


def test_stops_fire_the_nearest_first_and_one_may_set_off_the_next(market: Market) -> None:
    market.trade_at(100)
    market.ask(1, BUY, 2, 94)
    market.ask(1, BUY, 9, 80)
    far, _, _ = market.ask(2, SELL, 2, kind=STOP_MARKET, stop=90)
    near, _, _ = market.ask(2, SELL, 4, kind=STOP_MARKET, stop=97)
    market.trade_at(96)
    assert [event[1] for event in market.events()] == [near, far]
    assert market.engine.state[0, engines.STATE_LAST] == 80


def test_a_stop_that_would_fire_at_once_is_refused(market: Market) -> None:
    market.trade_at(100)
    assert market.ask(1, BUY, 1, kind=STOP_MARKET, stop=100)[0] == engines.REFUSED_TRIGGERS_NOW
    assert market.ask(1, BUY, 1, kind=TAKE_PROFIT_MARKET, stop=101)[0] == engines.REFUSED_TRIGGERS_NOW


def test_a_stop_limit_rests_under_its_id_and_in_its_slot(market: Market) -> None:
    market.trade_at(100)
    order, _, slot = market.ask(1, BUY, 5, 103, kind=STOP_LIMIT, stop=102)
    market.trade_at(102)
    assert market.events() == [(engines.EV_TRIGGERED, order, 0), (engines.EV_RESTED, order, 0)]
    assert order_entry.cancel(market.engine, 0, slot, order, 0) == 5


def test_a_mark_price_sets_off_only_who_asked_for_it(market: Market) -> None:
    market.trade_at(100)
    market.engine.state[0, engines.STATE_MARK] = 100
    by_mark, _, _ = market.ask(1, BUY, 1, 110, kind=STOP_LIMIT, stop=105, trigger_by=engines.MARK_PRICE)
    market.ask(1, BUY, 1, 110, kind=STOP_LIMIT, stop=105)
    market.engine.state[0, engines.STATE_MARK] = 106
    waiting_orders.react(market.engine, 0, engines.MARK_PRICE, 0)
    assert [event[1] for event in market.events()] == [by_mark, by_mark]


def test_a_trailing_stop_follows_the_highest_price_since_its_activation(market: Market) -> None:
    market.trade_at(1000)
    market.ask(1, BUY, 9, 500)
    early, _, _ = market.ask(2, SELL, 1, kind=TRAILING_STOP, trail=1000)  # 10 %
    market.trade_at(1200)
    market.trade_at(1150)
    late, _, _ = market.ask(2, SELL, 1, kind=TRAILING_STOP, trail=1000)
    market.trade_at(1081)
    assert market.events() == []
    market.trade_at(1080)  # 1200 less 10 %; its own trade at 500 then sets off the other
    assert [event[1] for event in market.events()] == [early, late]


def test_a_trailing_stop_waits_for_its_activation(market: Market) -> None:
    market.trade_at(1000)
    market.ask(1, BUY, 9, 500)
    order, _, _ = market.ask(2, SELL, 1, kind=TRAILING_STOP, trail=100, stop=1100)
    market.trade_at(900)
    assert market.events() == []
    market.trade_at(1100)
    market.trade_at(1089)
    assert market.events() == [(engines.EV_TRIGGERED, order, 0)]


def test_the_price_that_activates_a_trailing_stop_is_a_peak_for_the_older_ones_too(market: Market) -> None:
    market.trade_at(1000)
    market.ask(1, BUY, 9, 500)
    older, _, _ = market.ask(2, SELL, 1, kind=TRAILING_STOP, trail=1000)
    market.ask(2, SELL, 1, kind=TRAILING_STOP, trail=1000, stop=1200)
    market.trade_at(1200)
    market.trade_at(1080)
    assert market.events()[0] == (engines.EV_TRIGGERED, older, 0)


def test_reduce_only_closes_no_more_than_the_position(market: Market) -> None:
    assert market.ask(1, SELL, 5, 100, i=PERPETUAL, reduce_only=1)[0] == engines.REFUSED_REDUCE_ONLY
    market.ask(2, SELL, 3, 100, i=PERPETUAL)
    market.ask(1, BUY, 3, 100, i=PERPETUAL)
    closing, _, _ = market.ask(1, SELL, 5, 101, i=PERPETUAL, reduce_only=1)
    market.ask(3, BUY, 5, 101, i=PERPETUAL)
    assert market.trades()[-1] == (closing, 101, 3)
    assert market.events() == [(engines.EV_EXPIRED, closing, engines.BY_REDUCE_ONLY)]
    assert market.engine.accounts.positions[1, PERPETUAL, 0] == 0


def test_orders_expire_at_their_date_the_earliest_first(market: Market) -> None:
    late, _, _ = market.ask(1, BUY, 1, 90, tif=engines.GTD, expiry=20)
    soon, _, _ = market.ask(1, BUY, 1, 91, tif=engines.GTD, expiry=10)
    assert market.ask(1, BUY, 1, 91, tif=engines.GTD, expiry=10, time=10)[0] == engines.REFUSED_EXPIRED
    requests.pass_time(market.engine, 9)
    assert market.events() == []
    requests.pass_time(market.engine, 20)
    assert [event[1:] for event in market.events()] == [(soon, engines.BY_TIME), (late, engines.BY_TIME)]


def test_cancel_all_takes_one_owners_orders_of_every_kind(market: Market) -> None:
    market.trade_at(100)
    market.ask(1, BUY, 1, 90)
    market.ask(1, SELL, 1, kind=STOP_MARKET, stop=80)
    market.ask(2, BUY, 1, 90)
    assert requests.cancel_all(market.engine, 1, -1, 0) == 2
    assert market.depth(BUY) == [[90, 1]]
    assert market.engine.accounts.balances[1, :, 1].tolist() == [0, 0, 0]


def test_a_halted_market_refuses_and_still_cancels(market: Market) -> None:
    order, _, slot = market.ask(1, BUY, 1, 90)
    market.engine.state[0, engines.STATE_HALTED] = 1
    assert market.ask(1, BUY, 1, 90)[0] == engines.REFUSED_HALTED
    assert order_entry.cancel(market.engine, 0, slot, order, 0) == 1


def test_a_price_change_looks_at_no_stop_it_does_not_reach() -> None:
    """Ten thousand waiting stops: a trade that reaches none leaves every heap as it was, place for place."""
    market = Market()
    market.trade_at(1000)
    market.engine = engines.with_room(market.engine, 10_010)
    for k in range(10_000):
        market.ask(1, SELL, 1, 1, kind=STOP_LIMIT, stop=1 + k % 900)
    before = market.engine.triggers.heaps.copy()
    market.trade_at(950)
    assert (market.engine.triggers.heaps == before).all()
    assert market.engine.triggers.counts[0, 1] == 10_000


def test_twenty_thousand_random_requests_agree_with_the_naive_engine() -> None:
    fight = duel(seed=11, count=20_000)
    assert fight.trades > 8_000
    assert len(fight.kinds) >= 10, fight.kinds


@pytest.mark.parametrize("seed", [101, 102, 103])
def test_every_state_on_the_way_agrees_too(seed: int) -> None:
    assert duel(seed, 1_500, look_every=1).trades > 300


def test_the_comparison_notices_a_wrong_fill() -> None:
    """Without this the two tests above could pass by comparing nothing."""
    fight, moves = Duel(), random_moves(11, 400)
    rows = [dict(zip(moves, values, strict=True)) for values in zip(*moves.values(), strict=True)]
    fight.naive.fees = [(9, 9)] * len(fight.naive.fees)
    with pytest.raises(AssertionError):
        for time, row in enumerate(rows, start=1):
            fight.step(time, row)
    assert np.all(fight.engine.accounts.balances[:5, :2] >= 0)
