"""What is inside an imported file: observations out of CSV text, by the form that was named at the import.

series      one time column, one value column (or a key of a column that holds mappings)
coingecko   CoinGecko's export: snapped_at, price, market_cap, total_volume, with its label of two meanings
transfers   a token's transfers (Etherscan, Tronscan): what left and what reached a treasury, per day

A row that cannot be read becomes an observation with a problem; the others are not touched by it.
"""

import ast
import csv
import io
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from lake.errors import BadInput
from lake.intervals import DAY, HOUR, SECOND, to_us
from lake.sources.coingecko import end_of
from lake.sources.fred import period_end
from lake.sources.source import Observation, Raw

PREFIX = "import:"
"""Of the endpoint of an imported file; the form follows."""
PERIODS: dict[str, Callable[[int], int]] = {
    "instant": lambda at: at,
    "hour": lambda at: at + HOUR,
    "day": lambda at: at + DAY,
    "month": lambda at: period_end(at, "month"),
}
"""From a row's label to the end of what it is about."""
_FORMATS = ("%Y-%m-%d", "%Y-%m-%d %H:%M:%S %Z", "%Y-%m-%d %H:%M:%S", "%Y.%m.%d", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d")
_EXPORT = {"price": "price_usd", "market_cap": "market_cap_usd", "total_volume": "volume_24h_usd"}

Row = dict[str, str]


def parse(raw: Raw) -> Iterator[Observation]:
    """Observations of a file kept in bronze.

    Raises:
        BadInput: the file has no header or lacks a column that was named.
    """
    asked = orjson.loads(raw.request)["params"]
    return FORMS[raw.endpoint.removeprefix(PREFIX)](raw, asked)


def text_time(text: str) -> int:
    """µs of a label: a date in the forms above, or seconds or milliseconds since 1970.

    Raises:
        ValueError: none of them.
    """
    text = text.strip()
    if text.replace(".", "", 1).isdigit() and text.count(".") < 2:
        seconds = float(text)
        return round(seconds * (SECOND if seconds < 1e11 else SECOND // 1000))
    for form in _FORMATS:
        try:
            return to_us(datetime.strptime(text, form).replace(tzinfo=UTC))
        except ValueError:
            continue
    raise ValueError(f"no time: {text!r:.40}")


def text_number(text: str) -> float:
    """A finite number, thousands separated by commas or not.

    Raises:
        ValueError: it is none.
    """
    value = float(text.replace(",", ""))
    if not math.isfinite(value):
        raise ValueError(f"not finite: {text!r:.40}")
    return value


def rows(payload: str, *needed: str) -> Iterator[tuple[Row, str]]:
    """Each line as a row, and its problem: more or fewer fields than the header. Empty fields at the end are none.

    Raises:
        BadInput: a needed column is missing.
    """
    lines = csv.reader(io.StringIO(payload.removeprefix("\ufeff")))
    header = next(lines, [])
    absent = [name for name in needed if name not in header]
    if absent:
        raise BadInput(f"column {', '.join(absent)} is missing: expected in the header, found {', '.join(header)}")
    for fields in lines:
        if not fields:
            continue
        while len(fields) > len(header) and not fields[-1]:
            fields.pop()
        same = len(fields) == len(header)
        problem = "" if same else f"row has {len(fields)} fields, the header {len(header)}"
        yield dict(zip(header, fields, strict=False)), problem


def series(raw: Raw, asked: dict[str, Any]) -> Iterator[Observation]:
    """A value column, or `COLUMN:KEY` (and further keys) of one that holds a mapping as JSON or as Python prints it."""
    time, end = asked["time"], PERIODS[asked["period"]]
    column, *path = asked["value"].split(":")
    for row, odd in rows(raw.payload, time, column):
        problem = odd
        if path and not odd:
            row[column], problem = inside(row[column], path)
        if not row.get(column, "").strip() and not problem:
            continue
        yield _read(raw, row, problem, asked["metric"], time, column, end, asked["unit"])


def inside(text: str, path: Sequence[str]) -> tuple[str, str]:
    """What a mapping in a cell holds under its keys, and the problem; empty where it lacks a key or says none."""
    try:
        found = ast.literal_eval(text) if text.strip() else None
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return "", f"no mapping: {text!r:.40}"
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return ("" if found is None else str(found)), ""


def coingecko(raw: Raw, asked: dict[str, Any]) -> Iterator[Observation]:
    for row, problem in rows(raw.payload, "snapped_at", *_EXPORT):
        for column, metric in _EXPORT.items():
            if row.get(column, "").strip() or problem:
                yield _read(raw, row, problem, metric, "snapped_at", column, end_of, "")


def _read(
    raw: Raw, row: Row, problem: str, metric: str, time: str, value: str, end: Callable[[int], int], unit: str
) -> Observation:
    at, number = raw.market_time, None
    try:
        at = end(text_time(row[time]))
        number = text_number(row[value])
    except (ValueError, LookupError, OverflowError) as error:
        problem = problem or f"row cannot be read: {error}"
    return Observation(raw.entity, metric, at, number, unit=unit, problem=problem)


def transfers(raw: Raw, asked: dict[str, Any]) -> Iterator[Observation]:
    """Sums per day; a day that holds an unreadable row is not told at all, rather than told too small."""
    columns = [asked[name] for name in ("time", "from", "to", "value")]
    sums: dict[int, dict[str, float]] = defaultdict(lambda: {"treasury_outflow": 0.0, "treasury_inflow": 0.0})
    spoilt: dict[int, str] = {}
    for row, problem in rows(raw.payload, *columns):
        at, sender, receiver, value = (row.get(name, "") for name in columns)
        day = raw.market_time // DAY * DAY - DAY
        try:
            day = text_time(at) // DAY * DAY
            for metric, party in (("treasury_outflow", sender), ("treasury_inflow", receiver)):
                sums[day][metric] += text_number(value) if party.lower() == asked["treasury"].lower() else 0.0
        except ValueError as error:
            spoilt[day] = f"row cannot be read: {error}"
        if problem:
            spoilt[day] = problem
        sums[day]["treasury_outflow"] += 0.0  # a day whose only row is unreadable is told as such
    for day, totals in sorted(sums.items()):
        for metric, total in totals.items():
            yield Observation(raw.entity, metric, day + DAY, total, problem=spoilt.get(day, ""))


FORMS: dict[str, Callable[[Raw, dict[str, Any]], Iterator[Observation]]] = {
    "series": series,
    "coingecko": coingecko,
    "transfers": transfers,
}
