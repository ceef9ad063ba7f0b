"""Keep the books of what happened: the engine's tape and events, merged in order, become candles, orders and reports.

The engine writes two logs, trades (the tape) and changes of orders that no request asked for (events); EV_TAPE says
how many trades came before an event. `drain` reads both, moves every client's order on, and tells the listeners.
"""

from typing import TYPE_CHECKING, Protocol

from market.accounts import BASE, QUOTE
from market.book import (
    TAPE_ID,
    TAPE_INSTRUMENT,
    TAPE_LOTS,
    TAPE_MAKER,
    TAPE_MAKER_FEE,
    TAPE_MAKER_FEE_ASSET,
    TAPE_MAKER_ORDER,
    TAPE_MAKER_REALIZED,
    TAPE_PRICE,
    TAPE_TAKER,
    TAPE_TAKER_FEE,
    TAPE_TAKER_FEE_ASSET,
    TAPE_TAKER_ORDER,
    TAPE_TAKER_REALIZED,
    TAPE_TIME,
)
from market.engine import (
    BY_STP_MAKER,
    BY_STP_TAKER,
    EV_CANCELED,
    EV_EXPIRED,
    EV_INSTRUMENT,
    EV_KIND,
    EV_LIQUIDATED,
    EV_LOTS_LEFT,
    EV_ORDER,
    EV_OWNER,
    EV_PRICE,
    EV_REASON,
    EV_RESTED,
    EV_SIDE,
    EV_SLOT,
    EV_TAPE,
    EV_TIME,
    EV_TRIGGERED,
)
from market.orders import Account, Execution, Fill, Order

if TYPE_CHECKING:
    from market.exchange import Exchange

FIRST_CLIENT = 3
"""Owner number of the first account; below are the venue's fees and the agents, behind them the insurance fund."""

# What a maker's and a taker's side of a trade is read from.
_MAKER = (TAPE_MAKER, TAPE_MAKER_ORDER, TAPE_MAKER_FEE, TAPE_MAKER_FEE_ASSET, TAPE_MAKER_REALIZED)
_TAKER = (TAPE_TAKER, TAPE_TAKER_ORDER, TAPE_TAKER_FEE, TAPE_TAKER_FEE_ASSET, TAPE_TAKER_REALIZED)


class Listener(Protocol):
    """Who renders what happened for somebody outside; called in order of time, at the moment it happens."""

    def on_order(self, order: Order, execution: Execution, fill: Fill | None, client_id: str | None) -> None:
        """An order of a client changed; `client_id` is the request's own, where it has one."""

    def on_balances(self, owner: int, columns: list[int]) -> None:
        """These assets of a client may have changed; after the orders' events."""

    def on_event(self, row: list[int]) -> None:
        """An event of the engine (EV_* columns) that is not about an order: funding, settlement, liquidation."""


