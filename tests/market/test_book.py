"""The compiled book against a naive one that shares no code with it: plain lists, sorted at every match."""

from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake.instruments import INSTRUMENTS
from market import book as books
from market import engine as engines
from market import order_entry, requests
from market.accounts import FEE_SCALE, FREE, LOCKED, VENUE
from market.book import BUY, NO_PRICE, SELL
from market.contracts import spot

OWNERS, LOT_UNITS, TICK_UNITS = 5, 1000, 10
CONTRACTS = [spot(INSTRUMENTS["binance:BTC/USDT"])]
FEES = [0, 0, 500, 1000, 333]
START = 2_000_000


@dataclass
class Resting:
    order_id: int
    owner: int
    side: int
    price: int
    lots: int


@dataclass
class Naive:
    """An exact order book in the plainest form: one list of resting orders in order of arrival."""

    resting: list[Resting] = field(default_factory=list)
    balances: list[list[list[int]]] = field(default_factory=list)
    trades: list[tuple[int, int, int, int]] = field(default_factory=list)
    next_id: int = 1

    def counterparties(self, side: int, price: int) -> list[Resting]:
        fit = [r for r in self.resting if r.side != side and (r.price <= price if side == BUY else r.price >= price)]
        return sorted(fit, key=lambda r: (r.price if side == BUY else -r.price, r.order_id))

    def place(self, owner: int, side: int, price: int, lots: int, rests: bool) -> tuple[int, int]:
        left, cost = lots, 0
        for r in self.counterparties(side, price):
            cost += min(left, r.lots) * r.price * TICK_UNITS
            left -= min(left, r.lots)
        need = lots * LOT_UNITS if side == SELL else (price * lots * TICK_UNITS if rests else cost)
        asset = 1 if side == BUY else 0
        purse = self.balances[owner]
        if purse[asset][FREE] < need:
            return -1, 0
        order_id, self.next_id, left = self.next_id, self.next_id + 1, lots
        purse[asset][FREE] -= need
        for r in self.counterparties(side, price):
            if left == 0:
                break
            take = min(left, r.lots)
            self.settle(r, owner, take)
            need -= take * LOT_UNITS if side == SELL else take * r.price * TICK_UNITS
            self.trades.append((r.order_id, order_id, r.price, take))
            r.lots -= take
            left -= take
        self.resting = [r for r in self.resting if r.lots]
        kept = 0
        if rests and left:
            self.resting.append(Resting(order_id, owner, side, price, left))
            kept = left * LOT_UNITS if side == SELL else left * price * TICK_UNITS
        purse[asset][LOCKED] += kept
        purse[asset][FREE] += need - kept
        return order_id, lots - left

    def settle(self, maker: Resting, taker: int, lots: int) -> None:
        buyer, seller = (maker.owner, taker) if maker.side == BUY else (taker, maker.owner)
        base, quote = lots * LOT_UNITS, lots * maker.price * TICK_UNITS
        base_fee = int(Fraction(base * FEES[buyer], FEE_SCALE))
        quote_fee = int(Fraction(quote * FEES[seller], FEE_SCALE))
        if maker.side == BUY:
            self.balances[buyer][1][LOCKED] -= quote
        else:
            self.balances[seller][0][LOCKED] -= base
        self.balances[buyer][0][FREE] += base - base_fee
        self.balances[seller][1][FREE] += quote - quote_fee
        self.balances[VENUE][0][FREE] += base_fee
        self.balances[VENUE][1][FREE] += quote_fee

    def cancel(self, order_id: int) -> int:
        for r in self.resting:
            if r.order_id == order_id:
                self.resting.remove(r)
                asset, units = (1, r.lots * r.price * TICK_UNITS) if r.side == BUY else (0, r.lots * LOT_UNITS)
                self.balances[r.owner][asset][LOCKED] -= units
                self.balances[r.owner][asset][FREE] += units
                return r.lots
        return 0

    def levels(self, side: int) -> list[list[int]]:
        totals: dict[int, int] = {}
        for r in self.resting:
            if r.side == side:
                totals[r.price] = totals.get(r.price, 0) + r.lots
        return [[p, totals[p]] for p in sorted(totals, reverse=side == BUY)]


KINDS = {"limit": engines.LIMIT, "take": engines.LIMIT, "market": engines.MARKET}
Operation = tuple[str, int, int, int, int]

operations = st.lists(
    st.tuples(
        st.sampled_from(["limit", "limit", "limit", "take", "market", "cancel"]),
        st.integers(1, OWNERS - 1),
        st.integers(0, 1),
        st.integers(95, 105),
        st.integers(1, 30),
    ),
    min_size=80,
    max_size=400,
)


