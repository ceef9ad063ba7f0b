"""What the venue keeps for derivatives clients beside the engine: income, events, listen keys, dead-man timers.

`FuturesDesk` listens to the exchange and renders what happens to derivatives at the moment it happens: user events go
to the outbox, incomes into lists, liquidations of anybody to the public stream.
"""

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lake.intervals import SECOND
from market import margin
from market.accounts import FREE, POS_LOTS
from market.book import UNIT
from market.bookkeeping import FIRST_CLIENT
from market.clearing import EV_CLEARED
from market.engine import (
    EV_FUNDING,
    EV_INSTRUMENT,
    EV_KIND,
    EV_LIQUIDATED,
    EV_LOTS_LEFT,
    EV_ORDER,
    EV_OWNER,
    EV_PRICE,
    EV_REASON,
    EV_SETTLED,
    EV_SIDE,
    EV_TIME,
)
from market.fees import DERIVATIVES_MARKET, MAKER_RATE, TAKER_RATE
from market.futures_events import account_update, algo_update, margin_call, order_update
from market.futures_orders import FuturesFilters
from market.futures_reports import MARGIN_COLUMN, price_of, quantity_of, wallet
from market.futures_world import FuturesWorld
from market.orders import SIDES, Account, Execution, Fill, Order
from market.reports import milliseconds

if TYPE_CHECKING:
    from market.exchange import Exchange

MAKER_FEE, TAKER_FEE = 200, 500
"""Millionths: Binance's 0.02 % and 0.05 %."""
KEY_SECONDS = 3600.0
"""Wall time that a listen key lives without being extended."""
CALL_RATIO, CALM_RATIO = 0.8, 0.7
"""Maintenance over margin balance at which a margin call goes out, and below which the next one may."""
INCOME_OF = {EV_FUNDING: "FUNDING_FEE", EV_SETTLED: "REALIZED_PNL", EV_CLEARED: "INSURANCE_CLEAR"}
REASON_OF = {EV_FUNDING: "FUNDING_FEE", EV_SETTLED: "ORDER", EV_CLEARED: "INSURANCE_CLEAR"}


class Income(NamedTuple):
    """One change of a wallet by something other than a transfer of the client's own."""

    time: int
    instrument: int | None
    kind: str
    units: int
    number: int
    trade_id: str


@dataclass(slots=True)
class ListenKey:
    owner: int
    key: str
    expires: float
    """By the wall clock's seconds."""


