"""Margin, liquidation, funding and expiry against a ledger kept apart (`naive_margin`), and by hand."""

from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_margin import Held, NaiveMargin, Owner, Rules

from lake.instruments import Instrument
from market import clearing, margin, order_entry, requests
from market import engine as engines
from market.accounts import FREE, FUND, LOCKED, POS_LOTS, TICK_LOT_UNITS
from market.book import (
    BUY,
    ORDER_FLAGS,
    ORDER_ID,
    ORDER_OWNER,
    ORDER_PRICE,
    ORDER_SIDE,
    REDUCE_ONLY,
    SELL,
    TAPE_BUYER_IS_MAKER,
    TAPE_INSTRUMENT,
    TAPE_LOTS,
    TAPE_MAKER,
    TAPE_MAKER_FEE,
    TAPE_MAKER_ORDER,
    TAPE_PRICE,
    TAPE_TAKER,
    TAPE_TAKER_FEE,
    TAPE_TAKER_ORDER,
    lots_of,
)
from market.contracts import FUTURE, PERPETUAL, Contract, MarginTier
from market.engine import Engine
from market.fees import DERIVATIVES_MARKET, MAKER_RATE, TAKER_RATE
from market.margin import (
    CROSS,
    ISOLATED,
    POS_BUY_LOTS,
    POS_BUY_UNITS,
    POS_COST,
    POS_ISOLATED,
    POS_MODE,
    POS_SELL_LOTS,
    POS_SELL_UNITS,
)

OWNERS = 6
UNIT = 10**8
TIERS = (
    MarginTier(20, Decimal("0.004"), 100), MarginTier(60, Decimal("0.01"), 50), MarginTier(400, Decimal("0.025"), 20),
    MarginTier(4000, Decimal("0.05"), 10), MarginTier(10**7, Decimal("0.25"), 2),
)  # fmt: skip
LIQUIDATION_FEE = Decimal("0.0125")
MAKER_FEE, TAKER_FEE = 200, 500
START = 1000


def contract(symbol: str, kind: int = PERPETUAL, band: str = "0.05") -> Contract:
    """Ticks of 0.01, lots of 0.001: a lot at 1000 ticks is worth 0.01 quote."""
    instrument = Instrument("binance", symbol, Decimal("0.01"), Decimal("0.001"), Decimal("0.001"), Decimal("0"))
    return Contract(instrument, kind, 10**15 if kind == FUTURE else None, TIERS, Decimal(band), LIQUIDATION_FEE)


CONTRACTS = [contract("AAA/USDT:USDT"), contract("BBB/USDT:USDT"), contract("AAA/USDT:USDT-230331", FUTURE)]
WALLET = 0  # the only column: USDT:margin


def new_engine(deposit: int = 100 * UNIT, fund: int = 1000 * UNIT) -> Engine:
    engine = engines.new_engine(CONTRACTS, OWNERS, slots=16, tape=64)
    engine.accounts.balances[1:OWNERS, WALLET, FREE] = deposit
    engine.accounts.balances[FUND, WALLET, FREE] = fund
    engine.accounts.fees.rates[3:OWNERS, DERIVATIVES_MARKET, MAKER_RATE] = MAKER_FEE
    engine.accounts.fees.rates[3:OWNERS, DERIVATIVES_MARKET, TAKER_RATE] = TAKER_FEE
    for i in range(len(CONTRACTS)):
        clearing.set_mark(engine, i, START, 0)
    return engine


def order(engine: Engine, owner: int, side: int, price: int, lots: int, i: int = 0, tif: int = engines.GTC) -> int:
    request = engines.new_request(i, owner, side, lots, engines.LIMIT, price)
    request[engines.REQ_TIF] = tif
    return int(requests.submit(engine, request, 0)[0])


def position(engine: Engine, owner: int, column: int, i: int = 0) -> int:
    return int(engine.accounts.positions[owner, i, column])


def wallet(engine: Engine, owner: int) -> tuple[int, int]:
    free, locked = engine.accounts.balances[owner, WALLET].tolist()
    return free, locked


