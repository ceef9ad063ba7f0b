"""One compiled scan per list of views. Batch runs it over a period, live over one bar: the same machine code.

Numba cannot keep a loop over a tuple of kernels on disk across processes, and its cache does not see a change in a
kernel that lives in another file. So the scan's few lines are written out, one call per view, to a file named after
everything they depend on; Numba caches the machine code beside it. A changed kernel is a new file name.

The file lives in `$NUMBA_CACHE_DIR/bitacora`, else in this package's `__pycache__`, else in the user's cache folder,
else in a folder of this process alone; the first that can be written.
"""

import hashlib
import os
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import cast

from feature_store.source import kernel_source
from feature_store.view import KERNEL_OPTIONS, FeatureView, Floats
from lake.errors import Misconfigured

Scan = Callable[[Floats, Floats, Floats, Floats], None]

_DOCSTRING = '"""Written by feature_store.fuse; safe to delete. Views: {names}."""'

_SCAN = """
import numba

SIGNATURE = "void(float64[::1], float64[:, ::1], float64[::1], float64[:, ::1])"


@numba.njit(SIGNATURE, cache=CACHE, **OPTIONS)
def scan(state, bars, scratch, outputs):
    skip = len(bars) - len(outputs)
    for i in range(len(bars)):
{row}        out = scratch if i < skip else outputs[i - skip]
"""


def fused_scan(views: tuple[FeatureView, ...], places: tuple[int, ...] = ()) -> Scan:
    """Compile, or load from the cache, `scan(state, bars, scratch, outputs)` over the views.

    Moves `state` (float64[sum of state sizes], in place) over `bars` (float64[n, width]). The last bars fill the rows
    of `outputs` (float64[m, k], m ≤ n); those before them are warm-up and only touch `scratch` (float64[k + row]).

    Args:
        places: where each column of `bars` lies in the row that the kernels see, where that is not its own place; the
            row is then put together behind the first k numbers of `scratch`, `max(places) + 1` long.
    """
    known = _SCANS.get((views, places))
    if known is None:
        known = _SCANS[views, places] = _load(views, places)
    return known


_SCANS: dict[tuple[tuple[FeatureView, ...], tuple[int, ...]], Scan] = {}


def _load(views: tuple[FeatureView, ...], places: tuple[int, ...]) -> Scan:
    text = _text(views, places)
    kernels = "\0".join(kernel_source(view.update) for view in views)
    name = "scan_" + hashlib.sha256(f"{text}\0{KERNEL_OPTIONS}\0{kernels}".encode()).hexdigest()[:20]
    path = _store(f"{name}.py", text)
    module = ModuleType(f"feature_store._fused.{name}")
    module.__file__ = str(path)
    module.__dict__.update({f"update_{i}": view.update for i, view in enumerate(views)}, OPTIONS=KERNEL_OPTIONS)
    module.__dict__["CACHE"] = True
    sys.modules[module.__name__] = module  # numba looks a function's globals up by module
    code = compile(text, path, "exec")  # our own text, never read back
    try:
        exec(code, module.__dict__)
    except ModuleNotFoundError:  # a kernel of a module that cannot be imported by name: numba cannot load it again
        module.__dict__["CACHE"] = False
        exec(code, module.__dict__)
    return cast(Scan, module.__dict__["scan"])


def _text(views: tuple[FeatureView, ...], places: tuple[int, ...]) -> str:
    at, to = 0, sum(len(view.outputs) for view in views)
    row = "        bar = bars[i]\n"
    if places:
        row = f"        bar = scratch[{to}:]\n"
        row += "".join(f"        bar[{place}] = bars[i, {column}]\n" for column, place in enumerate(places))
    lines = [_DOCSTRING.format(names=", ".join(view.name for view in views)), _SCAN.replace("{row}", row)]
    to = 0
    for i, view in enumerate(views):
        state_end, out_end = at + view.state_size, to + len(view.outputs)
        lines.append(f"        update_{i}(state[{at}:{state_end}], bar, out[{to}:{out_end}])  # {view.name}\n")
        at, to = state_end, out_end
    return "".join(lines)


def _store(name: str, text: str) -> Path:
    """Write the text into the first folder that takes it; an equal file is left alone, so its cache stays valid."""
    for folder in _folders():
        try:
            return _write(folder, name, text)
        except OSError:
            continue
    raise Misconfigured("no folder can be written for the compiled features: set NUMBA_CACHE_DIR to one of yours")


def _folders() -> Iterator[Path]:
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    if chosen:
        yield Path(chosen) / "bitacora"
    yield Path(__file__).parent / "__pycache__" / "fused"
    yield Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bitacora" / "fused"
    yield Path(tempfile.mkdtemp(prefix="bitacora-fused-"))


def _write(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / name
    if not (os.access(folder, os.W_OK) and _is_ours(folder)):
        raise PermissionError(folder)
    if not path.exists() or path.read_text() != text:
        with tempfile.NamedTemporaryFile("w", dir=folder, delete=False) as stream:
            stream.write(text)
        Path(stream.name).replace(path)
    return path


def _is_ours(folder: Path) -> bool:
    """Machine code is loaded from it: nobody else may write there."""
    status = folder.stat()
    return status.st_uid == os.getuid() and not status.st_mode & stat.S_IWOTH
