"""RSS and Atom feeds; the entity is the feed's address without `https://`. No key.

One request per feed and run: a feed shows its newest entries alone, so it is asked often. Authors are not read. An
entry without a time counts as written when it was first seen.
"""

from calendar import timegm
from collections.abc import Iterator
from email.utils import format_datetime
from html import escape
from typing import Any

from lake.errors import BadInput
from lake.intervals import MINUTE, SECOND, Interval, to_datetime
from lake.sources.source import Call, Pages, Raw, Request, Source
from lake.texts.clean import plain
from lake.texts.samples import newest
from lake.texts.text import Text

FEEDS = (
    "www.coindesk.com/arc/outboundfeeds/rss",
    "cointelegraph.com/rss",
    "decrypt.co/feed",
    "bitcoinmagazine.com/feed",
    "blog.ethereum.org/feed.xml",
)


def pages(entity: str, interval: Interval) -> Pages:
    yield Request("feed", f"//{entity}")


def parse(raw: Raw) -> Iterator[Text]:
    import feedparser

    feed = feedparser.parse(raw.payload.encode(), response_headers={"content-type": "application/xml; charset=utf-8"})
    if not feed.version:
        raise BadInput("neither RSS nor Atom")
    for entry in feed.entries:
        at = entry.get("published_parsed") or entry.get("updated_parsed")
        written = timegm(at) * SECOND if at else raw.market_time
        text = plain(entry.get("summary", ""))
        yield Text(raw.entity.partition("/")[0], "news", written, plain(entry.get("title", "")), text)


def answer(call: Call) -> Any:
    host = call.path.strip("/").partition("/")[0]
    found = newest(host, "ETH" if "ethereum" in host else "BTC", call.now, 25)
    if host == "blog.ethereum.org":
        entries = "".join(
            f"<entry><title>{escape(text)}</title><updated>{to_datetime(at).isoformat()}</updated>"
            f"<author><name>Some Body</name></author><summary type='html'>&lt;p&gt;{escape(text)}</summary></entry>"
            for at, text in found
        )
        return f'<?xml version="1.0"?><feed xmlns="http://www.w3.org/2005/Atom"><title>Blog</title>{entries}</feed>'
    items = "".join(
        f"<item><title>{escape(text)}</title><pubDate>{format_datetime(to_datetime(at))}</pubDate>"
        f"<description><![CDATA[<p>{escape(text)}</p>]]></description></item>"
        for at, text in found
    )
    return f'<?xml version="1.0"?><rss version="2.0"><channel><title>{host}</title>{items}</channel></rss>'


SOURCE = Source(
    name="rss",
    kind="text",
    title="RSS and Atom feeds",
    address="https:",
    docs="https://www.rssboard.org/rss-specification",
    entities=FEEDS,
    pages=pages,
    parse=parse,
    answer=answer,
    requests_per_minute=30,
    first_days=1,
    overlap=MINUTE,
)
