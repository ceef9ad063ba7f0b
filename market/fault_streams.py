"""Faults of events on their way from the hub to one client: lost, doubled, late, out of order, muted, wrong.

Each stream of each connection draws from a generator of its own, five numbers an event and rule, so that the n-th
event of a stream fares alike whatever happens elsewhere.
"""

import asyncio
from collections.abc import Callable
from decimal import Decimal
from fnmatch import fnmatchcase
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import orjson

from market.faults import StreamFault
from market.listeners import Client

if TYPE_CHECKING:
    from market.fault_state import Faults

Event = dict[str, Any]


class Lane:
    """One stream of one connection."""

    def __init__(self, rules: list[tuple[StreamFault, Random]], changes: int) -> None:
        self.rules, self.changes = rules, changes
        self.number = 0
        self.held: list[str] = []
        """Frames that wait for their successor."""


class StreamFilter:
    """Stands between hub and clients; without rules an event passes untouched."""

    def __init__(self, faults: "Faults") -> None:
        self._faults = faults
        self._numbers: WeakKeyDictionary[Client, int] = WeakKeyDictionary()
        self._lanes: WeakKeyDictionary[Client, dict[str, Lane]] = WeakKeyDictionary()
        self._next = count()

    def attach(self, client: Client) -> None:
        """Number the connection and filter its events from now on."""
        self._numbers[client] = next(self._next)
        client.filter = self.deliver

    def clients(self) -> list[Client]:
        """All connections that are open, of every hub of the venue."""
        return [client for client in list(self._numbers) if client.is_open]

    def deliver(self, client: Client, stream: str, text: str) -> None:
        """Send an event, or what becomes of it."""
        lanes = self._lanes.get(client)
        if not self._faults.knobs.streams and not lanes:
            client.send(text)
            return
        if lanes is None:
            lanes = self._lanes[client] = {}
        lane = lanes.get(stream)
        if lane is None or lane.changes != self._faults.changes:
            held = lane.held if lane else []
            lane = lanes[stream] = self._lane(client, stream)
            lane.held = held
        self._pass(client, stream, lane, text)

    def _lane(self, client: Client, stream: str) -> Lane:
        connection = self._numbers[client]
        rules = [
            (rule, self._faults.draw(f"stream/{n}/{connection}/{stream}"))
            for n, rule in enumerate(self._faults.knobs.streams)
            if fnmatchcase(stream, rule.stream)
        ]
        return Lane(rules, self._faults.changes)

    def _pass(self, client: Client, stream: str, lane: Lane, text: str) -> None:
        copies, late, swapped = 1, 0.0, False
        lane.number += 1

        def note(what: str) -> None:
            self._faults.note(stream, lane.number, what)

        for rule, rng in lane.rules:
            dropped, doubled, reordered, delayed, distorted = (rng.random() for _ in range(5))
            if rule.mute or dropped < rule.drop:
                note("mute" if rule.mute else "drop")
                return
            if doubled < rule.duplicate:
                note("duplicate")
                copies *= 2
            if reordered < rule.reorder:
                note("reorder")
                swapped = True
            if delayed < rule.delay:
                note("delay")
                late += rule.seconds
            if rule.distort and distorted < rule.chance:
                note(rule.distort)
                text = distorted_text(text, rule)
        frames = [text] * copies
        if swapped and not lane.held:
            lane.held = frames
            return
        frames, lane.held = frames + lane.held, []
        for frame in frames:
            if late:
                asyncio.get_running_loop().call_later(late, client.send, frame)
            else:
                client.send(frame)


# -- wrong events -------------------------------------------------------------------------------------------------

_PRICES = {
    "trade": ("p",), "aggTrade": ("p",), "bookTicker": ("b", "a"), "24hrTicker": ("c", "b", "a"),
    "24hrMiniTicker": ("c",), "markPriceUpdate": ("p",),
}  # fmt: skip
_REPRICED: dict[str, Callable[[str], str]] = {
    "zero": lambda price: f"{Decimal(0):.8f}",
    "negative": lambda price: f"{-abs(Decimal(price)):.8f}",
    "nan": lambda price: "NaN",
    "tenfold": lambda price: f"{Decimal(price) * 10:.8f}",
}


def distorted_text(text: str, rule: StreamFault) -> str:
    """The frame with its event distorted; frames of another form stay as they are."""
    frame = orjson.loads(text)
    if not isinstance(frame, dict):
        return text
    event = frame.get("data") or frame.get("event") or frame
    if isinstance(event, dict):
        if rule.distort == "old":
            _set_back(event, int(rule.age_seconds * 1000))
        elif rule.distort == "crossed":
            _cross(event)
        else:
            _reprice(event, _REPRICED[rule.distort], "h" if rule.distort == "tenfold" else "l")
    return orjson.dumps(frame).decode()


def _set_back(event: Event, ms: int) -> None:
    for name in ("E", "T"):
        if isinstance(event.get(name), int):
            event[name] -= ms
    bar = event.get("k")
    if isinstance(bar, dict):
        bar["t"], bar["T"] = bar["t"] - ms, bar["T"] - ms


def _cross(event: Event) -> None:
    """Bids where asks belong: a depth event's levels, partial books, and best prices."""
    for bid, ask in (("b", "a"), ("bids", "asks")):
        if bid in event and ask in event:
            event[bid], event[ask] = event[ask], event[bid]


def _reprice(event: Event, change: Callable[[str], str], extreme: str) -> None:
    """Change every price; in a bar the close and the extreme that such a print would leave."""
    kind = event.get("e") or ("bookTicker" if {"u", "b", "a"} <= set(event) else "")
    for name in _PRICES.get(kind, ()):
        if isinstance(event.get(name), str):
            event[name] = change(event[name])
    bar = event.get("k")
    if isinstance(bar, dict):
        bar["c"] = bar[extreme] = change(bar["c"])
    for side in ("b", "a", "bids", "asks"):
        levels = event.get(side)
        if isinstance(levels, list) and levels:
            levels[0] = [change(levels[0][0]), levels[0][1]]
