"""Thousands of limit order books with other traders in them, in one compiled step: the agent trades in a real queue.

Each environment is one instrument of a `market.book.Book`, so the agent's orders match by price and time like any
others. A step is `events` events of the crowd; the agent's order arrives among them, after `latency` of them.

**The crowd.** A fair price wanders; a signal, which the agent sees, leans on its drift. An event is either a limit
order, geometrically far behind the fair price (the oldest of `resting` orders then expires), or a market order of a
noise trader, who takes up to `reach` ticks beyond the fair price; one who knows it takes only what is wrong.

**Own impact.** A market order walks the levels, so a larger one pays more per lot; the book refills within some steps.
`lasting` of a tick per lot stays in the fair price.

**Reward**, in ticks per lot of `most_inventory`: change of equity at the mid price − fees − `inventory_risk` ·
(inventory / most)² · variance of the fair price in a step − `drawdown_penalty` · deepening of the drawdown.
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lake.errors import UsageError
from market import book as books
from market.book import (
    BUY,
    BUY_LEVELS,
    LEVEL_LOTS,
    LEVEL_PRICE,
    NO_PRICE,
    SELL,
    SELL_LEVELS,
    TAPE_BUYER_IS_MAKER,
    TAPE_LOTS,
    TAPE_MAKER,
    TAPE_PRICE,
    TAPE_TAKER,
    Integers,
    new_book,
)  # fmt: skip
from market.env_bars import ACTION_FIELDS, ACTION_OFFSET, ACTION_SIZE, ACTION_STOP, draw
from market.kernel import njit

Floats = NDArray[np.float64]

AGENT, CROWD = 1, 2
DEPTH = 3
"""Levels seen on each side."""
# Columns of a world's state, [n, STATE_FIELDS]; prices in ticks, money in ticks × lots.
FAIR, SIGNAL, CASH, EQUITY, PEAK, STOP, MID, STATE_FIELDS = range(8)
STEPS, HELD, OWN_SLOT, OWN_ID, OWN_PRICE, OWN_SIDE, LATE, OLDEST, DONE, PLACE_FIELDS = range(10)
NAMES = (
    "signal",
    *(f"{side}_{what}_{k}" for side in ("bid", "ask") for k in range(1, DEPTH + 1) for what in ("away", "lots")),
    "own_order", "inventory", "profit", "drawdown", "latency", "time_left",
)  # fmt: skip
ROW_SCALE = 16
"""Lots of a typical level: what depth is divided by in an observation."""


@dataclass(frozen=True, slots=True)
class BookTerms:
    """The rules of the game; numbers without a unit are in ticks, lots or steps."""

    start_price: float = 10_000.0
    most_order: float = 20.0
    """Lots at action size 1."""
    most_inventory: float = 60.0
    most_offset: float = 8.0
    """Distance of a limit order from the mid price at action offset 1; offset 0 is a market order."""
    most_stop: float = 40.0
    """Distance of the stop from the mid price when it is set, at action stop 1; 0 is none."""
    taker_fee: float = 0.25
    """Per lot."""
    maker_fee: float = 0.05
    lasting: float = 0.01
    inventory_risk: float = 0.02
    drawdown_penalty: float = 0.05
    ruin: float = 200.0
    """The episode ends (terminated) when so much per lot of `most_inventory` is lost."""
    episode: float = 1_000.0
    events: float = 1.0
    most_latency: float = 1.0
    """Events of the step that come before the agent's order, drawn from 0 to this."""
    volatility: float = 0.5
    """Deviation of the fair price, per event."""
    signal_weight: float = 0.15
    """Drift of the fair price per event at signal 1."""
    signal_memory: float = 0.97
    take_share: float = 0.4
    """Share of the events that are market orders."""
    informed_share: float = 0.3
    """Share of the market orders that come from traders who know the fair price."""
    reach: float = 12.0
    spread: float = 2.0
    """Between the crowd's best limit prices."""
    resting: float = 32.0

    def __post_init__(self) -> None:
        whole = (self.episode, self.events, self.most_latency, self.resting)
        if any(each != int(each) for each in whole) or not 4 <= self.resting <= 512 or self.episode < 1:
            raise UsageError(f"BookTerms: expected whole episode, events, latency and 4 to 512 resting orders: {self}")
        if not 0 <= self.most_latency <= self.events or min(self.most_order, self.most_inventory) < 1:
            raise UsageError(
                f"BookTerms: expected latency within the events, order and inventory of a lot or more: {self}"
            )

    def row(self) -> Floats:
        """[TERM_FIELDS], in the order of the fields."""
        return np.array([getattr(self, each.name) for each in fields(self)], np.float64)


