"""GDELT DOC 2.0: headlines of the world's online news that match a query, in English. No key.

GET /api/v2/doc/doc?query=&mode=artlist&format=json&maxrecords=250&sort=dateasc&startdatetime=&enddatetime=; no pages:
a full answer is followed by the rest of the interval. `seendate` is when GDELT saw it, on its 15-minute grid.
"""

from collections.abc import Iterator
from typing import Any

from lake.intervals import HOUR, SECOND, Interval, to_datetime
from lake.sources.source import Call, Pages, Raw, Refusal, Request, Source
from lake.texts.samples import posts
from lake.texts.text import Text, text_time

PATH = "/api/v2/doc/doc"
MOST = 250
QUERIES = {"BTC": "bitcoin", "ETH": "ethereum", "SOL": "solana", "XRP": "ripple xrp", "ADA": "cardano"}


def stamp(at: int, form: str = "%Y%m%d%H%M%S") -> str:
    return to_datetime(at).strftime(form)


def pages(entity: str, interval: Interval) -> Pages:
    start = interval.start
    asked: dict[str, Any] = {
        "query": f"{QUERIES.get(entity, entity)} sourcelang:eng", "mode": "artlist", "format": "json",
        "maxrecords": MOST, "sort": "dateasc", "enddatetime": stamp(interval.end),
    }  # fmt: skip
    while start < interval.end:
        told = (yield Request("artlist", PATH, asked | {"startdatetime": stamp(start)})).json().get("articles", [])
        if len(told) < MOST:
            return
        start = max(start + SECOND, *(text_time(article["seendate"]) for article in told))


def parse(raw: Raw) -> Iterator[Text]:
    told = raw.json()
    for article in [] if told == {} else told["articles"]:  # {} says that nothing was found
        yield Text(article["domain"], "news", text_time(article["seendate"]), article["title"], "")


def answer(call: Call) -> Any:
    if call.path != PATH or "startdatetime" not in call.params:
        raise Refusal(404, {})
    query = call.params["query"].removesuffix(" sourcelang:eng")
    asset = next((name for name, known in QUERIES.items() if known == query), query)
    start, end = (text_time(f"{t:.8}T{t[8:]:.6}Z") for t in (call.params["startdatetime"], call.params["enddatetime"]))
    found = list(posts("gdelt", asset, Interval(start, min(end, call.now))))[:MOST] if start < call.now else []
    articles = [
        {
            "url": "https://news.example/1", "url_mobile": "", "title": text, "seendate": stamp(at, "%Y%m%dT%H%M%SZ"),
            "socialimage": "", "domain": "news.example", "language": "English", "sourcecountry": "United States",
        }
        for at, text in found
    ]  # fmt: skip
    return {"articles": articles} if articles else {}


SOURCE = Source(
    name="gdelt",
    kind="text",
    title="GDELT DOC 2.0: headlines",
    address="https://api.gdeltproject.org",
    docs="https://blog.gdeltproject.org/gdelt-doc-2-0-api-debuts/",
    entities=tuple(QUERIES),
    pages=pages,
    parse=parse,
    answer=answer,
    requests_per_minute=12,  # asked for: one per five seconds
    first_days=7,
    overlap=HOUR,
)
