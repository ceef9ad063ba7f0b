"""NewsAPI and what speaks its format: articles that match a query. Needs a key (`X-Api-Key`).

GET /v2/everything?q=&from=&to=&language=en&sortBy=publishedAt&pageSize=100&page=; `totalResults` tells when it ends
(the free plan shows the first 100 alone, a day late: what comes late is available late).
"""

from collections.abc import Iterator
from typing import Any

from lake.intervals import HOUR, Interval, format_time, parse_time
from lake.sources.source import Call, Key, Pages, Raw, Refusal, Request, Source
from lake.texts.clean import plain
from lake.texts.samples import posts
from lake.texts.text import Text, text_time

PATH = "/v2/everything"
PAGE = 100
QUERIES = {"BTC": "bitcoin", "ETH": "ethereum", "SOL": "solana", "XRP": "ripple AND crypto", "ADA": "cardano"}


def pages(entity: str, interval: Interval) -> Pages:
    asked: dict[str, Any] = {
        "q": QUERIES.get(entity, entity), "language": "en", "sortBy": "publishedAt", "pageSize": PAGE,
        "from": format_time(interval.start)[:19], "to": format_time(interval.end)[:19],
    }  # fmt: skip
    page, total = 1, 1
    while (page - 1) * PAGE < total:
        total = (yield Request("everything", PATH, asked | {"page": page})).json()["totalResults"]
        page += 1


def parse(raw: Raw) -> Iterator[Text]:
    for article in raw.json()["articles"]:
        if article["title"] == "[Removed]":
            continue
        text = plain(article["description"] or "")
        yield Text(article["source"]["name"], "news", text_time(article["publishedAt"]), article["title"] or "", text)


def answer(call: Call) -> Any:
    if call.path != PATH or not call.params.get("q"):
        raise Refusal(
            400, {"status": "error", "code": "parametersMissing", "message": "Required parameters are missing"}
        )
    asset = next((name for name, query in QUERIES.items() if query == call.params["q"]), call.params["q"])
    asked = Interval(parse_time(call.params["from"]), min(parse_time(call.params["to"]), call.now))
    found = list(posts("newsapi", asset, asked))[::-1]
    page = int(call.params["page"]) - 1
    articles = [
        {
            "source": {"id": None, "name": "Made Up News"}, "author": "Some Body", "title": text, "content": None,
            "description": f"<b>{text}</b>", "url": "https://news.example/1", "publishedAt": format_time(at),
        }
        for at, text in found[page * PAGE : (page + 1) * PAGE]
    ]  # fmt: skip
    return {"status": "ok", "totalResults": len(found), "articles": articles}


SOURCE = Source(
    name="newsapi",
    kind="text",
    title="NewsAPI: articles",
    address="https://newsapi.org",
    docs="https://newsapi.org/docs/endpoints/everything",
    entities=tuple(QUERIES),
    pages=pages,
    parse=parse,
    answer=answer,
    key=Key(header="X-Api-Key"),
    requests_per_minute=30,
    first_days=7,
    overlap=6 * HOUR,
)
