"""From bronze answers to candidate rows of texts_v1, without Spark: parse, judge every text alone, collapse copies.

What a source sends is data, never an instruction: a body is parsed by its format and no further, a text is cleaned,
measured and stored. A body or a text that breaks a rule keeps its reason and goes to quarantine; it touches no other.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import orjson
import polars as pl

from lake.errors import BadInput
from lake.intervals import HOUR, MINUTE, SECOND, month_of, to_us
from lake.sources.source import Raw
from lake.tables.texts import TEXTS
from lake.texts.clean import REFUSED_CHARACTERS, cleaned, content_id
from lake.texts.language import language
from lake.texts.tags import assets_named
from lake.texts.text import Text, TextParser

ARCHIVE = "archive:"
"""Prefix of the sources that are files of the past."""
ARCHIVE_DELAY = 15 * MINUTE
"""A text of an archive counts as available this long after it was written (declared, not measured)."""
CLOCK_TOLERANCE = HOUR
"""A source's clock may be ahead of ours by this much; a text from further in the future is refused."""

CLOCK_RESOLUTION = SECOND
"""A source's clock (the Date header) tells whole seconds: what it dates was received up to one later."""

OUTCOME: dict[str, pl.DataType] = dict(pl.DataFrame(TEXTS.schema.empty_table()).schema) | {
    "reason": pl.String(),
    "row": pl.String(),
    "row_hash": pl.String(),
}
"""Columns of a candidate: the table's, null where refused; then why, what, and the hash of both."""

Row = dict[str, Any]


def candidates(raw: pl.DataFrame, parsers: Mapping[str, TextParser]) -> pl.DataFrame:
    """One row per text of the answers (`OUTCOME`), good or refused; copies are not collapsed yet.

    Args:
        raw: bronze rows of `raw_answers_v1`.
        parsers: source to parser; rows of other sources are not texts and are left out.
    """
    rows: list[Row] = []
    for answer in raw.filter(pl.col("source").is_in(list(parsers))).iter_rows(named=True):
        rows.extend(_read(answer, parsers[answer["source"]]))
    return pl.DataFrame(rows, schema=OUTCOME)


def _read(answer: Row, parser: TextParser) -> Iterator[Row]:
    try:
        texts = _texts(parser, answer)
    except (BadInput, AttributeError, LookupError, TypeError, ValueError) as error:
        told = {name: answer[name] for name in ("source", "endpoint", "payload_hash")}
        yield refused(f"the answer does not parse: {type(error).__name__}", told)
        return
    for text in texts:
        yield _judged(answer, text)


def _texts(parser: TextParser, answer: Row) -> list[Text]:
    """The answer's texts; a half of a surrogate pair, with which one text would spoil its whole page, is replaced."""
    try:
        return list(parser(_raw(answer)))
    except BadInput:
        if "\\ud" not in answer["payload"].lower():
            raise
    mended = json.dumps(json.loads(answer["payload"]), ensure_ascii=False).encode("utf-8", "replace").decode()
    return list(parser(_raw(answer | {"payload": mended})))


def _raw(answer: Row) -> Raw:
    told = {name: answer[name] for name in ("entity", "endpoint", "request", "payload")}
    return Raw(**told, market_time=to_us(answer["market_time"]))


def _judged(answer: Row, text: Text) -> Row:
    seen = to_us(answer["market_time"])
    told = {"source": answer["source"], "channel": text.channel, "payload_hash": answer["payload_hash"]}
    if len(text.title) + len(text.text) > REFUSED_CHARACTERS:
        return refused(f"longer than {REFUSED_CHARACTERS:,} characters", told)
    (title, cut_title), (body, cut) = cleaned(text.title), cleaned(text.text)
    told |= {"title": title, "text": body}
    if not (title or body):
        return refused("neither title nor text", told)
    if not 0 < text.event_time <= seen + CLOCK_TOLERANCE:
        return refused("written after it was seen, or at no time", told)
    archived = answer["source"].startswith(ARCHIVE)
    available = text.event_time + ARCHIVE_DELAY if archived else max(seen + CLOCK_RESOLUTION, text.event_time)
    whole = f"{title} {body}"
    return {
        "text_id": content_id(title, body),
        "source": answer["source"],
        "channel": cleaned(text.channel)[0],
        "kind": text.kind,
        "language": language(whole),
        "event_time": text.event_time,
        "available_time": available,
        "seen_time": seen,
        "title": title,
        "text": body,
        "truncated": cut or cut_title,
        "assets": assets_named(whole),
        "month": month_of(text.event_time),
        "payload_hash": answer["payload_hash"],
    }


def refused(reason: str, told: Row) -> Row:
    """A row for the quarantine: the reason, and what is known of the text as JSON."""
    row = orjson.dumps(told, option=orjson.OPT_SORT_KEYS).decode()
    return {"reason": reason, "row": row, "row_hash": hashlib.sha256(f"{reason}\n{row}".encode()).hexdigest()}


ORDER = ("seen_time", "available_time", "event_time", "source", "channel", "title", "text", "payload_hash")
"""Which of several copies stands: the one that reached us first; the rest only makes ties the same everywhere."""


def first_seen(good: pl.DataFrame) -> pl.DataFrame:
    """One row per content: the copy that reached us first. A later copy changes nothing, above all no time."""
    return good.sort(ORDER).unique("text_id", keep="first", maintain_order=True)


def archived(raw: Raw) -> Iterator[Text]:
    """The parser of an archive's answers: one text as the JSON that `jobs.import_texts` makes of a file's row."""
    told = raw.json()
    yield Text(told["channel"], told["kind"], int(told["event_time"]), told["title"], told["text"])
