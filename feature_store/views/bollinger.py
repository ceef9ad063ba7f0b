"""Bollinger bands of the close: mean plus and minus two population deviations (Bollinger, as in TA-Lib).

State: 0 bars seen; 1… window of 20 closes (40 places).
"""

import math

from feature_store.rolling import moments, push
from feature_store.view import CLOSE, NAN, FeatureView, Floats, Output, kernel

LENGTH, DEVIATIONS = 20, 2
WINDOW = 1


@kernel
def update(state: Floats, bar: Floats, out: Floats) -> None:
    count = int(state[0])
    close = bar[CLOSE]
    start = push(state, WINDOW, LENGTH, count, close)
    state[0] = count + 1.0
    if count + 1 < LENGTH:
        out[0] = out[1] = out[2] = NAN
        return
    offset, squares = moments(state, start, LENGTH)
    width = DEVIATIONS * math.sqrt(squares / LENGTH)
    middle = state[start] + offset
    out[0] = middle + width
    out[1] = middle
    out[2] = middle - width


_LENGTHS = f"{LENGTH}_{DEVIATIONS}"

BOLLINGER = FeatureView(
    name="bollinger",
    version=1,
    inputs=("close",),
    warm_up=LENGTH,
    state_size=WINDOW + 2 * LENGTH,
    update=update,
    outputs=(
        Output(f"bb_upper_{_LENGTHS}", "quote", f"Mean of {LENGTH} closes plus {DEVIATIONS} population deviations."),
        Output(f"bb_mid_{_LENGTHS}", "quote", f"Mean of {LENGTH} closes."),
        Output(f"bb_lower_{_LENGTHS}", "quote", f"Mean of {LENGTH} closes minus {DEVIATIONS} population deviations."),
    ),
)
