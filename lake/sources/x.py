"""X API v2, recent search: posts of the last seven days that name an asset. Needs a bearer token.

GET /2/tweets/search/recent?query=&max_results=100&start_time=&end_time=&tweet.fields=created_at,lang, pages by
`meta.next_token`, newest first. Authors, metrics and places are not asked for. `x_stream.py` is the live side.
"""

from collections.abc import Iterator
from typing import Any

from lake.intervals import DAY, MINUTE, SECOND, Interval, format_time, parse_time
from lake.sources.source import Call, Key, Pages, Raw, Refusal, Request, Source
from lake.texts.samples import EVERY, newest
from lake.texts.text import Text, text_time

PATH = "/2/tweets/search/recent"
FIELDS = {"tweet.fields": "created_at,lang"}
QUERIES = {
    "BTC": "(bitcoin OR #btc) -is:retweet",
    "ETH": "(ethereum OR #eth) -is:retweet",
    "SOL": "(solana OR #sol) -is:retweet",
    "BNB": "(#bnb OR bnbchain) -is:retweet",
    "XRP": "(#xrp OR ripple) -is:retweet",
    "ADA": "(cardano OR #ada) -is:retweet",
}
REACH = 7 * DAY - MINUTE
FRESHEST = 15 * SECOND
"""The search refuses an `end_time` less than ten seconds ago."""


def pages(entity: str, interval: Interval) -> Pages:
    end = interval.end - FRESHEST
    start = max(interval.start, end - REACH)
    asked: dict[str, Any] = FIELDS | {
        "query": QUERIES.get(entity, entity), "max_results": 100,
        "start_time": format_time(start - start % SECOND), "end_time": format_time(end - end % SECOND),
    }  # fmt: skip
    answer = yield Request("recent", PATH, asked)
    while token := answer.json()["meta"].get("next_token"):
        answer = yield Request("recent", PATH, asked | {"next_token": token})


def parse(raw: Raw) -> Iterator[Text]:
    told = raw.json()
    for post in told["data"] if told["meta"]["result_count"] else []:
        yield Text(f"search/{raw.entity}", "post", text_time(post["created_at"]), "", post["text"])


def tweet(at: int, text: str) -> dict[str, Any]:
    name = str(at // SECOND)
    return {"id": name, "text": text, "created_at": format_time(at), "lang": "en", "edit_history_tweet_ids": [name]}


def answer(call: Call) -> Any:
    if call.path != PATH or not call.params.get("query"):
        raise Refusal(400, {"title": "Invalid Request", "status": 400, "detail": "query: may not be empty"})
    asset = next((name for name, query in QUERIES.items() if query == call.params["query"]), call.params["query"])
    start, end = parse_time(call.params["start_time"]), min(parse_time(call.params["end_time"]), call.now)
    before, size = int(call.params.get("next_token", end)), int(call.params.get("max_results", 10))
    found = [tweet(at, text) for at, text in newest("x", asset, before, size) if at >= start]
    meta: dict[str, Any] = {"result_count": len(found)}
    if len(found) == size:
        meta["next_token"] = str((before - 1) // EVERY * EVERY - (size - 1) * EVERY)
    return {"data": found, "meta": meta} if found else {"meta": meta}


SOURCE = Source(
    name="x",
    kind="text",
    title="X API v2: recent search",
    address="https://api.x.com",
    docs="https://docs.x.com/x-api/posts/search/introduction",
    entities=tuple(QUERIES),
    pages=pages,
    parse=parse,
    answer=answer,
    key=Key(header="Authorization", prefix="Bearer "),
    requests_per_minute=25,  # published: 450 per 15 minutes
    first_days=6,
    overlap=10 * MINUTE,
)
