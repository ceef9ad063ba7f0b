"""The journal's only writer: append, make durable, replay. The format is `lake.journal`'s.

One file per account home, one process at a time (flock). After any failed write or `fdatasync` the journal is failed
for the rest of the process: a page the kernel could not write may be dropped, so asking again proves nothing.
"""

import fcntl
import logging
import os
import secrets
from pathlib import Path
from typing import Any, Protocol

from lake.journal import Record, encode, read_journal
from live.errors import AlreadyRunning, JournalFailed

log = logging.getLogger("live.journal")
JOURNAL_FILE = "journal.log"
LOCK_FILE = "journal.lock"
_KEY = object()


class Files(Protocol):
    """The four file operations durability rests on; a test's layer records their order or loses unsynced bytes."""

    def write(self, fd: int, data: bytes) -> int: ...
    def fdatasync(self, fd: int) -> None: ...
    def truncate(self, fd: int, length: int) -> None: ...
    def sync_folder(self, folder: Path) -> None: ...


class OsFiles:
    """The operating system's."""

    def write(self, fd: int, data: bytes) -> int:
        return os.write(fd, data)

    def fdatasync(self, fd: int) -> None:
        os.fdatasync(fd)

    def truncate(self, fd: int, length: int) -> None:
        os.ftruncate(fd, length)

    def sync_folder(self, folder: Path) -> None:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


class Durable:
    """Proof that a record is on disk. Only `Journal.append_durable` makes one, and it pays for one send."""

    __slots__ = ("_spent", "record")

    def __init__(self, record: Record, key: object) -> None:
        if key is not _KEY:
            raise TypeError("a Durable is made by Journal.append_durable alone")
        self.record = record
        self._spent = False

    def spend(self) -> Record:
        """Give the record out for sending, once; a second time is our own mistake."""
        if self._spent:
            raise RuntimeError("this intent has been sent already: nothing is ever sent twice")
        self._spent = True
        return self.record


class Journal:
    """An open journal. `replayed` holds the records found at opening until the caller drops them."""

    def __init__(self, fd: int, lock_fd: int, replayed: list[Record], files: Files) -> None:
        self._fd, self._lock_fd, self._files = fd, lock_fd, files
        self._unsynced = False
        self.replayed = replayed
        self.next_seq = len(replayed)
        self.failed: str | None = None
        self.id = str(replayed[0]["journal_id"]) if replayed else secrets.token_hex(4)

    @classmethod
    def open(cls, folder: Path, files: Files | None = None) -> "Journal":
        """Lock, read, cut a torn tail off, and be ready to append.

        Raises:
            AlreadyRunning: another process holds the lock.
            JournalCorrupted: a damaged record has intact ones behind it.
        """
        files = files or OsFiles()
        folder.mkdir(parents=True, exist_ok=True)
        lock_fd = _lock(folder / LOCK_FILE)
        try:
            return cls._open_locked(folder, lock_fd, files)
        except BaseException:
            os.close(lock_fd)
            raise

    @classmethod
    def _open_locked(cls, folder: Path, lock_fd: int, files: Files) -> "Journal":
        path = folder / JOURNAL_FILE
        records, length = read_journal(path) if path.exists() else ([], 0)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        torn = os.fstat(fd).st_size - length
        if torn:
            log.warning("cut a torn tail of %d bytes off %s", torn, path)
            files.truncate(fd, length)
        files.fdatasync(fd)
        files.sync_folder(folder)
        return cls(fd, lock_fd, records, files)

    def append(self, kind: str, event_time: int, **fields: Any) -> Record:
        """Write one record; it survives the process, but a power cut only after `sync`.

        Raises:
            JournalFailed: this or an earlier write failed.
        """
        self._refuse_if_failed()
        record = {"seq": self.next_seq, "kind": kind, "event_time": event_time, **fields}
        data = memoryview(encode(record))
        try:
            while data:
                data = data[self._files.write(self._fd, bytes(data)) :]
        except OSError as error:
            self._fail("write", error)
        self.next_seq += 1
        self._unsynced = True
        return record

    def append_durable(self, kind: str, event_time: int, **fields: Any) -> Durable:
        """Write one record and wait until it and all before it are on disk."""
        record = self.append(kind, event_time, **fields)
        self.sync()
        return Durable(record, _KEY)

    def sync(self) -> None:
        """Put everything appended so far on disk.

        Raises:
            JournalFailed: this or an earlier `fdatasync` failed.
        """
        self._refuse_if_failed()
        if not self._unsynced:
            return
        try:
            self._files.fdatasync(self._fd)
        except OSError as error:
            self._fail("fdatasync", error)
        self._unsynced = False

    def close(self) -> None:
        """Release the file and the lock; without a sync, which is the caller's decision."""
        os.close(self._fd)
        os.close(self._lock_fd)

    def _refuse_if_failed(self) -> None:
        if self.failed:
            raise JournalFailed(self.failed)

    def _fail(self, what: str, error: OSError) -> None:
        self.failed = (
            f"journal: {what} failed: {error.strerror}. Nothing is sent any more; "
            "free space or replace the disk, then start again."
        )
        log.error("%s", self.failed)
        raise JournalFailed(self.failed) from error


def _lock(path: Path) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise AlreadyRunning(
            f"{path.parent}: another live process writes this journal. One account has one process: "
            "stop that one, or wait until it has stopped."
        ) from None
    return fd
