"""The signal path: closed bars in, decisions and orders out. Loaded after the order path is ready.

Per instrument: journal the raw frame, close any gap from REST, update the features, predict, decide, journal the
decision, and hand an order to the gateway. Bars are taken strictly in order, each once; a bar that came late through
a gap is decided as `gap` and never traded on.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from decimal import Decimal
from typing import Any

import numpy as np

from feature_store.errors import BarsRefused
from feature_store.inputs import reference_ids
from feature_store.service import FeatureService
from feature_store.view import Floats
from lake.errors import BundleRejected
from lake.instruments import INSTRUMENTS, Instrument
from lake.intervals import SECOND, format_time
from lake.journal import Record
from live.account import Account
from live.bars import REST_STREAM, ClosedBar, bars_of_records, missing_ranges
from live.decide import Book, Choice, Reason, choose, hold, is_stale
from live.errors import VenueUnavailable
from live.features import history_start
from live.feed import Frame, Reader, bar_of, fetch_bars
from live.keeper import ModelKeeper
from live.model import Model
from live.orders import ZERO, OrderRequest, OrderType, Side
from live.risk import Gateway
from live.tracks import Row, Track

log = logging.getLogger("live.signals")
LOOK_SECONDS = 0.05
"""How often to look at the market clock while a row waits for its references."""
PUBLICATION_US = 30 * SECOND
"""Market time within which a closed bar surely shows in REST."""


class SignalPath:
    """The single consumer of the feed's frames. `on_decision` hears reason and seconds since the frame came."""

    def __init__(
        self, account: Account, gateway: Gateway, reader: Reader, keeper: ModelKeeper, service: FeatureService,
        traded: dict[str, Instrument], capital: Decimal, max_order_notional: Decimal,
    ) -> None:  # fmt: skip
        self._account, self._gateway, self._reader, self._keeper = account, gateway, reader, keeper
        self._service, self._capital, self._max_order = service, capital, max_order_notional
        self.bar_us = service.periods.bar_us
        self._tracks = {name: Track(each, service.periods) for name, each in traded.items()}
        self._traded = tuple(self._tracks.values())
        self._replayed: list[Record] = account.journal.replayed
        self._sends: set[asyncio.Task[Any]] = set()
        self.on_decision: Callable[[Reason, float], None] = lambda reason, seconds: None
        self.on_references: Callable[[list[Instrument]], None] = lambda instruments: None
        """Told which instruments beside those traded the service reads."""
        self.heard: Callable[[], int] = lambda: account.clock.now
        """The market time up to which the feed has told everything."""
        self._model: Model | None = None
        self._serve(service)

    async def run(self, frames: "asyncio.Queue[Frame]") -> None:
        """Take frames for ever, and decide without a reference whose time is up."""
        self._adopt()
        while True:
            frame = await self._next(frames)
            if frame is None:
                self.settle(self.heard())
                continue
            try:
                await self.take(frame)
            except (VenueUnavailable, BarsRefused) as error:
                log.warning("%s waits for its history: %s", frame.instrument, error)

    async def _next(self, frames: "asyncio.Queue[Frame]") -> Frame | None:
        """The next frame, or None where a row waits for references and none came for a moment."""
        waits = any(track.rows for track in self._traded)
        try:
            return await asyncio.wait_for(frames.get(), LOOK_SECONDS if waits else None)
        except TimeoutError:
            return None

    async def take(self, frame: Frame) -> None:
        """Take one frame: an open bar only says where history must reach, a closed one ends in a decision.

        Raises:
            VenueUnavailable: history is missing; the bar waits, its decision says `gap`.
        """
        self._adopt()
        self.settle(frame.market_time)
        track = self._tracks[frame.instrument]
        bar = self._closed(track, frame) if frame.kline.closed else None
        if bar is not None:
            track.waiting.append(bar)
        try:
            await self._close_gap(track, frame.kline.open_time, frame.market_time)
            await self._bring_references(track, frame)
        except VenueUnavailable:
            if bar is not None and track.features is not None:
                self._decide(track, bar, Reason.GAP, frame.received, max(bar.market_time, bar.close_time))
                track.decided.add(bar.open_time)
            raise
        self._take_waiting(track, bar, frame.received)
        self.settle(frame.market_time)

    def settle(self, now: int) -> None:
        """Decide on the rows that have their references, or need not wait for them any more at market time `now`."""
        for track in self._traded:
            while track.rows and track.is_complete(track.rows[0].bar.open_time, now):
                row = track.rows.popleft()
                known = track.take(row.bar)
                if row.decide:
                    self._decide(track, row.bar, row.hold_for, row.received, known)

    async def drain(self) -> None:
        """Wait until every order handed over has its reply booked."""
        while self._sends:
            await asyncio.gather(*self._sends, return_exceptions=True)

    def _adopt(self) -> None:
        """Take over the keeper's model; one of another service once its references are heard."""
        model = self._keeper.current
        if model is None or model is self._model:
            return
        if model.service is not self._service:
            beside = self._beside(model.service)
            others = [one for each in beside for one in each if one is not None and one not in self._traded]
            self.on_references([one.instrument for one in others])
            if any(one.next_open_time is None for one in others):
                return
            self._serve(model.service)
        self._model = model

    def _serve(self, service: FeatureService) -> None:
        """Compute a service from the next row on."""
        self._service = service
        for track, references in zip(self._traded, self._beside(service), strict=True):
            track.serve(service, references)
        log.info("features of %s %.12s", service.name, service.content_hash)

    def _beside(self, service: FeatureService) -> list[list[Track | None]]:
        """For each traded instrument the references that the service reads."""
        ids = [reference_ids(service.extras, track.instrument.id) for track in self._traded]
        return [[self._reference(each[name]) for name in service.extras] for each in ids]

    def _reference(self, name: str) -> Track | None:
        if name not in self._tracks and name in INSTRUMENTS:
            self._tracks[name] = Track(INSTRUMENTS[name], self._service.periods)
        return self._tracks.get(name)

    async def _bring_references(self, track: Track, frame: Frame) -> None:
        """Close the references' gaps before this bar, each asked for once; their history has to be there.

        Raises:
            VenueUnavailable: a reference has no history yet.
        """
        open_time = frame.kline.open_time
        for other in track.others:
            if other.next_open_time is None:
                await self._close_gap(other, open_time, frame.market_time)
            elif other.next_open_time < open_time > other.asked:
                other.asked = open_time
                try:
                    await self._close_gap(other, open_time, frame.market_time)
                except VenueUnavailable as error:
                    log.warning("%s: null for %s meanwhile: %s", other.instrument.id, track.instrument.id, error)
                else:
                    self._take_waiting(other, None, frame.received)

    def _closed(self, track: Track, frame: Frame) -> ClosedBar | None:
        """Journal the frame of a closed bar as it came and read it; None for one already taken or unsound."""
        expected = track.next_open_time
        if expected is not None and frame.kline.open_time < expected:
            return None
        if any(waiting.open_time == frame.kline.open_time for waiting in track.waiting):
            return None
        bar = bar_of(frame)
        if bar is not None:
            self._journal(bar)
        return bar

    async def _close_gap(self, track: Track, open_time: int, market_time: int) -> None:
        """Bring the features up to the bar before `open_time`, from the journal and from REST."""
        expected = track.next_open_time
        if expected is None:
            await self._seed(track, open_time, market_time)
            return
        waiting = [bar.open_time for bar in track.waiting]
        for first, end in missing_ranges(waiting, expected, open_time, self.bar_us):
            late = await fetch_bars(self._reader, track.instrument, first, end, market_time)
            log.warning("%s: gap of %d bars, %d found", track.instrument.id, (end - first) // self.bar_us, len(late))
            for bar in late:
                self._journal(bar)
            track.waiting += late
        self._refuse_unpublished(track, [bar.open_time for bar in track.waiting], open_time, market_time)

    async def _seed(self, track: Track, open_time: int, market_time: int) -> None:
        start = history_start(self._service.periods, open_time)
        held = bars_of_records(self._replayed, track.instrument.id, start)
        held |= {bar.open_time: bar for bar in track.waiting}
        held = {time_: bar for time_, bar in held.items() if time_ < open_time}
        for first, end in missing_ranges(held, start, open_time, self.bar_us):
            for bar in await fetch_bars(self._reader, track.instrument, first, end, market_time):
                self._journal(bar)
                track.waiting.append(bar)
                held[bar.open_time] = bar
        self._refuse_unpublished(track, held, open_time, market_time)
        track.hold_history(held[time_] for time_ in sorted(held))
        track.waiting = [bar for bar in track.waiting if bar.open_time >= open_time]
        log.info("%s: %d bars of history", track.instrument.id, len(held))
        if all(each.next_open_time is not None for each in self._tracks.values()):
            self._replayed = self._account.journal.replayed = []

    def _refuse_unpublished(self, track: Track, held: Iterable[int], open_time: int, market_time: int) -> None:
        """The bar before `open_time` may close a moment before REST shows it; later than that it does not exist.

        Raises:
            VenueUnavailable: it is too early to say.
        """
        last = open_time - self.bar_us
        if market_time - open_time < PUBLICATION_US and last >= (track.next_open_time or 0) and last not in held:
            raise VenueUnavailable(f"{track.instrument.id}: the bar of {format_time(last)} is not published yet")

    def _take_waiting(self, track: Track, newest: ClosedBar | None, received: float) -> None:
        waiting, track.waiting = sorted(track.waiting, key=lambda bar: bar.open_time), []
        for bar in waiting:
            try:
                track.hold(bar)
            except BarsRefused as error:
                log.error("bar refused: %s", error)
                continue
            for other in self._traded:
                other.heard_late(track, bar.open_time)
            if track.features is not None:
                late = bar is not newest or bar.stream == REST_STREAM
                decide = bar.open_time not in track.decided
                track.rows.append(Row(bar, Reason.GAP if late else None, received, decide))
            track.decided.discard(bar.open_time)

    def _decide(self, track: Track, bar: ClosedBar, hold_for: Reason | None, received: float, known: int) -> None:
        model = self._model
        book = self._book(track)
        choice, vector = self._choose(track, bar, hold_for, model, book)
        decision_id = f"{self._account.journal.id}-{self._account.journal.next_seq}"
        pinned = asdict(model.version) if model else dict.fromkeys(("model_name", "model_version", "manifest_sha256"))
        self._account.write(
            "decision",
            bar.close_time,
            decision_id=decision_id,
            instrument=bar.instrument,
            open_time=bar.open_time,
            available_time=known,
            service_hash=self._service.content_hash,
            features=vector,
            prediction=choice.prediction,
            **pinned,
            target_weight=choice.weight,
            frame_hash=bar.payload_hash,
            reason=choice.reason,
        )
        if choice.order is not None:
            self._send(bar, decision_id, choice.order)
        self.on_decision(choice.reason, time.monotonic() - received)

    def _choose(
        self, track: Track, bar: ClosedBar, hold_for: Reason | None, model: Model | None, book: Book
    ) -> tuple[Choice, list[float]]:
        """The choice and the vector it saw: the model's columns, or every column while there is no model."""
        assert track.features is not None
        rows = track.features.rows(model.window if model else 1)
        selected = model.select(rows) if model else rows
        vector = selected[-1].tolist() if len(selected) and bar.open_time == self._last_taken(track) else []
        if hold_for is None and is_stale(bar.close_time, self._account.clock.now, self.bar_us):
            hold_for = Reason.STALE
        if hold_for is not None or model is None:
            return hold(hold_for or Reason.NO_MODEL, book, bar.close), vector
        if len(selected) < model.window or not np.isfinite(selected).all():
            reason = Reason.NAN if track.features.is_warm(model.window) else Reason.WARMING
            return hold(reason, book, bar.close), vector
        return choose(_predict(model, selected), book, bar.close, model.parameters, model.cost), vector

    def _last_taken(self, track: Track) -> int:
        assert track.features is not None
        return (track.features.next_open_time or 0) - self.bar_us

    def _book(self, track: Track) -> Book:
        name, ledger = track.instrument.id, self._account.ledger
        traded = self._gateway.instruments.get(name, track.instrument)
        in_flight = bool(ledger.unsettled(name))
        return Book(traded, ledger.positions.get(name, ZERO), in_flight, self._capital, self._max_order)

    def _send(self, bar: ClosedBar, decision_id: str, order: tuple[Side, Decimal]) -> None:
        side, quantity = order
        request = OrderRequest(bar.instrument, side, OrderType.MARKET, quantity, None, decision_id)
        task = asyncio.create_task(self._gateway.submit(request, bar.close))
        self._sends.add(task)
        task.add_done_callback(self._sent)

    def _sent(self, task: "asyncio.Task[Any]") -> None:
        self._sends.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._gateway.halt(f"sending failed: {error!r}")

    def _journal(self, bar: ClosedBar) -> None:
        self._account.write("frame", max(bar.market_time, bar.close_time), **bar.record())


def _predict(model: Model, selected: Floats) -> float:
    """The prediction; NaN where the graph fails, which holds the position."""
    try:
        return model.predict(selected)
    except BundleRejected as error:
        log.error("%s", error)
        return math.nan