(
    START_PRICE, MOST_ORDER, MOST_INVENTORY, MOST_OFFSET, MOST_STOP, TAKER_FEE, MAKER_FEE, LASTING, INVENTORY_RISK,
    DRAWDOWN_PENALTY, RUIN, EPISODE, EVENTS, MOST_LATENCY, VOLATILITY, SIGNAL_WEIGHT, SIGNAL_MEMORY, TAKE_SHARE,
    INFORMED_SHARE, REACH, SPREAD, RESTING, TERM_FIELDS,
) = range(23)  # fmt: skip


@njit(cache=True, nogil=True, inline="always", _nrt=False)
def _draw_lots(uniform: float, most: int) -> int:
    """Geometric-like size, 1 to `most`, mean a third of it."""
    return 1 + int(most * uniform * uniform)


@njit(cache=True, nogil=True, _nrt=False)
def _rest(book: Any, e: int, ring: Any, place: Any, side: int, price: int, lots: int) -> None:
    """A limit order of the crowd; its oldest one expires."""
    at = place[e, OLDEST]
    if ring[e, at, 1]:
        books.remove(book, e, ring[e, at, 0], ring[e, at, 1])
    order_id, _, slot = books.place(book, e, CROWD, side, price, lots, True, 0)
    ring[e, at, 0], ring[e, at, 1] = max(slot, 0), order_id if slot >= 0 else 0
    place[e, OLDEST] = at + 1 if at + 1 < ring.shape[1] else 0


@njit(cache=True, nogil=True, _nrt=False)
def _crowd(book: Any, e: int, terms: Any, state: Any, place: Any, ring: Any, seeds: Any) -> None:
    """One event of the other traders."""
    seed, first = draw(seeds[e])
    seed, second = draw(seed)
    seed, third = draw(seed)
    seeds[e], noise = draw(seed)
    z = (first + second + third + noise - 2.0) * 1.7320508075688772  # the sum of four uniform ones, deviation 1
    state[e, SIGNAL] = terms[SIGNAL_MEMORY] * state[e, SIGNAL] + np.sqrt(1.0 - terms[SIGNAL_MEMORY] ** 2) * z
    state[e, FAIR] += terms[SIGNAL_WEIGHT] * state[e, SIGNAL] + terms[VOLATILITY] * 3.4641016151377544 * (noise - 0.5)
    fair = max(state[e, FAIR], 100.0)
    side = BUY if second < 0.5 else SELL
    sign = 1.0 if side == BUY else -1.0
    where = 2.0 * second if side == BUY else 2.0 * second - 1.0
    if first < terms[TAKE_SHARE]:
        informed = first < terms[TAKE_SHARE] * terms[INFORMED_SHARE]
        limit = fair - 0.5 * sign if informed else fair + sign * terms[REACH]
        books.place(book, e, CROWD, side, int(limit), _draw_lots(third, 24), False, 0)
    else:
        behind = 0.5 * terms[SPREAD] + terms[REACH] * where * where * where
        price = np.floor(fair - behind) if side == BUY else np.ceil(fair + behind)
        _rest(book, e, ring, place, side, int(price), _draw_lots(third, 24))


@njit(cache=True, nogil=True, _nrt=False)
def _collect(book: Any, e: int, terms: Any, state: Any, place: Any) -> None:
    """Book the agent's part of the trades on the tape, and empty it."""
    for k in range(book.tape_rows[0]):
        lots, price = book.tape[k, TAPE_LOTS], book.tape[k, TAPE_PRICE]
        bought = book.tape[k, TAPE_BUYER_IS_MAKER]
        if book.tape[k, TAPE_MAKER] == AGENT:
            sign = 1.0 if bought else -1.0
            state[e, CASH] -= lots * (sign * price + terms[MAKER_FEE])
            place[e, HELD] += int(sign) * lots
        elif book.tape[k, TAPE_TAKER] == AGENT:
            sign = -1.0 if bought else 1.0
            state[e, CASH] -= lots * (sign * price + terms[TAKER_FEE])
            place[e, HELD] += int(sign) * lots
            state[e, FAIR] += sign * lots * terms[LASTING]
    book.tape_rows[0] = 0