class FuturesDesk:
    """Of one exchange; `algos` are the orders that came through the algo endpoints."""

    def __init__(self, exchange: "Exchange", world: FuturesWorld, now: Callable[[], float] = time.monotonic) -> None:
        self.exchange, self.world = exchange, world
        self.derivatives = tuple(i for i, contract in enumerate(exchange.contracts) if contract.is_derivative)
        self.income: dict[int, list[Income]] = defaultdict(list)
        self.liquidations: list[dict[str, Any]] = []
        """`forceOrder` events that were not published yet."""
        self.last_liquidations: list[dict[str, Any]] = []
        self.algos: set[tuple[int, int]] = set()
        self.takes_algo = False
        """While an order of the algo endpoints is being submitted."""
        self.keys: dict[str, ListenKey] = {}
        self._now, self._numbers = now, 0
        self._traded: dict[int, set[int]] = defaultdict(set)
        self._timers: dict[tuple[int, int], float] = {}
        self._called: set[int] = set()
        for i in self.derivatives:
            exchange.filters[i] = FuturesFilters(exchange.contracts[i], partial(self.mark, i))
        exchange.listeners.append(self)
        exchange.steps.append(world.step)
        exchange.steps.append(self._watch_margins)

    def endow(self, quote_balance: Decimal, maker_fee: int = MAKER_FEE, taker_fee: int = TAKER_FEE) -> None:
        """Give every client a margin wallet and the fees of its market, in millionths."""
        accounts = self.exchange.engine.accounts
        clients = slice(FIRST_CLIENT, FIRST_CLIENT + len(self.exchange.accounts))
        accounts.balances[clients, self.exchange.column(MARGIN_COLUMN), FREE] = int(quote_balance * UNIT)
        accounts.fees.rates[clients, DERIVATIVES_MARKET, MAKER_RATE] = maker_fee
        accounts.fees.rates[clients, DERIVATIVES_MARKET, TAKER_RATE] = taker_fee

    def mark(self, i: int) -> Decimal:
        """Of now, in quote: on the tick."""
        tick = self.exchange.contracts[i].instrument.price_tick
        return round(float(self.world.mark[i - self.world.first]) / float(tick)) * tick

    # -- listening ------------------------------------------------------------------------------------------------

    def on_order(self, order: Order, execution: Execution, fill: Fill | None, client_id: str | None) -> None:
        if order.instrument not in self.derivatives:
            return
        if fill is not None:
            self._traded[order.owner].add(order.instrument)
            self.note(order.owner, fill.time, order.instrument, "COMMISSION", -fill.fee, str(fill.id))
            if fill.realized:
                self.note(order.owner, fill.time, order.instrument, "REALIZED_PNL", fill.realized, str(fill.id))
        if self.takes_algo and execution == "NEW":
            self.algos.add((order.instrument, order.id))
        is_algo = (order.instrument, order.id) in self.algos
        if is_algo and fill is None:
            self.send(order.owner, algo_update(self.exchange, order, self.algo_id(order)))
        if not is_algo or order.working_since is not None:
            self.send(order.owner, order_update(self.exchange, order, execution, fill, client_id))

    def on_balances(self, owner: int, columns: list[int]) -> None:
        changed = self._traded.pop(owner, None)
        if changed and self.exchange.column(MARGIN_COLUMN) in columns:
            self.send(owner, account_update(self.exchange, owner, sorted(changed), "ORDER", 0))

    def on_event(self, row: list[int]) -> None:
        kind, i, owner = row[EV_KIND], row[EV_INSTRUMENT], row[EV_OWNER]
        if kind == EV_LIQUIDATED:
            self._force_order(row)
        if kind not in INCOME_OF or not 0 <= owner - FIRST_CLIENT < len(self.exchange.accounts):
            return
        self.note(owner, row[EV_TIME], i, INCOME_OF[kind], row[EV_REASON], "")
        isolated = self.exchange.engine.accounts.positions[owner, i, margin.POS_MODE] == margin.ISOLATED
        positions = [i] if isolated or kind != EV_FUNDING else []
        change = row[EV_REASON] if kind != EV_SETTLED else 0
        self.send(owner, account_update(self.exchange, owner, positions, REASON_OF[kind], change))

    def note(self, owner: int, at: int, i: int | None, kind: str, units: int, trade_id: str) -> None:
        """Remember an income."""
        self._numbers += 1
        self.income[owner].append(Income(at, i, kind, units, self._numbers, trade_id))

    def send(self, owner: int, event: dict[str, Any]) -> None:
        self.exchange.outbox.futures_user.append((owner, event))

    def _force_order(self, row: list[int]) -> None:
        contract, now = self.exchange.contracts[row[EV_INSTRUMENT]], milliseconds(row[EV_TIME])
        price, quantity = price_of(contract, row[EV_PRICE]), quantity_of(contract, row[EV_LOTS_LEFT])
        event = {
            "e": "forceOrder", "E": now,
            "o": {
                "s": contract.venue_symbol, "S": SIDES[row[EV_SIDE]], "o": "LIMIT", "f": "IOC", "q": quantity,
                "p": price, "ap": price, "X": "FILLED", "l": quantity, "z": quantity, "T": now,
            },
        }  # fmt: skip
        self.liquidations.append(event)
        self.last_liquidations = [*self.last_liquidations[-99:], event | {"id": row[EV_ORDER], "owner": row[EV_OWNER]}]

    def _watch_margins(self, until: int) -> None:
        """Send a margin call when an account comes near its liquidation; looked at every second of market time."""
        if until % SECOND:
            return
        held = self.exchange.engine.accounts.positions[FIRST_CLIENT:-1, self.world.first :, POS_LOTS]
        for number in np.flatnonzero(held.any(axis=1)).tolist():
            owner = FIRST_CLIENT + number
            state = wallet(self.exchange, owner)
            ratio = state["maintMargin"] / max(1, state["marginBalance"])
            if ratio >= CALL_RATIO and owner not in self._called:
                self._called.add(owner)
                self.send(owner, margin_call(self.exchange, owner, self.derivatives))
            elif ratio < CALM_RATIO:
                self._called.discard(owner)

    # -- algo orders ----------------------------------------------------------------------------------------------

    @staticmethod
    def algo_id(order: Order) -> int:
        """One number for an order of any contract."""
        return order.id * 1000 + order.instrument

    def algo_order(self, account: Account, algo_id: int | None, client_id: str | None) -> Order | None:
        """The algo order of an account by either id."""
        if algo_id is not None:
            order_id, i = divmod(algo_id, 1000)
            found = self.exchange.find(account, i, order_id, None) if i in self.derivatives else None
        else:
            by_name = (account.by_client_id[i].get(client_id or "") for i in self.derivatives)
            found = next((order for order in by_name if order is not None), None)
        return found if found is not None and (found.instrument, found.id) in self.algos else None

    # -- listen keys ----------------------------------------------------------------------------------------------

    def open_key(self, account: Account) -> str:
        """The account's listen key, new or extended."""
        key = sha256(f"{account.api_secret} listens".encode()).hexdigest()
        self.keys[key] = ListenKey(account.owner, key, self._now() + KEY_SECONDS)
        return key

    def owner_of(self, key: str) -> int | None:
        """Whose key this is; None for one that never was or has expired."""
        held = self.keys.get(key)
        return held.owner if held is not None and held.expires > self._now() else None

    def close_key(self, account: Account) -> None:
        self.keys = {key: held for key, held in self.keys.items() if held.owner != account.owner}

    def expired_keys(self) -> list[ListenKey]:
        """Keys whose time is up; they are forgotten."""
        gone = [held for held in self.keys.values() if held.expires <= self._now()]
        for held in gone:
            del self.keys[held.key]
        return gone

    # -- dead man's timers ----------------------------------------------------------------------------------------

    def count_down(self, account: Account, i: int, milliseconds_left: int) -> None:
        """Cancel all orders of the account and contract when so much wall time passes without another call; 0 stops."""
        if milliseconds_left:
            self._timers[account.owner, i] = self._now() + milliseconds_left / 1000
        else:
            self._timers.pop((account.owner, i), None)

    def run_timers(self) -> None:
        """Carry out the countdowns that have run down."""
        for (owner, i), deadline in list(self._timers.items()):
            if deadline <= self._now():
                del self._timers[owner, i]
                self.cancel_all(self.exchange.account(owner), i)

    def cancel_all(self, account: Account, i: int) -> list[Order]:
        """Cancel every open order of an account in a contract."""
        orders = [order for (instrument, _), order in list(account.open.items()) if instrument == i]
        for order in orders:
            self.exchange.cancel(account, order)
        return orders
