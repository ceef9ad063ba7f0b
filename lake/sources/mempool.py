"""mempool.space: Bitcoin's hash rate by day, no key.

GET /api/v1/mining/hashrate/1y: `avgHashrate` in H/s over the day that begins at `timestamp`; today's row is not over.
"""

from collections.abc import Iterator
from typing import Any

from lake.intervals import DAY, HOUR, SECOND, Interval
from lake.sources.generated import number, starts
from lake.sources.source import Call, Metric, Observation, Pages, Raw, Request, Source


def pages(entity: str, interval: Interval) -> Pages:
    yield Request("hashrate", "/api/v1/mining/hashrate/1y")


def parse(raw: Raw) -> Iterator[Observation]:
    for row in raw.json()["hashrates"]:
        end = int(row["timestamp"]) * SECOND + DAY
        if end <= raw.market_time:
            yield Observation("BTC", "hash_rate", end, float(row["avgHashrate"]), unit="H/s")


def answer(call: Call) -> Any:
    days = [*starts(call.now - 365 * DAY, call.now, call.now), call.now - call.now % DAY]
    return {"hashrates": [{"timestamp": at // SECOND, "avgHashrate": number("hash", at, 6e20)} for at in days]}


SOURCE = Source(
    name="mempool",
    title="mempool.space: hash rate",
    address="https://mempool.space",
    docs="https://mempool.space/docs/api/rest",
    entities=("BTC",),
    pages=pages,
    parse=parse,
    answer=answer,
    requests_per_minute=10,
    metrics=(Metric("hash_rate", "TH/s", HOUR, "Mean hash rate of the day.", minimum=0, maximum=5e9),),
)
