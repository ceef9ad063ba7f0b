"""Every source: a module of this package that declares `SOURCE`. Adding one is adding a file."""

import importlib
import pkgutil
from functools import cache

import lake.sources
from lake.errors import UsageError
from lake.sources.source import Metric, Source

_MECHANISM = {"__main__", "client", "generated", "registry", "server", "settings", "source", "units"}


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
def metrics() -> dict[tuple[str, str], Metric]:
    """Every declared metric by source and name."""
    return {(s.name, m.name): m for s in sources().values() for m in s.metrics}
