"""Bronze rows by hand: the venue's own shapes, with the numbers a test wants."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import orjson
import polars as pl
import pyarrow as pa

from lake.intervals import MILLISECOND, MINUTE, WEEK, Interval, parse_time, timeframe_us, to_datetime
from lake.storage import Lake
from lake.tables import RAW_BARS
from lake.wire.bars import stream_timeframe

START = parse_time("2024-01-29")  # a Monday; the month ends within the week
SPAN = Interval(START, START + WEEK)
BTC = "binance:BTC/USDT"
ETH = "binance:ETH/USDT"


def kline(open_time: int, step: int = MINUTE, **changed: Any) -> str:
    """One REST row as the venue prints it."""
    row = {"o": "100.0", "h": "101.5", "l": "99.5", "c": "100.5", "v": "2.5", "q": "251.25", "n": 7} | changed
    close_ms = (open_time + step) // MILLISECOND - 1
    values = [open_time // MILLISECOND, *(row[k] for k in "ohlcv"), close_ms, row["q"], row["n"], "1.0", "100.5", "0"]
    return orjson.dumps(values).decode()


def frame(open_time: int, step: int = 5 * MINUTE, closed: bool = True, **changed: Any) -> str:
    """One closed-bar event of a `kline_5m` stream."""
    row = {"o": "100.0", "h": "101.5", "l": "99.5", "c": "100.5", "v": "12.5", "q": "1256.25", "n": 35} | changed
    times = {"t": open_time // MILLISECOND, "T": (open_time + step) // MILLISECOND - 1}
    event = {"e": "kline", "E": (open_time + step) // MILLISECOND, "s": "BTCUSDT"}
    return orjson.dumps(event | {"k": times | row | {"x": closed, "i": "5m"}}).decode()


def raw(
    payload: str, open_time: int, stream: str = "rest:klines_1m", instrument: str = BTC, **changed: Any
) -> dict[str, Any]:
    """A bronze row as Python values; `market_time` defaults to the bar's close."""
    step = timeframe_us(stream_timeframe(stream))
    row = {
        "venue": "binance", "stream": stream, "instrument": instrument, "event_time": open_time,
        "market_time": open_time + step, "payload": payload,
        "payload_hash": hashlib.sha256(payload.encode()).hexdigest(),
        "month": to_datetime(open_time).strftime("%Y-%m"), "received_time": open_time + step, "run_id": "test",
    }  # fmt: skip
    return row | changed


def bronze(rows: Iterable[dict[str, Any]]) -> pa.Table:
    columns = {name: [row[name] for row in rows] for name in RAW_BARS.schema.names} if (rows := list(rows)) else {}
    return pa.table(columns, schema=RAW_BARS.schema) if columns else RAW_BARS.schema.empty_table()


def frame_of(rows: Iterable[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(bronze(rows))


def random_minutes(count: int, instruments: Sequence[str] = (BTC, ETH), start: int = START, seed: int = 1) -> pa.Table:
    """A random walk of minutes per instrument, prices to the cent, volumes to five decimals."""
    generator = np.random.default_rng(seed)
    rows = []
    for instrument in instruments:
        walk = 100 * np.exp(np.cumsum(generator.normal(0, 7e-4, count + 1)))
        volumes = generator.lognormal(1, 1, count)
        for at in range(count):
            first, last = walk[at], walk[at + 1]
            numbers = {"o": first, "h": max(first, last) * 1.0003, "l": min(first, last) * 0.9997, "c": last}
            texts = {name: f"{value:.2f}" for name, value in numbers.items()}
            texts |= {"v": f"{volumes[at]:.5f}", "q": f"{volumes[at] * last:.8f}"}
            time = start + at * MINUTE
            market = start + count * MINUTE
            rows.append(raw(kline(time, **texts), time, instrument=instrument, market_time=market))
    return bronze(rows)


def store(lake: Lake, rows: pa.Table) -> int:
    return lake.append(RAW_BARS, rows, "test")
