"""The exchange without I/O: accounts, orders, books, candles and agents, advanced by whoever holds the clock.

One exchange is one venue: its spot pairs, and derivatives behind them, in one engine and one market time. Everything
is synchronous and happens at `time`, the market clock in µs: call `advance` first, then act. What happened since the
last look is collected in `outbox` for the streams. Nothing here is a float except the agents' opinions.
"""

import random
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from hashlib import sha256
from typing import Any, Literal, Protocol

from lake.errors import UsageError
from lake.intervals import MINUTE, SECOND
from market import book as books
from market import clearing, order_entry, reports, requests
from market import engine as engines
from market.accounts import BASE, FREE, LOCKED, QUOTE, TICK_LOT_UNITS
from market.agents import MAKER, STEP_SECONDS, TAKER
from market.book import BUY, NO_PRICE, UNIT, Integers
from market.bookkeeping import FIRST_CLIENT, Bookkeeper, Listener
from market.candles import CLOSE, Candles
from market.contracts import SPOT, Contract, asset_names
from market.engine import Engine
from market.errors import INSUFFICIENT_BALANCE, Refused, filter_failure
from market.fees import COIN_ASSET, COIN_DISCOUNT, MAKER_RATE, SPOT_MARKET, TAKER_RATE, join_tiers, roll_days
from market.filters import AVERAGE_MINUTES, Checked, Filters
from market.orders import Account, NewOrder, Order
from market.trades import TradeLog
from market.user_events import SpotReports

CROWD_STEP = int(STEP_SECONDS * SECOND)
"""Agents act at multiples of this market time (µs) only: a seed gives one market, however the clock is read."""
AGENT_QUOTE = 500_000_000
"""Quote that each agent starts with, and base worth as much at the first price: months of flow do not exhaust it, and
at a price down to 0.02 its units still fit 64 bits."""
TIMES_IN_FORCE = {
    "GTC": engines.GTC, "IOC": engines.IOC, "FOK": engines.FOK, "GTD": engines.GTD, "GTX": engines.POST_ONLY,
}  # fmt: skip
PREVENTION = {
    "NONE": engines.STP_NONE, "EXPIRE_TAKER": engines.EXPIRE_TAKER, "EXPIRE_MAKER": engines.EXPIRE_MAKER,
    "EXPIRE_BOTH": engines.EXPIRE_BOTH,
}  # fmt: skip
ClientIds = Literal["open-only", "forever", "none"]


class Crowd(Protocol):
    """Order flow that is not a client's, such as `market.agents.Agents`."""

    commands: Integers

    def act(self, seconds: float, time_us: int) -> int:
        """Let time pass and write what is wanted into `commands`; returns how many."""


@dataclass(slots=True)
class Outbox:
    """What happened and was not published yet, in order of time."""

    trades: list[list[int]] = field(default_factory=list)
    """Rows of the tape."""
    aggregates: list[list[int]] = field(default_factory=list)
    """Rows of `market.trades`, AGG_*."""
    closed_minutes: list[int] = field(default_factory=list)
    """Row numbers of the one-minute bars that closed."""
    user: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    """Owner and user-data event of spot."""
    futures_user: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    """The same of derivatives."""


