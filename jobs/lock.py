"""One writer per table on this machine: a file lock under BITACORA_HOME/locks, given back by the system if we die."""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lake.errors import TryAgain
from lake.table import Table


@contextmanager
def writing(home: Path, *tables: Table, patience_seconds: float = 900.0) -> Iterator[None]:
    """Hold the write lock of each table, in name order; a second run waits, then works on what is left to do.

    Raises:
        TryAgain: another run held a lock for longer than `patience_seconds`.
    """
    folder = home / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    held = []
    try:
        for table in sorted(tables, key=lambda t: t.name):
            stream = (folder / f"{table.name}.lock").open("a")
            held.append(stream)
            deadline = time.monotonic() + patience_seconds
            while True:
                try:
                    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise TryAgain(
                            f"{table.name} is being written by another run for over {patience_seconds:.0f} s. "
                            "Wait for it, or look what hangs."
                        ) from None
                    time.sleep(0.1)
        yield
    finally:
        for stream in held:
            stream.close()
