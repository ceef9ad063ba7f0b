"""Linearly weighted moving average of the close: the newest close weighs 20, the oldest 1. Source: as in TA-Lib.

NaN until warm.

State: 0 bars seen; 1… window of 20 closes (40 places).
"""

from feature_store.rolling import push
from feature_store.view import CLOSE, NAN, FeatureView, Floats, Output, kernel

LENGTH = 20
WEIGHTS = LENGTH * (LENGTH + 1) / 2
WINDOW = 1


@kernel
def update(state: Floats, bar: Floats, out: Floats) -> None:
    count = int(state[0])
    start = push(state, WINDOW, LENGTH, count, bar[CLOSE])
    state[0] = count + 1.0
    out[0] = NAN
    if count + 1 < LENGTH:
        return
    origin = state[start]
    weighted = 0.0
    for i in range(LENGTH):
        weighted += (i + 1) * (state[start + i] - origin)
    out[0] = origin + weighted / WEIGHTS


WMA = FeatureView(
    name="wma",
    version=1,
    inputs=("close",),
    warm_up=LENGTH,
    state_size=WINDOW + 2 * LENGTH,
    update=update,
    outputs=(Output(f"wma_{LENGTH}", "quote", f"Mean of the last {LENGTH} closes, weighted 1 to {LENGTH}."),),
)
