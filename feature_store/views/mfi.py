"""Money flow index (Quong and Soudack, 1989): an RSI of typical price × volume.

A flow is typical price × volume, positive on a rise of the typical price, negative on a fall. 50 where nothing flowed
(TA-Lib: 0, also wherever 14 flows sum to less than 1). NaN until warm.

State: 0 bars seen; 1 last typical price; 2… window of 14 rising flows (28 places); 30… of 14 falling flows.
"""

from feature_store.rolling import push
from feature_store.view import CLOSE, HIGH, LOW, NAN, VOLUME, FeatureView, Floats, Output, kernel
from feature_store.windows import total

LENGTH = 14
LAST, RISES = 1, 2
FALLS = RISES + 2 * LENGTH


@kernel
def update(state: Floats, bar: Floats, out: Floats) -> None:
    count = int(state[0])
    typical, last = (bar[HIGH] + bar[LOW] + bar[CLOSE]) / 3.0, state[LAST]
    state[LAST] = typical
    state[0] = count + 1.0
    out[0] = NAN
    if count == 0:
        return
    flow = typical * bar[VOLUME]
    rises = push(state, RISES, LENGTH, count - 1, flow if typical > last else 0.0)
    falls = push(state, FALLS, LENGTH, count - 1, flow if typical < last else 0.0)
    if count < LENGTH:
        return
    rise, fall = total(state, rises, LENGTH), total(state, falls, LENGTH)
    out[0] = 100.0 * (rise / (rise + fall)) if rise + fall > 0.0 else 50.0


MFI = FeatureView(
    name="mfi",
    version=1,
    inputs=("high", "low", "close", "volume"),
    warm_up=LENGTH + 1,
    state_size=FALLS + 2 * LENGTH,
    update=update,
    outputs=(
        Output(f"mfi_{LENGTH}", "0-100", f"Money flow of rises in that of {LENGTH} changes; 50 if nothing flowed."),
    ),
)
