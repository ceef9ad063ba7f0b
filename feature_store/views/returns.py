"""Log returns of the close over several horizons: the memory of past moves.

State: 0 bars seen; 1… a ring of the last 480 closes.
"""

from feature_store.rolling import log_return
from feature_store.view import CLOSE, NAN, FeatureView, Floats, Output, kernel

HORIZONS = (1, 12, 48, 144, 288, 480)
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


RETURNS = FeatureView(
    name="returns",
    version=1,
    inputs=("close",),
    warm_up=LONGEST + 1,
    state_size=RING + LONGEST,
    update=update,
    outputs=tuple(
        Output(f"log_return_{n}", "log", f"ln(close / close {n} bar{'s'[: n > 1]} before).") for n in HORIZONS
    ),
)
