"""A strategy file instead of a model: bars, books, trades, fills in; orders out through the same gateway and journal.

The strategy is the one the backtester runs (`market/strategy.py`), its commands are carried out by the same arithmetic
(`market/runner.py`) in the same turns (`market/turns.py`). Every closed bar is journalled as it came and ends in one
`decision`, as does every other event that leads to an order; an order's intent is durable before it is sent, the
gateway judges it, and what it refuses ends there. One thing happens at a time: an order's reply is booked before the
next one is thought of; meanwhile books keep their newest state and trades wait.

Orders of an earlier process are cancelled at the start, since the strategy that placed them no longer knows them; its
positions and cash are what the journal's fills add up to. A bar that came late is shown as history, never acted on.
"""

import asyncio
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain

from lake.instruments import Instrument
from lake.journal import Record
from live.account import Account
from live.bars import ClosedBar
from live.decide import Reason, is_stale
from live.errors import VenueUnavailable
from live.feed import Feed, Frame, Reader, bar_of, fetch_bars
from live.lockstep import Reached, Standing
from live.market_data import MarketData
from live.orders import Fill, Order, OrderRequest, OrderType, Side, Status, fill_from_record
from live.risk import Gateway, Refusal
from live.strategy_decisions import BAR_US, StrategyDecisions
from market.runner import Runner
from market.strategy import Bar
from market.turns import Action, Event, Execution, Heard, Outcome, Submit, events, in_turn

log = logging.getLogger("live.strategy")


@dataclass(frozen=True, slots=True)
class News:
    """Something was booked, the market moved, or the time came: look."""


Item = Frame | Standing | News


@dataclass(slots=True)
class Track:
    """One instrument and the bar expected next."""

    traded: Instrument
    next_open: int | None = None


@dataclass(slots=True)
class Sent:
    """Orders of ours that may still change, by client order id, and fills not yet shown to the strategy."""

    ids: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    fills: list[Fill] = field(default_factory=list)


