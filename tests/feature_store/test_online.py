"""What the online store promises, in a file and in a real Redis alike."""

import itertools
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_store.errors import HashMismatch, PushRefused
from feature_store.online import OnlineRow, OnlineStore, OnlineView, service_view
from feature_store.online_redis import RedisBackend
from feature_store.online_settings import OnlineSettings, open_store
from feature_store.online_sqlite import SqliteBackend
from feature_store.service import DEFAULT
from lake.errors import Misconfigured, Unavailable
from lake.settings import HomeSettings
from tests.feature_store.redis_server import redis_server

VIEW = OnlineView("mood", "a" * 64, ("x", "y"), keep=4, ttl_us=100)
NOW = 10_000


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_server(tmp_path_factory.mktemp("redis")) as url:
        yield url


_NAMES = itertools.count()


@pytest.fixture(params=["sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path, redis_url: str) -> Iterator[OnlineStore]:
    if request.param == "sqlite":
        backend: SqliteBackend | RedisBackend = SqliteBackend(tmp_path / "online" / "features.db")
    else:
        backend = RedisBackend(redis_url)
        backend._redis.flushall()
    with OnlineStore(backend) as opened:
        yield opened


def row(event: int, known: int, x: float | None = 1.0, entity: str = "a") -> OnlineRow:
    return OnlineRow(entity, event, known, (x, None))


def test_the_newest_row_known_by_now_is_read_back_to_the_bit(store: OnlineStore) -> None:
    assert store.push(VIEW, [row(9_950, 9_960, 0.1 + 0.2), row(9_940, 9_945, -0.0), row(9_990, 10_001, 7.0)]) == 3
    assert store.get(VIEW, "a", NOW).row == row(9_950, 9_960, 0.1 + 0.2)
    assert [one.event_time for one in store.get_last_n(VIEW, "a", 10, NOW)] == [9_940, 9_950]
    assert [one.event_time for one in store.get_last_n(VIEW, "a", 10, 10_001)] == [9_940, 9_950, 9_990]


def test_a_row_is_never_given_before_it_was_available(store: OnlineStore) -> None:
    rows = [row(9_900 + 10 * i, 9_900 + 37 * i) for i in range(4)]
    store.push(VIEW, rows)
    for now in range(9_890, 10_030):
        known = [one for one in rows if one.available_time <= now]
        assert store.get_last_n(VIEW, "a", 9, now) == known
    assert store.get(VIEW, "a", 9_899).reason.startswith("not yet available")


def test_an_older_push_replaces_nothing_and_a_correction_replaces_its_own_row(store: OnlineStore) -> None:
    store.push(VIEW, [row(9_950, 9_960, 1.0), row(9_960, 9_965, 2.0)])
    assert store.push(VIEW, [row(9_950, 9_960, 9.0), row(9_960, 9_961, 9.0)]) == 0
    assert [one.values[0] for one in store.get_last_n(VIEW, "a", 9, NOW)] == [1.0, 2.0]
    assert store.push(VIEW, [row(9_950, 9_970, 3.0)]) == 1
    assert store.get(VIEW, "a", NOW).row == row(9_960, 9_965, 2.0)
    assert [one.values[0] for one in store.get_last_n(VIEW, "a", 9, NOW)] == [3.0, 2.0]


def test_only_the_newest_rows_stay_and_a_late_old_row_is_no_news(store: OnlineStore) -> None:
    assert store.push(VIEW, [row(t, t) for t in range(9_000, 9_010)]) == 4
    assert store.push(VIEW, [row(8_000, 9_999)]) == 0
    assert [one.event_time for one in store.get_last_n(VIEW, "a", 99, NOW)] == [9_006, 9_007, 9_008, 9_009]


def test_a_stale_or_absent_row_is_null_with_the_reason(store: OnlineStore) -> None:
    assert store.get(VIEW, "a", NOW).reason == "absent: no row of a"
    store.push(VIEW, [row(9_900, 9_950)])
    assert store.get(VIEW, "a", 10_000).row is not None
    stale = store.get(VIEW, "a", 10_001)
    assert (stale.row, stale.reason[:6]) == (None, "stale:")
    store.push(VIEW, [row(20_000, 20_500, entity="b")])
    assert store.freshness(VIEW, NOW) == {"a": 100, "b": None}


def test_versions_of_a_view_live_side_by_side_and_never_mix(store: OnlineStore) -> None:
    other = replace(VIEW, content_hash="b" * 64)
    store.push(VIEW, [row(9_950, 9_960, 1.0)])
    with pytest.raises(HashMismatch, match="expected rows of content hash bbbbbbbbbbbb, the store holds aaaa"):
        store.get(other, "a", NOW)
    store.push(other, [row(9_950, 9_960, 2.0)])
    assert [store.get(one, "a", NOW).row for one in (VIEW, other)] == [row(9_950, 9_960, x) for x in (1.0, 2.0)]
    with pytest.raises(HashMismatch, match="Other columns need another content hash"):
        OnlineStore(store._backend).push(replace(VIEW, columns=("x", "z")), [row(1, 1)])
    store.drop("mood", "a" * 64)
    assert store.hashes("mood") == ["b" * 64]
    assert store.get(other, "a", NOW).row is not None


def test_rows_that_do_not_fit_are_refused_and_nothing_is_stored(store: OnlineStore) -> None:
    with pytest.raises(PushRefused, match="expected 2 values, found 1"):
        store.push(VIEW, [row(1, 1), OnlineRow("a", 2, 2, (1.0,))])
    with pytest.raises(PushRefused, match="before it happened"):
        store.push(VIEW, [row(2, 1)])
    assert store.freshness(VIEW, NOW) == {}


def test_a_frame_is_pushed_lists_by_place(store: OnlineStore) -> None:
    view = OnlineView("text", "c" * 64, ("count", "embedding_0", "embedding_1"), ttl_us=1_000)
    frame = pl.DataFrame({"entity": ["a", "b"], "count": [3, 4], "embedding": [[0.5, float("nan")], [0.25, 2.0]]})
    times = pl.lit(9_950).cast(pl.Datetime("us", "UTC"))
    store.push_frame(view, frame.with_columns(event_time=times, available_time=times))
    assert [getattr(store.get(view, e, NOW).row, "values", None) for e in "ab"] == [(3, 0.5, None), (4, 0.25, 2.0)]
    with pytest.raises(PushRefused, match="expected columns count"):
        store.push_frame(view, frame.drop("count").with_columns(event_time=times, available_time=times))


PUSHES = st.lists(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 12), st.integers(0, 9)), max_size=6), max_size=6
)


