"""Closed bars as live uses them: the raw text that came, its hash, and the numbers read from it. No I/O."""

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from lake.errors import BadInput
from lake.journal import Record
from lake.wire.binance import Kline, kline_from_payload

WS_STREAM, REST_STREAM = "ws:kline_5m", "rest:klines_5m"


@dataclass(frozen=True, slots=True)
class ClosedBar:
    """One closed bar. `values` are open, high, low, close, volume for the kernels; money uses `close`."""

    instrument: str
    open_time: int
    close_time: int
    market_time: int
    stream: str
    payload: str
    payload_hash: str
    values: tuple[float, float, float, float, float]
    close: Decimal

    def record(self) -> Record:
        """The fields of the journal's `frame`."""
        return {
            "stream": self.stream, "instrument": self.instrument, "open_time": self.open_time,
            "market_time": self.market_time, "payload": self.payload, "payload_hash": self.payload_hash,
        }  # fmt: skip


def closed_bar(
    instrument_id: str, stream: str, payload: str, market_time: int, kline: Kline | None = None
) -> ClosedBar:
    """Read a closed bar from the venue's text.

    Raises:
        BadInput: it does not parse, or its numbers are no bar: not finite, no price, high below low.
    """
    kline = kline or kline_from_payload(stream, payload)
    try:
        values = (float(kline.open), float(kline.high), float(kline.low), float(kline.close), float(kline.volume))
        close = Decimal(kline.close)
    except (ValueError, InvalidOperation):
        raise BadInput(f"{instrument_id} {stream}: not numbers: {payload:.200}") from None
    opened, high, low, last, volume = values
    sound = all(map(math.isfinite, values)) and low > 0 and volume >= 0 and low <= min(opened, last)
    if not (sound and high >= max(opened, last)):
        raise BadInput(f"{instrument_id} {stream}: not a bar: open, high, low, close, volume = {values}")
    digest = hashlib.sha256(payload.encode()).hexdigest()
    return ClosedBar(
        instrument_id, kline.open_time, kline.close_time, market_time, stream, payload, digest, values, close
    )


def bars_of_records(records: Iterable[Record], instrument_id: str, start: int) -> dict[int, ClosedBar]:
    """Bars of the journal's frames from `start` on, by open time; of two the first stands, as it was the one used."""
    held: dict[int, ClosedBar] = {}
    for record in records:
        wanted = record["kind"] == "frame" and record["instrument"] == instrument_id
        if not wanted or record["open_time"] < start or record["open_time"] in held:
            continue
        try:
            bar = closed_bar(instrument_id, record["stream"], record["payload"], record["market_time"])
        except BadInput:
            continue  # journalled as it came, refused then as now
        held[bar.open_time] = bar
    return held


def missing_ranges(held: Iterable[int], start: int, end: int, step: int) -> list[tuple[int, int]]:
    """Half-open ranges of open times within `[start, end)` that `held` lacks."""
    ranges: list[tuple[int, int]] = []
    have = set(held)
    for open_time in range(start, end, step):
        if open_time in have:
            continue
        if ranges and ranges[-1][1] == open_time:
            ranges[-1] = (ranges[-1][0], open_time + step)
        else:
            ranges.append((open_time, open_time + step))
    return ranges
