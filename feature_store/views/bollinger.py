"""Bollinger bands of the close: mean plus and minus two population deviations (Bollinger, as in TA-Lib).

State: moments of the last 20 closes.
"""

import math

from feature_store.rolling import MOMENTS, moments
from feature_store.view import CLOSE, FeatureView, Floats, Output, kernel

LENGTH, DEVIATIONS = 20, 2


@kernel
def update(state: Floats, bar: Floats, out: Floats) -> None:
    middle, squares = moments(state, 0, LENGTH, bar[CLOSE])
    width = DEVIATIONS * math.sqrt(squares * (1.0 / LENGTH))
    out[0] = middle + width
    out[1] = middle
    out[2] = middle - width


_LENGTHS = f"{LENGTH}_{DEVIATIONS}"

BOLLINGER = FeatureView(
    name="bollinger",
    version=1,
    inputs=("close",),
    warm_up=LENGTH,
    state_size=MOMENTS + LENGTH,
    update=update,
    outputs=(
        Output(f"bb_upper_{_LENGTHS}", "quote", f"Mean of {LENGTH} closes plus {DEVIATIONS} population deviations."),
        Output(f"bb_mid_{_LENGTHS}", "quote", f"Mean of {LENGTH} closes."),
        Output(f"bb_lower_{_LENGTHS}", "quote", f"Mean of {LENGTH} closes minus {DEVIATIONS} population deviations."),
    ),
)
