"""Volume against its recent past, as a z-score; 0 where the volume did not vary.

State: 0 bars seen; 1… window of 60 volumes (120 places).
"""

import math

from feature_store.rolling import moments, push
from feature_store.view import NAN, VOLUME, FeatureView, Floats, Output, kernel

LENGTH = 60
WINDOW = 1


@kernel
def update(state: Floats, bar: Floats, out: Floats) -> None:
    count = int(state[0])
    volume = bar[VOLUME]
    start = push(state, WINDOW, LENGTH, count, volume)
    state[0] = count + 1.0
    if count + 1 < LENGTH:
        out[0] = NAN
        return
    offset, squares = moments(state, start, LENGTH)
    deviation = math.sqrt(squares / (LENGTH - 1))
    out[0] = (volume - state[start] - offset) / deviation if deviation > 0.0 else 0.0


VOLUME_Z = FeatureView(
    name="volume",
    version=1,
    inputs=("volume",),
    warm_up=LENGTH,
    state_size=WINDOW + 2 * LENGTH,
    update=update,
    outputs=(
        Output(
            f"volume_z_{LENGTH}",
            "deviations",
            f"Volume minus the mean of the last {LENGTH}, over their sample deviation; 0 if it did not vary.",
        ),
    ),
)
