"""The online store in a file: SQLite with a write-ahead log, so readers never wait for a writer."""

import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from feature_store.online import OnlineView, Packed
from lake.errors import TryAgain, Unavailable

_SCHEMA = """
CREATE TABLE IF NOT EXISTS views (
    name TEXT NOT NULL, hash TEXT NOT NULL, columns TEXT NOT NULL, mark INTEGER, PRIMARY KEY (name, hash)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rows (
    name TEXT NOT NULL, hash TEXT NOT NULL, entity TEXT NOT NULL,
    event_time INTEGER NOT NULL, available_time INTEGER NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (name, hash, entity, event_time)
) WITHOUT ROWID;
"""

_PUT = """
INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET available_time = excluded.available_time, data = excluded.data
WHERE excluded.available_time > rows.available_time
"""

_TRIM = """
DELETE FROM rows WHERE name = ?1 AND hash = ?2 AND entity = ?3 AND event_time < (
    SELECT event_time FROM rows WHERE name = ?1 AND hash = ?2 AND entity = ?3
    ORDER BY event_time DESC LIMIT 1 OFFSET ?4
)
"""

_NEWEST = """
SELECT event_time, available_time, data FROM rows
WHERE name = ? AND hash = ? AND entity = ? AND available_time <= ? ORDER BY event_time DESC LIMIT ?
"""

PATIENCE_SECONDS = 30.0


class SqliteBackend:
    """One file, any number of processes and threads; see `feature_store.online.Backend`.

    A commit that was answered survives the process; one before a power cut may be lost, and materializing again
    brings it back.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=PATIENCE_SECONDS, isolation_level=None, check_same_thread=False)
            with self._said():
                self._db.execute("PRAGMA journal_mode = WAL")
                self._db.execute("PRAGMA synchronous = NORMAL")
                self._db.executescript(_SCHEMA)
        except (OSError, sqlite3.OperationalError) as error:
            raise Unavailable(
                f"online store {path}: cannot open it: {error}. See that its folder can be written."
            ) from None

    def hashes(self, name: str) -> Mapping[str, tuple[str, ...]]:
        found = self._read("SELECT hash, columns FROM views WHERE name = ?", name)
        return {content_hash: tuple(json.loads(columns)) for content_hash, columns in found}

    def declare(self, view: OnlineView) -> None:
        with self._transaction() as db:
            values = (view.name, view.content_hash, json.dumps(view.columns))
            db.execute("INSERT OR IGNORE INTO views (name, hash, columns) VALUES (?, ?, ?)", values)

    def put(self, view: OnlineView, entity: str, rows: Sequence[Packed]) -> int:
        key = view.name, view.content_hash, entity
        with self._transaction() as db:
            kept = [row[0] for row in rows if db.execute(_PUT, (*key, *row)).rowcount]
            db.execute(_TRIM, (*key, view.keep - 1))
            oldest = db.execute("SELECT min(event_time) FROM rows WHERE name = ? AND hash = ? AND entity = ?", key)
            limit = oldest.fetchone()[0]
        return len({event_time for event_time in kept if event_time >= limit})

    def newest(self, view: OnlineView, entity: str, count: int, known_by: int) -> list[Packed]:
        return self._read(_NEWEST, view.name, view.content_hash, entity, known_by, count)

    def entities(self, view: OnlineView) -> list[str]:
        statement = "SELECT DISTINCT entity FROM rows WHERE name = ? AND hash = ? ORDER BY entity"
        return [name for (name,) in self._read(statement, view.name, view.content_hash)]

    def mark(self, view: OnlineView) -> int | None:
        found = self._read("SELECT mark FROM views WHERE name = ? AND hash = ?", view.name, view.content_hash)
        return found[0][0] if found else None

    def set_mark(self, view: OnlineView, version: int) -> None:
        with self._transaction() as db:
            values = (version, view.name, view.content_hash)
            db.execute("UPDATE views SET mark = max(coalesce(mark, -1), ?) WHERE name = ? AND hash = ?", values)

    def drop(self, name: str, content_hash: str) -> None:
        with self._transaction() as db:
            for table in ("rows", "views"):
                db.execute(f"DELETE FROM {table} WHERE name = ? AND hash = ?", (name, content_hash))

    def close(self) -> None:
        self._db.close()

    def _read(self, statement: str, *values: object) -> list[tuple]:  # type: ignore[type-arg]  # rows as SQLite has them
        with self._lock, self._said():
            return self._db.execute(statement, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """One writer at a time; everything inside is stored, or nothing."""
        with self._lock, self._said():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    @contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if "locked" in str(error) or "busy" in str(error):
                raise TryAgain(
                    f"online store {self._path}: busy for over {PATIENCE_SECONDS:.0f} s. Try again."
                ) from None
            raise Unavailable(f"online store {self._path}: {error}.") from None
        except sqlite3.DatabaseError as error:
            raise Unavailable(
                f"online store {self._path}: {error}. Delete the file and materialize again: it holds copies only."
            ) from None