@njit(cache=True, nogil=True, _nrt=False)
def _act(book: Any, e: int, terms: Any, state: Any, place: Any, size: float, offset: float, stop: float) -> None:
    """The agent's order arrives: it replaces the one that rests, and sets the stop."""
    if size == 0.0:
        return
    if place[e, OWN_ID]:
        books.remove(book, e, place[e, OWN_SLOT], place[e, OWN_ID])
        place[e, OWN_ID] = 0
    side = BUY if size > 0.0 else SELL
    room = int(terms[MOST_INVENTORY]) - (place[e, HELD] if side == BUY else -place[e, HELD])
    lots = min(int(abs(size) * terms[MOST_ORDER]), room)
    if lots < 1:
        return
    sign = 1.0 if side == BUY else -1.0
    state[e, STOP] = state[e, MID] - sign * stop * terms[MOST_STOP] if stop > 0.0 else 0.0
    if offset == 0.0:
        books.place(book, e, AGENT, side, NO_PRICE if side == BUY else 0, lots, False, 0)
        return
    away = state[e, MID] - sign * offset * terms[MOST_OFFSET]
    price = int(np.floor(away)) if side == BUY else int(np.ceil(away))
    order_id, _, slot = books.place(book, e, AGENT, side, max(price, 1), lots, True, 0)
    if slot >= 0:
        place[e, OWN_SLOT], place[e, OWN_ID], place[e, OWN_PRICE], place[e, OWN_SIDE] = slot, order_id, price, side


@njit(cache=True, nogil=True, _nrt=False)
def _middle(book: Any, e: int, last: float) -> float:
    """The mid price; the last one while a side is empty."""
    bids, asks = book.meta[e, BUY_LEVELS], book.meta[e, SELL_LEVELS]
    if bids == 0 or asks == 0:
        return last
    return 0.5 * (book.levels[e, BUY, bids - 1, LEVEL_PRICE] + book.levels[e, SELL, asks - 1, LEVEL_PRICE])


@njit(cache=True, nogil=True, _nrt=False)
def _watch_stop(book: Any, e: int, terms: Any, state: Any, place: Any) -> None:
    """Leave the position by a market order once the mid price is at the stop."""
    held, stop = place[e, HELD], state[e, STOP]
    if held == 0 or stop == 0.0 or (state[e, MID] > stop if held > 0 else state[e, MID] < stop):
        return
    if place[e, OWN_ID]:
        books.remove(book, e, place[e, OWN_SLOT], place[e, OWN_ID])
        place[e, OWN_ID] = 0
    books.place(book, e, AGENT, SELL if held > 0 else BUY, 0 if held > 0 else NO_PRICE, abs(held), False, 0)
    _collect(book, e, terms, state, place)
    state[e, MID] = _middle(book, e, state[e, MID])
    if place[e, HELD] == 0:
        state[e, STOP] = 0.0


@njit(cache=True, nogil=True, _nrt=False)
def begin(book: Any, e: int, terms: Any, state: Any, place: Any, ring: Any, seeds: Any) -> None:
    """A new book and a flat agent."""
    for k in range(ring.shape[1]):
        if ring[e, k, 1]:
            books.remove(book, e, ring[e, k, 0], ring[e, k, 1])
            ring[e, k, 1] = 0
    if place[e, OWN_ID]:
        books.remove(book, e, place[e, OWN_SLOT], place[e, OWN_ID])
    place[e, :] = 0
    state[e, :] = 0.0
    state[e, FAIR] = state[e, MID] = terms[START_PRICE]
    while place[e, OLDEST] < ring.shape[1] - 1:
        _crowd(book, e, terms, state, place, ring, seeds)
    book.tape_rows[0] = 0
    state[e, MID] = _middle(book, e, state[e, FAIR])


