"""CryptoPanic developer API v2: headlines about an asset. Needs a key (`auth_token`).

GET /api/developer/v2/posts/?currencies=&kind=news&public=true&page=, newest first, `next` is null on the last page.
Votes and panic scores are counted when the page is crawled: the parser does not look at them.
"""

from collections.abc import Iterator
from typing import Any

from lake.intervals import HOUR, Interval, format_time
from lake.sources.source import Call, Key, Pages, Raw, Refusal, Request, Source
from lake.texts.samples import EVERY, newest
from lake.texts.text import Text, text_time

PATH = "/api/developer/v2/posts/"
PAGE, LAST_PAGE = 20, 50


def pages(entity: str, interval: Interval) -> Pages:
    asked: dict[str, Any] = {"currencies": entity, "kind": "news", "public": "true"}
    for page in range(1, LAST_PAGE + 1):
        told = (yield Request("posts", PATH, asked | {"page": page})).json()
        oldest = min((text_time(post["published_at"]) for post in told["results"]), default=0)
        if not told["next"] or oldest < interval.start:
            return


def parse(raw: Raw) -> Iterator[Text]:
    for post in raw.json()["results"]:
        outlet = post["source"]["domain"] if post.get("source") else "cryptopanic"
        yield Text(outlet, "news", text_time(post["published_at"]), post["title"], post.get("description") or "")


def answer(call: Call) -> Any:
    if call.path != PATH:
        raise Refusal(404, {"status": "api_error", "info": "Not found"})
    asset, page = call.params.get("currencies", "BTC"), int(call.params.get("page", 1))
    found = newest("cryptopanic", asset, call.now - (page - 1) * PAGE * EVERY, PAGE)
    again = f"https://cryptopanic.com{PATH}?auth_token={call.params.get('auth_token')}&page={page + 1}"
    results = [
        {
            "id": at // EVERY, "kind": "news", "title": text, "description": None, "published_at": format_time(at),
            "source": {"title": "Made up", "domain": "news.example"}, "votes": {"positive": call.now % 13},
        }
        for at, text in found
    ]  # fmt: skip
    return {"next": again if page < LAST_PAGE else None, "previous": None, "results": results}


SOURCE = Source(
    name="cryptopanic",
    kind="text",
    title="CryptoPanic: headlines",
    address="https://cryptopanic.com",
    docs="https://cryptopanic.com/developers/api/",
    entities=("BTC", "ETH", "SOL", "BNB", "XRP", "ADA"),
    pages=pages,
    parse=parse,
    answer=answer,
    key=Key(param="auth_token"),
    requests_per_minute=60,
    first_days=3,
    overlap=HOUR,
)
