"""The online store: the last rows of every entity, ready when a decision is due.

A view here is a named list of columns with the hash of whatever decides their values (`FeatureService.content_hash`,
or a hash of model, window and version for features that a batch job pushes). Two hashes of one name live side by side
and never mix, so a new version can be filled while the old one still serves.

What holds, in every back end:
- a row is its entity and `event_time`; of two such rows the one with the later `available_time` stays, so pushes may
  be repeated, late or out of order;
- the newest `keep` rows by `event_time` stay, as sequence models need them;
- a reader at `now` is never given a row whose `available_time` is after `now`;
- a row older than the view's `ttl_us` is withheld, with the reason.

Times are UTC microseconds of the caller's clock: the market's, in the embedded world.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

import numpy as np
import polars as pl

from feature_store.errors import HashMismatch, PushRefused
from feature_store.service import FeatureService
from feature_store.view import Floats
from lake.intervals import MINUTE, format_time

Value = float | None


@dataclass(frozen=True, slots=True)
class OnlineView:
    """What a row means and how long it is worth something."""

    name: str
    content_hash: str
    columns: tuple[str, ...]
    keep: int = 64
    """Rows per entity."""
    ttl_us: int = 15 * MINUTE
    """Age, from `event_time`, after which a row is withheld."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w.@-]+", self.name) or not self.content_hash or not self.columns:
            raise PushRefused(f"view {self.name!r}: expected a name of letters, digits and _.@-, a hash and columns.")
        if self.keep < 1 or self.ttl_us < 1:
            raise PushRefused(f"view {self.name}: expected keep and ttl_us above 0, found {self.keep}, {self.ttl_us}.")


@dataclass(frozen=True, slots=True)
class OnlineRow:
    """One row of an entity; None where a value is not known."""

    entity: str
    event_time: int
    available_time: int
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """A row, or None and why."""

    row: OnlineRow | None
    reason: str = ""


class Backend(Protocol):
    """Where rows lie. `Packed` is event_time, available_time and the values' bytes."""

    def hashes(self, name: str) -> Mapping[str, tuple[str, ...]]:
        """Content hash to columns of every version of a view that the store holds."""

    def declare(self, view: OnlineView) -> None: ...

    def put(self, view: OnlineView, entity: str, rows: Sequence["Packed"]) -> int:
        """Store rows by the rules above, all or none; how many of them stayed."""

    def newest(self, view: OnlineView, entity: str, count: int, known_by: int) -> list["Packed"]:
        """Up to `count` rows available by `known_by`, newest event first."""

    def entities(self, view: OnlineView) -> list[str]: ...

    def mark(self, view: OnlineView) -> int | None: ...

    def set_mark(self, view: OnlineView, version: int) -> None: ...

    def drop(self, name: str, content_hash: str) -> None: ...

    def close(self) -> None: ...


Packed = tuple[int, int, bytes]


