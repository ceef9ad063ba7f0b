"""The decorators of all compiled functions of the market, and the guard of Numba's disk cache.

Numba keeps machine code per file and looks at that file alone. A function that another file's functions or constants
are compiled into would go on with the old ones after an edit or a pull; so the machine code of this package is dropped
when any of its files with compiled functions is not what it was. `python -m market.kernel` compiles what the embedded
exchange needs; `make setup` runs it, since a cold exchange would take a minute to answer.
"""

import hashlib
import re
import tempfile
from pathlib import Path
from typing import Any

from numba import njit

__all__ = ["forget_stale", "inlined", "kernel", "njit"]

_FOLDER = Path(__file__).parent
_OPTIONS_FILE = Path(__file__).name
_COMPILED = re.compile(rb"^@(njit|kernel|inlined)\b", re.MULTILINE)

_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy", "_nrt": False}
kernel: Any = njit(**_OPTIONS)
"""Decorator of compiled functions over the arrays of a market: they allocate nothing and count no references, which
would cost ten times more than the work: each call passes dozens of arrays. Whoever calls one keeps the arrays alive."""
inlined: Any = njit(forceinline=True, **_OPTIONS)
"""The same for small functions on the way of every order."""


def forget_stale(folder: Path = _FOLDER) -> bool:
    """Drop the machine code in `folder/__pycache__` unless it came from these very sources; returns whether it did so.

    Where the folder cannot be written nothing happens: Numba then keeps its cache elsewhere, by the path of an
    installation that does not change.
    """
    digest, cache = hashlib.sha256(), folder / "__pycache__"
    for path in sorted(folder.glob("*.py")):
        text = path.read_bytes()
        if path.name == _OPTIONS_FILE or _COMPILED.search(text):
            digest.update(path.name.encode() + b"\0" + text)
    stamp = cache / "kernels.sha256"
    try:
        if stamp.exists() and stamp.read_text() == digest.hexdigest():
            return False
        cache.mkdir(exist_ok=True)
        for old in cache.glob("*.nb[ci]"):
            old.unlink(missing_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=cache, delete=False) as file:
            file.write(digest.hexdigest())
        Path(file.name).replace(stamp)
    except OSError:
        return False
    return True


forget_stale()


def main() -> None:
    """Compile, or load, what two venues with derivatives need before their first order."""
    from decimal import Decimal

    from market.scenario import Scenario
    from market.second_venue import SecondVenue
    from market.venue import build_venue

    venue = build_venue(
        Scenario(1, days=1), 1.0, True, 1, Decimal(5), Decimal(1000), SecondVenue(), with_derivatives=True
    )
    venue.advance(venue.exchange.time + 2_000_000)
    venue.publish()


if __name__ == "__main__":
    main()