def expected(rows: list[OnlineRow], keep: int) -> dict[int, OnlineRow]:
    """A plain model: rows one after the other, the newest `keep` by event time."""
    held: dict[int, OnlineRow] = {}
    for one in rows:
        if one.event_time not in held or one.available_time > held[one.event_time].available_time:
            held[one.event_time] = one
    return dict(sorted(held.items())[-keep:])


@settings(max_examples=60, deadline=None)
@given(PUSHES)
def test_both_back_ends_agree_with_a_plain_model(
    redis_url: str, tmp_path_factory: pytest.TempPathFactory, pushes: list[list[tuple[str, int, int]]]
) -> None:
    view = replace(VIEW, name=f"view{next(_NAMES)}", keep=3)
    rows = [
        [OnlineRow(e, t, t + d, (float(i), float(j))) for j, (e, t, d) in enumerate(p)] for i, p in enumerate(pushes)
    ]
    path = tmp_path_factory.mktemp("model") / "f.db"
    with OnlineStore(SqliteBackend(path)) as file, OnlineStore(RedisBackend(redis_url)) as server:
        for part in rows:
            assert file.push(view, part) == server.push(view, part)
        for entity in "ab":
            mine = [one for part in rows for one in part if one.entity == entity]
            for now in (5, 12, 99):
                known = [r for r in expected(mine, 3).values() if r.available_time <= now]
                assert file.get_last_n(view, entity, 9, now) == server.get_last_n(view, entity, 9, now) == known


