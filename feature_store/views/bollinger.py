"""Bollinger bands of the close: mean plus and minus two population deviations (Bollinger, as in TA-Lib).

State: 0 bars seen; 1… moments of the last 20 closes (44 places).
"""

import math

from feature_store.rolling import MOMENTS, moments
from feature_store.view import CLOSE, FeatureView, Floats, Output, kernel

LENGTH, DEVIATIONS = 20, 2
WINDOW = 1


@kernel
def update(state: Floats, bar: Floats, out: Floats) -> None:
    count = int(state[0])
    close = bar[CLOSE]
    state[0] = count + 1.0
    middle, squares = moments(state, WINDOW, LENGTH, count, close)
    width = DEVIATIONS * math.sqrt(squares / LENGTH)
    out[0] = middle + width
    out[1] = middle
    out[2] = middle - width


_LENGTHS = f"{LENGTH}_{DEVIATIONS}"

BOLLINGER = FeatureView(
    name="bollinger",
    version=1,
    inputs=("close",),
    warm_up=LENGTH,
    state_size=WINDOW + MOMENTS + 2 * LENGTH,
    update=update,
    outputs=(
        Output(f"bb_upper_{_LENGTHS}", "quote", f"Mean of {LENGTH} closes plus {DEVIATIONS} population deviations."),
        Output(f"bb_mid_{_LENGTHS}", "quote", f"Mean of {LENGTH} closes."),
        Output(f"bb_lower_{_LENGTHS}", "quote", f"Mean of {LENGTH} closes minus {DEVIATIONS} population deviations."),
    ),
)
