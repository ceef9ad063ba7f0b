"""Alternative.me: the crypto fear and greed index, one number a day, no key.

GET /fng/?limit=N&format=json, newest first. `timestamp` is the midnight at which a value appears; it is made of the
days before. Day and index are published within the hour.
"""

from collections.abc import Iterator
from typing import Any

from lake.intervals import DAY, HOUR, SECOND, Interval
from lake.sources.generated import number
from lake.sources.source import Call, Metric, Observation, Pages, Raw, Request, Source


def pages(entity: str, interval: Interval) -> Pages:
    yield Request("fng", "/fng/", {"limit": (interval.end - interval.start) // DAY + 2, "format": "json"})


def parse(raw: Raw) -> Iterator[Observation]:
    for row in raw.json()["data"]:
        yield Observation(raw.entity, "fear_greed", int(row["timestamp"]) * SECOND, float(row["value"]))


def answer(call: Call) -> Any:
    today = call.now - call.now % DAY
    rows = [
        {
            "value": str(round(number("fng", at, 50, 0.8))),
            "value_classification": "Neutral",
            "timestamp": str(at // SECOND),
        }
        for at in range(today, today - int(call.params.get("limit", 1)) * DAY, -DAY)
    ]
    rows[0]["time_until_update"] = str((today + DAY - call.now) // SECOND)
    return {"name": "Fear and Greed Index", "data": rows, "metadata": {"error": None}}


SOURCE = Source(
    name="alternativeme",
    title="Alternative.me: fear and greed",
    address="https://api.alternative.me",
    docs="https://alternative.me/crypto/fear-and-greed-index/",
    entities=("crypto",),
    pages=pages,
    parse=parse,
    answer=answer,
    requests_per_minute=30,
    metrics=(Metric("fear_greed", "points", HOUR, "0 extreme fear to 100 extreme greed.", 0, 100, frozen_after=30),),
)