class StrategyPath:
    """The single consumer of the feed's frames."""

    def __init__(
        self, account: Account, gateway: Gateway, reader: Reader, runner: Runner, feed: Feed, digest: str,
        user_stream: Reached | None, market: MarketData | None = None,
    ) -> None:  # fmt: skip
        """`user_stream` is given in lockstep: how far that stream has come; `market` where books or trades count."""
        self._account, self._gateway, self._reader, self._runner = account, gateway, reader, runner
        self._feed, self._user_stream, self._market = feed, user_stream, market
        self._tracks = {name: Track(each) for name, each in runner.instruments.items()}
        self._sent, self._bars = Sent(), list[tuple[ClosedBar, float]]()
        self._busy = self._woken = self._again = False
        self._stood = -1
        self.decisions = StrategyDecisions(account, runner, digest, self._decision_of)
        feed.on_event = self._on_event
        if market is not None:
            market.on_news, self.decisions.newest = self._wake, lambda: market.newest
        for fill in account.ledger.fills.values():
            runner.book(_execution(fill, ""))
        account.observers.append(self._hear)

    async def run(self, frames: "asyncio.Queue[Item]") -> None:
        """Cancel what an earlier process left open, then take frames for ever."""
        for order in self._account.ledger.unsettled():
            if order.status is Status.OPEN:
                log.warning("%s of an earlier process is cancelled", order.client_order_id)
                await self._gateway.cancel(order)
        while True:
            item = await frames.get()
            try:
                await self.take(item)
            except VenueUnavailable as error:
                log.warning("the strategy waits for history: %s", error)

    async def take(self, item: Item) -> None:
        """One frame, one standing, or news.

        Raises:
            VenueUnavailable: history is missing; the next event asks again.
        """
        if isinstance(item, Standing):
            await self._stand(item)
        elif isinstance(item, News):
            self._woken = False
            if self._user_stream is None:
                await self._drive(())
        else:
            await self._take_frame(item)

    async def _take_frame(self, frame: Frame) -> None:
        track = self._tracks[frame.instrument]
        bar = self._closed(track, frame) if frame.kline.closed else None
        await self._close_gap(track, frame.kline.open_time, frame.market_time)
        if bar is not None:
            track.next_open = bar.close_time
            if is_stale(bar.close_time, self._account.clock.now, BAR_US):
                self._show(track, bar, Reason.STALE)
            else:
                self._bars.append((bar, frame.received))
        if self._user_stream is None:
            await self._drive(self._take_bars())

    async def _stand(self, standing: Standing) -> None:
        """All up to this instant is known once the other stream says so too: act, then let the market go on.

        Said twice, it is acted on once: what came between is of our own doing.
        """
        assert self._user_stream is not None
        await self._user_stream.wait(standing.time)
        self._account.clock.observe(standing.time)
        for track in self._tracks.values():
            await self._close_gap(track, standing.time // BAR_US * BAR_US, standing.time)
        if self._market is not None:
            await self._market.settled()
        if standing.time > self._stood:
            self._stood = standing.time
            await self._drive(self._take_bars())
        await self._feed.advance()

    # -- news -----------------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        """Ask for a turn, after this one; one that was asked for already will do. In lockstep the market asks."""
        self._again = self._busy
        if not (self._woken or self._busy) and self._user_stream is None:
            self._woken = True
            self._feed.frames.put_nowait(News())

    def _on_event(self) -> None:
        if self._runner.is_due(self._account.clock.now):
            self._wake()

    def _happened(self, bars: Sequence[tuple[ClosedBar, float]]) -> Iterator[Event]:
        """What is new now, in turn. Before every instrument has its history the market is not listened to."""
        now = self._account.clock.now
        listens = all(track.next_open is not None for track in self._tracks.values())
        heard = self._market.show(now) if listens and self._market is not None else []
        moments = self._runner.moments(now) if listens else []
        return chain(self._current(in_turn(heard, self._runner)), self._each(bars), moments)

    def _current(self, heard: Iterable[Heard]) -> Iterator[Heard]:
        """Those that still are what they say by the time they are to be shown: orders take a while."""
        for each in heard:
            if self._market is not None and not self._market.is_superseded(each):
                yield each

    # -- bars -----------------------------------------------------------------------------------------------------

    def _take_bars(self) -> list[tuple[ClosedBar, float]]:
        names = list(self._tracks)
        taken, self._bars = self._bars, []
        return sorted(taken, key=lambda pair: (pair[0].close_time, names.index(pair[0].instrument)))

    def _closed(self, track: Track, frame: Frame) -> ClosedBar | None:
        """Journal the frame of a closed bar as it came and read it; None for one already taken or unsound."""
        if track.next_open is not None and frame.kline.open_time < track.next_open:
            return None
        bar = bar_of(frame)
        if bar is not None:
            self._journal(bar)
        return bar

    async def _close_gap(self, track: Track, open_time: int, market_time: int) -> None:
        """Show the strategy what came before `open_time`: its history at first, later the bars the feed missed."""
        first = track.next_open
        start = open_time - self._runner.strategy.history * BAR_US if first is None else first
        if start < open_time:
            for bar in await fetch_bars(self._reader, track.traded, start, open_time, market_time):
                self._journal(bar)
                if first is None:
                    self._runner.on_history(_bar(bar))
                else:
                    self._show(track, bar, Reason.GAP)
        track.next_open = max(open_time, first or 0)

    def _show(self, track: Track, bar: ClosedBar, reason: Reason) -> None:
        """A bar that is not acted on."""
        log.warning("%s: bar %d is not acted on: %s", track.traded.id, bar.open_time, reason)
        self._runner.on_history(_bar(bar))
        self.decisions.of_bar(bar, reason)

    def _journal(self, bar: ClosedBar) -> None:
        self._account.write("frame", max(bar.market_time, bar.close_time), **bar.record())

    # -- turns ----------------------------------------------------------------------------------------------------

    async def _drive(self, bars: Sequence[tuple[ClosedBar, float]]) -> None:
        """Let the strategy hear what is new and carry out what it answers, one action after the other."""
        self._busy, self._again = True, False
        try:
            steps = events(self._runner, self._outcome(), self._happened(bars))
            action = next(steps, None)
            while action is not None:
                outcome = await self._carry_out(action)
                try:
                    action = steps.send(outcome)
                except StopIteration:
                    break
        finally:
            self._busy = False
            self.decisions.forget()
        if self._again:
            self._wake()

    def _each(self, bars: Iterable[tuple[ClosedBar, float]]) -> Iterator[Bar]:
        """Give out the bars; each has its decision before its first order, or when it turns out to have none."""
        for bar, received in bars:
            self.decisions.begin(bar, received)
            yield _bar(bar)
            self.decisions.end()

    # -- orders ---------------------------------------------------------------------------------------------------

    async def _carry_out(self, action: Action) -> Outcome:
        if isinstance(action, Submit):
            return await self._submit(action)
        order = self._order(action.order_id)
        if order is not None and not order.is_terminal:
            self.decisions.of_action(action, order.request.instrument)
            await self._gateway.cancel(order)
        return self._outcome()

    async def _submit(self, action: Submit) -> Outcome:
        order, name = action.order, action.order.instrument
        decision_id = self.decisions.of_action(action, name)
        if order.side == "buy" and self._market is not None and not self._market.is_known(name):
            self._gateway.refusals["book"] += 1
            log.warning("%s: nothing is bought while its book is unknown", name)
            return Outcome(ended=(order.id,))
        request = OrderRequest(
            name, Side(order.side), OrderType(order.kind), action.quantity, action.limit_price, decision_id,
            action.stop_price, order.time_in_force.upper(), order.post_only,
        )  # fmt: skip
        sent = await self._gateway.submit(request, self.decisions.price(name))
        if isinstance(sent, Refusal):
            return Outcome(ended=(order.id,))
        self._sent.ids[sent.client_order_id], self._sent.names[order.id] = order.id, sent.client_order_id
        return self._outcome()

    def _order(self, order_id: str) -> Order | None:
        """The ledger's order of the runner's."""
        return self._account.ledger.orders.get(self._sent.names.get(order_id, ""))

    def _decision_of(self, order_id: str) -> str:
        order = self._order(order_id)
        return "" if order is None else order.request.decision_id

    def _hear(self, record: Record) -> None:
        """The journal's own records, whichever way they were learned."""
        if record["kind"] == "fill":
            self._sent.fills.append(fill_from_record(record))
        if record["kind"] in ("fill", "order"):
            self._wake()

    def _outcome(self) -> Outcome:
        """What was booked since the last look; a fill of an order not ours to know only changes the account."""
        fills, self._sent.fills = self._sent.fills, []
        known = []
        for fill in fills:
            execution = _execution(fill, self._sent.ids.get(fill.client_order_id, ""))
            if execution.order_id:
                known.append(execution)
            else:
                self._runner.book(execution)
        over = [name for name in self._sent.ids if self._settled(name)]
        return Outcome(known, [self._sent.ids.pop(name) for name in over])

    def _settled(self, client_order_id: str) -> bool:
        order: Order = self._account.ledger.orders[client_order_id]
        return order.is_settled


def _bar(bar: ClosedBar) -> Bar:
    return Bar(bar.instrument, bar.open_time, bar.close_time, *bar.values)


def _execution(fill: Fill, order_id: str) -> Execution:
    return Execution(
        order_id, fill.instrument, "buy" if fill.side is Side.BUY else "sell", fill.event_time, fill.price,
        fill.quantity, fill.fee, fill.fee_asset, int(fill.trade_id),
    )  # fmt: skip
