"""What a source is. A source file declares one `SOURCE`; client, server, tables and DAG follow from it.

`pages` is the conversation with the source as a generator: it yields a `Request`, is sent the `Answer`, and yields the
next one until it has all. Paging by token, cursor or offset, polling and multi-step queries are all told this way; the
client around it paces, retries and remembers what was answered, so a killed run goes on in the middle.
"""

from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from lake.errors import BadInput
from lake.intervals import DAY, Interval

Value = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, without the key: what is kept of it can be shown to anybody."""

    endpoint: str
    """Short name, the same for all pages, e.g. `asset-metrics`."""
    path: str
    """Below the source's address, with its slash."""
    params: Mapping[str, Value] = field(default_factory=dict)
    body: Any = None
    """JSON; a request with a body is a POST."""
    method: str = ""
    """Empty: POST with a body, else GET."""
    keep: bool = True
    """Whether the answer is data and belongs into bronze; a job's start or its status does not."""
    wait_seconds: float = 0.0
    """Before asking, e.g. between two looks at a status."""

    @property
    def verb(self) -> str:
        return self.method or ("GET" if self.body is None else "POST")

    def text(self) -> str:
        """Canonical JSON: the same request has the same text."""
        said: dict[str, Any] = {"method": self.verb, "path": self.path, "params": dict(self.params)}
        if self.body is not None:
            said["body"] = self.body
        return orjson.dumps(said, option=orjson.OPT_SORT_KEYS).decode()


@dataclass(frozen=True, slots=True)
class Answer:
    """What the source sent, as received."""

    text: str
    market_time: int
    """µs: the source's clock (its Date header) when it answered."""

    def json(self) -> Any:
        """Raises:
        BadInput: not JSON.
        """
        return decoded(self.text)


def decoded(text: str) -> Any:
    """Raises:
    BadInput: not JSON.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BadInput(f"not JSON: {error}: {text[:80]!r}") from None


@dataclass(frozen=True, slots=True)
class Raw:
    """A kept answer, as a parser sees it: a row of raw_answers_v1."""

    entity: str
    endpoint: str
    request: str
    """`Request.text()`."""
    payload: str
    market_time: int

    def json(self) -> Any:
        """Raises:
        BadInput: not JSON.
        """
        return decoded(self.payload)

    def asked(self, name: str) -> str:
        """A parameter of the request; empty where it was not given."""
        return str(orjson.loads(self.request)["params"].get(name, ""))


@dataclass(frozen=True, slots=True)
class Observation:
    """One number a source tells. Whether it may stand is judged later, by the declared metric."""

    entity: str
    """Asset or instrument id, `protocol/aave`, `chain/Ethereum`, `macro/DFF`, …"""
    metric: str
    event_time: int
    """µs: the end of what the number is about."""
    value: float | None
    known_time: int | None = None
    """µs: when this number was first published, where the source tells (a vintage); None: it does not, and the
    metric's declared delay counts."""
    unit: str = ""
    """The source's unit where it is not the metric's own."""
    problem: str = ""
    """Why the row cannot stand, where the parser sees it: it goes to quarantine with these words."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One quantity, declared once: unit, and how long after the event the source publishes it."""

    name: str
    unit: str
    delay: int
    """µs from the end of the period to its publication."""
    description: str
    minimum: float | None = None
    maximum: float | None = None
    frozen_after: int | None = None
    """So many equal values in a row are a feed that stands still; None: the quantity may well not move."""
    restated: bool = False
    """The source computes its past anew (labels of addresses, adapters of protocols): what it tells today of an old day
    was not told then. Such a number counts from the answer that told it first, unless the source dates it."""


Pages = Generator[Request, Answer, None]


@dataclass(frozen=True, slots=True)
class Key:
    """How the key is sent. Secret values live in settings alone."""

    header: str = ""
    """Name of the header, or empty."""
    param: str = ""
    """Name of the query parameter, or empty."""
    prefix: str = ""
    """Before the key in the header, e.g. `Bearer `."""
    needed: bool = True
    """False: the source answers without one too (slower)."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request as the loopback server sees it."""

    method: str
    path: str
    params: Mapping[str, str]
    body: Any
    now: int
    """µs: the server's clock; nothing later exists yet."""
    state: dict[str, Any]
    """The server's memory for this source, e.g. queries that run."""
    headers: Mapping[str, str] = field(default_factory=dict)


class Refusal(Exception):
    """What `answer` raises to say no in the source's own words: a status and a JSON body."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(status, body)
        self.status, self.body = status, body


@dataclass(frozen=True, slots=True)
class Source:
    """One source."""

    name: str
    title: str
    address: str
    """The real one; SOURCES_<NAME>_URL names another."""
    docs: str
    """Where its format is described."""
    entities: tuple[str, ...]
    """Asked for where no `--entities` are given."""
    pages: Callable[[str, Interval], Pages]
    """The conversation about one entity over an interval."""
    parse: Callable[[Raw], Iterable[Any]]
    """Observations (or texts) of one kept answer; raises BadInput, LookupError, TypeError or ValueError where it has
    another shape."""
    answer: Callable[[Call], Any]
    """The server's side: a JSON value, or text as it is; raises `Refusal`."""
    metrics: tuple[Metric, ...] = ()
    kind: Literal["observations", "text"] = "observations"
    key: Key | None = None
    requests_per_minute: float = 60.0
    """Below the source's published limit."""
    first_days: int = 90
    """How far back the very first run reaches."""
    overlap: int = 3 * DAY
    """µs asked for again by each run, so that corrections of the newest values are seen."""
    authorize: Callable[[str, str], Any] | None = None
    """(key, address) to an `httpx.Auth`, where a key must first be traded for a token; else `key` says how."""

    def metric(self, name: str) -> Metric | None:
        return next((m for m in self.metrics if m.name == name), None)
