"""The faults that are set now: draws, strikes, the script, and what the exchange itself must be told.

`Faults.run` looks twenty times a second at what is due: lines of the script, the maintenance calendar, sockets that
are too old, accounts that fell silent. Everything else happens where requests and events pass.
"""

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import fields, replace
from decimal import Decimal, InvalidOperation
from fnmatch import fnmatchcase
from random import Random
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from lake.errors import UsageError
from lake.instruments import Instrument
from market.bookkeeping import FIRST_CLIENT
from market.fault_streams import StreamFilter
from market.faults import HttpFault, Knobs, Step, merged, to_json
from market.listeners import Client
from market.reports import milliseconds

if TYPE_CHECKING:
    from market.venue import Venue

log = logging.getLogger("market.faults")
LOOK_SECONDS = 0.05
MOST_LOGGED = 10_000


class Faults:
    """One venue's faults. Times are seconds of the monotonic clock."""

    def __init__(self, venue: "Venue") -> None:
        self.knobs = Knobs()
        self.strikes: Counter[str] = Counter()
        """How often what happened where, as `place: what`."""
        self.log: deque[tuple[str, int, str]] = deque(maxlen=MOST_LOGGED)
        """Place, number of the match there, and what happened, in order."""
        self.changes = 0
        """Grows whenever draws start anew; whoever keeps state per stream forgets it then."""
        self.is_down = False
        """Every request is answered 503 and no socket lives: by the maintenance calendar, or by `outage`."""
        self.outage = False
        """Have the venue down until this is unset."""
        self.filter = StreamFilter(self)
        self._venue = venue
        self._since = dict.fromkeys((field.name for field in fields(Knobs)), time.monotonic())
        self._draws: dict[str, Random] = {}
        self._matches: Counter[int] = Counter()
        self._acted: Counter[int] = Counter()
        self._script: list[tuple[float, Step]] = []
        self._opened: WeakKeyDictionary[Client, float] = WeakKeyDictionary()
        self._heard: dict[str, float] = {}
        self._original_filters = {i: venue.exchange.filters[i] for i in venue.exchange.spot}
        self._wanted_coin = venue.exchange.engine.accounts.fees.wants_coin.copy()

    # -- what is set ----------------------------------------------------------------------------------------------

    def set(self, knobs: Knobs) -> None:
        """Put these knobs in force; draws start anew where the seed or the rules changed."""
        now, before = time.monotonic(), self.knobs
        for field in fields(Knobs):
            if getattr(before, field.name) != getattr(knobs, field.name):
                self._since[field.name] = now
        if (before.seed, before.http, before.streams) != (knobs.seed, knobs.http, knobs.streams):
            self._draws, self._matches, self._acted = {}, Counter(), Counter()
            self.changes += 1
        self._apply_filters(knobs)
        self.knobs = knobs
        exchange = self._venue.exchange
        exchange.client_ids = knobs.client_ids
        wants_coin = exchange.engine.accounts.fees.wants_coin
        wants_coin[:] = self._wanted_coin
        if knobs.fee_coin:
            wants_coin[FIRST_CLIENT : FIRST_CLIENT + len(exchange.accounts)] = 1
        self._look()

    def merge(self, patch: object) -> None:
        """Apply a JSON merge patch.

        Raises:
            UsageError: the result is not a set of knobs; nothing has changed then.
        """
        self.set(merged(self.knobs, patch))

    def clear(self) -> None:
        """No faults, no script, no memory of strikes."""
        self._script = []
        self.set(Knobs())
        self.strikes.clear()
        self.log.clear()

    def play(self, script: tuple[Step, ...]) -> None:
        """Carry out a script from now on, in place of one that runs."""
        now = time.monotonic()
        self._script = [(now + step.at_seconds, step) for step in script]
        self._look()

    def status(self) -> dict[str, Any]:
        """For the admin side."""
        return {
            "knobs": to_json(self.knobs),
            "strikes": dict(sorted(self.strikes.items())),
            "log": list(self.log)[-1000:],
            "script_left": len(self._script),
        }

    # -- what strikes ---------------------------------------------------------------------------------------------

    def draw(self, name: str) -> Random:
        """The generator of one place, fixed by the seed and the name."""
        found = self._draws.get(name)
        if found is None:
            found = self._draws[name] = Random(f"{self.knobs.seed}/{name}")
        return found

    def note(self, place: str, number: int, what: str) -> None:
        self.strikes[f"{place}: {what}"] += 1
        self.log.append((place, number, what))

    def strike(self, verb: str, path: str) -> HttpFault | None:
        """The fault of a request, if one strikes; every rule that matches draws, so one rule never moves another."""
        struck = None
        for number, rule in enumerate(self.knobs.http):
            if rule.verb not in ("*", verb) or not fnmatchcase(path, rule.path):
                continue
            self._matches[number] += 1
            hit = self.draw(f"http/{number}").random() < rule.chance
            spent = rule.times and self._acted[number] >= rule.times
            if struck is None and hit and not spent and self._matches[number] > rule.skip:
                self._acted[number] += 1
                self.note(f"{verb} {path}", self._matches[number], f"{rule.action} {rule.stage}")
                struck = rule
        return struck

    def wall_ms(self) -> int:
        """What the venue's wall clock shows."""
        now = time.time_ns() // 1_000_000
        if not self.knobs.clock_drift_ppm:
            return now + self.knobs.clock_offset_ms
        elapsed = time.monotonic() - self._since["clock_drift_ppm"]
        return now + self.knobs.clock_offset_ms + int(elapsed * self.knobs.clock_drift_ppm / 1000)

    def hear(self, api_key: str) -> None:
        """An account has sent a signed request."""
        self._heard[api_key] = time.monotonic()

    # -- what is due ----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Look at what is due until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                self._look()
            except Exception:
                log.exception("a fault could not be carried out")

    def _look(self) -> None:
        now = time.monotonic()
        while self._script and self._script[0][0] <= now:
            self._carry_out(self._script.pop(0)[1])
        self._close_symbols(now - self._since["maintenance"])
        if self.knobs.dead_man_seconds:
            self._cancel_for_the_silent(now)
        self._close_old_sockets(now)

    def _carry_out(self, step: Step) -> None:
        if step.set:
            self.merge(step.set)
        match step.do:
            case "disconnect":
                self._cut_all()
            case "server_shutdown":
                self._announce_shutdown(step.seconds)
            case "terminate_user_streams":
                self._venue.hub.terminate_users()
            case "pause":
                self._venue.pause()
            case "resume":
                self._venue.resume()
            case "clear":
                self.set(Knobs())
        if step.do:
            self.note("script", 0, step.do)

    def _cut_all(self) -> None:
        for client in self.filter.clients():
            client.cut()

    def _announce_shutdown(self, seconds: float) -> None:
        """Binance's `serverShutdown` event on every socket, which is closed `seconds` later."""
        loop = asyncio.get_running_loop()
        event = f'{{"e":"serverShutdown","E":{milliseconds(self._venue.exchange.time)}}}'
        for client in self.filter.clients():
            if client.combined:
                client.send(f'{{"stream":"!serverShutdown","data":{event}}}')
            else:
                client.send(f'{{"event":{event}}}' if client.is_api else event)
            loop.call_later(seconds, _close, client)

    def _close_symbols(self, elapsed: float) -> None:
        """Let the exchange know what the maintenance calendar closes now."""
        exchange, closed, down = self._venue.exchange, dict[int, str](), self.outage
        for entry in self.knobs.maintenance:
            if not entry.from_seconds <= elapsed < entry.until_seconds:
                continue
            down = down or entry.status == "DOWN"
            for i, instrument in enumerate(exchange.instruments):
                if not entry.symbols or instrument.venue_symbol in entry.symbols:
                    closed[i] = "BREAK" if entry.status == "DOWN" else entry.status
        if closed != exchange.closed:
            self._venue.catch_up()
            exchange.close(closed)
            self._venue.publish()
        if down and not self.is_down:
            self._cut_all()
        self.is_down = down

    def _cancel_for_the_silent(self, now: float) -> None:
        """The dead man's switch: no signed request for too long cancels everything that rests."""
        exchange, since = self._venue.exchange, self._since["dead_man_seconds"]
        for account in exchange.accounts:
            silent = now - max(since, self._heard.get(account.api_key, since))
            if account.open and silent > self.knobs.dead_man_seconds:
                self._venue.catch_up()
                for order in list(account.open.values()):
                    exchange.cancel(account, order)
                self.note("dead man", 0, account.api_key[:8])
                self._venue.publish()

    def _close_old_sockets(self, now: float) -> None:
        life = self.knobs.stream_life_seconds
        for client in self.filter.clients():
            opened = self._opened.setdefault(client, now)
            if life and now - opened > life:
                self._opened[client] = now  # once is enough while it closes
                self.note("socket", 0, "end of life")
                _close(client)

    def _apply_filters(self, knobs: Knobs) -> None:
        exchange = self._venue.exchange
        unknown = set(knobs.filters) - {exchange.instruments[i].venue_symbol for i in exchange.spot}
        if unknown:
            raise UsageError(f"filters: {sorted(unknown)} are no spot symbols of this venue.")
        for i, original in self._original_filters.items():
            instrument = exchange.instruments[i]
            changes = knobs.filters.get(instrument.venue_symbol, {})
            rules = changed_rules(instrument, changes) if changes else None
            exchange.filters[i] = replace(original, rules=rules) if rules else original


