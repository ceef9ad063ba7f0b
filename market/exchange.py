"""The exchange without I/O: accounts, orders, books, candles and agents, advanced by whoever holds the clock.

Everything is synchronous and happens at `time`, the market clock in µs: call `advance` first, then act. What happened
since the last look is collected in `outbox` for the streams. Nothing here is a float except the agents' opinions.
"""

import random
import string
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from hashlib import sha256
from typing import Any

import numpy as np

from lake.errors import UsageError
from lake.instruments import Instrument
from lake.intervals import MINUTE, SECOND
from market import book as books
from market import engine as engines
from market import reports
from market.accounts import BASE, FREE, LOCKED, QUOTE, TICK_LOT_UNITS
from market.agents import MAKER, STEP_SECONDS, TAKER, Agents
from market.book import BUY, NO_PRICE, UNIT, Integers
from market.candles import Candles
from market.clearing import set_halted
from market.contracts import spot
from market.errors import INSUFFICIENT_BALANCE, Refused, filter_failure
from market.filters import AVERAGE_MINUTES, MOST_OPEN_ORDERS, Filters
from market.orders import Account, Fill, NewOrder, Order

FIRST_CLIENT = 3
"""Owner number of the first account; below are the venue's fees and the agents."""
AGENT_QUOTE = 500_000_000
"""Quote that each agent starts with, and base worth as much at the first price: months of flow do not exhaust it, and
at a price down to 0.02 its units still fit 64 bits."""
RECENT_TRADES = 1000


@dataclass(slots=True)
class Outbox:
    """What happened and was not published yet, in order of time."""

    trades: list[list[int]] = field(default_factory=list)
    """Rows of the tape."""
    closed_minutes: list[int] = field(default_factory=list)
    """Row numbers of the one-minute bars that closed."""
    user: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    """Owner and user-data event."""


