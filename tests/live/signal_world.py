"""A signal path on fakes: a market of waves, the venue's past with holes, and what was journalled."""

import time
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import orjson

from feature_store.service import DEFAULT, FeatureService
from lake.instruments import INSTRUMENTS, Instrument
from lake.intervals import DAY, MINUTE, WEEK
from lake.wire.binance import kline_from_frame
from live.errors import VenueUnavailable
from live.feed import Frame
from live.model import Model
from live.signals import SignalPath
from tests.live.fakes import BTC, TRADED, FakeVenue, open_account, open_gateway, start

BAR = 5 * MINUTE
NOW = 2820 * WEEK + 4 * DAY + 2 * DAY
"""A Wednesday 00:00 UTC: the first live bar opens here."""
COUNT = 4000
ONE = {BTC: TRADED[BTC]}


def _price(open_time: int, symbol: str) -> float:
    """A deterministic wavy price near 40000; each symbol has its own waves."""
    step, pace = open_time // BAR, 1.0 if symbol == "BTCUSDT" else 1.0 + len(symbol) * ord(symbol[0]) / 3000
    return 40_000 + 300 * np.sin(step / 7.0 * pace) + 900 * np.sin(step / 301.0 * pace)


def numbers(open_time: int, symbol: str = "BTCUSDT") -> list[str]:
    """Open, high, low, close, volume as the venue writes them."""
    opened, close = _price(open_time - BAR, symbol), _price(open_time, symbol)
    high, low = max(opened, close) + 5, min(opened, close) - 5
    return [f"{value:.2f}" for value in (opened, high, low, close, 10 + (open_time // BAR) % 7)]


def bar_frame(open_time: int, closed: bool = True, name: str = BTC, late_ms: int = 40, **changes: str) -> Frame:
    """A kline event of the venue, told so long after the close."""
    opened, high, low, close, volume = numbers(open_time, INSTRUMENTS[name].venue_symbol)
    kline: dict[str, Any] = {
        "t": open_time // 1000, "T": (open_time + BAR) // 1000 - 1, "i": "5m", "o": opened, "h": high, "l": low,
        "c": close, "v": volume, "q": "1", "n": 3, "x": closed,
    } | changes  # fmt: skip
    event_ms = (open_time + BAR) // 1000 + late_ms if closed else open_time // 1000 + 900
    event = {"e": "kline", "E": event_ms, "s": INSTRUMENTS[name].venue_symbol, "k": kline}
    text = orjson.dumps(event).decode()
    return Frame(name, text, kline_from_frame(event), event_ms * 1000, time.monotonic())


class History:
    """The venue's past over REST, with holes and outages on demand."""

    def __init__(self) -> None:
        self.missing: set[int] = set()
        self.down = False
        self.reads = 0

    async def read(self, path: str, parameters: dict[str, str], signed: bool = True) -> list[list[object]]:
        self.reads += 1
        if self.down:
            raise VenueUnavailable("down")
        first, last = int(parameters["startTime"]) * 1000, int(parameters["endTime"]) * 1000
        times = [t for t in range(first, last, BAR) if t not in self.missing][: int(parameters["limit"])]
        return [
            [t // 1000, *numbers(t, parameters["symbol"]), (t + BAR) // 1000 - 1, "1", 3, "0", "0", "0"] for t in times
        ]


class World:
    """A signal path, for BTC unless others are named, with a model or without."""

    def __init__(
        self, folder: Path, model: Model | None = None, traded: dict[str, Instrument] = ONE,
        service: FeatureService = DEFAULT,
    ) -> None:  # fmt: skip
        self.traded, self.service = traded, service
        self.folder, self.history, self.venue = folder, History(), FakeVenue()
        self.keeper = SimpleNamespace(current=model)
        self.begin()

    def begin(self) -> None:
        self.account = start(open_account(self.folder / "journal"))
        self.gateway = open_gateway(self.account, self.venue)
        self.records: list[dict[str, Any]] = []
        self.account.observers.append(self.records.append)
        self.path = SignalPath(
            self.account, self.gateway, self.history, self.keeper, self.service,  # type: ignore[arg-type]
            self.traded, Decimal(4000), Decimal(5000),
        )  # fmt: skip

    def restart(self) -> None:
        self.account.journal.close()
        self.begin()

    async def take(self, frame: Frame) -> None:
        self.account.clock.observe(frame.market_time)
        await self.path.take(frame)
        await self.path.drain()

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [r for r in self.records if r["kind"] == kind]

    def reasons(self) -> list[str]:
        return [r["reason"] for r in self.of("decision")]