def changed_rules(instrument: Instrument, changes: Mapping[Any, str]) -> Instrument:
    """The instrument with other filters.

    Raises:
        UsageError: a number does not read, or a tick or step is no multiple of the one the book counts in.
    """
    try:
        values = {name: Decimal(text) for name, text in changes.items()}
    except InvalidOperation:
        raise UsageError(f"filters of {instrument.venue_symbol}: expected numbers, found {dict(changes)}.") from None
    for name in ("price_tick", "quantity_step"):
        unit = getattr(instrument, name)
        if name in values and (values[name] <= 0 or values[name] % unit):
            raise UsageError(f"{instrument.venue_symbol} {name}: expected a multiple of {unit}, found {values[name]}.")
    return replace(
        instrument,
        price_tick=values.get("price_tick", instrument.price_tick),
        quantity_step=values.get("quantity_step", instrument.quantity_step),
        min_quantity=values.get("min_quantity", instrument.min_quantity),
        min_notional=values.get("min_notional", instrument.min_notional),
    )


_closing: set[asyncio.Task[None]] = set()


def _close(client: Client) -> None:
    """Say goodbye without waiting for it."""
    task = asyncio.get_running_loop().create_task(client.close())
    _closing.add(task)
    task.add_done_callback(_closing.discard)
