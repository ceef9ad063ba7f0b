"""Make journal and venue agree: at start-up before anything is sent, afterwards whenever an outcome is open.

When may an order of unknown outcome be called not placed? Only when all of this holds: the venue's own clock is past
the signed timestamp + recvWindow + 10 s (until then it may still be on its way), three consecutive answers in the
venue's own words said "no such order", and neither allOrders nor a trade knows the id. A "found" ends the doubt at
once. An answer that is not the venue's starts the count again.
"""

import asyncio
import logging
from collections import defaultdict
from decimal import Decimal
from typing import Any

from lake.errors import BadInput
from lake.instruments import Instrument
from lake.intervals import MILLISECOND
from lake.wire.binance import kline_from_rest
from live.account import Account
from live.errors import BooksDiffer, VenueUnavailable
from live.orders import ZERO, Ledger, Order, Status
from live.replies import Outcome, Reply
from live.reports import fills_in_trades, from_execution_report, report_in_reply
from live.risk import Gateway
from live.venue import Venue

log = logging.getLogger("live.reconcile")
GRACE_MS = 10_000
VOTES = 3
PAGE = 1000


class Reconciler:
    """Asks the venue what the journal does not know yet, and books the answers."""

    def __init__(self, account: Account, venue: Venue, gateway: Gateway, traded: dict[str, Instrument]) -> None:
        self._account, self._venue, self._gateway, self._traded = account, venue, gateway, traded
        self._votes: dict[str, int] = defaultdict(int)
        self._instrument_of = {i.venue_symbol: i.id for i in traded.values()}
        self._lock = asyncio.Lock()

    async def recover(self, patience: float = 300.0) -> str:
        """Bring journal and venue together; returns `fresh` or `recovered`.

        A venue that limits our requests is given the pause it asks for, up to `patience` seconds in all: who restarts
        often is the one who gets there.

        Raises:
            BooksDiffer: the venue holds orders or coins the journal cannot explain.
            CredentialsRefused, VenueUnavailable: it could not be asked.
        """
        while True:
            try:
                return await self._bring_together()
            except VenueUnavailable:
                pause = self._venue.pause_seconds
                patience -= pause
                if pause <= 0 or patience < 0:
                    raise
                log.warning("recovery waits %.1f s, as the venue asks", pause)
                await asyncio.sleep(pause)

    async def _bring_together(self) -> str:
        await self._venue.sync_clock()
        await self._read_market_clock()
        self._gateway.instruments = await self._venue.filters(self._traded)
        if self._account.is_fresh:
            await self._start()
            return "fresh"
        for order in self._account.ledger.unsettled():
            if order.status is Status.PENDING:
                self._account.mark(order, Status.UNKNOWN, "found in the journal without an outcome")
        await self.sweep()
        await self.settle()
        await self._compare_balances()
        return "recovered"

    async def settle(self) -> None:
        """One round over every order of which something is still expected."""
        async with self._lock:
            for order in self._account.ledger.unsettled():
                if order.client_order_id not in self._gateway.in_flight:
                    await self._settle_order(order)

    async def sweep(self) -> None:
        """Read each instrument's orders and trades since the last settled point: repairs any event that got lost."""
        async with self._lock:
            for traded in self._traded.values():
                await self._sweep_instrument(traded)

    async def watch(self, settle_every: float = 0.5, sweep_every: float = 30) -> None:
        """Settle and sweep for ever; a venue that does not answer is asked again."""
        ticks = 0
        while True:
            await asyncio.sleep(settle_every)
            ticks += 1
            try:
                await self.settle()
                if ticks % int(sweep_every / settle_every) == 0:
                    await self._venue.sync_clock()
                    await self.sweep()
            except VenueUnavailable as error:
                log.warning("reconciliation waits: %s", error)
            except (BooksDiffer, BadInput) as error:
                self._gateway.halt(str(error))

    def on_event(self, event: dict[str, Any]) -> None:
        """Book an executionReport of the user stream; other events only move the market clock."""
        if isinstance(event.get("E"), int):
            self._account.clock.observe(event["E"] * MILLISECOND)
        if event["e"] != "executionReport" or event.get("s") not in self._instrument_of:
            return
        try:
            report, fill = from_execution_report(event, self._instrument_of)
        except BadInput as error:
            log.error("%s", error)
            return
        if fill:
            self._account.fill(fill)
        self._account.report(report)

    async def _start(self) -> None:
        """First start ever: the balances found are the beginning of the books."""
        balances = await self._venue.balances()
        self._account.write(
            "start",
            self._account.clock.now,
            journal_id=self._account.journal.id,
            balances={asset: str(total) for asset, total in balances.items()},
            instruments=list(self._traded),
            settings={"recv_window_ms": self._venue.recv_window_ms},
        )
        self._account.journal.sync()

    async def _read_market_clock(self) -> None:
        """The newest one-minute bar has opened: market time is at least that."""
        traded = next(iter(self._traded.values()))
        parameters = {"symbol": traded.venue_symbol, "interval": "1m", "limit": "1"}
        for row in await self._venue.read("/api/v3/klines", parameters, signed=False):
            self._account.clock.observe(kline_from_rest(row).open_time)

    async def _settle_order(self, order: Order) -> None:
        if order.is_terminal:
            await self._fetch_fills(order)
            return
        reply = await self._venue.order(order)
        if reply.outcome is Outcome.YES and (report := report_in_reply(order, reply.body)):
            self._votes.pop(order.client_order_id, None)
            if report.filled_quantity > order.filled:
                await self._fetch_fills(order, report.order_id)
            self._account.report(report)
        elif reply.is_not_found:
            await self._vote(order)
        else:
            self._votes.pop(order.client_order_id, None)
            _log_unclear(order, reply)

    async def _vote(self, order: Order) -> None:
        self._votes[order.client_order_id] += 1
        deadline = order.timestamp + self._venue.recv_window_ms + GRACE_MS + abs(self._venue.skew_ms)
        if self._votes[order.client_order_id] < VOTES or self._venue.timestamp() <= deadline:
            return
        await self._sweep_instrument(self._traded[order.request.instrument])
        if order.status is Status.UNKNOWN and not order.filled and order.order_id is None:
            self._account.mark(order, Status.REJECTED, f"never placed: not found {VOTES} times after its window")
            self._votes.pop(order.client_order_id, None)

    async def _fetch_fills(self, order: Order, order_id: str | None = None) -> None:
        venue_id = order_id or order.order_id
        if venue_id is None:
            return
        traded = self._traded[order.request.instrument]
        rows = await self._venue.read("/api/v3/myTrades", {"symbol": traded.venue_symbol, "orderId": venue_id})
        for fill in fills_in_trades(rows, traded, {venue_id: order.client_order_id}):
            self._account.fill(fill)

    async def _sweep_instrument(self, traded: Instrument) -> None:
        ledger = self._account.ledger
        client_ids = {
            o.order_id: c for c, o in ledger.orders.items() if o.order_id and o.request.instrument == traded.id
        }
        order_floor, trade_floor = _floors(ledger, traded.id)
        async for row in self._pages("allOrders", traded, "orderId", order_floor):
            order = self._own(row)
            if order and (report := report_in_reply(order, row)):
                client_ids[str(row["orderId"])] = order.client_order_id
                self._account.report(report)
        async for row in self._pages("myTrades", traded, "fromId", trade_floor, key="id"):
            for fill in fills_in_trades([row], traded, client_ids):
                self._account.fill(fill)

    def _own(self, row: Any) -> Order | None:
        """The order of ours behind a row, None for somebody else's.

        Raises:
            BooksDiffer: it carries this journal's prefix, but the journal has no such intent.
        """
        name = str(row.get("clientOrderId", ""))
        order = self._account.ledger.orders.get(name)
        if order is None and name.startswith(f"b{self._account.journal.id}-"):
            raise BooksDiffer(
                f"the venue holds order {name}, of which this journal has no intent: the journal is an older copy. "
                "Restore the newest one; do not trade with this."
            )
        return order

    async def _pages(self, path: str, traded: Instrument, parameter: str, start: int, key: str = "orderId") -> Any:
        while True:
            parameters = {"symbol": traded.venue_symbol, parameter: str(start), "limit": str(PAGE)}
            rows = await self._venue.read(f"/api/v3/{path}", parameters)
            for row in rows:
                yield row
            if len(rows) < PAGE:
                return
            start = int(rows[-1][key]) + 1

    async def _compare_balances(self) -> None:
        """Every base asset must be exactly what the fills add up to; the quote may differ by a deposit, with a warning.

        Skipped while an outcome is open: it would compare with a number nobody knows yet.

        Raises:
            BooksDiffer: names the assets.
        """
        if self._account.ledger.unsettled():
            log.warning("balances are compared later: %d orders unsettled", len(self._account.ledger.unsettled()))
            return
        differences = balance_differences(self._account.ledger.expected_balances(), await self._venue.balances())
        bases = {traded.base for traded in self._traded.values()}
        text = "; ".join(f"{a}: expected {e:f}, found {f:f}" for a, (e, f) in differences.items())
        if bases & set(differences):
            raise BooksDiffer(
                f"venue and journal differ: {text}. Look for trades or transfers made elsewhere; undo the transfer, "
                "or archive this journal after a flat stop and start a new one."
            )
        if differences:
            log.warning("balances differ by something other than our trades: %s", text)


