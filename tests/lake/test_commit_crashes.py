"""Killed at any point of a commit into a folder: readers see the old version or the new, a rerun leaves equal content.

An append makes data files and then its log entry, each written beside its name (`name#1`) and moved there whole. The
states a kill can leave are all its prefixes: every file absent, cut short beside its name, whole beside it, in place.
"""

import itertools
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from jobs.bronze import store
from lake.intervals import DAY
from lake.storage import Lake
from lake.tables import RAW_BARS
from tests.lake.raw_bars import BTC, ETH, START, random_minutes

State = list[tuple[str, bytes]]
"""Files that a killed append left, by path within the lake."""


def files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def states(made: dict[str, bytes], cuts: random.Random) -> Iterator[State]:
    """Every prefix of the writes: data files first, the log entry last, each by way of `name#1`."""
    order = sorted(made, key=lambda path: ("_delta_log" in path, path))
    for at, path in enumerate(order):
        whole = [(name, made[name]) for name in order[:at]]
        yield whole
        for length in (0, cuts.randrange(1, len(made[path])), len(made[path])):
            yield [*whole, (f"{path}#1", made[path][:length])]
        yield [*whole, (f"{path}#1", made[path]), (path, made[path])]
    yield [(name, made[name]) for name in order]


def world(seed: int) -> tuple[pa.Table, int]:
    """Rows over two months, and how many of them are held before the append that is killed."""
    rows = pa.concat_tables([random_minutes(6, [BTC, ETH], seed=seed), random_minutes(6, [BTC], START + 5 * DAY, seed)])
    return rows, random.Random(seed).choice((0, 4, 9))


def killed_everywhere(folder: Path, seed: int) -> int:
    """Try every state of one append; returns how many there were."""
    rows, held = world(seed)
    before, clean = Lake(str(folder / "before")), Lake(str(folder / "clean"))
    Path(before.root).mkdir(parents=True)
    store(before, RAW_BARS, rows.slice(0, held), "first")
    shutil.copytree(before.root, clean.root)
    store(clean, RAW_BARS, rows, "clean")
    expected = clean.content_hash(RAW_BARS)
    old = files(Path(before.root))
    made = {path: body for path, body in files(Path(clean.root)).items() if path not in old}
    count = 0
    for count, state in enumerate(states(made, random.Random(seed)), start=1):
        torn = Lake(str(folder / str(count)))
        shutil.copytree(before.root, torn.root)
        for path, body in state:
            target = Path(torn.root) / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(body)
        seen = torn.count(RAW_BARS) if torn.exists(RAW_BARS) else 0
        assert seen in (held, rows.num_rows), (seed, count)
        if count % 3 == 0:
            store(torn, RAW_BARS, rows.slice(held // 2, 7), "overlap")
        store(torn, RAW_BARS, rows, "again")
        assert torn.content_hash(RAW_BARS) == expected, (seed, count)
        assert torn.count(RAW_BARS) == rows.num_rows, (seed, count)
        shutil.rmtree(torn.root)
    return count


def at_least(folder: Path, points: int, first_seed: int) -> int:
    total = 0
    for seed in itertools.count(first_seed):
        total += killed_everywhere(folder / str(seed), seed)
        if total >= points:
            return total
    raise AssertionError("unreachable")


def test_a_kill_at_any_point_of_a_commit_leaves_equal_content_after_a_rerun(tmp_path: Path) -> None:
    assert at_least(tmp_path, 200, first_seed=1) >= 200


@pytest.mark.nightly
@pytest.mark.timeout(1200)
def test_two_thousand_crash_points(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    points = at_least(tmp_path, 2_000, first_seed=1_000)
    record_property("points", points)
    assert points >= 2_000
