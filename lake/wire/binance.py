"""Binance's spot wire format, and the one function that points ccxt at another host.

Prices and quantities stay the venue's decimal text until a caller chooses float64 (features) or Decimal (money).
"""

from dataclasses import dataclass
from typing import Any

import orjson

from lake.errors import BadInput
from lake.intervals import MILLISECOND

KLINE_PAGE = 1000
"""Most klines a spot answer holds."""


@dataclass(frozen=True, slots=True)
class Kline:
    """One bar as sent; times in UTC microseconds, `close_time` exclusive (the venue sends ms-1)."""

    open_time: int
    close_time: int
    open: str
    high: str
    low: str
    close: str
    volume: str
    quote_volume: str
    trade_count: int
    closed: bool


def kline_from_rest(row: list[Any]) -> Kline:
    """Read one row of GET /api/v3/klines. `closed` is unknown there and set True: the caller drops the open one.

    Raises:
        BadInput: the row has another shape.
    """
    try:
        return Kline(
            open_time=int(row[0]) * MILLISECOND,
            close_time=(int(row[6]) + 1) * MILLISECOND,
            open=str(row[1]), high=str(row[2]), low=str(row[3]), close=str(row[4]),
            volume=str(row[5]), quote_volume=str(row[7]), trade_count=int(row[8]), closed=True,
        )  # fmt: skip
    except (IndexError, TypeError, ValueError) as error:
        raise BadInput(f"not a Binance kline row: {row!r:.200}: {error}") from None


def kline_from_frame(frame: dict[str, Any]) -> Kline:
    """Read the event of a `<symbol>@kline_<interval>` stream.

    Raises:
        BadInput: the frame is of another kind or shape.
    """
    try:
        k = frame["k"]
        return Kline(
            open_time=int(k["t"]) * MILLISECOND,
            close_time=(int(k["T"]) + 1) * MILLISECOND,
            open=k["o"], high=k["h"], low=k["l"], close=k["c"],
            volume=k["v"], quote_volume=k["q"], trade_count=int(k["n"]), closed=bool(k["x"]),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"not a Binance kline frame: {frame!r:.200}: {error}") from None


def kline_from_payload(stream: str, payload: str) -> Kline:
    """Read a bronze payload by its stream: `rest:klines_*` holds an array, `ws:kline_*` an event.

    Raises:
        BadInput: unknown stream, or the payload does not parse.
    """
    try:
        value = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise BadInput(f"{stream}: payload is not JSON: {error}") from None
    if stream.startswith("rest:klines_"):
        return kline_from_rest(value)
    if stream.startswith("ws:kline_"):
        return kline_from_frame(value)
    raise BadInput(f"no parser for stream {stream!r}: expected rest:klines_* or ws:kline_*")
