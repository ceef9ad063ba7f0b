"""Log returns of the close over the horizons that `default_5m` leaves out.

NaN until the horizon lies inside the scan. Source: ln(close / close n bars before).

State: 0 bars seen; 1… a ring of the last 384 closes.
"""

from feature_store.rolling import log_return
from feature_store.view import CLOSE, NAN, FeatureView, Floats, Output, kernel

HORIZONS = (2, 3, 6, 24, 36, 72, 96, 192, 384)
LONGEST = HORIZONS[-1]
RING = 1


@kernel
def update(state: Floats, bar: Floats, out: Floats) -> None:
    count = int(state[0])
    close = bar[CLOSE]
    for k in range(len(HORIZONS)):
        horizon = HORIZONS[k]
        out[k] = log_return(close, state[RING + (count - horizon) % LONGEST]) if count >= horizon else NAN
    state[RING + count % LONGEST] = close
    state[0] = count + 1.0


FURTHER_RETURNS = FeatureView(
    name="further_returns",
    version=1,
    inputs=("close",),
    warm_up=LONGEST + 1,
    state_size=RING + LONGEST,
    update=update,
    outputs=tuple(Output(f"log_return_{n}", "log", f"ln(close / close {n} bars before).") for n in HORIZONS),
)
