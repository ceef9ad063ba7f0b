"""Random requests of all kinds, carried out by the compiled engine and by the naive one, compared after every one."""

from typing import Any

import numpy as np
from naive_engine import NaiveEngine, Order

from lake.instruments import INSTRUMENTS
from market import book as books
from market import engine as engines
from market import order_entry, requests, waiting_orders
from market.accounts import FREE
from market.contracts import perpetual, spot

OWNERS, SPOT_START, MARGIN_START = 6, 3_000_000, 10**15
FEES = [(0, 0), (0, 0), (500, 700), (1000, 1000), (333, 10), (0, 250)]
CONTRACTS = [spot(INSTRUMENTS["binance:BTC/USDT"]), perpetual("BTC")]
LOT_UNITS, TICK_UNITS = 1000, 10
ACTIONS = ("submit", "cancel", "amend", "cancel_all", "time", "mark", "halt")
TRADE_COLUMNS = [
    books.TAPE_INSTRUMENT, books.TAPE_PRICE, books.TAPE_LOTS, books.TAPE_MAKER_ORDER, books.TAPE_TAKER_ORDER,
    books.TAPE_MAKER, books.TAPE_TAKER, books.TAPE_MAKER_FEE, books.TAPE_TAKER_FEE, books.TAPE_MAKER_LEFT,
    books.TAPE_BUYER_IS_MAKER,
]  # fmt: skip
EVENT_COLUMNS = [
    engines.EV_KIND, engines.EV_INSTRUMENT, engines.EV_ORDER, engines.EV_OWNER, engines.EV_SIDE, engines.EV_PRICE,
    engines.EV_LOTS_LEFT, engines.EV_TIME, engines.EV_TAPE, engines.EV_REASON,
]  # fmt: skip


def random_moves(seed: int, count: int) -> dict[str, list[int]]:
    """Columns of what is asked, one row per request."""
    rng = np.random.default_rng(seed)
    chances = [0.62, 0.2, 0.1, 0.005, 0.04, 0.034, 0.001]
    columns: dict[str, Any] = {
        "action": rng.choice(len(ACTIONS), count, p=chances),
        "i": rng.integers(0, 2, count),
        "owner": rng.integers(1, OWNERS, count),
        "side": rng.integers(0, 2, count),
        "kind": rng.choice(7, count, p=[0.62, 0.08, 0.06, 0.06, 0.06, 0.06, 0.06]),
        "tif": rng.choice(5, count, p=[0.5, 0.15, 0.1, 0.1, 0.15]),
        "price": rng.integers(90, 111, count),
        "lots": rng.integers(1, 40, count),
        "stop": rng.integers(85, 116, count),
        "trail": rng.integers(1, 8, count) * 100,
        "display": rng.choice([0, 0, 0, 1, 3, 10], count),
        "reduces": rng.random(count) < 0.15,
        "stp": rng.choice(4, count, p=[0.55, 0.15, 0.15, 0.15]),
        "expiry": rng.choice([0, 0, 0, 5, 40, 300], count),
        "source": rng.random(count) < 0.3,
        "pick": rng.integers(0, 60, count),
    }
    return {name: np.asarray(column, np.int64).tolist() for name, column in columns.items()}