class Exchange:
    """One venue. All amounts inside are integers; see `market.book` and `market.accounts` for units."""

    def __init__(
        self,
        contracts: Sequence[Contract],
        candles: Candles,
        crowds: Sequence[Crowd],
        fee_bps: Decimal,
        accounts: int,
        seed: int,
        quote_balance: Decimal = Decimal(100_000),
        venue: str = "",
        maker_fee_bps: Decimal | None = None,
    ) -> None:
        """Open the books at the end of the history that `candles` holds.

        Args:
            contracts: what trades, spot pairs first; rows of `candles` in the same order.
            crowds: who acts in every step, in this order.
            fee_bps: of clients; for makers only where `maker_fee_bps` is None.
            accounts: how many clients, each with `quote_balance` in every quote asset and in no other.
            venue: makes the keys of its accounts differ from those of another venue of the same seed.
        """
        self.contracts = tuple(contracts)
        self.instruments = tuple(contract.instrument for contract in contracts)
        self.assets = asset_names(self.contracts)
        self.spot = tuple(i for i, contract in enumerate(contracts) if contract.kind == SPOT)
        self.spot_assets = asset_names([contracts[i] for i in self.spot])
        self.candles, self.crowds = candles, list(crowds)
        self.steps: list[Callable[[int], None]] = []
        """Called after the crowds with the time (µs) that a step has reached: marks, funding, expiries."""
        self.filters: list[Any] = [Filters(instrument) for instrument in self.instruments]
        self.time = candles.open_time
        self.trading = True
        self.closed: dict[int, str] = {}
        """Symbols that take no orders, with the status they show: BREAK or HALT."""
        self.client_ids: ClientIds = "open-only"
        """Among which orders of an account and symbol a client id must be unique."""
        self.outbox = Outbox()
        self.fee_bps = fee_bps
        self.trade_log = TradeLog(candles.next_trade_ids())
        self.accounts = [self._new_account(n, seed, venue) for n in range(accounts)]
        self.engine = engines.new_engine(self.contracts, FIRST_CLIENT + accounts)
        self.engine.book.meta[:, books.NEXT_TRADE_ID] = candles.next_trade_ids()
        self.engine.state[:, engines.STATE_LAST] = self.engine.accounts.last[:] = candles.bars[:, -1, CLOSE]
        rates = self.engine.accounts.fees.rates[FIRST_CLIENT : FIRST_CLIENT + accounts, SPOT_MARKET]
        rates[:, TAKER_RATE] = fee_rate(fee_bps)
        rates[:, MAKER_RATE] = fee_rate(fee_bps if maker_fee_bps is None else maker_fee_bps)
        self.listeners: list[Listener] = [SpotReports(self)]
        self._ids = random.Random(seed)
        self._tiered = False
        self._dated = False
        """Whether an order ever had an end; spares everybody else the question."""
        self._executions = 0
        self._bookkeeper = Bookkeeper(self)
        self._fund(quote_balance)

    def _new_account(self, number: int, seed: int, venue: str) -> Account:
        count = len(self.contracts)
        key, secret = (account_key(seed, number, what, venue) for what in ("key", "secret"))
        return Account(
            FIRST_CLIENT + number, key, secret,
            [[] for _ in range(count)], [[] for _ in range(count)], [{} for _ in range(count)], updated=self.time,
        )  # fmt: skip

    def _fund(self, quote_balance: Decimal) -> None:
        """Give spot's money to clients and agents; derivatives are funded by whoever adds them."""
        balances, clients = self.engine.accounts.balances, slice(FIRST_CLIENT, FIRST_CLIENT + len(self.accounts))
        for i in self.spot:
            scale = self.scales[i]
            balances[clients, scale[QUOTE], FREE] = int(quote_balance * UNIT)
            if self.crowds:
                last = int(self.candles.bars[i, -1, CLOSE]) * self.candles.price_units(i)
                balances[[MAKER, TAKER], scale[QUOTE], FREE] = AGENT_QUOTE * UNIT
                balances[[MAKER, TAKER], scale[BASE], FREE] = AGENT_QUOTE * UNIT // last * UNIT

    # -- time -----------------------------------------------------------------------------------------------------

    def advance(self, to_time: int) -> None:
        """Let market time pass: agents act, bars close. Does nothing for a time already reached."""
        while self.time < to_time:
            close = self.candles.open_time + MINUTE
            until, due = min(to_time, close), (self.time // CROWD_STEP + 1) * CROWD_STEP
            if self.crowds or self.steps:
                until = min(until, due)
            for crowd in self.crowds if until == due else ():
                count = crowd.act(STEP_SECONDS, until)
                self.engine = engines.with_room(self.engine, count)
                requests.execute(self.engine, crowd.commands, count, until - 1)
            self.time = until
            if self._dated:
                requests.pass_time(self.engine, until)
            for step in self.steps:
                step(until)
            if until == close:
                self._bookkeeper.drain()
                self.outbox.closed_minutes.append(self.candles.minutes - 1)
                self.candles.roll()
                if self._tiered:
                    roll_days(self.engine.accounts.fees, until)
        self.settle()

    def settle(self) -> None:
        """Bring the clients' orders up to what the engine did, and report it; for whoever called the engine itself."""
        self._bookkeeper.drain()
        self._bookkeeper.tell_balances()

    def prepare(self, change: Callable[[Engine], Engine]) -> None:
        """Replace the engine by what `change` makes of it, such as one with more room."""
        self.engine = change(self.engine)

    def close(self, closed: dict[int, str]) -> None:
        """From now on these instruments, and no others, take no orders and match nothing."""
        for i in range(len(self.contracts)):
            self.engine.state[i, engines.STATE_HALTED] = i in closed
        self.closed = dict(closed)

    # -- orders ---------------------------------------------------------------------------------------------------

    def submit(self, account: Account, new: NewOrder) -> Order:
        """Check and carry out an order; what does not fit its time in force expires.

        Raises:
            Refused: a filter, the balance, an order of the same client id, or a closed market forbids it.
        """
        checked, quote_units = self.check(account, new)
        i, filters = new.instrument, self.filters[new.instrument]
        self.engine = engines.with_room(self.engine, 1)
        order_id, _, slot = requests.submit(self.engine, self._request(account, new, checked), self.time)
        if order_id < 0:
            raise filters.refusal(order_id)
        self._dated = self._dated or new.good_till is not None
        waits = filters.kind(new) not in (engines.LIMIT, engines.MARKET)
        order = Order(
            int(order_id), new.client_order_id or self.new_client_id(), account.owner, i, new.side, new.type,
            checked.price, checked.lots, quote_units, self.time, self.time, slot=int(slot),
            time_in_force=new.time_in_force, stop=checked.stop, trailing_delta=new.trailing_delta or 0,
            iceberg_lots=checked.iceberg_lots, self_trade_prevention=new.self_trade_prevention,
            reduce_only=new.reduce_only, good_till=new.good_till, triggered_by_mark=new.triggered_by_mark,
            close_position=new.close_position, working_since=None if waits else self.time,
        )  # fmt: skip
        account.orders[i].append(order)
        account.by_client_id[i][order.client_order_id] = order
        account.open[i, order.id] = order
        self._bookkeeper.tell(order, "NEW")
        self.settle()
        return order

    def check(self, account: Account, new: NewOrder) -> tuple[Checked, int]:
        """What `submit` would ask of the engine: the order on the grid, and the quote units it was given by.

        Raises:
            Refused: as `submit`, for all that does not depend on the book.
        """
        i = new.instrument
        held = account.by_client_id[i].get(new.client_order_id or "")
        if held is not None and (self.client_ids == "forever" or (held.is_open and self.client_ids == "open-only")):
            raise Refused(-2010, "Duplicate order sent.")
        return self.check_filters(account, new)

    def check_filters(self, account: Account, new: NewOrder) -> tuple[Checked, int]:
        """As `check`, whatever the order's client id.

        Raises:
            Refused: the market is closed or a filter forbids the order.
        """
        i, filters = new.instrument, self.filters[new.instrument]
        if not self.trading or i in self.closed:
            raise Refused(-1013, "Market is closed.")
        own = [order for (instrument, _), order in account.open.items() if instrument == i]
        last = int(self.candles.bars[i, -1, CLOSE]) * self.instruments[i].price_tick
        if new.quote_quantity is not None:
            filters.check_quote_quantity(new.quote_quantity)
            units = int(new.quote_quantity * UNIT)
            lots = self._lots_for(account, i, new.side, units)
            if lots == 0:
                raise filter_failure("LOT_SIZE")
            return Checked(0, lots), units
        checked = filters.check(new, self._average(i), last)
        filters.check_counts(new, len(own), sum(order.waits for order in own))
        return checked, 0

    def _average(self, i: int) -> Decimal:
        return self.candles.average_price(i, AVERAGE_MINUTES) * self.instruments[i].price_tick

    def _request(self, account: Account, new: NewOrder, checked: Checked) -> Integers:
        kind = self.filters[new.instrument].kind(new)
        request = engines.new_request(new.instrument, account.owner, new.side, checked.lots, kind, checked.price)
        time_in_force = "GTX" if new.type == "LIMIT_MAKER" else new.time_in_force
        request[engines.REQ_TIF] = TIMES_IN_FORCE[time_in_force]
        request[engines.REQ_STOP], request[engines.REQ_TRAIL] = checked.stop, new.trailing_delta or 0
        request[engines.REQ_DISPLAY], request[engines.REQ_REDUCE_ONLY] = checked.iceberg_lots, new.reduce_only
        request[engines.REQ_STP] = PREVENTION[new.self_trade_prevention]
        request[engines.REQ_EXPIRY] = new.good_till or 0
        request[engines.REQ_TRIGGER_BY] = engines.MARK_PRICE if new.triggered_by_mark else engines.LAST_PRICE
        return request

    def _lots_for(self, account: Account, i: int, side: int, units: int) -> int:
        """Lots that a market order of so much quote gets from the book now; at the average price if it is empty."""
        if side == BUY and self.balance(account.owner, self.column(self.instruments[i].quote))[FREE] < units:
            raise Refused(-2010, INSUFFICIENT_BALANCE)
        price = NO_PRICE if side == BUY else 0
        got, _ = requests.sweep(self.engine, i, side, price, NO_PRICE, units)
        if got:
            return int(got)
        return units // (self.candles.average_price(i, AVERAGE_MINUTES) * int(self.scales[i, TICK_LOT_UNITS]))

    def cancel(self, account: Account, order: Order, cancel_id: str | None = None) -> str:
        """Cancel an open order; returns the client id of the cancellation.

        Raises:
            Refused: -2011, the order is not open.
        """
        if not order.is_open:
            raise Refused(-2011, "Unknown order sent.")
        order_entry.cancel(self.engine, order.instrument, order.slot, order.id, self.time)
        order.updated = self.time
        cancel_id = cancel_id or self.new_client_id()
        self._bookkeeper.end(order, "CANCELED", cancel_id)
        self.settle()
        return cancel_id

    def amend(self, account: Account, order: Order, price: int, lots: int, client_id: str | None = None) -> int:
        """Give an open order another price (ticks) or another quantity (lots in all); returns the report's number.

        It keeps its place in the queue only where the price stays and the quantity shrinks. A new client id takes the
        old one's place.

        Raises:
            Refused: the order is not open, or what the engine forbids.
        """
        i = order.instrument
        if not order.is_open:
            raise Refused(-2013, "Order does not exist.")
        self.engine = engines.with_room(self.engine, 1)
        left = lots - order.filled_lots
        answer, _, slot = requests.amend(self.engine, i, order.slot, order.id, price, left, self.time)
        if answer < 0:
            raise self.filters[i].refusal(answer)
        order.price, order.lots, order.slot, order.updated = price, lots, int(slot), self.time
        self._bookkeeper.tell(order, "REPLACED", None, client_id)
        number = self._executions
        if client_id is not None:
            order.client_order_id = client_id
            account.by_client_id[i][client_id] = order
        self.settle()
        return number

    def reduce(self, account: Account, order: Order, quantity: Decimal, client_id: str | None = None) -> int:
        """Give a spot order a smaller quantity in its place in the queue: Binance's amend-keep-priority.

        Raises:
            Refused: -2038, the quantity does not shrink or is filled already; -1013, a filter.
        """
        i = order.instrument
        if not order.is_open:
            raise Refused(-2013, "Order does not exist.")
        _, lots = self.filters[i].check_limit(
            order.side, order.price * self.instruments[i].price_tick, quantity, self._average(i)
        )
        if lots == order.lots:
            raise Refused(-2038, "The requested action would change no state; rejecting.")
        if lots > order.lots:
            raise Refused(-2038, "Order amend (quantity increase) is not supported.")
        if lots <= order.filled_lots:
            raise Refused(-2038, "Order amend: the new quantity must be greater than the executed quantity.")
        return self.amend(account, order, order.price, lots, client_id)

    # -- what is known --------------------------------------------------------------------------------------------

    def account(self, owner: int) -> Account:
        """The client of an owner number."""
        return self.accounts[owner - FIRST_CLIENT]

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

    def status(self, i: int) -> str:
        """TRADING, BREAK or HALT."""
        return self.closed.get(i, "TRADING") if self.trading else "BREAK"

    def depth(self, i: int, side: int, limit: int) -> Integers:
        """[levels, 2]: ticks and lots, best first; a view, valid until the next change."""
        return books.depth(self.engine.book, i, side, limit)

    def update_id(self, i: int) -> int:
        return int(self.engine.book.meta[i, books.UPDATE_ID])

    @property
    def scales(self) -> Integers:
        """[contracts, SCALE_FIELDS] of `market.accounts`."""
        return self.engine.accounts.scales

    def balance(self, owner: int, column: int) -> tuple[int, int]:
        """Free and locked units of an asset."""
        row = self.engine.accounts.balances[owner, column]
        return int(row[FREE]), int(row[LOCKED])

    def units(self, i: int, price: int, lots: int) -> int:
        """Quote units of so many lots at a price in ticks."""
        return price * lots * int(self.scales[i, TICK_LOT_UNITS])

    def column(self, asset: str) -> int:
        return self.assets.index(asset)

    def join_fee_tiers(self) -> None:
        """From now on every client's volume of the last 30 whole days sets its fees."""
        self._tiered = True
        roll_days(self.engine.accounts.fees, self.time)
        for account in self.accounts:
            join_tiers(self.engine.accounts.fees, account.owner)

    def commission_rates(self, owner: int) -> tuple[int, int]:
        """Maker's and taker's rate of spot, in millionths."""
        rates = self.engine.accounts.fees.rates[owner, SPOT_MARKET]
        return int(rates[MAKER_RATE]), int(rates[TAKER_RATE])

    def fee_discount(self, owner: int) -> dict[str, Any]:
        """What Binance shows about paying spot fees in a coin."""
        fees = self.engine.accounts.fees
        coin, wanted = int(fees.coin[COIN_ASSET]), bool(fees.wants_coin[owner])
        return {
            "enabledForAccount": wanted and coin >= 0,
            "enabledForSymbol": coin >= 0,
            "discountAsset": self.assets[coin] if coin >= 0 else None,
            "discount": reports.amount(int(fees.coin[COIN_DISCOUNT]) * 100) if coin >= 0 else reports.ZERO,
        }

    def pay_in_coin(self, owner: int, wanted: bool) -> None:
        """From now on the owner pays spot fees in the venue's coin where it holds enough, at a discount."""
        self.engine.accounts.fees.wants_coin[owner] = wanted

    def totals(self) -> list[int]:
        """Units per asset over all owners, fees included, less what open positions cost: constant for ever."""
        return clearing.totals(self.engine)

    def least_balance(self) -> int:
        return int(self.engine.accounts.balances.min())

    def new_client_id(self) -> str:
        """22 characters, as Binance makes them."""
        return "".join(self._ids.choices(string.ascii_letters + string.digits, k=22))

    def next_execution(self) -> int:
        """A number for one report, never used again."""
        self._executions += 1
        return self._executions


def fee_rate(fee_bps: Decimal) -> int:
    """Basis points as the accounts' millionths.

    Raises:
        UsageError: not between 0 and 1000, or finer than a hundredth of a basis point.
    """
    rate = fee_bps * 100
    if rate != int(rate) or not 0 <= rate <= 100_000:
        raise UsageError(f"fee {fee_bps} bps: expected 0 to 1000 in steps of 0.01.")
    return int(rate)


def account_key(seed: int, number: int, what: str, venue: str = "") -> str:
    """A key of a test account: known to all who know the seed, and worth nothing outside loopback."""
    place = f" {venue}" if venue else ""
    return sha256(f"bitacora embedded exchange{place}, seed {seed}, account {number}, {what}".encode()).hexdigest()
