"""A venue that changes its messages: each drift is refused with a reason, none is merged silently."""

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from jobs.bar_rows import typed_rows
from lake.intervals import MINUTE
from lake.tables import BARS_1M
from tests.lake.raw_bars import START, frame_of, kline, raw

Row = list[Any]
OPEN_TIME, OPEN, HIGH, LOW, CLOSE, VOLUME, CLOSE_TIME, QUOTE, TRADES = range(9)


def put(at: int, value: Any) -> Callable[[Row], Row]:
    return lambda row: [*row[:at], value, *row[at + 1 :]]


def without(at: int) -> Callable[[Row], Row]:
    return lambda row: row[:at] + row[at + 1 :]


def inserted(at: int, value: Any) -> Callable[[Row], Row]:
    return lambda row: [*row[:at], value, *row[at:]]


def scaled(at: int, by: int) -> Callable[[Row], Row]:
    return lambda row: put(at, row[at] * by)(row)


DRIFTS: dict[str, Callable[[Row], Any]] = {
    "no open time": without(OPEN_TIME),
    "no open": without(OPEN),
    "no high": without(HIGH),
    "no volume": without(VOLUME),
    "no close time": without(CLOSE_TIME),
    "only prices": lambda row: row[:6],
    "no field at all": lambda row: [],
    "new field first": inserted(0, "BTCUSDT"),
    "new field after the time": inserted(1, "spot"),
    "new field before the volume": inserted(VOLUME, "1.0"),
    "order open, close, high, low": lambda row: [row[0], row[1], row[4], row[2], row[3], *row[5:]],
    "time last": lambda row: [*row[1:], row[0]],
    "an object instead of a list": lambda row: {"t": row[0], "o": row[1], "h": row[2], "l": row[3], "c": row[4]},
    "a list of lists": lambda row: [row],
    "a text": lambda row: "kline",
    "a number": lambda row: 1.0,
    "null": lambda row: None,
    "price is null": put(OPEN, None),
    "price is an object": put(HIGH, {"value": "101.5"}),
    "price is a list": put(LOW, ["99.5"]),
    "price is a word": put(CLOSE, "n/a"),
    "price is empty": put(CLOSE, ""),
    "price with a thousands separator": put(OPEN, "1,00.0"),
    "price with a decimal comma": put(HIGH, "101,5"),
    "price with its unit": put(CLOSE, "100.5 USDT"),
    "volume is null": put(VOLUME, None),
    "time in ISO 8601": put(OPEN_TIME, "2024-01-29T00:00:00Z"),
    "open time in seconds": lambda row: put(OPEN_TIME, row[OPEN_TIME] // 1000)(row),
    "open time in microseconds": scaled(OPEN_TIME, 1000),
    "close time in microseconds": scaled(CLOSE_TIME, 1000),
    "times in microseconds": lambda row: scaled(CLOSE_TIME, 1000)(scaled(OPEN_TIME, 1000)(row)),
    "close time in seconds": lambda row: put(CLOSE_TIME, row[CLOSE_TIME] // 1000)(row),
    "open in cents, the rest not": put(OPEN, "10000.0"),
    "trade count is a word": put(TRADES, "many"),
}


@pytest.mark.parametrize("name", DRIFTS)
def test_a_drift_is_refused_with_a_reason(name: str) -> None:
    drifted = orjson.dumps(DRIFTS[name](orjson.loads(kline(START)))).decode()
    rows = typed_rows(frame_of([raw(drifted, START), raw(kline(START + MINUTE), START + MINUTE)]), BARS_1M)
    refused, good = rows.sort("raw_event_time")["reason"].to_list()
    assert refused, f"{name}: taken as a bar: {drifted}"
    assert good is None, "a drifted row touched a good one"


def test_the_row_that_the_drifts_start_from_is_good() -> None:
    assert typed_rows(frame_of([raw(kline(START), START)]), BARS_1M)["reason"].to_list() == [None]
