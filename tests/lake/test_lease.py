"""One writer per table: who holds the lease, who gets it next, and that a late riser commits nothing."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from jobs.bronze import store
from jobs.lock import writing
from lake import lease
from lake.errors import LeaseLost, TryAgain
from lake.storage import Lake
from lake.tables import RAW_BARS
from tests.lake.raw_bars import BTC, random_minutes

NAME = RAW_BARS.name


def test_a_second_writer_waits_for_the_first_and_epochs_grow(home: Path) -> None:
    with writing(home, RAW_BARS):
        with (
            pytest.raises(TryAgain, match="raw_bars_v1 is being written by another run"),
            writing(home, RAW_BARS, patience_seconds=0.0),
        ):
            pass
        assert (home / "lake/_leases/raw_bars_v1.lock").read_text() == "1"
    with writing(home, RAW_BARS):
        assert (home / "lake/_leases/raw_bars_v1.lock").read_text() == "2"


@pytest.mark.s3
def test_of_many_candidates_on_s3_one_holds_the_lease(s3: Lake) -> None:
    candidates = [lease.BucketLease(s3.root, NAME, ttl=60.0) for _ in range(6)]
    gained: list[bool] = []
    threads = [threading.Thread(target=lambda c=c: gained.append(c.try_acquire())) for c in candidates]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(gained) == 1
    holder = next(c for c in candidates if c.epoch and c.is_held())
    late = lease.BucketLease(s3.root, NAME)
    assert not late.try_acquire()
    holder.release()
    assert late.try_acquire()
    assert late.epoch == 2
    late.release()


@pytest.mark.s3
def test_a_zombie_whose_lease_was_taken_over_commits_nothing(s3: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = random_minutes(4, [BTC])
    asleep = threading.Event()
    beat = lease.BucketLease._keep
    monkeypatch.setattr(lease.BucketLease, "_keep", lambda self: asleep.is_set() or beat(self))
    asleep.set()  # as if SIGSTOP had hit the process: no more beats
    zombie = lease.acquire(s3.root, NAME, patience_seconds=0.0, ttl=0.3)
    asleep.clear()
    taker = lease.BucketLease(s3.root, NAME, ttl=0.3)
    deadline = time.monotonic() + 20
    while not taker.try_acquire():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert taker.epoch == zombie.epoch + 1
    with pytest.raises(LeaseLost, match="epoch 1 of its lease is over"):
        store(s3, RAW_BARS, rows, "zombie")
    assert not s3.exists(RAW_BARS)
    lease.release(s3.root, NAME)
    assert taker.is_held()  # a zombie that says good-bye takes nothing with it
    taker.release()
    assert store(s3, RAW_BARS, rows, "later") == 4


@pytest.mark.s3
def test_a_living_holder_keeps_its_lease_beyond_the_ttl(s3: Lake) -> None:
    holder = lease.BucketLease(s3.root, NAME, ttl=0.6)
    assert holder.try_acquire()
    other, until = lease.BucketLease(s3.root, NAME, ttl=0.6), time.monotonic() + 1.5
    while time.monotonic() < until:
        assert not other.try_acquire()
        time.sleep(0.1)
    assert holder.is_held()
    holder.release()


@pytest.mark.s3
def test_a_lost_answer_to_our_own_creation_is_recognised(s3: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    from botocore.exceptions import ClientError

    candidate = lease.BucketLease(s3.root, NAME)
    write = candidate._write

    def lost(released: bool = False, **condition: Any) -> None:
        write(released, **condition)
        if condition:
            raise ClientError({"Error": {}, "ResponseMetadata": {"HTTPStatusCode": 412}}, "PutObject")  # type: ignore

    monkeypatch.setattr(candidate, "_write", lost)
    assert candidate.try_acquire()
    candidate.release()
