"""Variance ratio (Lo and MacKinlay, 1988) over the last 288 log returns: overlapping, unbiased.

Variance of q-bar returns over q times that of one-bar returns: above 1 the price trends, below 1 it reverts. 1 where
nothing moved. NaN until warm.

State: 0 bars seen; 1… window of 289 log closes (578 places).
"""

import math

from feature_store.rolling import push
from feature_store.view import CLOSE, NAN, FeatureView, Floats, Output, kernel

RETURNS = 288
STEPS = (2, 12, 48)
LENGTH = RETURNS + 1
WINDOW = 1


@kernel
def squares_of_steps(state: Floats, start: int, step: int) -> float:
    """Sum of squared `step`-bar returns about `step` times the mean return."""
    drift = step * (state[start + RETURNS] - state[start]) / RETURNS
    squares = 0.0
    for i in range(start + step, start + LENGTH):
        difference = state[i] - state[i - step] - drift
        squares += difference * difference
    return squares


@kernel
def update(state: Floats, bar: Floats, out: Floats) -> None:
    count = int(state[0])
    start = push(state, WINDOW, LENGTH, count, math.log(bar[CLOSE]))
    state[0] = count + 1.0
    warm = count + 1 >= LENGTH
    single = squares_of_steps(state, start, 1) / (RETURNS - 1.0) if warm else 0.0
    for k in range(len(STEPS)):
        step = STEPS[k]
        out[k] = 1.0 if warm else NAN
        if single > 0.0:
            sample = step * (RETURNS - step + 1.0) * (1.0 - step / RETURNS)
            out[k] = squares_of_steps(state, start, step) / sample / single


VARIANCE_RATIO = FeatureView(
    name="variance_ratio",
    version=1,
    inputs=("close",),
    warm_up=LENGTH,
    state_size=WINDOW + 2 * LENGTH,
    update=update,
    outputs=tuple(
        Output(
            f"variance_ratio_{q}_{RETURNS}",
            "ratio",
            f"Variance of {q}-bar returns over {q} times that of 1-bar ones.",
        )
        for q in STEPS
    ),
)
