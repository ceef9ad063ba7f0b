"""One writer per table: a lease that ends with its holder, and an epoch that shuts out a holder who wakes too late.

In a folder the lease is a file lock (`<lake>/_leases/<table>.lock`), which the system takes back when the holder dies.

On S3 it is a row of objects, `<lake>/_leases/<table>/<epoch>.json`, each created by one conditional PUT, so that of any
number of candidates one gets the epoch. The holder rewrites its object while it works. Whoever has seen the newest
object unchanged for `ttl` seconds of its own clock takes the next epoch: clocks are never compared. An object says
`released` when its holder has finished.

`require` is asked right before every commit: a holder that was asleep while another took over gets `LeaseLost` and
commits nothing. The instant between that answer and the commit is covered by the commit itself, which compares and
sets on the version it was computed from (`Lake.append_onto`, `lake.spark.merge`).
"""

import fcntl
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

import orjson

from lake import s3
from lake.errors import LeaseLost, TryAgain

TTL_SECONDS = 60.0
"""On S3: how long a silent holder keeps its lease."""
KEPT_EPOCHS = 3
_CONFLICT = {409, 412}


class Lease(Protocol):
    """What a writer holds; `epoch` grows with every holder of the table."""

    epoch: int

    def is_held(self) -> bool: ...

    def release(self) -> None: ...


_held: dict[tuple[str, str], Lease] = {}
"""The leases of this process, by lake and table: what `require` asks."""


def acquire(root: str, table: str, patience_seconds: float, ttl: float = TTL_SECONDS) -> Lease:
    """Wait for the table's lease and hold it until `release`.

    Raises:
        TryAgain: another run held it for longer than `patience_seconds`.
    """
    candidate = BucketLease(root, table, ttl) if "://" in root else FolderLease(root, table)
    deadline = time.monotonic() + patience_seconds
    while not candidate.try_acquire():
        if time.monotonic() > deadline:
            raise TryAgain(
                f"{table} is being written by another run for over {patience_seconds:.0f} s. "
                "Wait for it, or look what hangs."
            )
        time.sleep(candidate.pause_seconds)
    _held[root, table] = candidate
    return candidate


def release(root: str, table: str) -> None:
    """Give the lease back; does nothing where none is held."""
    if mine := _held.pop((root, table), None):
        mine.release()


def require(root: str, table: str) -> None:
    """Let a commit through: this process holds the table's lease, or never asked for one.

    Raises:
        LeaseLost: another run took over.
    """
    mine = _held.get((root, table))
    if mine is not None and not mine.is_held():
        raise LeaseLost(
            f"{table}: epoch {mine.epoch} of its lease is over, another run took the table while this one was silent. "
            "Nothing was committed; run it again."
        )


class FolderLease:
    """A file lock; its file counts the holders."""

    pause_seconds = 0.1

    def __init__(self, root: str, table: str) -> None:
        self.epoch = 0
        self._path = Path(root) / "_leases" / f"{table}.lock"
        self._stream: IO[str] | None = None

    def try_acquire(self) -> bool:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        stream = self._path.open("a+")
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.close()
            return False
        stream.seek(0)
        self.epoch = int(stream.read() or 0) + 1
        stream.truncate(0)
        stream.write(str(self.epoch))
        stream.flush()
        self._stream = stream
        return True

    def is_held(self) -> bool:
        return self._stream is not None

    def release(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None


@dataclass
class BucketLease:
    """An epoch of conditional objects, kept alive by a thread."""

    root: str
    table: str
    ttl: float = TTL_SECONDS
    epoch: int = 0
    _token: str = field(default_factory=lambda: uuid.uuid4().hex)
    _seen: tuple[int, str] = (0, "")
    _seen_at: float = 0.0
    _stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._client = s3.client()
        self._bucket, prefix = s3.split(self.root)
        self._prefix = "/".join(part for part in (prefix, "_leases", self.table) if part) + "/"

    @property
    def pause_seconds(self) -> float:
        return min(1.0, self.ttl / 10)

    def try_acquire(self) -> bool:
        epoch, tag = self._newest()
        if epoch and not self._is_over(epoch, tag):
            return False
        self.epoch = epoch + 1
        if not self._create() or self._newest()[0] != self.epoch:
            return False
        for old in range(max(1, epoch - KEPT_EPOCHS), epoch - KEPT_EPOCHS + 2):
            self._client.delete_object(Bucket=self._bucket, Key=self._key(old))
        threading.Thread(target=self._keep, name=f"lease {self.table}", daemon=True).start()
        return True

    def is_held(self) -> bool:
        """Ask the store: nobody has taken a later epoch."""
        return not self._stop.is_set() and self._newest()[0] == self.epoch

    def release(self) -> None:
        if self.is_held():
            self._write(released=True)
        self._stop.set()

    def _is_over(self, epoch: int, tag: str) -> bool:
        """Whether the newest holder has finished, or was silent for `ttl` while we watched."""
        now = time.monotonic()
        if (epoch, tag) != self._seen:
            self._seen, self._seen_at = (epoch, tag), now
            answer = self._client.get_object(Bucket=self._bucket, Key=self._key(epoch))
            return bool(orjson.loads(answer["Body"].read())["released"])
        return now - self._seen_at > self.ttl

    def _create(self) -> bool:
        """One conditional PUT; true if the object is ours, also where only the answer was lost."""
        from botocore.exceptions import ClientError

        try:
            self._write(IfNoneMatch="*")
            return True
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] not in _CONFLICT:
                raise
        try:
            body = self._client.get_object(Bucket=self._bucket, Key=self._key(self.epoch))["Body"].read()
        except ClientError:
            return False
        return bool(orjson.loads(body)["token"] == self._token)

    def _keep(self) -> None:
        """Say that we live, three times per `ttl`, until somebody took over or we finished.

        A beat that fails is left to the next one: silence costs the lease, and `require` finds out.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        while not self._stop.wait(self.ttl / 3):
            try:
                if self._newest()[0] != self.epoch:
                    return
                self._write()
            except (BotoCoreError, ClientError):
                continue

    def _write(self, released: bool = False, **condition: Any) -> None:
        body = {"token": self._token, "released": released, "beat": uuid.uuid4().hex}
        key = self._key(self.epoch)
        self._client.put_object(Bucket=self._bucket, Key=key, Body=orjson.dumps(body), **condition)

    def _newest(self) -> tuple[int, str]:
        """Epoch and entity tag of the newest object; (0, "") where there is none."""
        answer = self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix)
        found = [(int(Path(entry["Key"]).stem), str(entry["ETag"])) for entry in answer.get("Contents", [])]
        return max(found, default=(0, ""))

    def _key(self, epoch: int) -> str:
        return f"{self._prefix}{epoch:012d}.json"