_WRITER = """
import random, sys
from pathlib import Path
from feature_store.online import OnlineRow, OnlineStore, OnlineView
from feature_store.online_redis import RedisBackend
from feature_store.online_sqlite import SqliteBackend
kind, where, seed = sys.argv[1:]
backend = SqliteBackend(Path(where)) if kind == "sqlite" else RedisBackend(where)
view = OnlineView("race", "d" * 64, ("x", "y"), keep=50, ttl_us=1000)
chance = random.Random(int(seed))
rows = [OnlineRow("a", t, t + d, (float(t), float(d))) for t in range(100) for d in range(5)]
chance.shuffle(rows)
with OnlineStore(backend) as store:
    print("ready", flush=True)
    for at in range(0, len(rows), 10):
        store.push(view, rows[at : at + 10])
        print(at, flush=True)
"""


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_writers_that_race_and_one_that_is_killed_leave_what_one_writer_would(
    kind: str, tmp_path: Path, redis_url: str
) -> None:
    where = str(tmp_path / "race.db") if kind == "sqlite" else redis_url
    writers = [
        subprocess.Popen([sys.executable, "-c", _WRITER, kind, where, str(seed)], stdout=subprocess.PIPE, text=True)
        for seed in range(3)
    ]
    first = writers[0].stdout
    assert first is not None
    stop_after = random.Random(4).randrange(2, 20)
    for _ in range(stop_after):
        first.readline()
    writers[0].kill()
    assert [writer.wait(60) for writer in writers[1:]] == [0, 0]
    writers[0].wait(10)
    for writer in writers:
        assert writer.stdout is not None
        writer.stdout.close()
    view = OnlineView("race", "d" * 64, ("x", "y"), keep=50, ttl_us=1_000)
    backend = SqliteBackend(Path(where)) if kind == "sqlite" else RedisBackend(where)
    with OnlineStore(backend) as store:
        found = store.get_last_n(view, "a", 999, NOW)
    assert found == [OnlineRow("a", t, t + 4, (float(t), 4.0)) for t in range(50, 100)]


def test_the_store_is_a_file_by_default_and_redis_by_setting(
    tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = HomeSettings(home=tmp_path)
    with open_store(home) as store:
        store.push(service_view(DEFAULT), [])
    assert (tmp_path / "online" / "features.db").exists()
    monkeypatch.setenv("ONLINE_STORE", redis_url)
    with open_store(home) as store:
        assert isinstance(store._backend, RedisBackend)
    monkeypatch.setenv("ONLINE_STORE", "memcached://x:secret@y")
    with pytest.raises(Misconfigured, match="another scheme") as refused:
        open_store(home)
    assert "secret" not in str(refused.value)


def test_no_error_of_redis_tells_the_password(tmp_path: Path) -> None:
    with redis_server(tmp_path, password="hunter2") as url:
        with OnlineStore(RedisBackend(url)) as store:
            store.push(VIEW, [row(1, 1)])
        with pytest.raises(Misconfigured, match="refuses our credentials") as refused:
            RedisBackend(url.replace("hunter2", "hunter3"))
        assert "hunter" not in str(refused.value)
        settings = OnlineSettings.model_validate({"store": url})
        assert "hunter" not in repr(settings)
    with pytest.raises(Unavailable, match="does not answer") as dead:
        RedisBackend(url)
    assert "hunter" not in str(dead.value)


def test_a_damaged_file_is_told_as_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "features.db"
    path.write_bytes(b"no database at all, but long enough to be looked at" * 100)
    with pytest.raises(Unavailable, match="materialize again"):
        SqliteBackend(path)
