"""FRED and ALFRED, Federal Reserve Bank of St. Louis: macro series with every vintage. Needs a free key (`api_key`).

GET /fred/series/observations?series_id=&observation_start=&observation_end=&realtime_start=&realtime_end=&offset=
`date` is the period's first day, "." a missing value; `realtime_start` the day on which this number was published: it
counts from the end of that day in New York (05:00 UTC), so a revision never reaches back.
"""

from collections.abc import Iterator
from typing import Any

from lake.errors import BadInput
from lake.intervals import DAY, HOUR, Interval, parse_time, to_datetime, to_us
from lake.sources.generated import date, number
from lake.sources.source import Call, Key, Metric, Observation, Pages, Raw, Request, Source

SERIES = {
    "macro/DFF": ("policy_rate", "day", 5.3),
    "macro/T10Y2Y": ("term_spread", "day", 0.4),
    "macro/CPIAUCSL": ("consumer_prices", "month", 310.0),
    "macro/RTWEXBGS": ("broad_dollar", "month", 115.0),
}
PATH, PAGE, LATER = "/fred/series/observations", 1000, 400 * DAY


def period_end(start: int, period: str) -> int:
    """µs: the end of the day or month that begins at `start`."""
    if period == "day":
        return start + DAY
    return to_us(to_datetime(start + 31 * DAY).replace(day=1))


def pages(entity: str, interval: Interval) -> Pages:
    if entity not in SERIES:
        raise BadInput(f"fred: unknown series {entity!r}: expected one of {', '.join(SERIES)}")
    asked: dict[str, Any] = {
        "series_id": entity.removeprefix("macro/"), "file_type": "json", "limit": PAGE,
        "observation_start": date(interval.start), "observation_end": date(interval.end),
        "realtime_start": date(interval.start), "realtime_end": date(interval.end + LATER),
    }  # fmt: skip
    offset, count = 0, 1
    while offset < count:
        count = (yield Request("observations", PATH, asked | {"offset": offset})).json()["count"]
        offset += PAGE


def parse(raw: Raw) -> Iterator[Observation]:
    metric, period, _ = SERIES[raw.entity]
    asked_from = raw.asked("realtime_start")
    for row in raw.json()["observations"]:
        if row["value"] == ".":
            continue
        first = row["realtime_start"] == asked_from  # published then or before: the window cuts the vintage
        known = None if first else parse_time(row["realtime_start"]) + DAY + 5 * HOUR
        unit = "percent" if metric in ("policy_rate", "term_spread") else ""
        yield Observation(
            raw.entity, metric, period_end(parse_time(row["date"]), period), float(row["value"]), known, unit
        )


def answer(call: Call) -> Any:
    name, period, level = call.params["series_id"], *SERIES["macro/" + call.params["series_id"]][1:]
    at, end, rows = parse_time(call.params["observation_start"]), parse_time(call.params["observation_end"]), []
    while at <= end:
        due = period_end(at, period) + (DAY if period == "day" else 12 * DAY)
        told = [(due, 1.0), (due + 30 * DAY, 1.001)] if period == "month" else [(due, 1.0)]
        if period == "day" or to_datetime(at).day == 1:
            for n, (known, factor) in enumerate(t for t in told if t[0] <= call.now):
                until = date(told[n + 1][0] - DAY) if n + 1 < len(told) else "9999-12-31"
                value = f"{number(name, at, level) * factor:.4f}"
                rows.append({"realtime_start": date(known), "realtime_end": until, "date": date(at), "value": value})
        at += DAY
    first = int(call.params.get("offset", 0))
    return {"count": len(rows), "offset": first, "limit": PAGE, "observations": rows[first : first + PAGE]}


SOURCE = Source(
    name="fred", title="FRED: macro series by vintage", address="https://api.stlouisfed.org",
    docs="https://fred.stlouisfed.org/docs/api/fred/series_observations.html", entities=tuple(SERIES), pages=pages,
    parse=parse, answer=answer, key=Key(param="api_key"), requests_per_minute=100, first_days=400, overlap=95 * DAY,
    metrics=(
        Metric("policy_rate", "fraction", 2 * DAY, "Effective federal funds rate.", -0.1, 1),
        Metric("term_spread", "fraction", 2 * DAY, "Ten-year less two-year Treasury yield.", -0.5, 0.5),
        Metric("consumer_prices", "index", 45 * DAY, "Consumer price index, 1982-84 = 100.", 0),
        Metric("broad_dollar", "index", 45 * DAY, "Real broad dollar index, January 2006 = 100.", 0),
    ),
)  # fmt: skip