@njit(cache=True, nogil=True, _nrt=False)
def _observe(book: Any, e: int, terms: Any, state: Any, place: Any, out: Any) -> None:
    out[e, 0] = state[e, SIGNAL]
    column, middle = 1, state[e, MID]
    for side in range(2):
        count = book.meta[e, BUY_LEVELS + side]
        for level in range(DEPTH):
            at = count - 1 - level
            if at >= 0:
                out[e, column] = (book.levels[e, side, at, LEVEL_PRICE] - middle) / terms[MOST_OFFSET]
                out[e, column + 1] = book.levels[e, side, at, LEVEL_LOTS] / ROW_SCALE
            else:
                out[e, column] = out[e, column + 1] = 0.0
            column += 2
    own = 0.0
    if place[e, OWN_ID] and book.orders[e, place[e, OWN_SLOT], books.ORDER_ID] == place[e, OWN_ID]:
        own = (place[e, OWN_PRICE] - middle) / terms[MOST_OFFSET]
    per = 1.0 / terms[MOST_INVENTORY]
    out[e, column], out[e, column + 1] = own, place[e, HELD] * per
    out[e, column + 2], out[e, column + 3] = state[e, EQUITY] * per, (state[e, EQUITY] - state[e, PEAK]) * per
    out[e, column + 4] = place[e, LATE] / max(1.0, terms[MOST_LATENCY])
    out[e, column + 5] = 1.0 - place[e, STEPS] / terms[EPISODE]


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def step(
    book: Any, terms: Any, state: Any, place: Any, ring: Any, seeds: Any, actions: Any, restart: bool, out: Any,
    rewards: Any, terminated: Any, truncated: Any,
) -> None:  # fmt: skip
    """One step of every environment; `actions` is [n, ACTION_FIELDS]: size −1…1, offset 0…1, stop 0…1.

    Where an episode has ended, `restart` begins the next one with reward 0; without it the environment stays as it is.
    """
    events, per = int(terms[EVENTS]), 1.0 / terms[MOST_INVENTORY]
    variance = (terms[VOLATILITY] ** 2 + terms[SIGNAL_WEIGHT] ** 2) * terms[EVENTS]
    for e in range(place.shape[0]):
        if place[e, DONE]:
            if restart:
                begin(book, e, terms, state, place, ring, seeds)
            rewards[e], terminated[e], truncated[e] = 0.0, False, False
            _observe(book, e, terms, state, place, out)
            continue
        seeds[e], late = draw(seeds[e])
        place[e, LATE] = int(late * (terms[MOST_LATENCY] + 1.0))
        size = min(1.0, max(-1.0, actions[e, ACTION_SIZE]))
        offset = min(1.0, max(0.0, actions[e, ACTION_OFFSET]))
        stop = min(1.0, max(0.0, actions[e, ACTION_STOP]))
        for k in range(events + 1):
            if k == place[e, LATE]:
                _act(book, e, terms, state, place, size, offset, stop)
            if k < events:
                _crowd(book, e, terms, state, place, ring, seeds)
        if book.tape_rows[0]:
            _collect(book, e, terms, state, place)
        state[e, MID] = _middle(book, e, state[e, MID])
        _watch_stop(book, e, terms, state, place)
        held = place[e, HELD]
        equity = state[e, CASH] + held * state[e, MID]
        last, top = state[e, EQUITY], state[e, PEAK]
        peak = max(top, equity)
        share = held * per
        deeper = max(0.0, (peak - equity) - (top - last))
        rewards[e] = (equity - last - terms[DRAWDOWN_PENALTY] * deeper) * per - terms[
            INVENTORY_RISK
        ] * share * share * variance
        state[e, EQUITY], state[e, PEAK] = equity, peak
        place[e, STEPS] += 1
        ended = equity * per <= -terms[RUIN]
        over = not ended and place[e, STEPS] >= terms[EPISODE]
        terminated[e], truncated[e] = ended, over
        place[e, DONE] = ended or over
        _observe(book, e, terms, state, place, out)


class BookWorld:
    """`n` order books with a crowd; see `market.env`."""

    def __init__(self, n: int, terms: BookTerms | None = None) -> None:
        self.terms = terms or BookTerms()
        self._row, self.names = self.terms.row(), NAMES
        resting = int(self.terms.resting)
        self.book = new_book(n, slots=resting + 2, tape=(resting + 2) * (int(self.terms.events) + 2))
        self._ring: Integers = np.zeros((n, resting, 2), np.int64)
        self._state, self._place = np.zeros((n, STATE_FIELDS)), np.zeros((n, PLACE_FIELDS), np.int64)
        self._seeds = np.zeros(n, np.uint64)
        self.observations = np.zeros((n, len(NAMES)), np.float32)
        self.rewards = np.zeros(n)
        self.terminated, self.truncated = np.zeros(n, np.bool_), np.zeros(n, np.bool_)

    def reset(self, seeds: NDArray[np.uint64] | None, start: int | None = None) -> None:
        """Begin an episode everywhere; without seeds each generator goes on.

        Raises:
            UsageError: `start` is given: a simulated book has no bars to begin at.
        """
        if start is not None:
            raise UsageError("reset: an order book has no bars, so no option 'start'; its seed fixes the episode.")
        if seeds is not None:
            self._seeds[:] = seeds
        self._place[:, DONE] = 1
        self.step(np.zeros((len(self._place), ACTION_FIELDS)), True)

    def step(self, actions: Floats, restart: bool) -> None:
        """One step; the answers are in `observations`, `rewards`, `terminated` and `truncated` until the next call."""
        step(
            self.book, self._row, self._state, self._place, self._ring, self._seeds, actions, restart,
            self.observations, self.rewards, self.terminated, self.truncated,
        )  # fmt: skip

    def info(self) -> dict[str, NDArray[Any]]:
        """[n] each: profit in ticks × lots, lots held, mid price in ticks."""
        state = self._state
        return {
            "profit": state[:, EQUITY].copy(),
            "inventory": self._place[:, HELD].copy(),
            "mid": state[:, MID].copy(),
        }