def replay(moves: list[Operation]) -> None:
    """Carry the moves out in both books and compare everything after each."""
    engine = engines.new_engine(CONTRACTS, OWNERS, slots=4, tape=4)
    money = engine.accounts
    money.fees.rates[:-1] = np.array(FEES)[:, None, None]
    money.balances[1:, :, FREE] = START
    naive = Naive(balances=[[[int(f), int(k)] for f, k in owner] for owner in money.balances.tolist()])
    total = money.balances.sum(axis=(0, 2)).tolist()
    slots: dict[int, int] = {}
    for number, (kind, owner, side, price, lots) in enumerate(moves):
        if kind == "cancel":
            order_id = 1 + (price * 31 + lots) % max(1, naive.next_id)
            slot = slots.get(order_id, 0)
            assert order_entry.cancel(engine, 0, slot, order_id, number) == naive.cancel(order_id)
        else:
            engine = engines.with_room(engine, 1)
            engine.book.tape_rows[0] = engine.event_rows[0] = 0
            request = engines.new_request(0, owner, side, lots, KINDS[kind], price)
            request[engines.REQ_TIF] = engines.IOC if kind == "take" else engines.GTC
            bound = price if kind != "market" else (NO_PRICE if side == BUY else 0)
            order_id, filled, slot = requests.submit(engine, request, number)
            seen = len(naive.trades)
            assert (order_id, filled) == naive.place(owner, side, bound, lots, kind == "limit")
            tape = engine.book.tape[: engine.book.tape_rows[0]]
            columns = [books.TAPE_MAKER_ORDER, books.TAPE_TAKER_ORDER, books.TAPE_PRICE, books.TAPE_LOTS]
            assert [tuple(row) for row in tape[:, columns].tolist()] == naive.trades[seen:]
            slots[order_id] = slot
        assert money.balances.tolist() == naive.balances
        assert money.balances.min() >= 0
        assert money.balances.sum(axis=(0, 2)).tolist() == total
        bids, asks = books.depth(engine.book, 0, BUY, 99).tolist(), books.depth(engine.book, 0, SELL, 99).tolist()
        assert [bids, asks] == [naive.levels(BUY), naive.levels(SELL)]
        assert not (bids and asks) or bids[0][0] < asks[0][0], "crossed"


@settings(max_examples=40, deadline=None, derandomize=True)
@given(operations)
def test_the_book_agrees_with_a_naive_one_after_every_operation(moves: list[Operation]) -> None:
    replay(moves)


def test_twenty_thousand_random_operations_agree_with_the_naive_book() -> None:
    rng = np.random.default_rng(7)
    kinds = np.array(["limit", "limit", "limit", "limit", "take", "market", "cancel", "cancel"])
    count = 20_000
    columns = (
        kinds[rng.integers(0, len(kinds), count)].tolist(),
        rng.integers(1, OWNERS, count).tolist(),
        rng.integers(0, 2, count).tolist(),
        rng.integers(90, 111, count).tolist(),
        rng.integers(1, 60, count).tolist(),
    )
    replay(list(zip(*columns, strict=True)))


def test_earlier_orders_of_a_price_trade_first() -> None:
    book = books.new_book(1)
    first, _, _ = books.place(book, 0, 1, SELL, 100, 5, True, 0)
    second, _, _ = books.place(book, 0, 2, SELL, 100, 5, True, 0)
    cheaper, _, _ = books.place(book, 0, 3, SELL, 99, 1, True, 0)
    books.place(book, 0, 4, BUY, 100, 8, True, 0)
    assert book.tape[:3, books.TAPE_MAKER_ORDER].tolist() == [cheaper, first, second]
    assert book.tape[:3, books.TAPE_LOTS].tolist() == [1, 5, 2]


def funded_engine() -> engines.Engine:
    engine = engines.new_engine(CONTRACTS, OWNERS)
    engine.accounts.balances[1:, :, FREE] = START
    return engine


def limit(engine: engines.Engine, owner: int, side: int, price: int, lots: int) -> tuple[int, int, int]:
    return requests.submit(engine, engines.new_request(0, owner, side, lots, engines.LIMIT, price), 0)


def test_a_buyer_gets_back_what_a_better_price_saved() -> None:
    engine = funded_engine()
    limit(engine, 1, SELL, 90, 10)
    limit(engine, 2, BUY, 100, 10)
    assert engine.accounts.balances[2, 1].tolist() == [START - 10 * 90 * TICK_UNITS, 0]


def test_an_order_beyond_the_balance_changes_nothing() -> None:
    engine = funded_engine()
    before = engine.accounts.balances.copy()
    assert limit(engine, 1, SELL, 100, START // LOT_UNITS + 1) == (engines.REFUSED_BALANCE, 0, -1)
    assert (engine.accounts.balances == before).all()
    assert len(books.depth(engine.book, 0, SELL, 5)) == 0


def test_withdraw_removes_what_its_owner_quoted_and_no_other_order() -> None:
    engine = funded_engine()
    limit(engine, 2, BUY, 80, 1)
    quote, other = [0, engines.QUOTE_LEVEL, 1, BUY, 90, 3], [0, engines.QUOTE_LEVEL, 3, BUY, 85, 2]
    requests.execute(engine, np.array([quote, other, quote], np.int64), 3, 0)
    assert books.depth(engine.book, 0, BUY, 5).tolist() == [[90, 6], [85, 2], [80, 1]]
    requests.execute(engine, np.array([[0, engines.WITHDRAW, 1, BUY, 0, 0]], np.int64), 1, 0)
    assert books.depth(engine.book, 0, BUY, 5).tolist() == [[85, 2], [80, 1]]


@pytest.mark.parametrize(("budget", "expected"), [(10**12, (7, 714)), (515, (5, 508)), (311, (3, 304)), (99, (0, 0))])
def test_sweep_stops_at_the_budget(budget: int, expected: tuple[int, int]) -> None:
    engine = funded_engine()
    for price, lots in ((103, 2), (102, 3), (101, 2)):
        limit(engine, 1, SELL, price, lots)
    lots, cost = requests.sweep(engine, 0, BUY, NO_PRICE, 100, budget * TICK_UNITS)
    assert (lots, cost) == (expected[0], expected[1] * TICK_UNITS)
