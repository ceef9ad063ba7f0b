"""Adversities in a running venue: strained agents, muted streams, a venue that is down."""

import dataclasses
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lake.errors import UsageError
from lake.intervals import MINUTE, SECOND
from market.adversity_events import Adversity, ExchangeOutage, FeedFreeze
from market.agents import Agents
from market.faults import Maintenance, StreamFault
from market.strain import Strain

if TYPE_CHECKING:
    from market.venue import Venue


@dataclass(slots=True)
class _Running:
    """An event at a venue: strains one set of agents, and switches what is not the agents' business."""

    event: Adversity
    venue: "Venue"
    hit: list[int]
    follows: bool
    """These agents trade around the prices of others that are strained already."""
    before: Any = None
    """The venue's faults while they are changed."""

    def bend(self, strain: Strain, elapsed: float) -> bool:
        going = elapsed < self.event.seconds
        if isinstance(self.event, FeedFreeze | ExchangeOutage):
            strain.silent |= going and isinstance(self.event, ExchangeOutage)
            self._switch(going)
            return going
        shift, gain, carried = strain.shift.copy(), strain.gain.copy(), strain.carried.copy()
        going = self.event.bend(strain, elapsed, self.hit)
        if self.follows:
            strain.shift, strain.gain, strain.carried = shift, gain, carried
        return going

    def _switch(self, on: bool) -> None:
        """Mute the streams, or take the venue down, and give it back as it was."""
        faults = self.venue.faults
        if on and self.before is None:
            self.before = faults.knobs
            if isinstance(self.event, FeedFreeze):
                faults.set(replace(faults.knobs, streams=(*faults.knobs.streams, StreamFault(mute=True))))
            else:
                faults.set(replace(faults.knobs, maintenance=(Maintenance(0.0, 1e7, status="DOWN"),)))
        elif not on and self.before is not None:
            change = "streams" if isinstance(self.event, FeedFreeze) else "maintenance"
            faults.set(replace(faults.knobs, **{change: getattr(self.before, change)}))
            self.before = None


def apply(venue: "Venue", event: Adversity) -> dict[str, Any]:
    """Let an event happen at a running venue, `start_minutes` of market time from now.

    What hits the price itself hits the venues that live in the same market time too. Returns what will happen: the
    event, its instruments, and when it starts and ends (market time, µs).

    Raises:
        UsageError: the venue has no agents, or none of its instruments can be hit.
    """
    start = venue.exchange.time + int(event.start_minutes * MINUTE)
    venues = venue.venues if event.everywhere else (venue,)
    struck = [name for each in venues for name in _start(each, event, start)]
    if not struck:
        names = ", ".join(instrument.id for instrument in venue.exchange.instruments)
        raise UsageError(
            f"adversity {event.name}: expected a venue with agents and an instrument it can hit; the venue has {names}."
        )
    end = start + int(event.seconds * SECOND)
    return {"name": event.name, "instruments": struck, "start": start, "end": end, "seconds": event.seconds}


def _start(venue: "Venue", event: Adversity, start: int) -> list[str]:
    names = [instrument.id for instrument in venue.exchange.instruments]
    struck: list[str] = []
    for crowd in venue.exchange.crowds:
        if not isinstance(crowd, Agents):
            continue
        hit = [k for k, i in enumerate(crowd.numbers) if event.hits(names[i])]
        if hit:
            if crowd.strain is None:
                crowd.strain = Strain(len(crowd.numbers), event.seed)
            crowd.strain.start(_Running(event, venue, hit, follows=bool(struck)), start)
            struck += [names[crowd.numbers[k]] for k in hit]
    return struck


def running(venue: "Venue") -> list[dict[str, Any]]:
    """Events that have not ended, with their parameters."""
    return [
        {"name": item.event.name, **dataclasses.asdict(item.event)}
        for crowd in venue.exchange.crowds
        if isinstance(crowd, Agents) and crowd.strain is not None
        for item in crowd.strain.running
        if isinstance(item, _Running)
    ]
