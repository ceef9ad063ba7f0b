"""A strategy file instead of a model: closed bars and fills in, orders out through the same gateway and journal.

The strategy is the one the backtester runs (`market/strategy.py`), its commands are carried out by the same arithmetic
(`market/runner.py`). Every closed bar is journalled as it came and ends in one `decision`; an order's intent is durable
before it is sent, the gateway judges it, and what it refuses ends there. One thing happens at a time: an order's reply
is booked before the next one is thought of.

Orders of an earlier process are cancelled at the start, since the strategy that placed them no longer knows them; its
positions and cash are what the journal's fills add up to. A bar that came late is shown as history, never acted on.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from lake.errors import BadInput, UsageError
from lake.instruments import Instrument
from lake.intervals import MINUTE
from lake.journal import Record
from live.account import Account
from live.bars import WS_STREAM, ClosedBar, closed_bar
from live.decide import Reason, is_stale
from live.errors import VenueUnavailable
from live.feed import Feed, Frame, Reader, fetch_bars
from live.lockstep import Reached, Standing
from live.orders import Fill, Order, OrderRequest, OrderType, Side, Status, fill_from_record
from live.risk import Gateway, Refusal
from market.runner import Action, Execution, Outcome, Runner, Submit, events
from market.strategy import Bar, Strategy, apply_settings
from market.strategy_file import file_digest, load_strategy

if TYPE_CHECKING:
    from live.node import Node

log = logging.getLogger("live.strategy")
BAR_US = 5 * MINUTE


@dataclass(frozen=True, slots=True)
class News:
    """Something was booked: look at the books."""


Item = Frame | Standing | News


@dataclass(slots=True)
class Track:
    """One instrument: the bar expected next, and the decision its orders serve."""

    traded: Instrument
    next_open: int | None = None
    decision_id: str = ""
    last: ClosedBar | None = None


@dataclass(slots=True)
class Sent:
    """Orders of ours that may still change, by client order id, and fills not yet shown to the strategy."""

    ids: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    fills: list[Fill] = field(default_factory=list)


class StrategyPath:
    """The single consumer of the feed's frames. `on_decision` hears reason and seconds since the frame came."""

    def __init__(
        self, account: Account, gateway: Gateway, reader: Reader, runner: Runner, feed: Feed, digest: str,
        user_stream: Reached | None,
    ) -> None:  # fmt: skip
        """`user_stream` is given in lockstep: how far that stream has come."""
        self._account, self._gateway, self._reader, self._runner = account, gateway, reader, runner
        self._feed, self._digest, self._user_stream = feed, digest, user_stream
        self._tracks = {name: Track(each) for name, each in runner.instruments.items()}
        self._sent, self._bars, self._busy = Sent(), list[tuple[ClosedBar, float]](), False
        self._undecided: tuple[ClosedBar, float] | None = None
        self.on_decision: Callable[[Reason, float], None] = lambda reason, seconds: None
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
            if self._user_stream is None:
                await self._drive(())
        else:
            await self._take_frame(item)

    async def _take_frame(self, frame: Frame) -> None:
        track = self._tracks[frame.instrument]
        bar = self._closed(track, frame) if frame.kline.closed else None
        await self._close_gap(track, frame.kline.open_time, frame.market_time)
        if bar is None:
            return
        track.next_open = bar.close_time
        if is_stale(bar.close_time, self._account.clock.now, BAR_US):
            self._show(track, bar, Reason.STALE)
            return
        self._bars.append((bar, frame.received))
        if self._user_stream is None:
            await self._drive(self._take_bars())

    async def _stand(self, standing: Standing) -> None:
        """All up to this instant is known once the other stream says so too: act, then let the market go on."""
        assert self._user_stream is not None
        await self._user_stream.wait(standing.time)
        self._account.clock.observe(standing.time)
        for track in self._tracks.values():
            await self._close_gap(track, standing.time // BAR_US * BAR_US, standing.time)
        await self._drive(self._take_bars())
        await self._feed.advance()

    # -- bars -----------------------------------------------------------------------------------------------------

    def _take_bars(self) -> list[tuple[ClosedBar, float]]:
        names = list(self._tracks)
        taken, self._bars = self._bars, []
        return sorted(taken, key=lambda pair: (pair[0].close_time, names.index(pair[0].instrument)))

    def _closed(self, track: Track, frame: Frame) -> ClosedBar | None:
        """Journal the frame of a closed bar as it came and read it; None for one already taken or unsound."""
        if track.next_open is not None and frame.kline.open_time < track.next_open:
            return None
        try:
            bar = closed_bar(frame.instrument, WS_STREAM, frame.text, frame.market_time, frame.kline)
        except BadInput as error:
            log.error("bar refused: %s", error)
            return None
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
        self._decide(bar, reason)

    def _journal(self, bar: ClosedBar) -> None:
        self._account.write("frame", max(bar.market_time, bar.close_time), **bar.record())

    # -- decisions ------------------------------------------------------------------------------------------------

    async def _drive(self, bars: Sequence[tuple[ClosedBar, float]]) -> None:
        """Let the strategy hear what is new and carry out what it answers, one action after the other."""
        self._busy = True
        try:
            steps = events(self._runner, self._outcome(), self._each(bars))
            action = next(steps, None)
            while action is not None:
                outcome = await self._carry_out(action)
                try:
                    action = steps.send(outcome)
                except StopIteration:
                    break
        finally:
            self._busy = False
        if self._sent.fills and self._user_stream is None:
            self._feed.frames.put_nowait(News())

    def _each(self, bars: Iterable[tuple[ClosedBar, float]]) -> Iterator[Bar]:
        """Give out the bars; each has its decision before its first order, or when it turns out to have none."""
        for bar, received in bars:
            self._undecided = (bar, received)
            yield _bar(bar)
            self._decide_pending()

    def _decide_pending(self) -> None:
        if self._undecided is not None:
            (bar, received), self._undecided = self._undecided, None
            self._decide(bar, Reason.STRATEGY)
            self.on_decision(Reason.STRATEGY, time.monotonic() - received)

    def _decide(self, bar: ClosedBar, reason: Reason) -> None:
        account, strategy = self._account, self._runner.strategy
        decision_id = f"{account.journal.id}-{account.journal.next_seq}"
        account.write(
            "decision",
            bar.close_time,
            decision_id=decision_id, instrument=bar.instrument, open_time=bar.open_time,
            available_time=max(bar.market_time, bar.close_time), service_hash="", features=[], prediction=None,
            model_name=type(strategy).__name__, model_version=None, manifest_sha256=self._digest,
            target_weight=self._runner.planned_weight(bar.instrument), frame_hash=bar.payload_hash, reason=reason,
        )  # fmt: skip
        self._tracks[bar.instrument].decision_id = decision_id
        self._tracks[bar.instrument].last = bar

    # -- orders ---------------------------------------------------------------------------------------------------

    async def _carry_out(self, action: Action) -> Outcome:
        self._decide_pending()
        if isinstance(action, Submit):
            return await self._submit(action)
        order = self._account.ledger.orders.get(self._sent.names.get(action.order_id, ""))
        if order is not None and not order.is_terminal:
            await self._gateway.cancel(order)
        return self._outcome()

    async def _submit(self, action: Submit) -> Outcome:
        order, track = action.order, self._tracks[action.order.instrument]
        request = OrderRequest(
            order.instrument, Side(order.side), OrderType(order.kind), action.quantity, action.limit_price,
            track.decision_id, action.stop_price, order.time_in_force.upper(), order.post_only,
        )  # fmt: skip
        price = track.last.close if track.last else Decimal(0)
        sent = await self._gateway.submit(request, price)
        if isinstance(sent, Refusal):
            return Outcome(ended=(order.id,))
        self._sent.ids[sent.client_order_id], self._sent.names[order.id] = order.id, sent.client_order_id
        return self._outcome()

    def _hear(self, record: Record) -> None:
        """The journal's own records, whichever way they were learned."""
        if record["kind"] == "fill":
            self._sent.fills.append(fill_from_record(record))
        if record["kind"] in ("fill", "order") and not self._busy and self._user_stream is None:
            self._feed.frames.put_nowait(News())

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


def wire(node: "Node", source: str, settings: dict[str, str]) -> tuple[Feed, StrategyPath]:
    """Build feed and strategy path on a node's order path, and show them in its metrics.

    Raises:
        UsageError: the file, a parameter, or a strategy that wants more than bars and fills.
    """
    strategy = apply_settings(load_strategy(source), settings)
    refuse_streams(strategy)
    capital = node.settings.capital_per_instrument * len(node.traded)
    runner = Runner(strategy, list(node.traded.values()), capital)
    user_stream = node.reached if node.settings.lockstep else None
    feed = Feed(node.session, node.settings.ws_url, node.traded, node.clock, lockstep=node.settings.lockstep)
    path = StrategyPath(node.account, node.gateway, node.venue, runner, feed, file_digest(source), user_stream)
    path.on_decision = lambda reason, seconds: node.metrics.latency.observe(seconds)
    node.metrics.prices, node.metrics.last_event = feed.prices, feed.last_event
    return feed, path


def refuse_streams(strategy: Strategy) -> None:
    """Live feeds bars and fills.

    Raises:
        UsageError: the strategy listens to books, trades or time.
    """
    own = type(strategy)
    wants = [n for n in ("on_book", "on_trade", "on_time") if getattr(own, n) is not getattr(Strategy, n)]
    if wants:
        raise UsageError(
            f"{own.__name__} needs {', '.join(wants)}: live shows a strategy closed bars and its fills. "
            "Run it with python -m market.backtest --l2, or write it over on_bar and on_fill."
        )
