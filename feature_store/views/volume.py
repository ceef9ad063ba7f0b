"""Volume against its recent past, as a z-score; 0 where the volume did not vary.

State: 0 bars seen; 1… moments of the last 60 volumes (124 places).
"""

import math

from feature_store.rolling import MOMENTS, moments
from feature_store.view import VOLUME, FeatureView, Floats, Output, kernel

LENGTH = 60
WINDOW = 1


@kernel
def update(state: Floats, bar: Floats, out: Floats) -> None:
    count = int(state[0])
    volume = bar[VOLUME]
    state[0] = count + 1.0
    mean, squares = moments(state, WINDOW, LENGTH, count, volume)
    out[0] = 0.0 if squares == 0.0 else (volume - mean) / math.sqrt(squares / (LENGTH - 1))


VOLUME_Z = FeatureView(
    name="volume",
    version=1,
    inputs=("volume",),
    warm_up=LENGTH,
    state_size=WINDOW + MOMENTS + 2 * LENGTH,
    update=update,
    outputs=(
        Output(
            f"volume_z_{LENGTH}",
            "deviations",
            f"Volume minus the mean of the last {LENGTH}, over their sample deviation; 0 if it did not vary.",
        ),
    ),
)