class Bookkeeper:
    """Reads the engine's logs of one exchange."""

    def __init__(self, exchange: "Exchange") -> None:
        self._exchange = exchange
        self._touched: dict[int, set[int]] = {}

    def drain(self) -> None:
        """Move the tape and the events into candles, trades and the clients' orders, and empty both."""
        exchange, engine = self._exchange, self._exchange.engine
        count, happened = int(engine.book.tape_rows[0]), int(engine.event_rows[0])
        tape, events = engine.book.tape[:count].copy(), engine.events[:happened].tolist()
        engine.book.tape_rows[0] = engine.event_rows[0] = 0
        last = FIRST_CLIENT + len(exchange.accounts)
        of_clients: list[int] = []
        if count:
            exchange.candles.record(tape)
            exchange.outbox.trades.extend(tape.tolist())
            exchange.outbox.aggregates.extend(exchange.trade_log.record(tape))
            makers, takers = tape[:, TAPE_MAKER], tape[:, TAPE_TAKER]
            ours = (makers >= FIRST_CLIENT) & (makers < last) | (takers >= FIRST_CLIENT) & (takers < last)
            of_clients = ours.nonzero()[0].tolist()
        at = 0
        for event in events:
            while at < len(of_clients) and of_clients[at] < event[EV_TAPE]:
                self._trade(tape[of_clients[at]].tolist())
                at += 1
            self._event(event)
        for row in of_clients[at:]:
            self._trade(tape[row].tolist())

    def tell(self, order: Order, execution: Execution, fill: Fill | None = None, client_id: str | None = None) -> None:
        """Tell the listeners what happened to an order, and remember whose balances it may have changed."""
        for listener in self._exchange.listeners:
            listener.on_order(order, execution, fill, client_id)
        scale = self._exchange.scales[order.instrument]
        columns = {int(scale[QUOTE])} if scale[BASE] < 0 else {int(scale[BASE]), int(scale[QUOTE])}
        if fill is not None and fill.fee_asset:
            columns.add(self._exchange.column(fill.fee_asset))
        self._touched.setdefault(order.owner, set()).update(columns)

    def tell_balances(self) -> None:
        """Tell the listeners about balances that may have changed since the last call."""
        for owner, columns in self._touched.items():
            self._exchange.account(owner).updated = self._exchange.time
            for listener in self._exchange.listeners:
                listener.on_balances(owner, sorted(columns))
        self._touched = {}

    def end(self, order: Order, execution: Execution, client_id: str | None = None) -> None:
        """Close an order that will not trade again, and report it."""
        order.status = "EXPIRED_IN_MATCH" if execution == "TRADE_PREVENTION" else execution  # type: ignore[assignment]
        self._exchange.account(order.owner).open.pop((order.instrument, order.id), None)
        self.tell(order, execution, None, client_id)

    def _account(self, owner: int) -> Account | None:
        number = owner - FIRST_CLIENT
        return self._exchange.accounts[number] if 0 <= number < len(self._exchange.accounts) else None

    def _trade(self, row: list[int]) -> None:
        for columns in (_MAKER, _TAKER):
            account = self._account(row[columns[0]])
            if account is not None:
                self._fill(account, row, columns)

    def _fill(self, account: Account, row: list[int], columns: tuple[int, int, int, int, int]) -> None:
        _, order_column, fee_column, fee_asset, realized = columns
        i, order_id, is_maker = row[TAPE_INSTRUMENT], row[order_column], columns is _MAKER
        order = account.open[i, order_id]
        price, lots = row[TAPE_PRICE], row[TAPE_LOTS]
        units = self._exchange.units(i, price, lots)
        fill = Fill(
            row[TAPE_ID], i, order_id, order.side, price, lots, units, row[fee_column], is_maker, row[TAPE_TIME],
            self._exchange.assets[row[fee_asset]], row[realized],
        )  # fmt: skip
        order.book(fill)
        account.fills[i].append(fill)
        if not order.is_open:
            del account.open[i, order_id]
        self.tell(order, "TRADE", fill)

    def _event(self, row: list[int]) -> None:
        account, kind = self._account(row[EV_OWNER]), row[EV_KIND]
        if account is not None and kind == EV_LIQUIDATED:
            self._adopt(account, row)
        order = account.open.get((row[EV_INSTRUMENT], row[EV_ORDER])) if account is not None else None
        if order is None or kind == EV_LIQUIDATED:
            for listener in self._exchange.listeners:
                listener.on_event(row)
            return
        order.updated = row[EV_TIME]
        if kind == EV_TRIGGERED:
            order.working_since = row[EV_TIME]
            self.tell(order, "TRIGGERED")
        elif kind == EV_RESTED:
            order.slot = row[EV_SLOT]
        elif kind == EV_EXPIRED:
            self._expire(order, row)
        elif kind == EV_CANCELED:
            self.end(order, "CANCELED")

    def _expire(self, order: Order, row: list[int]) -> None:
        order.expiry_reason = row[EV_REASON]
        prevented = row[EV_REASON] in (BY_STP_TAKER, BY_STP_MAKER)
        if prevented:
            order.prevented_lots = row[EV_LOTS_LEFT]
        self.end(order, "TRADE_PREVENTION" if prevented else "EXPIRED")

    def _adopt(self, account: Account, row: list[int]) -> None:
        """Keep an order for a liquidation, which no client asked for, so that its trades belong to something."""
        i, time = row[EV_INSTRUMENT], row[EV_TIME]
        order = Order(
            row[EV_ORDER], f"autoclose-{time // 1000}", account.owner, i, row[EV_SIDE], "LIMIT", row[EV_PRICE],
            row[EV_LOTS_LEFT], 0, time, time, time_in_force="IOC", reduce_only=True, working_since=time,
        )  # fmt: skip
        account.orders[i].append(order)
        account.by_client_id[i][order.client_order_id] = order
        account.open[i, order.id] = order
        self.tell(order, "NEW")
