"""Simple returns of the close over several horizons, in bars: close / close n bars before, minus 1.

NaN until the horizon lies inside the scan. Source: pandas' `pct_change`.

State: 0 bars seen; 1… a ring of the last 288 closes.
"""

from feature_store.view import CLOSE, NAN, FeatureView, Floats, Output, kernel

HORIZONS = (1, 3, 6, 12, 24, 48, 96, 288)
LONGEST = HORIZONS[-1]
RING = 1


@kernel
def update(state: Floats, bar: Floats, out: Floats) -> None:
    count = int(state[0])
    close = bar[CLOSE]
    for k in range(len(HORIZONS)):
        horizon = HORIZONS[k]
        past = state[RING + (count - horizon) % LONGEST]
        out[k] = (close - past) / past if count >= horizon else NAN
    state[RING + count % LONGEST] = close
    state[0] = count + 1.0


SIMPLE_RETURNS = FeatureView(
    name="simple_returns",
    version=1,
    inputs=("close",),
    warm_up=LONGEST + 1,
    state_size=RING + LONGEST,
    update=update,
    outputs=tuple(
        Output(f"return_{n}", "fraction", f"Close over the close {n} bar{'s'[: n > 1]} before, minus 1.")
        for n in HORIZONS
    ),
)
