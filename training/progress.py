"""Show how far a run is: a bar on a terminal, plain lines elsewhere. Everything on stderr; stdout is for results."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(title: str) -> Iterator[Callable[[str, int, int], None]]:
    """Yield `tell(what, done, total)`."""
    if not sys.stderr.isatty():
        yield _lines(title)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[what]}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None, what="")
        yield lambda what, done, total: bar.update(task, completed=done, total=total, what=what)


def _lines(title: str) -> Callable[[str, int, int], None]:
    began = time.monotonic()

    def tell(what: str, done: int, total: int) -> None:
        print(f"{title}: {what} ({done} of {total}, {time.monotonic() - began:.1f} s)", file=sys.stderr, flush=True)

    return tell
