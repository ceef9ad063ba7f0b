"""What a feature view is: a state, a compiled update over one row of inputs, and the columns that update fills.

A view keeps everything it remembers in one flat float64 array, all zeros when empty, so that a state is reset by
filling it with zeros and saved or restored by copying. Its update is a Numba kernel

    update(state: float64[state_size], bar: float64[width], out: float64[len(outputs)]) -> None

that writes every output on every bar, NaN until warm. It may read the constants OPEN…VOLUME, its module's numbers and
other kernels: those are what the service's content hash is taken from (`feature_store.source`). Behind the bar's five
numbers lie, at the places of `feature_store.inputs`, its event time, the closes of reference instruments and further
series; each is there only if a view of the service names it among its inputs.
"""

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numba
import numpy as np
import numpy.typing as npt

from feature_store.inputs import INPUTS

Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.int64]
Update = Callable[[Floats, Floats, Floats], None]

BAR_COLUMNS: Final = INPUTS[:5]
OPEN: Final = 0
HIGH: Final = 1
LOW: Final = 2
CLOSE: Final = 3
VOLUME: Final = 4
EVENT_TIME: Final = 5
"""Close of the bar in UTC microseconds, as a float: exact until the year 2255."""
BTC_CLOSE: Final = 6
ETH_CLOSE: Final = 7
"""Close of the reference instrument's bar with the same event time; NaN where that bar is absent or came too late."""

NAN: Final = math.nan
UNTIL_WARM: Final = "until warm"
UNKNOWN: Final = "where the series is unknown or too old"
HOLES: Final = "until warm, and where a value is unknown"

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
    nan: str = UNTIL_WARM
    """When it is NaN (null in tables)."""


@dataclass(frozen=True, slots=True)
class FeatureView:
    """One idea: one small file in `feature_store/views/`. A change of meaning raises `version`."""

    name: str
    version: int
    inputs: tuple[str, ...]
    """The columns it reads, names of `feature_store.inputs`."""
    warm_up: int
    """Bars until every output is a number."""
    state_size: int
    """Length of its state; the view's module says what lies where."""
    update: Update
    outputs: tuple[Output, ...]
    owner: str = "ml"

    @property
    def description(self) -> str:
        """The first sentence of the view's module: what the idea is."""
        text = inspect.unwrap(getattr(self.update, "py_func", self.update)).__globals__.get("__doc__") or ""
        return " ".join(text.partition("\n\n")[0].split())
