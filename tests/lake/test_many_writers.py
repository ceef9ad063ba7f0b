"""Many processes append to one bronze table at once: every batch is one version, none is lost, none is doubled."""

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from jobs.bronze import store
from lake.storage import Lake
from lake.tables import RAW_BARS
from tests.lake.raw_bars import ETH, random_minutes

ROOT = Path(__file__).parents[2]


def write_at_once(lake: Lake, writers: int, commits: int) -> None:
    """Start them all, let them go together, and look at what stands."""
    store(lake, RAW_BARS, random_minutes(1, [ETH]), "first")
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.lake.bronze_writer", lake.root, str(number), str(commits)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for number in range(writers)
    ]  # fmt: skip
    try:
        for process in processes:
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        told = [process.communicate(timeout=900)[0].split() for process in processes]
        assert [process.returncode for process in processes] == [0] * writers
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert all(int(stored) == 3 * commits for stored, _ in told)
    assert sum(int(shared) for _, shared in told) == 3, "one of them stored what all had"
    assert lake.version(RAW_BARS) == writers * commits + 1, "versions = commits"
    rows = lake.scan(RAW_BARS).select(RAW_BARS.key).collect()
    assert rows.height == rows.unique().height == 1 + 3 + 3 * writers * commits
    assert lake.scan(RAW_BARS).select(pl.col("instrument").n_unique()).collect().item() == writers + 2


def test_writers_in_a_folder_make_one_version_a_batch(lake: Lake) -> None:
    write_at_once(lake, 3, 4)


@pytest.mark.s3
def test_writers_on_s3_make_one_version_a_batch(s3: Lake) -> None:
    write_at_once(s3, 3, 3)


@pytest.mark.nightly
@pytest.mark.s3
@pytest.mark.timeout(1800)
def test_eight_writers_of_25_batches_each(lake: Lake, s3: Lake) -> None:
    for where in (lake, s3):
        write_at_once(where, 8, 25)
