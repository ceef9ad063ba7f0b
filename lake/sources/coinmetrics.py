"""Coin Metrics, community API: daily network data per asset, no key.

GET /v4/timeseries/asset-metrics?assets=&metrics=&start_time=&end_time=&page_size=, pages by `next_page_token`.
A row's `time` is the start of its day; numbers are strings; a day that is not computed yet is absent.
"""

from collections.abc import Iterator
from typing import Any

from lake.intervals import DAY, HOUR, Interval, format_time, parse_time
from lake.sources.generated import date, number, starts
from lake.sources.source import Call, Metric, Observation, Pages, Raw, Refusal, Request, Source

NAMES = {
    "AdrActCnt": ("active_addresses", 8e5),
    "TxCnt": ("transactions", 4e5),
    "TxTfrCnt": ("transfers", 9e5),
    "FeeTotNtv": ("fees", 20.0),
    "SplyCur": ("supply", 1.97e7),
    "FlowInExNtv": ("exchange_inflow", 3e4),
    "FlowOutExNtv": ("exchange_outflow", 3e4),
    "HashRate": ("hash_rate", 9e8),
    "CapMVRVCur": ("mvrv", 2.0),
}
"""Theirs to ours and its level. One metric that needs a key (TxTfrValAdjUSD, NVTAdj, CapRealUSD) refuses the whole
request."""
PAGE = 1000
PATH = "/v4/timeseries/asset-metrics"


def pages(entity: str, interval: Interval) -> Pages:
    asked: dict[str, Any] = {
        "assets": entity.lower(), "metrics": ",".join(NAMES), "frequency": "1d", "page_size": PAGE,
        "start_time": date(interval.start), "end_time": format_time(interval.end), "end_inclusive": "false",
    }  # fmt: skip
    answer = yield Request("asset-metrics", PATH, asked)
    while token := answer.json().get("next_page_token"):
        answer = yield Request("asset-metrics", PATH, asked | {"next_page_token": token})


def parse(raw: Raw) -> Iterator[Observation]:
    for row in raw.json()["data"]:
        end = parse_time(row["time"][:19]) + DAY
        for theirs, (ours, _) in NAMES.items():
            if row.get(theirs) is not None:
                yield Observation(row["asset"].upper(), ours, end, float(row[theirs]))


def answer(call: Call) -> Any:
    if call.path != PATH or not call.params.get("assets"):
        raise Refusal(400, {"error": {"type": "bad_parameter", "message": "Bad parameter 'assets'."}})
    asset, size = call.params["assets"], int(call.params.get("page_size", 100))
    first = int(call.params.get("next_page_token", "0.0").split(".")[1])
    days = starts(parse_time(call.params["start_time"]), parse_time(call.params["end_time"]), call.now)
    rows = [
        {"asset": asset, "time": f"{date(at)}T00:00:00.000000000Z"}
        | {name: repr(number(asset + name, at, level)) for name, (_, level) in NAMES.items()}
        for at in days[first : first + size]
    ]
    more = {"next_page_token": f"0.{first + size}"} if first + size < len(days) else {}
    return {"data": rows} | more


SOURCE = Source(
    name="coinmetrics",
    title="Coin Metrics community API: network data",
    address="https://community-api.coinmetrics.io",
    docs="https://docs.coinmetrics.io/api/v4",
    entities=("BTC", "ETH"),
    pages=pages,
    parse=parse,
    answer=answer,
    requests_per_minute=60,  # published: 10 per 6 seconds
    metrics=(
        Metric("active_addresses", "count", 12 * HOUR, "Addresses that sent or received that day.", minimum=0),
        Metric("transactions", "count", 12 * HOUR, "Transactions that day.", minimum=0),
        Metric("transfers", "count", 12 * HOUR, "Transfers of value that day.", minimum=0),
        Metric("fees", "native", 12 * HOUR, "Fees paid to miners or burnt that day.", minimum=0),
        Metric("supply", "native", 12 * HOUR, "Units in existence at the end of the day.", minimum=0),
        Metric("exchange_inflow", "native", 12 * HOUR, "Sent to addresses of exchanges.", 0, restated=True),
        Metric("exchange_outflow", "native", 12 * HOUR, "Withdrawn from exchanges.", 0, restated=True),
        Metric("hash_rate", "TH/s", 12 * HOUR, "Mean hash rate of the day.", minimum=0),
        Metric("mvrv", "ratio", 12 * HOUR, "Market value over realised value.", minimum=0),
    ),
)