class Exchange:
    """One spot venue. All amounts inside are integers; see `market.book` for units."""

    def __init__(
        self,
        instruments: Sequence[Instrument],
        candles: Candles,
        scales: Integers,
        agents: Agents | None,
        fee_bps: Decimal,
        accounts: int,
        seed: int,
        quote_balance: Decimal = Decimal(100_000),
    ) -> None:
        self.instruments = tuple(instruments)
        self.assets = asset_names(self.instruments)
        self.candles = candles
        self.filters = [Filters(instrument) for instrument in self.instruments]
        self.time = candles.open_time
        self.trading = True
        self.closed: dict[int, str] = {}
        """Instruments whose market is closed, with the status they show: BREAK or HALT."""
        self.client_ids = "open-only"
        """Which client order ids are refused as duplicates: of open orders (`open-only`), `forever`, or `none`."""
        self.outbox = Outbox()
        self.fee_bps = fee_bps
        self.recent: list[deque[list[int]]] = [deque(maxlen=RECENT_TRADES) for _ in self.instruments]
        self._agents = agents
        self._ids = random.Random(seed)
        self._executions = 0
        self._touched: dict[int, set[int]] = {}
        self.accounts = [self._account(n, seed) for n in range(accounts)]
        self._engine = engines.new_engine([spot(i) for i in self.instruments], FIRST_CLIENT + accounts)
        self._engine.book.meta[:, books.NEXT_TRADE_ID] = candles.next_trade_ids()
        self._engine.accounts.fees.rates[FIRST_CLIENT:-1] = fee_rate(fee_bps)
        self._fund(quote_balance)

    def _account(self, number: int, seed: int) -> Account:
        count = len(self.instruments)
        return Account(
            FIRST_CLIENT + number, account_key(seed, number, "key"), account_key(seed, number, "secret"),
            [[] for _ in range(count)], [[] for _ in range(count)], [{} for _ in range(count)], updated=self.time,
        )  # fmt: skip

    def _fund(self, quote_balance: Decimal) -> None:
        balances, scales = self._engine.accounts.balances, self._engine.accounts.scales
        quote_assets = sorted({int(column) for column in scales[:, QUOTE]})
        for column in quote_assets:
            balances[FIRST_CLIENT:, column, FREE] = int(quote_balance * UNIT)
            if self._agents is not None:
                balances[[MAKER, TAKER], column, FREE] = AGENT_QUOTE * UNIT
        if self._agents is not None:
            for i, scale in enumerate(scales):
                last = int(self.candles.bars[i, -1, 0]) * self.candles.price_units(i)
                balances[[MAKER, TAKER], scale[BASE], FREE] = AGENT_QUOTE * UNIT // last * UNIT

    # -- time -----------------------------------------------------------------------------------------------------

    def advance(self, to_time: int) -> None:
        """Let market time pass: agents act, bars close. Does nothing for a time already reached."""
        while self.time < to_time:
            close = self.candles.open_time + MINUTE
            until = min(to_time, close)
            if self._agents is not None:
                until = min(until, self.time + int(STEP_SECONDS * SECOND))
                count = self._agents.act((until - self.time) / SECOND, until)
                self._engine = engines.with_room(self._engine, count)
                engines.execute(self._engine, self._agents.commands, count, until - 1)
            self.time = until
            if until == close:
                self._drain()
                self.outbox.closed_minutes.append(self.candles.minutes - 1)
                self.candles.roll()
        self._drain()
        self._report_balances()

    # -- orders ---------------------------------------------------------------------------------------------------

    def submit(self, account: Account, new: NewOrder) -> Order:
        """Check, match and, for a limit order, rest what is left; a market order's rest expires.

        Raises:
            Refused: a filter, the balance, an open order of the same client id, or a paused market forbids it.
        """
        if not self.trading or new.instrument in self.closed:
            raise Refused(-1013, "Market is closed.")
        held = account.by_client_id[new.instrument].get(new.client_order_id or "")
        if held is not None and (held.is_open if self.client_ids == "open-only" else self.client_ids == "forever"):
            raise Refused(-2010, "Duplicate order sent.")
        price, lots, quote_units = self._checked(account, new)
        self._engine = engines.with_room(self._engine, 1)
        rests = new.type == "LIMIT"
        kind = engines.LIMIT if rests else engines.MARKET
        request = engines.new_request(new.instrument, account.owner, new.side, lots, kind, price)
        order_id, _, slot = engines.submit(self._engine, request, self.time)
        if order_id < 0:
            raise Refused(-2010, INSUFFICIENT_BALANCE)
        order = Order(
            int(order_id), new.client_order_id or self.new_client_id(), account.owner, new.instrument, new.side,
            new.type, price, lots, quote_units, self.time, self.time, slot=int(slot),
        )  # fmt: skip
        account.orders[new.instrument].append(order)
        account.by_client_id[new.instrument][order.client_order_id] = order
        account.open[order.instrument, order.id] = order
        self._report(order, "NEW")
        self._drain()
        if order.is_open and not rests:
            self._end(order, "EXPIRED", "EXPIRED", order.client_order_id)
        self._touch(account.owner, new.instrument)
        self._report_balances()
        return order

    def _checked(self, account: Account, new: NewOrder) -> tuple[int, int, int]:
        """Price ticks, lots and requested quote units of an order that passes the filters."""
        i, filters = new.instrument, self.filters[new.instrument]
        average = self.candles.average_price(i, AVERAGE_MINUTES) * self.instruments[i].price_tick
        if new.type == "LIMIT":
            if new.price is None or new.quantity is None:
                raise UsageError("limit order: expected price and quantity, found none.")
            price, lots = filters.check_limit(new.side, new.price, new.quantity, average)
            if sum(1 for instrument, _ in account.open if instrument == i) >= MOST_OPEN_ORDERS:
                raise filter_failure("MAX_NUM_ORDERS")
            return price, lots, 0
        if new.quantity is not None:
            return 0, filters.check_market(new.quantity, average), 0
        if new.quote_quantity is None:
            raise UsageError("market order: expected quantity or quote quantity, found none.")
        filters.check_quote_quantity(new.quote_quantity)
        units = int(new.quote_quantity * UNIT)
        lots = self._lots_for(account, i, new.side, units)
        if lots == 0:
            raise filter_failure("LOT_SIZE")
        return 0, lots, units

    def _lots_for(self, account: Account, i: int, side: int, units: int) -> int:
        """Lots that a market order of so much quote gets from the book now; at the average price if it is empty."""
        if side == BUY and self.balance(account.owner, self.column(self.instruments[i].quote))[FREE] < units:
            raise Refused(-2010, INSUFFICIENT_BALANCE)
        price = NO_PRICE if side == BUY else 0
        got, _ = engines.sweep(self._engine, i, side, price, NO_PRICE, units)
        if got:
            return int(got)
        average = self.candles.average_price(i, AVERAGE_MINUTES)
        return units // (average * int(self._engine.accounts.scales[i, TICK_LOT_UNITS]))

    def cancel(self, account: Account, order: Order, cancel_id: str | None = None) -> str:
        """Cancel an open order; returns the client id of the cancellation.

        Raises:
            Refused: -2011, the order is not open.
        """
        if not order.is_open:
            raise Refused(-2011, "Unknown order sent.")
        engines.cancel(self._engine, order.instrument, order.slot, order.id, self.time)
        order.updated = self.time
        cancel_id = cancel_id or self.new_client_id()
        self._end(order, "CANCELED", "CANCELED", cancel_id)
        self._touch(account.owner, order.instrument)
        self._report_balances()
        return cancel_id

    def _end(self, order: Order, status: Any, execution: str, client_id: str) -> None:
        order.status = status
        order.updated = self.time
        self.accounts[order.owner - FIRST_CLIENT].open.pop((order.instrument, order.id), None)
        self._report(order, execution, client_id=client_id)

    def close_markets(self, closed: dict[int, str]) -> None:
        """Close these instruments, by status, and open all others: closed, nothing matches and cancels still work."""
        self.closed = closed
        for i in range(len(self.instruments)):
            set_halted(self._engine, i, i in closed)

    # -- what is known --------------------------------------------------------------------------------------------

    def find(self, account: Account, i: int, order_id: int | None, client_order_id: str | None) -> Order | None:
        """An order of the account by either id; the newest one where a client id was used again."""
        if order_id is None:
            return account.by_client_id[i].get(client_order_id or "")
        low, high, held = 0, len(account.orders[i]), account.orders[i]
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if held[middle].id < order_id else (low, middle)
        found = held[low] if low < len(held) and held[low].id == order_id else None
        mismatch = found is not None and client_order_id is not None and found.client_order_id != client_order_id
        return None if mismatch else found

    def depth(self, i: int, side: int, limit: int) -> Integers:
        """[levels, 2]: ticks and lots, best first; a view, valid until the next change."""
        return books.depth(self._engine.book, i, side, limit)

    def update_id(self, i: int) -> int:
        return int(self._engine.book.meta[i, books.UPDATE_ID])

    def balance(self, owner: int, column: int) -> tuple[int, int]:
        """Free and locked units of an asset."""
        row = self._engine.accounts.balances[owner, column]
        return int(row[FREE]), int(row[LOCKED])

    def units(self, i: int, price: int, lots: int) -> int:
        """Quote units of so many lots at a price in ticks."""
        return price * lots * int(self._engine.accounts.scales[i, TICK_LOT_UNITS])

    def column(self, asset: str) -> int:
        return self.assets.index(asset)

    def totals(self) -> list[int]:
        """Units per asset over all owners, fees included: constant for ever."""
        return [int(value) for value in self._engine.accounts.balances.sum(axis=(0, 2))]

    def least_balance(self) -> int:
        return int(self._engine.accounts.balances.min())

    def new_client_id(self) -> str:
        """22 characters, as Binance makes them."""
        return "".join(self._ids.choices(string.ascii_letters + string.digits, k=22))

    # -- bookkeeping ----------------------------------------------------------------------------------------------

    def _drain(self) -> None:
        """Move the tape into candles, recent trades and the clients' orders."""
        book = self._engine.book
        count = int(book.tape_rows[0])
        self._engine.event_rows[0] = 0
        if not count:
            return
        tape = book.tape[:count].copy()
        book.tape_rows[0] = 0
        self.candles.record(tape)
        rows: list[list[int]] = tape.tolist()
        self.outbox.trades.extend(rows)
        for row in rows:
            self.recent[row[books.TAPE_INSTRUMENT]].append(row)
            if row[books.TAPE_MAKER] >= FIRST_CLIENT:
                self._fill(row, row[books.TAPE_MAKER], row[books.TAPE_MAKER_ORDER], True)
            if row[books.TAPE_TAKER] >= FIRST_CLIENT:
                self._fill(row, row[books.TAPE_TAKER], row[books.TAPE_TAKER_ORDER], False)

    def _fill(self, row: list[int], owner: int, order_id: int, is_maker: bool) -> None:
        i = row[books.TAPE_INSTRUMENT]
        account = self.accounts[owner - FIRST_CLIENT]
        order = account.open[i, order_id]
        price, lots = row[books.TAPE_PRICE], row[books.TAPE_LOTS]
        units = self.units(i, price, lots)
        fee = row[books.TAPE_MAKER_FEE] if is_maker else row[books.TAPE_TAKER_FEE]
        fill = Fill(
            row[books.TAPE_ID], i, order_id, order.side, price, lots, units, fee, is_maker, row[books.TAPE_TIME]
        )
        order.book(fill)
        account.fills[i].append(fill)
        if not order.is_open:
            del account.open[i, order_id]
        self._report(order, "TRADE", fill)
        self._touch(owner, i)

    def _report(self, order: Order, execution: str, fill: Fill | None = None, client_id: str | None = None) -> None:
        self._executions += 1
        event = reports.execution_report(self, order, execution, fill, client_id, self._executions)
        self.outbox.user.append((order.owner, event))

    def _touch(self, owner: int, i: int) -> None:
        scale = self._engine.accounts.scales[i]
        self._touched.setdefault(owner, set()).update((int(scale[BASE]), int(scale[QUOTE])))

    def _report_balances(self) -> None:
        for owner, columns in self._touched.items():
            self.accounts[owner - FIRST_CLIENT].updated = self.time
            self.outbox.user.append((owner, reports.account_position(self, owner, sorted(columns))))
        self._touched = {}


