"""On-balance volume (Granville, 1963): volume added on a rise of the close, subtracted on a fall.

`obv` counts from the first bar of the scan, 500 bars before the period: its level means nothing from one period to the
next and steps at the period's start; only its changes do. `obv_share_48` is bounded and free of any start: the signed
volume of the last 48 changes over all volume of the same bars, 0 where nothing traded, NaN until warm.

State: 0 bars seen; 1 last close; 2 OBV; 3… window of 48 signed volumes (96 places); 99… of 48 volumes.
"""

from feature_store.rolling import push
from feature_store.view import CLOSE, NAN, VOLUME, FeatureView, Floats, Output, kernel
from feature_store.windows import total

LENGTH = 48
LAST, LEVEL, SIGNED = 1, 2, 3
VOLUMES = SIGNED + 2 * LENGTH


@kernel
def update(state: Floats, bar: Floats, out: Floats) -> None:
    count = int(state[0])
    change, volume = bar[CLOSE] - state[LAST], bar[VOLUME]
    state[LAST] = bar[CLOSE]
    state[0] = count + 1.0
    signed = volume if change > 0.0 else -volume if change < 0.0 else 0.0  # the first bar is a rise, as in TA-Lib
    state[LEVEL] += signed
    out[0] = state[LEVEL]
    out[1] = NAN
    if count == 0:
        return
    start = push(state, SIGNED, LENGTH, count - 1, signed)
    volumes = push(state, VOLUMES, LENGTH, count - 1, volume)
    if count < LENGTH:
        return
    traded = total(state, volumes, LENGTH)
    out[1] = total(state, start, LENGTH) / traded if traded > 0.0 else 0.0


OBV = FeatureView(
    name="obv",
    version=1,
    inputs=("close", "volume"),
    warm_up=LENGTH + 1,
    state_size=VOLUMES + 2 * LENGTH,
    update=update,
    outputs=(
        Output("obv", "base", "On-balance volume since the scan's start: read its changes, not its level."),
        Output(f"obv_share_{LENGTH}", "fraction", f"Volume of rises less that of falls, over all, {LENGTH} changes."),
    ),
)
