"""Bars out of bronze payloads, whatever stream they came by: `rest:klines_<tf>`, `ws:kline_<tf>`, `file:bars_<tf>`,
`rest:ohlcv_<tf>` (of any exchange, as ccxt gives them), `ws:bars_<tf>` (out of recorded frames).

`bar_from_payload` is the meaning, one payload at a time; `parse_payloads` gives the same answer for a whole column,
by one pass of a regular expression where the payload has the venue's usual shape (a test holds the two equal).
"""

from dataclasses import dataclass, fields
from typing import Any

import orjson
import polars as pl

from lake.errors import BadInput
from lake.intervals import MILLISECOND, timeframe_us
from lake.wire.binance import kline_from_payload

FILE_STREAM = "file:bars_"
OHLCV_STREAM = "rest:ohlcv_"
WS_STREAM = "ws:bars_"
FILE_FIELDS = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar in float64; times in UTC microseconds, `close_time` exclusive. None: the source has no such number."""

    open_time: int
    close_time: int
    open: float | None
    high: float | None
    low: float | None
    close: float | None
    volume: float | None
    quote_volume: float | None
    trade_count: int | None
    closed: bool


_SCHEMA: dict[str, Any] = {
    "open_time": pl.Int64, "close_time": pl.Int64,
    "open": pl.Float64, "high": pl.Float64, "low": pl.Float64, "close": pl.Float64,
    "volume": pl.Float64, "quote_volume": pl.Float64, "trade_count": pl.Int64, "closed": pl.Boolean,
    "problem": pl.String,
}  # fmt: skip

LAST_TIME = 253_402_300_800_000_000
"""Year 10000 in microseconds: no bar's time reaches it, and sums with it stay within 64 bits."""

_INTEGER, _NUMBER = "[0-9]{1,13}", "[0-9]{1,20}(?:[.][0-9]{1,20})?"
_REST_ROW = (
    (
        r"^\[(?<open_time>I),"
        + "".join(f'"(?<{name}>N)",' for name in FILE_FIELDS)
        + r'(?<close_time>I),"(?<quote_volume>N)",(?<trade_count>I),"N","N","[^"]{0,40}"\]$'
    )
    .replace("I", _INTEGER)
    .replace("N", _NUMBER)
)


def stream_timeframe(stream: str) -> str:
    """`rest:klines_1m` → `1m`."""
    return stream.rsplit("_", 1)[1] if "_" in stream else ""


def bar_payload(open_time: int, values: dict[str, float | int | None]) -> str:
    """The canonical JSON of a bar that a source did not send alone: `ts` in UTC microseconds and the numbers it has of
    open, high, low, close, volume, quote_volume and trade_count, keys sorted."""
    return orjson.dumps({"ts": open_time, **values}, option=orjson.OPT_SORT_KEYS).decode()


def bar_from_payload(stream: str, payload: str) -> Bar:
    """Read one bronze payload.

    Raises:
        BadInput: the stream has no parser, or the payload does not parse.
    """
    if stream.startswith((FILE_STREAM, WS_STREAM)):
        bar = _bar_from_row(stream, payload)
    elif stream.startswith(OHLCV_STREAM):
        bar = _bar_from_ohlcv(stream, payload)
    else:
        bar = _bar_from_kline(stream, payload)
    if not (0 <= bar.open_time < LAST_TIME and 0 <= bar.close_time < LAST_TIME):
        raise BadInput(f"{stream}: {bar.open_time} µs is no time of a bar")
    return bar


def _bar_from_kline(stream: str, payload: str) -> Bar:
    kline = kline_from_payload(stream, payload)
    try:
        return Bar(
            open_time=kline.open_time, close_time=kline.close_time,
            open=float(kline.open), high=float(kline.high), low=float(kline.low), close=float(kline.close),
            volume=float(kline.volume), quote_volume=float(kline.quote_volume), trade_count=kline.trade_count,
            closed=kline.closed,
        )  # fmt: skip
    except (TypeError, ValueError) as error:
        raise BadInput(f"{stream}: a number does not parse: {error}") from None


def _bar_from_row(stream: str, payload: str) -> Bar:
    try:
        row = orjson.loads(payload)
        open_time = int(row["ts"])
        values = {name: None if row[name] is None else float(row[name]) for name in FILE_FIELDS}
        value, count = row.get("quote_volume"), row.get("trade_count")
        value, count = None if value is None else float(value), None if count is None else int(count)
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise BadInput(f"{stream}: not a bar's row: {payload:.200}: {error}") from None
    close_time = open_time + timeframe_us(stream_timeframe(stream))
    return Bar(open_time, close_time, **values, quote_volume=value, trade_count=count, closed=True)


def _bar_from_ohlcv(stream: str, payload: str) -> Bar:
    try:
        at, *numbers = orjson.loads(payload)
        open_time = int(at) * MILLISECOND
        values = dict(zip(FILE_FIELDS, (None if n is None else float(n) for n in numbers), strict=True))
    except (orjson.JSONDecodeError, TypeError, ValueError) as error:
        raise BadInput(f"{stream}: not [ms, open, high, low, close, volume]: {payload:.200}: {error}") from None
    close_time = open_time + timeframe_us(stream_timeframe(stream))
    return Bar(open_time, close_time, **values, quote_volume=None, trade_count=None, closed=True)


def parse_payloads(stream: str, payloads: pl.Series) -> pl.DataFrame:
    """Read a column of payloads of one stream: the fields of `Bar` plus `problem`, null where the payload parsed."""
    if not stream.startswith("rest:klines_"):
        return _one_by_one(stream, payloads.to_list())
    shaped = payloads.str.extract_groups(_REST_ROW).struct.unnest()
    parsed = shaped.select(
        pl.col("open_time").cast(pl.Int64) * MILLISECOND,
        (pl.col("close_time").cast(pl.Int64) + 1) * MILLISECOND,
        pl.col(*FILE_FIELDS, "quote_volume").cast(pl.Float64),
        pl.col("trade_count").cast(pl.Int64),
        closed=pl.lit(True),
        problem=pl.lit(None, pl.String),
    ).select(*_SCHEMA)
    odd = parsed["open_time"].is_null()
    if not odd.any():
        return parsed
    at = odd.arg_true()
    slow = _one_by_one(stream, payloads.gather(at).to_list()).with_columns(at=at)
    fast = parsed.with_row_index("at").filter(~odd)
    return pl.concat([fast, slow.select(fast.columns)]).sort("at").drop("at")


def _one_by_one(stream: str, payloads: list[str | None]) -> pl.DataFrame:
    rows = []
    for payload in payloads:
        try:
            bar = bar_from_payload(stream, payload or "")
            row = {field.name: getattr(bar, field.name) for field in fields(Bar)} | {"problem": None}
        except BadInput as error:
            row = dict.fromkeys(_SCHEMA) | {"problem": f"payload does not parse: {error}"}
        rows.append(row)
    return pl.DataFrame(rows, schema=_SCHEMA)
