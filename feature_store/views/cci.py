"""Commodity channel index (Lambert, 1980): typical price against its mean, in mean absolute deviations over 0.015.

Typical price = (high + low + close) / 3. 0 where it did not vary. NaN until warm.

State: 0 bars seen; 1… window of 20 typical prices (40 places).
"""

from feature_store.rolling import mean_offset, push
from feature_store.view import CLOSE, HIGH, LOW, NAN, FeatureView, Floats, Output, kernel

LENGTH = 20
WINDOW = 1


@kernel
def update(state: Floats, bar: Floats, out: Floats) -> None:
    count = int(state[0])
    typical = (bar[HIGH] + bar[LOW] + bar[CLOSE]) / 3.0
    start = push(state, WINDOW, LENGTH, count, typical)
    state[0] = count + 1.0
    out[0] = NAN
    if count + 1 < LENGTH:
        return
    offset = mean_offset(state, start, LENGTH)
    origin = state[start]
    deviation = 0.0
    for i in range(start, start + LENGTH):
        deviation += abs((state[i] - origin) - offset)
    difference = (typical - origin) - offset
    out[0] = difference / (0.015 * deviation / LENGTH) if deviation > 0.0 else 0.0


CCI = FeatureView(
    name="cci",
    version=1,
    inputs=("high", "low", "close"),
    warm_up=LENGTH,
    state_size=WINDOW + 2 * LENGTH,
    update=update,
    outputs=(
        Output(
            f"cci_{LENGTH}",
            "0.015 deviations",
            f"Typical price less its mean of {LENGTH} bars, over 0.015 mean absolute deviations; 0 if it did not vary.",
        ),
    ),
)