class Duel:
    """Both engines, and where the compiled one keeps each order."""

    def __init__(self) -> None:
        self.engine = engines.new_engine(CONTRACTS, OWNERS, slots=4, tape=4)
        money = self.engine.accounts
        money.balances[1:OWNERS, :2, FREE] = SPOT_START
        money.balances[1:OWNERS, 2, FREE] = MARGIN_START
        money.fees.rates[:OWNERS, 0] = FEES
        purses = [[[int(free), int(locked)] for free, locked in row[:2]] for row in money.balances[:OWNERS]]
        self.naive = NaiveEngine(LOT_UNITS, TICK_UNITS, FEES, purses)
        self.sums = money.balances[:, :2].sum(axis=(0, 2)).tolist()
        self.slots: dict[tuple[int, int], int] = {}
        self.recent: dict[int, list[int]] = {0: [], 1: []}
        self.trades = self.refused = 0
        self.kinds: set[tuple[int, int]] = set()

    def step(self, time: int, move: dict[str, int]) -> None:
        """Carry one request out in both and compare the answer, the trades and the events."""
        self.engine = engines.with_room(self.engine, 1)
        self.engine.book.tape_rows[0] = self.engine.event_rows[0] = 0
        self.naive.trades.clear()
        self.naive.events.clear()
        action = ACTIONS[move["action"]]
        answers = getattr(self, f"_{action}")(time, move)
        assert answers[0] == answers[1], (action, move, answers)
        tape = self.engine.book.tape[: self.engine.book.tape_rows[0], TRADE_COLUMNS].tolist()
        assert tape == [list(trade) for trade in self.naive.trades], (action, move, tape, self.naive.trades)
        events = self.engine.events[: self.engine.event_rows[0], EVENT_COLUMNS].tolist()
        expected = [list(event) for event in self.naive.events]
        if action == "cancel_all":
            events, expected = sorted(events), sorted(expected)
        assert events == expected, (action, move, events, expected)
        self.trades += len(tape)
        self.kinds.update((event[0], event[9]) for event in events)

    def check_state(self) -> None:
        """Compare books, balances and positions; nothing may be lost, crossed or below zero."""
        money, engine = self.engine.accounts, self.engine
        assert money.balances[:OWNERS, :2].tolist() == self.naive.balances
        assert money.balances[:, :2].min() >= 0
        assert money.balances[:, :2].sum(axis=(0, 2)).tolist() == self.sums
        positions = money.positions[:, 1, 0]
        assert positions.sum() == 0
        assert positions[:OWNERS].tolist() == [self.naive.positions.get((1, owner), 0) for owner in range(OWNERS)]
        for i in (0, 1):
            bids, asks = (books.depth(engine.book, i, side, 99).tolist() for side in (0, 1))
            assert [bids, asks] == [self.naive.depth(i, 0), self.naive.depth(i, 1)]
            assert not (bids and asks) or bids[0][0] < asks[0][0], "crossed"
            live = sorted(o.id for o in self.naive.orders if o.i == i)
            assert sorted(engine.book.orders[i, engine.book.orders[i, :, 0] > 0, 0].tolist()) == live

    def _pick(self, move: dict[str, int]) -> int:
        recent = self.recent[move["i"]]
        return recent[-1 - move["pick"] % len(recent)] if recent else 1

    def _keep(self, i: int, answer: tuple[int, int, int]) -> tuple[int, int, bool]:
        order_id, filled, slot = answer
        if slot >= 0:
            self.slots[i, order_id] = slot
            self.recent[i] = [*self.recent[i][-59:], order_id]
        self.refused += order_id < 0
        return order_id, filled, slot >= 0

    def _submit(self, time: int, m: dict[str, int]) -> tuple[Any, Any]:
        i, kind = m["i"], m["kind"]
        stop = m["stop"] if kind >= 2 and (kind < 6 or m["pick"] % 2) else 0
        limits = kind in (0, 3, 5) or (kind == 6 and m["pick"] % 3 == 0)
        price, trail = (m["price"] if limits else 0), (m["trail"] if kind == 6 else 0)
        display = m["display"] if limits and m["tif"] in (0, 3) else 0
        reduces, expiry = int(m["reduces"] and i == 1), (time + m["expiry"] if m["tif"] == 3 and m["expiry"] else 0)
        request = np.zeros(engines.REQ_FIELDS, np.int64)
        request[:] = (
            i, m["owner"], m["side"], kind, m["tif"], price, m["lots"], stop, trail, display, reduces, m["stp"],
            expiry, m["source"],
        )  # fmt: skip
        order = Order(
            0, i, m["owner"], m["side"], price, m["lots"], m["tif"], display, bool(reduces), m["stp"], expiry, kind,
            stop, trail, m["source"],
        )  # fmt: skip
        return self._keep(i, requests.submit(self.engine, request, time)), self.naive.submit(order, time)

    def _cancel(self, time: int, m: dict[str, int]) -> tuple[Any, Any]:
        i, order_id = m["i"], self._pick(m)
        left = order_entry.cancel(self.engine, i, self.slots.get((i, order_id), 0), order_id, time)
        return left, self.naive.cancel(i, order_id)

    def _amend(self, time: int, m: dict[str, int]) -> tuple[Any, Any]:
        i, order_id = m["i"], self._pick(m)
        held = self.naive.find(i, order_id)
        price = held.price if held is not None and m["pick"] % 2 else m["price"]
        slot = self.slots.get((i, order_id), 0)
        answer = self._keep(i, requests.amend(self.engine, i, slot, order_id, price, m["lots"], time))
        return answer, self.naive.amend(i, order_id, price, m["lots"], time)

    def _cancel_all(self, time: int, m: dict[str, int]) -> tuple[Any, Any]:
        i = m["i"] if m["pick"] % 2 else -1
        return requests.cancel_all(self.engine, m["owner"], i, time), self.naive.cancel_all(m["owner"], i, time)

    def _time(self, time: int, m: dict[str, int]) -> tuple[Any, Any]:
        return requests.pass_time(self.engine, time), self.naive.pass_time(time)

    def _mark(self, time: int, m: dict[str, int]) -> tuple[Any, Any]:
        i = m["i"]
        self.engine.state[i, engines.STATE_MARK] = self.naive.mark[i] = m["price"]
        waiting_orders.react(self.engine, i, engines.MARK_PRICE, time)
        self.naive.react(i, 1, time)
        return None, None

    def _halt(self, time: int, m: dict[str, int]) -> tuple[Any, Any]:
        halted = m["pick"] % 6 == 0
        self.engine.state[m["i"], engines.STATE_HALTED] = halted
        (self.naive.halted.add if halted else self.naive.halted.discard)(m["i"])
        return None, None


def duel(seed: int, count: int, look_every: int = 20) -> Duel:
    """So many random requests; state is compared at every `look_every`-th. AssertionError where the two differ."""
    moves, fight = random_moves(seed, count), Duel()
    names = list(moves)
    for time, values in enumerate(zip(*moves.values(), strict=True), start=1):
        fight.step(time, dict(zip(names, values, strict=True)))
        if time % look_every == 0:
            fight.check_state()
    fight.check_state()
    return fight
