"""The journal's decisions of a strategy: one for each bar, and one for each other event that led to orders.

An order of a bar serves that bar's decision. An order that a book, a trade or the time led to has a decision of its own
instrument, whose `event` says what it was: the id at the venue, its time, when it was received, and the message or
levels themselves; `frame_hash` is their SHA-256. An order that a fill led to serves the decision of the order filled.
Events that led to nothing are not written down: there are thousands of them in a minute.
"""

import hashlib
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import orjson

from lake.intervals import MINUTE
from live.account import Account
from live.bars import ClosedBar
from live.decide import Reason
from market.runner import Runner
from market.strategy import Bar, Book
from market.turns import Action, Cause, Execution, Heard, Moment

BAR_US = 5 * MINUTE


class StrategyDecisions:
    """Writes them. `on_decision` hears reason and seconds since a bar's frame came."""

    def __init__(self, account: Account, runner: Runner, digest: str, filled: Callable[[str], str]) -> None:
        """`filled` gives the decision that an order of the runner's serves."""
        self._account, self._runner, self._digest, self._filled = account, runner, digest, filled
        self._last: dict[str, tuple[str, ClosedBar]] = {}
        self._pending: tuple[ClosedBar, float] | None = None
        self._events: dict[tuple[Cause, str], str] = {}
        self.newest: Callable[[], dict[str, Any]] = dict
        """What is known of the market, for a decision that the time led to."""
        self.on_decision: Callable[[Reason, float], None] = lambda reason, seconds: None

    def begin(self, bar: ClosedBar, received: float) -> None:
        """A bar is shown to the strategy: it is decided on before its first order, or by `end`."""
        self._pending = (bar, received)

    def end(self) -> None:
        """Decide on the bar that was begun, unless that was done."""
        if self._pending is not None:
            (bar, received), self._pending = self._pending, None
            self.of_bar(bar, Reason.STRATEGY)
            self.on_decision(Reason.STRATEGY, time.monotonic() - received)

    def forget(self) -> None:
        """A turn is over: its events will not be named again."""
        self._events.clear()

    def of_bar(self, bar: ClosedBar, reason: Reason) -> None:
        """Decide on a bar."""
        available = max(bar.market_time, bar.close_time)
        decision_id = self._write(
            bar.instrument, bar.close_time, reason, open_time=bar.open_time, available_time=available,
            frame_hash=bar.payload_hash,
        )  # fmt: skip
        self._last[bar.instrument] = decision_id, bar

    def of_action(self, action: Action, instrument: str) -> str:
        """The id of the decision that the action serves; writes it where it is the event's first."""
        self.end()
        cause = action.cause
        if isinstance(cause, Execution):
            return self._filled(cause.order_id)
        if cause is None or isinstance(cause, Bar):
            return self._last[instrument][0] if instrument in self._last else ""
        if (cause, instrument) not in self._events:
            self._events[cause, instrument] = self._of_event(cause, instrument)
        return self._events[cause, instrument]

    def price(self, instrument: str) -> Decimal:
        """The price that an order without one of its own is judged at: 0 before the first."""
        return Decimal(str(self._runner.account.prices.get(instrument, 0.0)))

    def _of_event(self, cause: Heard | Moment, instrument: str) -> str:
        reason, event = self._described(cause)
        event_time = event["market_time"]
        return self._write(
            instrument, event_time, reason, open_time=event_time // BAR_US * BAR_US,
            available_time=max(event_time, self._account.clock.now),
            frame_hash=hashlib.sha256(event["payload"].encode()).hexdigest(), event={"kind": reason, **event},
        )  # fmt: skip

    def _described(self, cause: Heard | Moment) -> tuple[Reason, dict[str, Any]]:
        if isinstance(cause, Heard):
            reason = Reason.BOOK if isinstance(cause.event, Book) else Reason.TRADE
            return reason, {
                "instrument": cause.event.instrument, "id": cause.id, "market_time": cause.market_time,
                "received_time": cause.received, "payload": cause.payload,
            }  # fmt: skip
        known = orjson.dumps({"time": cause.time, "known": self.newest()}).decode()
        return Reason.TIME, {
            "instrument": "", "id": cause.time, "market_time": cause.time, "received_time": time.time_ns() // 1000,
            "payload": known,
        }  # fmt: skip

    def _write(self, instrument: str, event_time: int, reason: Reason, **fields: Any) -> str:
        account = self._account
        decision_id = f"{account.journal.id}-{account.journal.next_seq}"
        account.write(
            "decision", event_time, decision_id=decision_id, instrument=instrument, service_hash="", features=[],
            prediction=None, model_name=type(self._runner.strategy).__name__, model_version=None,
            manifest_sha256=self._digest, target_weight=self._runner.planned_weight(instrument), reason=reason,
            **fields,
        )  # fmt: skip
        return decision_id
