"""Discourse forums: the newest posts of a forum; the entity is its host. No key.

GET https://<host>/posts.json, 50 a page, `before` is the smallest id seen. Likes, reads and scores are not looked at.
"""

from collections.abc import Iterator
from typing import Any

from lake.intervals import HOUR, Interval, format_time
from lake.sources.source import Call, Pages, Raw, Refusal, Request, Source
from lake.texts.clean import plain
from lake.texts.samples import EVERY, newest
from lake.texts.text import Text, text_time

FORUMS = {"ethresear.ch": "ETH", "gov.uniswap.org": "UNI", "governance.aave.com": "AAVE", "forum.cardano.org": "ADA"}


def pages(entity: str, interval: Interval) -> Pages:
    asked: dict[str, Any] = {}
    while True:
        posts = (yield Request("posts", f"//{entity}/posts.json", asked)).json()["latest_posts"]
        if not posts or min(text_time(post["created_at"]) for post in posts) < interval.start:
            return
        asked = {"before": min(post["id"] for post in posts)}


def parse(raw: Raw) -> Iterator[Text]:
    for post in raw.json()["latest_posts"]:
        kind = "topic" if post["post_number"] == 1 else "comment"
        title = post["topic_title"] if kind == "topic" else ""
        yield Text(raw.entity, kind, text_time(post["created_at"]), title, plain(post["cooked"]))


def answer(call: Call) -> Any:
    host, _, path = call.path.strip("/").partition("/")
    if path != "posts.json" or host not in FORUMS:
        raise Refusal(404, {"errors": ["The requested URL or resource could not be found."], "error_type": "not_found"})
    before = int(call.params["before"]) * EVERY if "before" in call.params else call.now
    posts = [
        {
            "id": at // EVERY, "username": "somebody", "created_at": format_time(at), "reads": call.now % 97,
            "post_number": 1 + at // EVERY % 3, "topic_title": text, "cooked": f"<p>{text} &amp; more</p>",
        }
        for at, text in newest(host, FORUMS[host], before, 50)
    ]  # fmt: skip
    return {"latest_posts": posts}


SOURCE = Source(
    name="discourse",
    kind="text",
    title="Discourse forums: newest posts",
    address="https:",
    docs="https://docs.discourse.org/#tag/Posts/operation/listPosts",
    entities=tuple(FORUMS),
    pages=pages,
    parse=parse,
    answer=answer,
    requests_per_minute=30,
    first_days=7,
    overlap=HOUR,
)