def check_sums(engine: Engine, total: list[int]) -> None:
    """What holds after every operation, whatever it was."""
    accounts = engine.accounts
    assert clearing.totals(engine) == total
    assert accounts.balances[:-1].min() >= 0
    assert (accounts.positions[:, :, POS_LOTS].sum(axis=0) == 0).all()
    assert (accounts.balances[:-1, WALLET, LOCKED] == accounts.positions[:-1, :, POS_ISOLATED].sum(axis=1)).all()
    resting = np.zeros((OWNERS + 1, len(CONTRACTS), 4), np.int64)
    for i in range(len(CONTRACTS)):
        for slot, held in enumerate(engine.book.orders[i]):
            if held[ORDER_ID] and not held[ORDER_FLAGS] & REDUCE_ONLY:
                lots = lots_of(engine.book, i, slot)
                at = 0 if held[ORDER_SIDE] == BUY else 2
                resting[held[ORDER_OWNER], i, at] += lots
                resting[held[ORDER_OWNER], i, at + 1] += lots * held[ORDER_PRICE] * accounts.scales[i, TICK_LOT_UNITS]
    columns = [POS_BUY_LOTS, POS_BUY_UNITS, POS_SELL_LOTS, POS_SELL_UNITS]
    np.testing.assert_array_equal(accounts.positions[:, :, columns], resting)


# -- against the ledger -----------------------------------------------------------------------------------------------


def naive(engine: Engine) -> NaiveMargin:
    floors = [0] + [tier.cap * UNIT for tier in TIERS[:-1]]
    tiers = [(f, Fraction(t.maintenance_rate), t.leverage) for f, t in zip(floors, TIERS, strict=True)]
    rules = [
        Rules(1000, tiers, Fraction(LIQUIDATION_FEE), Fraction(MAKER_FEE, 10**6), Fraction(TAKER_FEE, 10**6))
        for _ in CONTRACTS
    ]
    owners = {o: Owner(wallet(engine, o)[0], [Held(isolated=o % 2 == 0) for _ in CONTRACTS]) for o in range(1, OWNERS)}
    return NaiveMargin(rules, owners, [START] * len(CONTRACTS), wallet(engine, FUND)[0], [0] * len(CONTRACTS))


