"""One writer per table, by the lake's lease (`lake.lease`): a file lock in a folder, conditional objects on S3."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lake import lease
from lake.settings import HomeSettings, LakeSettings, read_settings
from lake.table import Table


@contextmanager
def writing(home: Path, *tables: Table, patience_seconds: float = 900.0) -> Iterator[None]:
    """Hold the write lease of each table, in name order; a second run waits, then works on what is left to do.

    The lake is the one the settings name, as seen from `home`.

    Raises:
        TryAgain: another run held a lease for longer than `patience_seconds`.
    """
    root = read_settings(LakeSettings).root(HomeSettings(home=home))
    held: list[str] = []
    try:
        for table in sorted(tables, key=lambda t: t.name):
            lease.acquire(root, table.name, patience_seconds)
            held.append(table.name)
        yield
    finally:
        for name in held:
            lease.release(root, name)
