"""Volume against its recent past, as a z-score; 0 where the volume did not vary.

State: moments of the last 60 volumes.
"""

import math

from feature_store.rolling import MOMENTS, moments
from feature_store.view import VOLUME, FeatureView, Floats, Output, kernel

LENGTH = 60


@kernel
def update(state: Floats, bar: Floats, out: Floats) -> None:
    volume = bar[VOLUME]
    mean, squares = moments(state, 0, LENGTH, volume)
    out[0] = 0.0 if squares == 0.0 else (volume - mean) / math.sqrt(squares / (LENGTH - 1))


VOLUME_Z = FeatureView(
    name="volume",
    version=1,
    inputs=("volume",),
    warm_up=LENGTH,
    state_size=MOMENTS + LENGTH,
    update=update,
    outputs=(
        Output(
            f"volume_z_{LENGTH}",
            "deviations",
            f"Volume minus the mean of the last {LENGTH}, over their sample deviation; 0 if it did not vary.",
        ),
    ),
)
