"""Quantiles of the last 480 log returns, read from a compressed histogram of fixed size.

The histogram is DDSketch's (Masson, Rim and Lee, 2019): bins that grow by the factor 2^(1/8), 128 on either side of a
bin for |return| < 1e-6; the last ones take everything beyond 6.5 %. A quantile is the middle of the bin that holds the
value of rank ⌊q·479⌋, so it lies within 4.4 % of that value. A ring of bin numbers lets the oldest return leave. NaN
until warm.

State: 0 bars seen; 1 last close; 2… counts of 257 bins, falls first; 259… ring of 480 bin numbers.
"""

import math

from feature_store.rolling import log_return
from feature_store.view import CLOSE, NAN, FeatureView, Floats, Output, kernel

LENGTH = 480
PERCENTS = (5, 25, 50, 75, 95)
SMALLEST = 1e-6
SIDE = 128
GROWTH = math.log(2.0) / 8.0
MIDDLE = 2.0 * math.exp(GROWTH) / (math.exp(GROWTH) + 1.0)
LAST, COUNTS = 1, 2
RING = COUNTS + 2 * SIDE + 1


@kernel
def bin_of(change: float) -> int:
    size = abs(change)
    if size < SMALLEST:
        return SIDE
    place = 1 + min(int(math.log(size / SMALLEST) / GROWTH), SIDE - 1)
    return SIDE + place if change > 0.0 else SIDE - place


@kernel
def value_of(place: int) -> float:
    """The bin's middle, in the sense that its edges are equally far off in proportion."""
    if place == SIDE:
        return 0.0
    size = SMALLEST * MIDDLE * math.exp(GROWTH * (abs(place - SIDE) - 1))
    return size if place > SIDE else -size


@kernel
def update(state: Floats, bar: Floats, out: Floats) -> None:
    count = int(state[0])
    last = state[LAST]
    state[LAST] = bar[CLOSE]
    state[0] = count + 1.0
    for k in range(len(PERCENTS)):
        out[k] = NAN
    if count == 0:
        return
    ring = RING + (count - 1) % LENGTH
    if count > LENGTH:
        state[COUNTS + int(state[ring])] -= 1.0
    state[ring] = bin_of(log_return(bar[CLOSE], last))
    state[COUNTS + int(state[ring])] += 1.0
    if count < LENGTH:
        return
    place, below = 0, state[COUNTS]
    for k in range(len(PERCENTS)):
        rank = PERCENTS[k] * (LENGTH - 1) // 100
        while below <= rank:
            place += 1
            below += state[COUNTS + place]
        out[k] = value_of(place)


RETURN_QUANTILES = FeatureView(
    name="return_quantiles",
    version=1,
    inputs=("close",),
    warm_up=LENGTH + 1,
    state_size=RING + LENGTH,
    update=update,
    outputs=tuple(
        Output(f"return_quantile_{p}_{LENGTH}", "log", f"The {p} % quantile of {LENGTH} log returns, within 4.4 %.")
        for p in PERCENTS
    ),
)
