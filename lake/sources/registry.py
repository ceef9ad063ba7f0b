"""Every source: a module of this package that declares `SOURCE`. Adding one is adding a file."""

import importlib
import pkgutil
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import lake.sources
from lake.errors import UsageError
from lake.sources.source import Metric, Raw, Source

_MECHANISM = {
    "__main__", "client", "cursor", "files", "generated", "imported", "registry", "server", "settings", "source",
    "units",
}  # fmt: skip


@cache
def sources() -> dict[str, Source]:
    """Sources by name, in the order of their names."""
    found: dict[str, Source] = {}
    for module in pkgutil.iter_modules(lake.sources.__path__):
        if module.name in _MECHANISM:
            continue
        source = getattr(importlib.import_module(f"lake.sources.{module.name}"), "SOURCE", None)
        if isinstance(source, Source):
            found[source.name] = source
    return dict(sorted(found.items()))


def source(name: str) -> Source:
    """Raises:
    UsageError: no such source; the message lists what there is.
    """
    if name in sources():
        return sources()[name]
    raise UsageError(f"unknown source {name!r}: expected one of {', '.join(sources())}")


@cache
def metric(source_name: str, name: str) -> Metric | None:
    """A source's metric, else the imported quantity of that name; None: nobody declares it."""
    from lake.sources.imported import METRICS

    own = sources()[source_name].metric(name) if source_name in sources() else None
    return own or next((m for m in METRICS if m.name == name), None)


def parser(source_name: str, endpoint: str) -> Callable[[Raw], Iterable[Any]]:
    """What reads an answer of a source, or an imported file.

    Raises:
        UsageError: no such source.
    """
    from lake.sources.files import PREFIX, parse

    return parse if endpoint.startswith(PREFIX) else source(source_name).parse