def _floors(ledger: Ledger, instrument_id: str) -> tuple[int, int]:
    """Venue order and trade ids from which a sweep must read to see all that is not booked yet.

    Both ids grow with time per symbol. What happened before the oldest open question was booked before it, so
    everything missing has a higher id than what was known then.
    """
    doubt = min((o.event_time for o in ledger.unsettled(instrument_id)), default=None)
    orders = (
        int(o.order_id)
        for o in ledger.orders.values()
        if o.order_id and o.request.instrument == instrument_id and (doubt is None or o.event_time < doubt)
    )
    trades = (
        int(f.trade_id)
        for f in ledger.fills.values()
        if f.instrument == instrument_id and (doubt is None or f.event_time < doubt)
    )
    return max(orders, default=0), max(trades, default=-1) + 1


def balance_differences(expected: dict[str, Decimal], found: dict[str, Decimal]) -> dict[str, tuple[Decimal, Decimal]]:
    """Assets whose amounts are not equal, as (expected, found)."""
    return {
        asset: (expected.get(asset, ZERO), found.get(asset, ZERO))
        for asset in sorted({*expected, *found})
        if expected.get(asset, ZERO) != found.get(asset, ZERO)
    }


def _log_unclear(order: Order, reply: Reply) -> None:
    log.warning("%s stays %s: %s", order.client_order_id, order.status, reply)
