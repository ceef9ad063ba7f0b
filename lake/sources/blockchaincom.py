"""Blockchain.com charts: Bitcoin's transfer volume by day, no key.

GET /charts/estimated-transaction-volume-usd?start=&timespan=&sampled=false&format=json: `y` in USD over the day that
begins at `x`, what looks like change left out; a day that is not over is not read.
"""

from collections.abc import Iterator
from typing import Any

from lake.intervals import DAY, HOUR, SECOND, Interval, parse_time
from lake.sources.generated import date, number, starts
from lake.sources.source import Call, Metric, Observation, Pages, Raw, Refusal, Request, Source

PATH = "/charts/estimated-transaction-volume-usd"


def pages(entity: str, interval: Interval) -> Pages:
    days = -(-(interval.end - interval.start) // DAY) + 1
    # By default the server leaves out days to stay below 1,500 points.
    asked = {"start": date(interval.start), "timespan": f"{days}days", "sampled": "false", "format": "json"}
    yield Request("transfer-volume", PATH, asked)


def parse(raw: Raw) -> Iterator[Observation]:
    for row in raw.json()["values"]:
        end = int(row["x"]) * SECOND + DAY
        if end <= raw.market_time:
            yield Observation("BTC", "transfer_volume_usd", end, float(row["y"]))


def answer(call: Call) -> Any:
    if call.path != PATH:
        raise Refusal(404, {"status": "not-found", "error": "No chart with this name"})
    first = parse_time(call.params["start"])
    days = starts(first, first + int(call.params["timespan"].removesuffix("days")) * DAY, call.now)
    values = [{"x": at // SECOND, "y": number("transfer volume", at, 9e9)} for at in days]
    return {"status": "ok", "name": "Estimated Transaction Value (USD)", "unit": "USD", "period": "day",
            "values": values}  # fmt: skip


SOURCE = Source(
    name="blockchaincom",
    title="Blockchain.com charts: transfer volume",
    address="https://api.blockchain.info",
    docs="https://www.blockchain.com/explorer/api/charts_api",
    entities=("BTC",),
    pages=pages,
    parse=parse,
    answer=answer,
    requests_per_minute=6,  # none published, asked for once a day
    metrics=(
        Metric("transfer_volume_usd", "usd", 12 * HOUR, "Transferred that day, estimated without change.", minimum=0),
    ),
)