def asset_names(instruments: Sequence[Instrument]) -> tuple[str, ...]:
    """Bases in order, then quotes: the columns of the balances."""
    names = dict.fromkeys([i.base for i in instruments] + [i.quote for i in instruments])
    return tuple(names)


def scales_of(instruments: Sequence[Instrument]) -> Integers:
    """The books' units per instrument.

    Raises:
        UsageError: an amount of one tick and one step would not be a whole number of 1e-8.
    """
    assets = asset_names(instruments)
    rows = []
    for instrument in instruments:
        lot, notional = instrument.quantity_step * UNIT, instrument.price_tick * instrument.quantity_step * UNIT
        if lot != int(lot) or notional != int(notional):
            raise UsageError(f"{instrument.id}: tick × step is no multiple of 1e-8; choose coarser filters.")
        rows.append((assets.index(instrument.base), assets.index(instrument.quote), int(lot), int(notional)))
    return np.array(rows, np.int64)


def fee_rate(fee_bps: Decimal) -> int:
    """Basis points as the book's millionths.

    Raises:
        UsageError: not between 0 and 1000, or finer than a hundredth of a basis point.
    """
    rate = fee_bps * 100
    if rate != int(rate) or not 0 <= rate <= 100_000:
        raise UsageError(f"fee {fee_bps} bps: expected 0 to 1000 in steps of 0.01.")
    return int(rate)


def account_key(seed: int, number: int, what: str) -> str:
    """A key of a test account: known to all who know the seed, and worth nothing outside loopback."""
    return sha256(f"bitacora embedded exchange, seed {seed}, account {number}, {what}".encode()).hexdigest()
