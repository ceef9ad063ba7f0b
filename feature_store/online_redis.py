"""The online store in Redis: a sorted set of event times and a hash of rows per entity, changed by one script."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import redis

from feature_store.online import OnlineView, Packed
from lake.errors import Misconfigured, Unavailable

_PUT = """
-- KEYS: times, rows, entities. ARGV: keep, entity, then event time and 16 digits of available time + data, each row.
local kept = {}
for i = 3, #ARGV, 2 do
    local held = redis.call('HGET', KEYS[2], ARGV[i])
    if not held or string.sub(ARGV[i + 1], 1, 16) > string.sub(held, 1, 16) then
        redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
        redis.call('ZADD', KEYS[1], ARGV[i], ARGV[i])
        kept[ARGV[i]] = true
    end
end
local old = redis.call('ZRANGE', KEYS[1], 0, -tonumber(ARGV[1]) - 1)
for _, time in ipairs(old) do
    redis.call('ZREM', KEYS[1], time)
    redis.call('HDEL', KEYS[2], time)
    kept[time] = nil
end
redis.call('SADD', KEYS[3], ARGV[2])
local count = 0
for _ in pairs(kept) do count = count + 1 end
return count
"""

_DIGITS = 16
"""Of an available time: microseconds until the year 2286, comparable as text."""
_PAGE = 64


class RedisBackend:
    """Keys below `bitacora:online:`; those of one view share a hash tag, so they lie on one node of a cluster."""

    def __init__(self, url: str) -> None:
        try:
            # ten seconds: a decision cannot wait longer, and a job is tried again
            self._redis: Any = redis.Redis.from_url(url, socket_timeout=10.0, socket_connect_timeout=5.0)
        except ValueError:
            raise Misconfigured(
                "ONLINE_STORE: expected redis://[user:password@]host:port/db, rediss:// or unix://, found another form."
            ) from None
        parts = self._redis.connection_pool.connection_kwargs
        self._where = f"Redis at {parts.get('host', parts.get('path'))}:{parts.get('port', '')}"
        self._put: Callable[..., Any] = self._redis.register_script(_PUT)
        with self._said():
            self._redis.ping()

    def hashes(self, name: str) -> Mapping[str, tuple[str, ...]]:
        with self._said():
            found = self._redis.hgetall(f"bitacora:online:views:{name}")
        return {content_hash.decode(): tuple(json.loads(columns)) for content_hash, columns in found.items()}

    def declare(self, view: OnlineView) -> None:
        with self._said():
            self._redis.hsetnx(f"bitacora:online:views:{view.name}", view.content_hash, json.dumps(view.columns))

    def put(self, view: OnlineView, entity: str, rows: Sequence[Packed]) -> int:
        words: list[bytes | str | int] = [view.keep, entity]
        for event_time, available_time, data in rows:
            words += [event_time, f"{available_time:0{_DIGITS}d}".encode() + data]
        keys = [_key(view, "times", entity), _key(view, "rows", entity), _key(view, "entities")]
        with self._said():
            return int(self._put(keys=keys, args=words))

    def newest(self, view: OnlineView, entity: str, count: int, known_by: int) -> list[Packed]:
        found: list[Packed] = []
        start = 0
        while len(found) < count:
            page = self._page(view, entity, start, max(count, _PAGE) if start else count)
            if not page:
                break
            start += len(page)
            found += [row for row in page if row is not None and row[1] <= known_by]
        return found[:count]

    def entities(self, view: OnlineView) -> list[str]:
        with self._said():
            return sorted(name.decode() for name in self._redis.smembers(_key(view, "entities")))

    def mark(self, view: OnlineView) -> int | None:
        with self._said():
            held = self._redis.get(_key(view, "mark"))
        return int(held) if held is not None else None

    def set_mark(self, view: OnlineView, version: int) -> None:
        held = self.mark(view)
        with self._said():
            self._redis.set(_key(view, "mark"), max(version, held if held is not None else -1))

    def drop(self, name: str, content_hash: str) -> None:
        view = OnlineView(name, content_hash, ("any",))
        entities = self.entities(view)
        keys = [_key(view, kind, entity) for kind in ("times", "rows") for entity in entities]
        with self._said():
            self._redis.hdel(f"bitacora:online:views:{name}", content_hash)
            self._redis.delete(*keys, _key(view, "entities"), _key(view, "mark"))

    def close(self) -> None:
        self._redis.close()

    def _page(self, view: OnlineView, entity: str, start: int, count: int) -> list[Packed | None]:
        """Rows by place, newest first; None for one that went between the two questions."""
        with self._said():
            times = self._redis.zrevrange(_key(view, "times", entity), start, start + count - 1)
            rows = self._redis.hmget(_key(view, "rows", entity), times) if times else []
        return [
            None if row is None else (int(time), int(row[:_DIGITS]), cast(bytes, row[_DIGITS:]))
            for time, row in zip(times, rows, strict=True)
        ]

    @contextmanager
    def _said(self) -> Iterator[None]:
        """Redis' errors without the URL: it may hold a password."""
        try:
            yield
        except (redis.exceptions.AuthenticationError, redis.exceptions.NoPermissionError):
            raise Misconfigured(f"{self._where}: it refuses our credentials. Correct ONLINE_STORE.") from None
        except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError):
            raise Unavailable(f"{self._where} does not answer. Start it, or correct ONLINE_STORE.") from None
        except redis.exceptions.RedisError as error:
            raise Unavailable(f"{self._where}: {type(error).__name__}: {error}.") from None


def _key(view: OnlineView, kind: str, entity: str = "") -> str:
    return f"bitacora:online:{{{view.name}:{view.content_hash}}}:{kind}" + (f":{entity}" if entity else "")
