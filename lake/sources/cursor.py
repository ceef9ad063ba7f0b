"""A conversation with a source that outlives its process: what was answered is played back, the rest is asked."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson

from lake.errors import BadInput
from lake.intervals import Interval
from lake.sources.client import Client
from lake.sources.source import Answer, Request, Source


@dataclass
class Cursor:
    """What an unfinished conversation was told so far: a file per source and entity, gone when it is stored.

    A run that was killed plays these answers back to `pages` and asks for the rest only.
    """

    path: Path
    interval: Interval
    _told: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def open(cls, folder: Path, source: Source, entity: str, interval: Interval | None) -> "Cursor | None":
        """The unfinished conversation about an entity, if it is about `interval` (None: whatever it is about)."""
        path = folder / source.name / (quote(entity, safe="") + ".jsonl")
        if not path.exists():
            return None
        lines = path.read_bytes().split(b"\n")[:-1]  # what follows the last line end was cut off by the kill
        if not lines:
            return None
        head, *told = (orjson.loads(line) for line in lines)
        held = Interval(head["start"], head["end"])
        return cls(path, held, told) if interval in (None, held) else None

    @classmethod
    def begin(cls, folder: Path, source: Source, entity: str, interval: Interval) -> "Cursor":
        path = folder / source.name / (quote(entity, safe="") + ".jsonl")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(orjson.dumps({"start": interval.start, "end": interval.end}) + b"\n")
        return cls(path, interval)

    def replay(self, request: Request) -> Answer | None:
        """The answer that was already given to this request, in the order of asking."""
        if self._told and self._told[0]["request"] == request.text():
            told = self._told.pop(0)
            return Answer(told["answer"], told["market_time"])
        self._told.clear()
        return None

    def add(self, request: Request, answer: Answer) -> None:
        line = {"request": request.text(), "answer": answer.text, "market_time": answer.market_time}
        with self.path.open("ab") as stream:
            stream.write(orjson.dumps(line) + b"\n")

    def done(self) -> None:
        self.path.unlink(missing_ok=True)


def converse(client: Client, entity: str, cursor: Cursor) -> Iterator[tuple[Request, Answer]]:
    """Every request about the entity with its answer, those of an earlier, killed run included.

    Raises:
        BadInput: the source's paging does not move on, or an answer does not parse.
    """
    pages, seen = client.source.pages(entity, cursor.interval), set[str]()
    request = next(pages, None)
    while request is not None:
        if request.keep and request.text() in seen:
            raise BadInput(f"{client.source.name}: paging does not move on, asked twice: {request.text():.300}")
        seen.add(request.text())
        answer = cursor.replay(request)
        if answer is None:
            answer = client.ask(request)
            cursor.add(request, answer)
        yield request, answer
        try:
            request = pages.send(answer)
        except StopIteration:
            return
