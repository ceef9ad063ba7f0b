"""What a feature view is: a state, a compiled update over one bar, and the columns that update fills.

A view keeps everything it remembers in one flat float64 array, all zeros when empty, so that a state is reset by
filling it with zeros and saved or restored by copying. Its update is a Numba kernel

    update(state: float64[state_size], bar: float64[5 or 6], out: float64[len(outputs)]) -> None

that writes every output on every bar, NaN until warm. It may read the constants OPEN…VOLUME, its module's numbers and
other kernels: those are what the service's content hash is taken from (`feature_store.source`). The sixth number is
the bar's event time; it is there only if a view of the service names it among its inputs.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numba
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.int64]
Update = Callable[[Floats, Floats, Floats], None]

BAR_COLUMNS: Final = ("open", "high", "low", "close", "volume")
OPEN: Final = 0
HIGH: Final = 1
LOW: Final = 2
CLOSE: Final = 3
VOLUME: Final = 4
EVENT_TIME: Final = 5
"""Close of the bar in UTC microseconds, as a float: exact until the year 2255."""

NAN: Final = math.nan

KERNEL_OPTIONS: Final = {"error_model": "numpy", "nogil": True, "forceinline": True, "_nrt": False}
"""No fastmath: a sum must round alike wherever it is compiled. Inlined and without reference counting, which a scan
spent half its time on: a kernel sees slices of arrays that its caller keeps, and cannot allocate any."""

kernel = numba.njit(**KERNEL_OPTIONS)
"""Decorator of every kernel."""


@dataclass(frozen=True, slots=True)
class Output:
    """One column; its name ends in its parameters."""

    name: str
    unit: str
    description: str


@dataclass(frozen=True, slots=True)
class FeatureView:
    """One idea: one small file in `feature_store/views/`. A change of meaning raises `version`."""

    name: str
    version: int
    inputs: tuple[str, ...]
    """The bar columns it reads, event_time among them if it does."""
    warm_up: int
    """Bars until every output is a number."""
    state_size: int
    """Length of its state; the view's module says what lies where."""
    update: Update
    outputs: tuple[Output, ...]
