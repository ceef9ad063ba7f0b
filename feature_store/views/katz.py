"""Katz's fractal dimension (1988) of the last 60 closes, on amplitudes: it does not depend on the price's unit.

ln n / (ln n + ln(d / L)): n = 59 steps, L = sum of their sizes, d = greatest distance from the first close. 1 for a
straight move and where nothing moved, about 1.75 for a random walk; held at 4, since a zigzag around the first close
has no finite one. NaN until warm.

State: 0 bars seen; 1… window of 60 closes (120 places).
"""

import math

from feature_store.rolling import push
from feature_store.view import CLOSE, NAN, FeatureView, Floats, Output, kernel

LENGTH = 60
SCALE = math.log(LENGTH - 1)
MOST = 4.0
WINDOW = 1


@kernel
def update(state: Floats, bar: Floats, out: Floats) -> None:
    count = int(state[0])
    start = push(state, WINDOW, LENGTH, count, bar[CLOSE])
    state[0] = count + 1.0
    out[0] = NAN
    if count + 1 < LENGTH:
        return
    path = reach = 0.0
    for i in range(start + 1, start + LENGTH):
        path += abs(state[i] - state[i - 1])
        reach = max(reach, abs(state[i] - state[start]))
    below = SCALE + math.log(reach / path) if reach > 0.0 else SCALE
    out[0] = SCALE / max(below, SCALE / MOST)


KATZ = FeatureView(
    name="katz",
    version=1,
    inputs=("close",),
    warm_up=LENGTH,
    state_size=WINDOW + 2 * LENGTH,
    update=update,
    outputs=(Output(f"katz_dimension_{LENGTH}", "dimension", f"Katz's fractal dimension of {LENGTH} closes, 1 to 4."),),
)
