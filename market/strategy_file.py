"""Read a strategy from a file: one class, its parameters as settings. Light: a live node imports it too."""

import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Sequence
from pathlib import Path

from lake.errors import UsageError
from market.strategy import Strategy


def load_strategy(source: str) -> type[Strategy]:
    """Import the strategy class of FILE.py or FILE.py:NAME.

    Raises:
        UsageError: no such file, an error in it, or not exactly one strategy class to choose.
    """
    file, _, name = source.partition(":")
    path = Path(file)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise UsageError(f"{file}: expected a Python file with a strategy class.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UsageError(f"{file} does not import: {type(error).__name__}: {error}") from error
    found = {
        label: value
        for label, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, Strategy) and value.__module__ == spec.name
    }
    if name in found or (not name and len(found) == 1):
        return found[name] if name else next(iter(found.values()))
    wanted = f"class {name}" if name else "one strategy class"
    raise UsageError(f"{file}: expected {wanted}, found {', '.join(found) or 'none'}. Name one as {file}:NAME.")


def file_digest(source: str) -> str:
    """SHA-256 of the strategy's file, for the books."""
    return hashlib.sha256(Path(source.partition(":")[0]).read_bytes()).hexdigest()


def settings_of(pairs: Sequence[str]) -> dict[str, str]:
    """`NAME=VALUE` texts of `--set`.

    Raises:
        UsageError: one has no `=`.
    """
    for pair in pairs:
        if "=" not in pair:
            raise UsageError(f"--set {pair}: expected NAME=VALUE.")
    return dict(pair.split("=", 1) for pair in pairs)
