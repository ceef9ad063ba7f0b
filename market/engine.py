"""The state of a venue that takes orders of all types, the rows that go in and come out, and the rules.

A request is one row of integers (REQ_*). Whoever wants something from a market calls `market.requests` with the
`Engine` it holds; `market.admission` checks, `market.order_entry` matches, settles and queues, `market.waiting_orders`
keeps what waits for a price. The trades are on the book's tape, and what happens to an order that nobody asked for at
that moment (it expires, it is triggered, it is liquidated) is a row of `events`. EV_TAPE, the length of the tape at
that time, merges both into one history. Everything runs in compiled code, allocates nothing and is exact.

Rules: price, then time. An order that may not wait (immediate or cancel, fill or kill, market) gets what is there and
expires with the rest; fill or kill gets all or nothing and counts no order that only reduces. Self-trade prevention is
the taker's wish: before an order of its own owner the taker expires, or that order, or both. An order that waits for a
price (stop, take profit, trailing stop) takes a slot and an id at once; when its price is reached it enters the book as
a limit or market order under the same id, after the order that moved the price, nearest trigger first. What trades when
such an order enters may set off more; all of that happens inside the call that began it. An order that may only reduce
a position trades no more than the position has, and ends when nothing is left to reduce.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from market import book as books
from market.accounts import Accounts, new_accounts
from market.book import NO_PRICE, Book, Integers, with_rows
from market.contracts import Contract
from market.kernel import kernel
from market.triggers import Triggers, new_triggers, with_slots

(
    REQ_INSTRUMENT, REQ_OWNER, REQ_SIDE, REQ_KIND, REQ_TIF, REQ_PRICE, REQ_LOTS, REQ_STOP, REQ_TRAIL, REQ_DISPLAY,
    REQ_REDUCE_ONLY, REQ_STP, REQ_EXPIRY, REQ_TRIGGER_BY, REQ_FIELDS,
) = range(15)  # fmt: skip
LIMIT, MARKET, STOP_MARKET, STOP_LIMIT, TAKE_PROFIT_MARKET, TAKE_PROFIT_LIMIT, TRAILING_STOP = range(7)
GTC, IOC, FOK, GTD, POST_ONLY = range(5)
STP_NONE, EXPIRE_TAKER, EXPIRE_MAKER, EXPIRE_BOTH = range(4)
LAST_PRICE, MARK_PRICE = range(2)

REFUSED_BALANCE, REFUSED_POST_ONLY, REFUSED_REDUCE_ONLY, REFUSED_TRIGGERS_NOW = -1, -2, -3, -4
REFUSED_BAND, REFUSED_HALTED, REFUSED_LEVERAGE, REFUSED_EXPIRED, REFUSED_UNKNOWN = -5, -6, -7, -8, -9
REFUSED_NO_PRICE = -10

(
    EV_KIND, EV_INSTRUMENT, EV_ORDER, EV_OWNER, EV_SIDE, EV_PRICE, EV_LOTS_LEFT, EV_TIME, EV_TAPE, EV_REASON, EV_SLOT,
    EV_FIELDS,
) = range(12)  # fmt: skip
EV_TRIGGERED, EV_RESTED, EV_EXPIRED, EV_CANCELED, EV_LIQUIDATED, EV_FUNDING, EV_SETTLED = range(1, 8)
BY_TIF, BY_TIME, BY_REDUCE_ONLY, BY_STP_TAKER, BY_STP_MAKER, BY_BALANCE, BY_LIQUIDATION, BY_SETTLEMENT = range(1, 9)
"""EV_REASON of an order that ended: its time in force, its date, no position left to reduce, …"""
BY_REFUSAL = 100
"""EV_REASON of an order that fired and was refused: this minus the refusal."""

# Columns of Engine.state, per instrument.
(
    STATE_LAST, STATE_MARK, STATE_HALTED, STATE_BAND_LOW, STATE_BAND_HIGH, STATE_QUOTES, STATE_FIELDS,
) = range(7)  # fmt: skip

# Columns of a command of `execute`, and its kinds.
DO_INSTRUMENT, DO_KIND, DO_OWNER, DO_SIDE, DO_PRICE, DO_LOTS, DO_FIELDS = range(7)
TAKE, QUOTE_LEVEL, WITHDRAW = 0, 1, 2


class Engine(NamedTuple):
    """One venue: its books, its money, and what the engine itself keeps."""

    book: Book
    accounts: Accounts
    state: Integers
    """[instruments, STATE_FIELDS]."""
    quotes: Integers
    """[instruments, slots, 3]: slot, id and owner of the resting orders that `WITHDRAW` removes."""
    triggers: Triggers
    events: Integers
    """[rows, EV_FIELDS]."""
    event_rows: Integers
    """[1]: how many rows of `events` are filled; whoever drains them sets it to zero."""


def new_engine(contracts: Sequence[Contract], owners: int, slots: int = 256, tape: int = 8192) -> Engine:
    """Empty books and zero balances for these contracts; ids start at 1.

    Raises:
        UsageError: a contract's tick × step is no whole number of units.
    """
    count = len(contracts)
    state = np.zeros((count, STATE_FIELDS), np.int64)
    state[:, STATE_BAND_HIGH] = NO_PRICE
    return Engine(
        book=books.new_book(count, slots, tape),
        accounts=new_accounts(contracts, owners),
        state=state,
        quotes=np.zeros((count, slots, 3), np.int64),
        triggers=new_triggers(count, slots),
        events=np.zeros((tape, EV_FIELDS), np.int64),
        event_rows=np.zeros(1, np.int64),
    )


def with_room(engine: Engine, orders: int) -> Engine:
    """The same engine with room for so many more orders per instrument, their trades and their events.

    The compiled code never grows an array; call this before it, and use the answer from then on.
    """
    book = books.with_room(engine.book, orders)
    owners, instruments = engine.accounts.positions.shape[:2]
    needed = int(engine.event_rows[0] + 3 * book.meta[:, books.RESTING].sum()) + 3 * orders + 2 * owners * instruments
    triggers = with_slots(engine.triggers, book.orders.shape[1])
    engine = engine._replace(book=book, triggers=triggers, events=with_rows(engine.events, needed))
    slots = book.orders.shape[1]
    if slots > engine.quotes.shape[1]:
        quotes = np.zeros((instruments, slots, 3), np.int64)
        quotes[:, : engine.quotes.shape[1]] = engine.quotes
        engine = engine._replace(quotes=quotes)
    return engine


def new_request(instrument: int, owner: int, side: int, lots: int, kind: int = MARKET, price: int = 0) -> Integers:
    """A request row, good till canceled; set further columns before `submit`."""
    row = np.zeros(REQ_FIELDS, np.int64)
    row[[REQ_INSTRUMENT, REQ_OWNER, REQ_SIDE, REQ_LOTS, REQ_KIND, REQ_PRICE]] = (
        instrument, owner, side, lots, kind, price,
    )  # fmt: skip
    return row


@kernel
def report(
    engine: Any, kind: int, i: int, order_id: int, owner: int, side: int, price: int, left: int, time: int,
    reason: int, slot: int,
) -> None:  # fmt: skip
    """Write one event."""
    events, row = engine.events, engine.event_rows[0]
    events[row, EV_KIND], events[row, EV_INSTRUMENT], events[row, EV_ORDER] = kind, i, order_id
    events[row, EV_OWNER], events[row, EV_SIDE], events[row, EV_PRICE] = owner, side, price
    events[row, EV_LOTS_LEFT], events[row, EV_TIME], events[row, EV_REASON] = left, time, reason
    events[row, EV_TAPE], events[row, EV_SLOT] = engine.book.tape_rows[0], slot
    engine.event_rows[0] = row + 1
