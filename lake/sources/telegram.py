"""Telegram: the public web preview of a channel, https://t.me/s/<channel>. No key.

The Bot API's getUpdates shows only channels that made the bot an administrator, and one day back; the preview shows
every public channel with its history: 20 messages a page, `before` is the smallest number seen. Views and reactions
are counted when the page is crawled; they and the author's signature are not read.
"""

from collections.abc import Iterator
from html import escape
from html.parser import HTMLParser
from typing import Any

from lake.intervals import HOUR, Interval, to_datetime
from lake.sources.source import Call, Pages, Raw, Refusal, Request, Source
from lake.texts.samples import EVERY, newest
from lake.texts.text import Text, text_time

CHANNELS = {"cointelegraph": "BTC", "CoinDeskGlobal": "BTC", "binance_announcements": "BNB"}
_SINGLE = {"br", "img", "input", "meta", "link", "hr", "source", "path", "wbr"}


class Messages(HTMLParser):
    """Collects (number, time, text) of each message of the page."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[dict[str, Any]] = []
        self._depth = 0  # of elements inside the message's text; 0: outside
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        classes = (given.get("class") or "").split()
        if "tgme_widget_message" in classes and given.get("data-post"):
            number = int(str(given["data-post"]).rpartition("/")[2])
            self.found.append({"number": number, "time": "", "text": ""})
        if self._depth:
            self._depth += tag not in _SINGLE
            self.found[-1]["text"] += " " if tag == "br" else ""
        elif self.found and "js-message_text" in classes:
            self._depth = 1
        if self.found and tag == "time" and given.get("datetime"):
            self.found[-1]["time"] = given["datetime"]

    def handle_endtag(self, tag: str) -> None:
        self._depth = max(0, self._depth - (tag not in _SINGLE))

    def handle_data(self, data: str) -> None:
        if self._depth:
            self.found[-1]["text"] += data


def pages(entity: str, interval: Interval) -> Pages:
    asked: dict[str, Any] = {}
    while True:
        told = Messages((yield Request("preview", f"/s/{entity}", asked)).text).found
        if not told or min(text_time(one["time"]) for one in told if one["time"]) < interval.start:
            return
        asked = {"before": min(one["number"] for one in told)}


def parse(raw: Raw) -> Iterator[Text]:
    if "tgme_" not in raw.payload:
        raise ValueError("no preview of a channel")
    for message in Messages(raw.payload).found:
        if message["text"] and message["time"]:
            yield Text(raw.entity, "message", text_time(message["time"]), "", message["text"])


def answer(call: Call) -> Any:
    channel = call.path.removeprefix("/s/")
    if channel not in CHANNELS:
        raise Refusal(404, {})
    before = int(call.params["before"]) * EVERY if "before" in call.params else call.now
    return '<main class="tgme_main">' + "".join(
        f'<div class="tgme_widget_message js-widget_message" data-post="{channel}/{at // EVERY}">'
        f'<div class="tgme_widget_message_text js-message_text" dir="auto"><b>{escape(text)}</b><br/>#news</div>'
        f'<span class="tgme_widget_message_views">{call.now % 89}K</span>'
        f'<time datetime="{to_datetime(at).isoformat()}" class="time">12:00</time></div>'
        for at, text in newest(channel, CHANNELS[channel], before, 20)[::-1]
    ) + "</main>"  # fmt: skip


SOURCE = Source(
    name="telegram", kind="text", title="Telegram: public channels", address="https://t.me",
    docs="https://telegram.org/blog/instant-view", entities=tuple(CHANNELS), pages=pages, parse=parse, answer=answer,
    requests_per_minute=30, first_days=3, overlap=HOUR,
)  # fmt: skip