@dataclass
class Duel:
    """Engine and ledger side by side; the ledger hears of trades and events only."""

    engine: Engine = field(default_factory=new_engine)
    orders: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)
    liquidations: int = 0
    taken_over: int = 0

    def __post_init__(self) -> None:
        self.engine.accounts.positions[2:OWNERS:2, :, POS_MODE] = ISOLATED
        self.ledger = naive(self.engine)
        self.total = clearing.totals(self.engine)

    def order(self, owner: int, i: int, side: int, price: int, lots: int, tif: int) -> None:
        self.engine = clearing.with_room(self.engine)
        sign = 1 if side == BUY else -1
        units = price * lots * 1000
        if tif == engines.IOC:
            units = requests.sweep(self.engine, i, side, price, lots, 2**62)[1]
        exposure = self.exposure(owner, i, sign * units)
        fits = self.ledger.owners[owner].held[i].leverage <= self.ledger.rules[i].most_leverage(exposure)
        grows = exposure > self.exposure(owner, i, 0)
        affords = self.ledger.affords(owner, i, sign, lots, units)
        in_band = price <= self.band(i)[1] if side == BUY else price >= self.band(i)[0]
        request = engines.new_request(i, owner, side, lots, engines.LIMIT, price)
        request[engines.REQ_TIF] = tif
        order_id, filled, slot = requests.submit(self.engine, request, 0)
        if not in_band:
            assert order_id == engines.REFUSED_BAND
        elif grows and not fits:
            assert order_id == engines.REFUSED_LEVERAGE
        else:
            assert (order_id > 0) == affords, (order_id, affords)
        self.hear()
        if slot >= 0:
            self.ledger.owners[owner].held[i].orders[order_id] = (sign, price, lots - filled)
            self.orders[i, order_id] = (owner, slot)

    def band(self, i: int) -> tuple[int, int]:
        mark = self.ledger.marks[i]
        return mark - mark // 20, mark + mark // 20

    def exposure(self, owner: int, i: int, more: int) -> int:
        held = self.ledger.owners[owner].held[i]
        worth = self.ledger.worth(i, held.lots)
        buys = sum(p * n * 1000 for s, p, n in held.orders.values() if s > 0) + max(0, more)
        sells = sum(p * n * 1000 for s, p, n in held.orders.values() if s < 0) + max(0, -more)
        return max(abs(worth + buys), abs(worth - sells))

    def cancel(self, pick: int) -> None:
        if self.orders:
            (i, order_id), (owner, slot) = sorted(self.orders.items())[pick % len(self.orders)]
            left = order_entry.cancel(self.engine, i, slot, order_id, 0)
            assert left == self.ledger.owners[owner].held[i].orders.pop(order_id)[2]
            del self.orders[i, order_id]

    def mark(self, i: int, ticks: int) -> None:
        self.engine = clearing.with_room(self.engine)
        self.ledger.marks[i] = ticks
        clearing.set_mark(self.engine, i, ticks, 0)
        traders = set(self.engine.book.tape[: self.engine.book.tape_rows[0], [TAPE_MAKER, TAPE_TAKER]].ravel().tolist())
        self.hear()
        quiet = self.ledger.owners.keys() - traders  # whom a liquidation's trades hit is seen to at the next mark
        assert not any(self.ledger.is_due(owner, i) for owner in quiet), "somebody was let go"

    def funding(self, i: int, rate: int) -> None:
        self.engine = clearing.with_room(self.engine)
        self.ledger.funding(i, Fraction(rate, clearing.RATE))
        clearing.pay_funding(self.engine, i, rate, 0)
        self.hear()

    def leverage(self, owner: int, i: int, leverage: int) -> None:
        held = self.ledger.owners[owner].held[i]
        before, held.leverage = held.leverage, leverage
        fits = leverage <= self.ledger.rules[i].most_leverage(self.exposure(owner, i, 0))
        stuck = leverage < before and held.isolated and held.lots
        short = leverage < before and self.ledger.available(owner) < 0
        answer = margin.set_leverage(self.engine.accounts, i, owner, leverage)
        assert (answer == 0) == (fits and not stuck and not short)
        held.leverage = leverage if answer == 0 else before

    def mode(self, owner: int, i: int, isolated: bool) -> None:
        """Change the mode if it may be, and back."""
        held, accounts = self.ledger.owners[owner].held[i], self.engine.accounts
        answer = margin.set_margin_mode(accounts, i, owner, ISOLATED if isolated else CROSS)
        busy = held.isolated != isolated and (held.lots or held.orders)
        assert answer == (margin.POSITION_OPEN if busy else 0)
        assert margin.set_margin_mode(accounts, i, owner, ISOLATED if held.isolated else CROSS) == 0

    def move(self, owner: int, i: int, units: int) -> None:
        holder = self.ledger.owners[owner]
        held = holder.held[i]
        answer = margin.move_isolated(self.engine.accounts, i, owner, units)
        if not held.isolated or not held.lots:
            assert answer == margin.POSITION_OPEN
            return
        profit = self.ledger.worth(i, held.lots) - held.cost
        needed = -(-abs(self.ledger.worth(i, held.lots)) // held.leverage)
        allowed = (
            units <= max(0, min(holder.cash, self.ledger.available(owner)))
            if units >= 0
            else -units <= max(0, held.purse + min(0, profit) - needed)
        )
        assert (answer == 0) == allowed
        if allowed:
            holder.cash -= units
            held.purse += units

    def hear(self) -> None:
        """Tell the ledger what happened, in order, checking that each liquidation was due."""
        engine = self.engine
        tape, events = engine.book.tape[: engine.book.tape_rows[0]], engine.events[: engine.event_rows[0]]
        told, liquidating = 0, dict[int, int]()
        for event in [*events.tolist(), None]:
            upto = event[engines.EV_TAPE] if event else len(tape)
            for row in tape[told:upto].tolist():
                self.trade(row, liquidating)
            told = upto
            if event is None:
                break
            kind, i, order_id, owner = event[:4]
            if kind in (engines.EV_CANCELED, engines.EV_EXPIRED) and (i, order_id) in self.orders:
                self.ledger.owners[owner].held[i].orders.pop(order_id)
                del self.orders[i, order_id]
            elif kind == engines.EV_LIQUIDATED:
                assert self.ledger.is_due(owner, i)
                assert not self.ledger.owners[owner].held[i].orders, "orders go first"
                liquidating[order_id], self.liquidations = 0, self.liquidations + 1
                self.before = self.ledger.owners[owner].cash
            elif kind == clearing.EV_CLEARED and owner in self.ledger.owners:
                self.clear(event, liquidating)
            elif kind == engines.EV_EXPIRED and event[engines.EV_REASON] == engines.BY_LIQUIDATION:
                liquidating[order_id] = -1
                self.left_over(owner, i)
        engine.book.tape_rows[0] = engine.event_rows[0] = 0

    def left_over(self, owner: int, i: int) -> None:
        self.taken_over += 1
        if self.ledger.owners[owner].held[i].isolated:
            return  # the fee of what was closed comes first; `clear` and the final comparison see to the rest
        self.ledger.take_over(owner, i)

    def clear(self, event: list[int], liquidating: dict[int, int]) -> None:
        owner, i, units = event[engines.EV_OWNER], event[engines.EV_INSTRUMENT], -event[engines.EV_REASON]
        held = self.ledger.owners[owner].held[i]
        traded = list(liquidating.values())[-1]
        if traded == -1 and not held.isolated:
            return  # the fund took all, and was told so
        if traded == -1 and units == held.purse:
            self.ledger.take_over(owner, i)
            return
        most = self.ledger.owners[owner].cash - self.before if held.isolated else self.ledger.cross_equity(owner)
        if traded >= 0:
            assert units == min(int(Fraction(traded) * self.ledger.rules[i].liquidation_fee), most)
        self.ledger.clear(owner, units)

    def trade(self, row: list[int], liquidating: dict[int, int]) -> None:
        i, price, lots = row[TAPE_INSTRUMENT], row[TAPE_PRICE], row[TAPE_LOTS]
        sign = 1 if row[TAPE_BUYER_IS_MAKER] else -1
        forced = row[TAPE_TAKER_ORDER] in liquidating
        if forced:
            liquidating[row[TAPE_TAKER_ORDER]] += price * lots * 1000
        for who, order_id, way, fee, rate in (
            (TAPE_MAKER, row[TAPE_MAKER_ORDER], sign, row[TAPE_MAKER_FEE], MAKER_FEE),
            (TAPE_TAKER, row[TAPE_TAKER_ORDER], -sign, row[TAPE_TAKER_FEE], 0 if forced else TAKER_FEE),
        ):
            owner = row[who]
            millionths = rate if 3 <= owner < OWNERS else 0
            self.ledger.fill(owner, i, way, price, lots, Fraction(millionths, 10**6))
            assert fee == int(Fraction(price * lots * 1000 * millionths, 10**6))
            if owner in self.ledger.owners and (i, order_id) in self.orders:
                orders = self.ledger.owners[owner].held[i].orders
                s, p, left = orders[order_id]
                orders[order_id] = (s, p, left - lots)
                if left == lots:
                    del orders[order_id], self.orders[i, order_id]

    def compare(self) -> None:
        accounts = self.engine.accounts
        check_sums(self.engine, self.total)
        for owner, holder in self.ledger.owners.items():
            for i, held in enumerate(holder.held):
                assert position(self.engine, owner, POS_LOTS, i) == held.lots
                if held.isolated:
                    assert position(self.engine, owner, POS_ISOLATED, i) == held.purse
            equity = sum(wallet(self.engine, owner)) + sum(
                margin.unrealized(accounts, i, owner) for i in range(len(CONTRACTS))
            )
            assert equity == self.ledger.equity(owner)
            assert margin.available(accounts, WALLET, owner) == self.ledger.available(owner)
        assert wallet(self.engine, 0)[0] == self.ledger.venue
        worth = sum(self.ledger.worth(i, lots) for i, lots in enumerate(self.ledger.fund_lots))
        fund = margin.equity(accounts, WALLET, len(accounts.balances) - 1)
        assert fund == self.ledger.fund + worth


def play(duel: Duel, move: tuple[str, int, int, int, int, int]) -> None:
    kind, owner, i, side, offset, size = move
    i %= len(CONTRACTS)
    match kind:
        case "rest" | "take":
            tif = engines.GTC if kind == "rest" else engines.IOC
            price = max(1, duel.ledger.marks[i] + offset)
            duel.order(owner, i, side, price, size * size, tif)
        case "cancel":
            duel.cancel(size)
        case "mark":
            duel.mark(i, max(5, duel.ledger.marks[i] * (1000 + 2 * offset) // 1000))
        case "funding":
            duel.funding(i, offset * 5_000)
        case "leverage":
            duel.leverage(owner, i, size)
        case "mode":
            duel.mode(owner, i, bool(side))
        case "move":
            duel.move(owner, i, offset * size * 10**5)
    duel.compare()


KINDS = ["rest", "rest", "rest", "take", "take", "cancel", "mark", "mark", "funding", "leverage", "mode", "move"]
moves = st.lists(
    st.tuples(
        st.sampled_from(KINDS), st.integers(1, OWNERS - 1), st.integers(0, 2), st.integers(0, 1), st.integers(-60, 60),
        st.integers(1, 120),
    ),
    min_size=30, max_size=60,
)  # fmt: skip


@settings(max_examples=15, deadline=None, derandomize=True)
@given(moves)
def test_no_sequence_leaves_the_ledger(sequence: list[tuple[str, int, int, int, int, int]]) -> None:
    duel = Duel()
    for move in sequence:
        play(duel, move)


def test_three_thousand_moves_with_many_liquidations_agree_with_the_ledger() -> None:
    rng = np.random.default_rng(11)
    duel = Duel()
    for _ in range(3000):
        play(
            duel,
            (
                KINDS[rng.integers(len(KINDS))], int(rng.integers(1, OWNERS)), int(rng.integers(3)),
                int(rng.integers(2)), int(rng.integers(-60, 61)), int(rng.integers(1, 121)),
            ),
        )  # fmt: skip
        if max(sum(wallet(duel.engine, owner)) for owner in range(1, OWNERS)) < 20 * UNIT:
            duel = Duel(liquidations=duel.liquidations, taken_over=duel.taken_over)
    assert duel.liquidations > 30 and duel.taken_over > 10


# -- by hand ----------------------------------------------------------------------------------------------------------


def opened(engine: Engine, long: int, short: int, lots: int, price: int = START, i: int = 0) -> None:
    """Let one owner buy so many lots from another."""
    assert order(engine, short, SELL, price, lots, i) > 0
    assert order(engine, long, BUY, price, lots, i) > 0
    assert position(engine, long, POS_LOTS, i) == lots


def set_leverage(engine: Engine, owner: int, leverage: int, i: int = 0) -> int:
    return int(margin.set_leverage(engine.accounts, i, owner, leverage))


def set_isolated(engine: Engine, owner: int, i: int = 0) -> None:
    assert margin.set_margin_mode(engine.accounts, i, owner, ISOLATED) == 0


def test_a_long_gains_what_the_short_loses_and_the_venue_gets_the_fees() -> None:
    engine = new_engine()
    opened(engine, 3, 4, 500)  # 5 quote
    clearing.set_mark(engine, 0, 1100, 0)
    assert margin.unrealized(engine.accounts, 0, 3) == UNIT // 2 == -margin.unrealized(engine.accounts, 0, 4)
    order(engine, 4, BUY, 1100, 500)
    order(engine, 3, SELL, 1100, 500)
    fees_long, fees_short = 5 * TAKER_FEE + 5.5 * TAKER_FEE, 5 * MAKER_FEE + 5.5 * MAKER_FEE
    assert wallet(engine, 3) == (100 * UNIT + UNIT // 2 - int(fees_long * 100), 0)
    assert wallet(engine, 4) == (100 * UNIT - UNIT // 2 - int(fees_short * 100), 0)
    assert wallet(engine, 0)[0] == int((fees_long + fees_short) * 100)


def test_margin_limits_what_may_be_opened_and_never_what_closes() -> None:
    engine = new_engine(deposit=UNIT)
    assert order(engine, 3, BUY, START, 2000) == engines.REFUSED_BALANCE, "20 quote at 20x need 1, and a fee"
    opened(engine, 3, 1, 1900)
    assert order(engine, 3, BUY, START, 100) == engines.REFUSED_BALANCE
    assert order(engine, 3, SELL, START, 3800) > 0, "turning round asks for no more"
    assert order(engine, 3, SELL, START, 200) == engines.REFUSED_BALANCE


def test_orders_of_both_sides_count_once() -> None:
    engine = new_engine(deposit=UNIT)
    assert order(engine, 3, BUY, 990, 1900) > 0
    assert order(engine, 3, SELL, 1010, 1900) > 0, "only the larger side can happen"
    assert margin.available(engine.accounts, WALLET, 3) == UNIT - 1010 * 1900 * 1000 // 20


def test_an_isolated_position_loses_its_margin_and_no_more() -> None:
    engine = new_engine()
    set_isolated(engine, 3)
    opened(engine, 3, 1, 1000)  # 10 quote at 20x: 0.5 set aside
    assert wallet(engine, 3)[1] == UNIT // 2
    free = wallet(engine, 3)[0]
    total = clearing.totals(engine)
    clearing.set_mark(engine, 0, 955, 0)
    assert position(engine, 3, POS_LOTS) == 1000, "0.05 is left, 0.0382 needed"
    clearing.set_mark(engine, 0, 900, 0)  # a gap: the book is empty, the fund takes over
    assert position(engine, 3, POS_LOTS) == 0
    assert wallet(engine, 3) == (free, 0)
    assert position(engine, FUND, POS_LOTS) == 1000 and wallet(engine, FUND)[0] == 1000 * UNIT + UNIT // 2
    check_sums(engine, total)


def test_a_liquidation_in_the_book_pays_its_fee_and_leaves_the_rest() -> None:
    engine = new_engine()
    set_isolated(engine, 3)
    opened(engine, 3, 1, 1000)
    free = wallet(engine, 3)[0]
    assert order(engine, 2, BUY, 958, 5000) > 0
    engine.event_rows[0] = engine.book.tape_rows[0] = 0
    clearing.set_mark(engine, 0, 953, 7)
    fee = 958 * 1000 * 1000 // 80  # 1.25 % of 9.58, more than the 0.08 that selling at 958 leaves
    left = UNIT // 2 - (1000 - 958) * 1000 * 1000
    assert fee > left
    assert wallet(engine, 3) == (free, 0), "the fee takes all that is left and nothing of the wallet"
    assert wallet(engine, FUND)[0] == 1000 * UNIT + left
    kinds = engine.events[: engine.event_rows[0], [engines.EV_KIND, engines.EV_REASON]].tolist()
    assert kinds == [[engines.EV_LIQUIDATED, engines.BY_LIQUIDATION], [clearing.EV_CLEARED, -left]]
    assert engine.book.tape[0, [TAPE_PRICE, TAPE_LOTS, TAPE_TAKER, TAPE_TAKER_FEE]].tolist() == [958, 1000, 3, 0]


def test_no_liquidation_sells_below_the_bankruptcy_price() -> None:
    engine = new_engine()
    set_isolated(engine, 3)
    opened(engine, 3, 1, 1000)
    assert order(engine, 2, BUY, 952, 400) > 0 and order(engine, 2, BUY, 950, 400) > 0
    assert order(engine, 2, BUY, 949, 400) > 0, "at 950 the margin is used up: this one waits in vain"
    clearing.set_mark(engine, 0, 951, 0)
    assert position(engine, FUND, POS_LOTS) == 0, "the fund sold what it took over near the mark"
    sold = engine.book.tape[1 : engine.book.tape_rows[0], [TAPE_TAKER, TAPE_PRICE, TAPE_LOTS]].tolist()
    assert sold == [[3, 952, 400], [3, 950, 400], [OWNERS, 949, 200]]


def test_cross_positions_fall_largest_first_until_the_rest_is_covered() -> None:
    engine = new_engine(deposit=2 * UNIT)
    opened(engine, 3, 1, 2000, i=0)  # 20 quote
    opened(engine, 3, 1, 500, i=1)  # 5 quote
    assert order(engine, 2, BUY, 985, 3000, 0) > 0
    clearing.set_mark(engine, 1, 960, 0)
    clearing.set_mark(engine, 0, 920, 0)
    assert position(engine, 3, POS_LOTS, 0) == 2000, "0.1875 is left, 0.0928 needed"
    clearing.set_mark(engine, 0, 915, 0)
    assert position(engine, 3, POS_LOTS, 0) == 0
    assert position(engine, 3, POS_LOTS, 1) == 500, "selling at 985 saved the other one"


def test_the_cross_wallet_answers_for_all_of_it_in_a_gap() -> None:
    engine = new_engine(deposit=2 * UNIT)
    opened(engine, 3, 1, 2000, i=0)
    opened(engine, 3, 1, 500, i=1)
    total = clearing.totals(engine)
    clearing.set_mark(engine, 0, 800, 0)
    assert wallet(engine, 3) == (0, 0) and not engine.accounts.positions[3, :, POS_LOTS].any()
    assert engine.accounts.positions[FUND, :2, POS_LOTS].tolist() == [2000, 500]
    assert margin.equity(engine.accounts, WALLET, OWNERS) < 1000 * UNIT, "the gap is the fund's loss"
    check_sums(engine, total)


def test_a_margin_call_cancels_the_orders_first() -> None:
    engine = new_engine(deposit=2 * UNIT)
    opened(engine, 3, 1, 3000)
    resting = order(engine, 3, BUY, 950, 100, 1)
    engine.event_rows[0] = 0
    clearing.set_mark(engine, 0, 900, 0)
    first = engine.events[0, [engines.EV_KIND, engines.EV_ORDER, engines.EV_REASON]].tolist()
    assert first == [engines.EV_CANCELED, resting, engines.BY_LIQUIDATION]
    assert position(engine, 3, POS_BUY_LOTS, 1) == 0


@pytest.mark.parametrize("rate", [10_000, -3_333, 1])
def test_funding_sums_to_zero_with_the_rounding_in_the_fund(rate: int) -> None:
    engine = new_engine()
    opened(engine, 3, 4, 333)
    opened(engine, 5, 4, 77)
    clearing.set_mark(engine, 0, 1007, 0)
    before = [sum(wallet(engine, owner)) for owner in range(OWNERS + 1)]
    rounding = clearing.pay_funding(engine, 0, rate, 0)
    paid = [b - sum(wallet(engine, owner)) for owner, b in enumerate(before)]
    worth = [int(lots) * 1007 * 1000 for lots in engine.accounts.positions[:, 0, POS_LOTS]]
    assert sum(paid) == 0 and 0 <= rounding < OWNERS and paid[FUND] == -rounding
    assert paid[3] == -(-worth[3] * rate // 10**8) and paid[4] == -(-worth[4] * rate // 10**8)
    rows = engine.events[: engine.event_rows[0]]
    told = rows[rows[:, engines.EV_KIND] == engines.EV_FUNDING][:, [engines.EV_OWNER, engines.EV_REASON]].tolist()
    assert told == [[owner, -paid[owner]] for owner in (3, 4, 5)]


def test_a_band_a_halt_and_a_tier_refuse() -> None:
    engine = new_engine(deposit=10**5 * UNIT)
    assert order(engine, 3, BUY, 1051, 1) == engines.REFUSED_BAND
    assert order(engine, 3, SELL, 949, 1) == engines.REFUSED_BAND
    assert order(engine, 3, BUY, 900, 1) > 0, "cheap bids are welcome"
    assert order(engine, 3, BUY, 1000, 41_000) == engines.REFUSED_LEVERAGE, "410 quote allow 10x"
    assert set_leverage(engine, 3, 10) == 0
    assert order(engine, 3, BUY, 1000, 41_000) > 0
    assert set_leverage(engine, 3, 11) == margin.LEVERAGE_TOO_HIGH
    clearing.set_halted(engine, 0, True)
    assert order(engine, 3, BUY, 900, 1) == engines.REFUSED_HALTED
    clearing.set_halted(engine, 0, False)
    assert order(engine, 3, BUY, 900, 1) > 0


def test_leverage_and_mode_change_only_where_the_margin_allows() -> None:
    engine = new_engine(deposit=2 * UNIT)
    opened(engine, 3, 1, 3000)
    assert set_leverage(engine, 3, 10) == margin.MARGIN_SHORT, "30 quote at 10x need 3"
    assert margin.set_margin_mode(engine.accounts, 0, 3, ISOLATED) == margin.POSITION_OPEN
    set_isolated(engine, 4)
    opened(engine, 4, 1, 1000)
    assert set_leverage(engine, 4, 10) == margin.POSITION_OPEN
    assert set_leverage(engine, 4, 50) == 0
    assert margin.move_isolated(engine.accounts, 0, 4, UNIT) == 0 and wallet(engine, 4)[1] == UNIT + UNIT // 2
    assert margin.move_isolated(engine.accounts, 0, 4, -(UNIT + UNIT // 2)) == margin.MARGIN_SHORT
    assert margin.move_isolated(engine.accounts, 0, 4, -(UNIT + 3 * UNIT // 10)) == 0, "10 quote at 50x need 0.2"
    assert margin.move_isolated(engine.accounts, 1, 4, 1) == margin.POSITION_OPEN


@pytest.mark.parametrize("isolated", [False, True])
@pytest.mark.parametrize("side", [BUY, SELL])
def test_the_liquidation_price_is_where_it_happens(side: int, isolated: bool) -> None:
    engine = new_engine(deposit=3 * UNIT)
    if isolated:
        set_isolated(engine, 3)
    opened(engine, *((3, 1) if side == BUY else (1, 3)), 1500)
    price = margin.liquidation_price(engine.accounts, 0, 3)
    better = 1 if side == BUY else -1
    assert 0 < better * (START - price) < 250
    clearing.set_mark(engine, 0, price + better, 0)
    assert position(engine, 3, POS_LOTS), "not yet"
    clearing.set_mark(engine, 0, price - better, 0)
    assert not position(engine, 3, POS_LOTS)
    assert margin.liquidation_price(engine.accounts, 0, 3) == 0


def test_an_expired_future_settles_everybody_and_trades_no_more() -> None:
    engine = new_engine()
    opened(engine, 3, 4, 500, i=2)
    resting = order(engine, 5, BUY, 990, 10, 2)
    total = clearing.totals(engine)
    engine.event_rows[0] = 0
    clearing.set_mark(engine, 2, 1040, 0)
    clearing.settle_expiry(engine, 2, 1050, 0)
    assert not engine.accounts.positions[:, 2, [POS_LOTS, POS_COST, POS_BUY_LOTS]].any()
    assert wallet(engine, 3)[0] == 100 * UNIT + 50 * 500 * 1000 - 5 * UNIT * TAKER_FEE // 10**6
    assert order(engine, 3, BUY, 1000, 1, 2) == engines.REFUSED_HALTED
    events = engine.events[: engine.event_rows[0], [engines.EV_KIND, engines.EV_ORDER, engines.EV_OWNER]].tolist()
    assert events == [
        [engines.EV_CANCELED, resting, 5], [engines.EV_SETTLED, 0, 3], [engines.EV_SETTLED, 0, 4],
    ]  # fmt: skip
    check_sums(engine, total)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.integers(-(2**62), 2**62), st.integers(1, 2**62), st.data())
def test_a_proportion_is_the_exact_floor(units: int, whole: int, data: st.DataObject) -> None:
    part = data.draw(st.integers(0, whole))
    assert margin.proportion(units, part, whole) == units * part // whole


@settings(max_examples=15, deadline=None, derandomize=True)
@given(moves)
def test_sums_hold_where_owners_mix_cross_and_isolated(sequence: list[tuple[str, int, int, int, int, int]]) -> None:
    engine = new_engine(deposit=20 * UNIT)
    engine.accounts.positions[2:5, 1, POS_MODE] = ISOLATED
    total = clearing.totals(engine)
    for kind, owner, i, side, offset, size in sequence:
        engine = clearing.with_room(engine)
        mark = int(engine.accounts.marks[i])
        if kind == "mark":
            clearing.set_mark(engine, i, max(5, mark + mark * offset // 200), 0)
        elif kind == "funding":
            clearing.pay_funding(engine, i, offset * 20_000, 0)
        elif kind == "move":
            margin.move_isolated(engine.accounts, i, owner, offset * size * 10**5)
        elif kind in ("rest", "take"):
            order(engine, owner, side, max(1, mark + offset), size * size, i)
        check_sums(engine, total)
    for i in range(len(CONTRACTS)):
        engine = clearing.with_room(engine)
        clearing.settle_expiry(engine, i, 1000, 0)
        check_sums(engine, total)
    assert not engine.accounts.positions[:, :, [POS_LOTS, POS_COST]].any()