class OnlineStore:
    """Push and read rows of any number of views; safe from several processes at once."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._known: set[tuple[str, str]] = set()

    def __enter__(self) -> "OnlineStore":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._backend.close()

    def push(self, view: OnlineView, rows: Sequence[OnlineRow]) -> int:
        """Store rows; return how many were news. Each entity's rows are stored together or not at all.

        Raises:
            PushRefused: a row of another width, or available before its event.
            HashMismatch: this hash was declared with other columns.
        """
        self._declare(view)
        by_entity: dict[str, list[Packed]] = {}
        for row in rows:
            by_entity.setdefault(row.entity, []).append(_packed(view, row))
        return sum(self._backend.put(view, entity, part) for entity, part in by_entity.items())

    def push_frame(self, view: OnlineView, frame: pl.DataFrame) -> int:
        """Push a frame with `entity` (or `instrument`), `event_time`, `available_time` and the view's columns.

        A list column `x` stands for the columns x_0, x_1, …
        """
        return self.push(view, rows_of(view, frame))

    def get(self, view: OnlineView, entity: str, now: int) -> Answer:
        """The newest row that may be used at `now`.

        Raises:
            HashMismatch: the store holds this view under other hashes only.
        """
        rows = self.get_last_n(view, entity, 1, now)
        if not rows:
            return Answer(None, self._absent(view, entity, now))
        age = now - rows[0].event_time
        if age > view.ttl_us:
            return Answer(None, f"stale: {age / 1e6:.0f} s old at {format_time(now)}, limit {view.ttl_us / 1e6:.0f} s")
        return Answer(rows[0])

    def get_last_n(self, view: OnlineView, entity: str, count: int, now: int) -> list[OnlineRow]:
        """Up to `count` rows known at `now`, oldest first, whatever their age: the caller sees the times.

        Raises:
            HashMismatch: as `get`.
        """
        self._require(view)
        found = self._backend.newest(view, entity, count, now)
        return [OnlineRow(entity, event, known, _unpacked(data)) for event, known, data in reversed(found)]

    def freshness(self, view: OnlineView, now: int) -> dict[str, int | None]:
        """Microseconds since the newest usable row's event per entity; None where none is usable yet."""
        self._require(view)
        newest = {name: self._backend.newest(view, name, 1, now) for name in self._backend.entities(view)}
        return {name: now - rows[0][0] if rows else None for name, rows in newest.items()}

    def hashes(self, name: str) -> list[str]:
        """Every version of a view that the store holds."""
        return sorted(self._backend.hashes(name))

    def drop(self, name: str, content_hash: str) -> None:
        """Forget one version of a view and its rows."""
        self._backend.drop(name, content_hash)
        self._known.discard((name, content_hash))

    def mark(self, view: OnlineView) -> int | None:
        """The table version up to which this view was last materialized."""
        return self._backend.mark(view)

    def set_mark(self, view: OnlineView, version: int) -> None:
        self._declare(view)
        self._backend.set_mark(view, version)

    def _declare(self, view: OnlineView) -> None:
        if (view.name, view.content_hash) in self._known:
            return
        held = self._backend.hashes(view.name).get(view.content_hash)
        if held is not None and held != view.columns:
            raise HashMismatch(
                f"{view.name} {view.content_hash[:12]}: the store holds {len(held)} columns {_short(held)}, the push "
                f"has {len(view.columns)} {_short(view.columns)}. Other columns need another content hash."
            )
        self._backend.declare(view)
        self._known.add((view.name, view.content_hash))

    def _require(self, view: OnlineView) -> None:
        if (view.name, view.content_hash) in self._known:
            return
        held = self._backend.hashes(view.name)
        if held and view.content_hash not in held:
            raise HashMismatch(
                f"{view.name}: expected rows of content hash {view.content_hash[:12]}, the store holds "
                f"{', '.join(sorted(one[:12] for one in held))}. Materialize this version, or serve with that code."
            )
        if held and held[view.content_hash] != view.columns:
            raise HashMismatch(f"{view.name} {view.content_hash[:12]}: the store holds other columns.")

    def _absent(self, view: OnlineView, entity: str, now: int) -> str:
        later = self._backend.newest(view, entity, 1, 2**62)
        if later:
            return f"not yet available: known from {format_time(later[0][1])}, asked at {format_time(now)}"
        return f"absent: no row of {entity}"


def service_view(service: FeatureService, keep: int = 64, bars: int = 3) -> OnlineView:
    """A feature service as a view; a row is stale once `bars` more bars should have closed."""
    ttl = bars * service.periods.bar_us
    return OnlineView(service.name, service.content_hash, service.feature_names, keep, ttl)


def rows_of(view: OnlineView, frame: pl.DataFrame) -> list[OnlineRow]:
    """The frame's rows in the view's columns; nulls and NaN become None.

    Raises:
        PushRefused: a column is missing.
    """
    entity = "entity" if "entity" in frame.columns else "instrument"
    lists = [name for name, kind in frame.schema.items() if isinstance(kind, (pl.List, pl.Array))]
    for name in lists:
        width = sum(column.startswith(f"{name}_") for column in view.columns)
        frame = frame.with_columns(
            pl.col(name).list.get(i, null_on_oob=True).alias(f"{name}_{i}") for i in range(width)
        )
    missing = [name for name in (entity, "event_time", "available_time", *view.columns) if name not in frame.columns]
    if missing:
        raise PushRefused(f"{view.name}: expected columns {', '.join(missing)}, found {', '.join(frame.columns)}.")
    times = [frame[name].cast(pl.Datetime("us", "UTC")).dt.epoch("us").to_list() for name in _TIMES]
    values = frame.select(pl.col(view.columns).cast(pl.Float64).fill_nan(None)).rows()
    return [OnlineRow(*row) for row in zip(frame[entity].to_list(), *times, values, strict=True)]


_TIMES = ("event_time", "available_time")


def _packed(view: OnlineView, row: OnlineRow) -> Packed:
    if len(row.values) != len(view.columns):
        raise PushRefused(f"{view.name} {row.entity}: expected {len(view.columns)} values, found {len(row.values)}.")
    if row.available_time < row.event_time:
        raise PushRefused(
            f"{view.name} {row.entity}: a row of {format_time(row.event_time)} cannot have been known at "
            f"{format_time(row.available_time)}, before it happened."
        )
    return row.event_time, row.available_time, np.array(row.values, "<f8").tobytes()


def _unpacked(data: bytes) -> tuple[Value, ...]:
    values: Floats = np.frombuffer(data, "<f8")
    return tuple(None if value != value else value for value in values.tolist())


def _short(names: tuple[str, ...]) -> str:
    return ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
