"""The source of a kernel, for the content hash: its own text and that of everything it refers to.

Comments, docstrings, layout and annotations do not count; code, constants, called kernels and compiler options do.
"""

import ast
import inspect
import math
import textwrap
from collections.abc import Callable
from types import ModuleType
from typing import Any

from feature_store.errors import KernelRefused

_LIBRARIES = frozenset({"math", "numpy", "builtins"})


def kernel_source(kernel: Callable[..., Any]) -> str:
    """Normalised source of a kernel, its constants and, each once, the kernels it calls, in order of first use.

    Raises:
        KernelRefused: it refers to something that is neither a number, a tuple of numbers, a kernel, math nor numpy.
    """
    parts: dict[str, str] = {}
    _collect(kernel, parts)
    return "\n".join(parts.values())


def _collect(kernel: Callable[..., Any], parts: dict[str, str]) -> None:
    function = inspect.unwrap(getattr(kernel, "py_func", kernel))
    name = f"{function.__module__}.{function.__qualname__}"
    if name in parts:
        return
    parts[name] = ""  # holds the place: a kernel that calls itself is collected once
    names = inspect.getclosurevars(function)
    constants: list[str] = []
    for used, value in sorted({**names.globals, **names.nonlocals}.items()):
        if hasattr(value, "py_func") or inspect.isfunction(value):  # plain where NUMBA_DISABLE_JIT is set
            _collect(value, parts)
        elif _is_number(value) or (isinstance(value, tuple) and all(map(_is_number, value))):
            constants.append(f"{used} = {value!r}")
        elif not _is_library(value):
            raise KernelRefused(
                f"kernel {name} refers to {used} = {value!r}: expected a number, a tuple of numbers or a kernel. "
                "Keep what it needs in its state or in a constant of its module."
            )
    options = sorted(getattr(kernel, "targetoptions", {}).items())
    parts[name] = "\n".join([f"# {name} {options}", *constants, _normalised(function)])


def _is_number(value: object) -> bool:
    return isinstance(value, (bool, int, float))


def _is_library(value: object) -> bool:
    home = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
    return home in _LIBRARIES or value is math


def _normalised(function: Callable[..., Any]) -> str:
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    definition = tree.body[0]
    if not isinstance(definition, ast.FunctionDef):
        raise KernelRefused(f"kernel {function.__qualname__}: expected a def statement.")
    definition.decorator_list = []
    definition.returns = None
    for argument in definition.args.args:
        argument.annotation = None
    if ast.get_docstring(definition, clean=False) is not None:
        definition.body = definition.body[1:] or [ast.Pass()]
    return ast.unparse(definition)
