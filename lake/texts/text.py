"""What a text source's parser gives: the words and when they were written, and nothing that was counted later."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from lake.intervals import to_us
from lake.sources.source import Raw


@dataclass(frozen=True, slots=True)
class Text:
    """One text as its source tells it. There is no field for an author, a score, a like or a subscriber count: the
    first is nobody's business here, the others are values at crawl time and would leak the future."""

    channel: str
    """Where it stood within the source: a subreddit, a feed's host, a Telegram channel, a news outlet."""
    kind: str
    """post, comment, topic, news or message."""
    event_time: int
    """When it was written, UTC µs, by the source."""
    title: str
    text: str


TextParser = Callable[[Raw], Iterable[Text]]
"""From one kept answer to its texts; raises BadInput, LookupError, TypeError or ValueError at another shape."""


def text_time(written: str | float) -> int:
    """UTC µs from what sources write: seconds since the epoch, ISO 8601, RFC 2822 or GDELT's 20240131T120000Z.

    A time without a zone counts as UTC.

    Raises:
        ValueError: none of these.
    """
    if isinstance(written, int | float):
        return round(written * 1_000_000)
    try:
        moment = datetime.fromisoformat(written)
    except ValueError:
        moment = parsedate_to_datetime(written)
    return to_us(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
