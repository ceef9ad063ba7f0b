"""Higuchi's fractal dimension (1988) of the last 128 closes, with steps of up to 8 bars.

L(k) = mean over m = 1…k of Σ|x(m + ik) - x(m + (i - 1)k)| (N - 1) / (⌊(N - m) / k⌋ k²); the dimension is the slope of
ln L(k) against ln(1 / k): 1 for a line, 1.5 for a random walk, 2 for noise. 1 where a step length saw no move.
NaN until warm.

State: 0 bars seen; 1… window of 128 closes (256 places).
"""

import math

from feature_store.rolling import push
from feature_store.view import CLOSE, NAN, FeatureView, Floats, Output, kernel
from feature_store.windows import slope

LENGTH, STEPS = 128, 8
WINDOW = 1


@kernel
def curve_length(state: Floats, start: int, step: int) -> float:
    """L(k) for k = `step`."""
    lengths = 0.0
    for m in range(step):
        path = 0.0
        moves = (LENGTH - 1 - m) // step
        for i in range(start + m + step, start + m + moves * step + 1, step):
            path += abs(state[i] - state[i - step])
        lengths += path * (LENGTH - 1) / (moves * step * step)
    return lengths / step


@kernel
def update(state: Floats, bar: Floats, out: Floats) -> None:
    count = int(state[0])
    start = push(state, WINDOW, LENGTH, count, bar[CLOSE])
    state[0] = count + 1.0
    out[0] = NAN
    if count + 1 < LENGTH:
        return
    out[0] = 1.0
    x = y = xx = xy = 0.0
    for step in range(1, STEPS + 1):
        length = curve_length(state, start, step)
        if length == 0.0:
            return
        fineness, size = -math.log(step), math.log(length)
        x, y, xx, xy = x + fineness, y + size, xx + fineness * fineness, xy + fineness * size
    out[0] = slope(STEPS, x, y, xx, xy)


HIGUCHI = FeatureView(
    name="higuchi",
    version=1,
    inputs=("close",),
    warm_up=LENGTH,
    state_size=WINDOW + 2 * LENGTH,
    update=update,
    outputs=(
        Output(
            f"higuchi_dimension_{STEPS}_{LENGTH}",
            "dimension",
            f"Higuchi's fractal dimension of {LENGTH} closes, steps up to {STEPS}.",
        ),
    ),
)
