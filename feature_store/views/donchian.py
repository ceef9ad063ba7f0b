"""Donchian channel: highest high and lowest low of the last 20 bars, this one included.

The position is 0 at the lower band, 1 at the upper, 0.5 where they meet. NaN until warm. Source: `ta`'s
`DonchianChannel`.

State: 0 bars seen; 1… window of 20 highs (40 places); 41… of 20 lows.
"""

from feature_store.rolling import push
from feature_store.view import CLOSE, HIGH, LOW, NAN, FeatureView, Floats, Output, kernel
from feature_store.windows import highest, lowest

LENGTH = 20
HIGHS = 1
LOWS = HIGHS + 2 * LENGTH


@kernel
def update(state: Floats, bar: Floats, out: Floats) -> None:
    count = int(state[0])
    highs = push(state, HIGHS, LENGTH, count, bar[HIGH])
    lows = push(state, LOWS, LENGTH, count, bar[LOW])
    state[0] = count + 1.0
    out[0] = out[1] = out[2] = NAN
    if count + 1 < LENGTH:
        return
    top, bottom = highest(state, highs, LENGTH), lowest(state, lows, LENGTH)
    out[0] = top
    out[1] = bottom
    out[2] = (bar[CLOSE] - bottom) / (top - bottom) if top > bottom else 0.5


DONCHIAN = FeatureView(
    name="donchian",
    version=1,
    inputs=("high", "low", "close"),
    warm_up=LENGTH,
    state_size=LOWS + 2 * LENGTH,
    update=update,
    outputs=(
        Output(f"donchian_upper_{LENGTH}", "quote", f"Highest high of the last {LENGTH} bars."),
        Output(f"donchian_lower_{LENGTH}", "quote", f"Lowest low of the last {LENGTH} bars."),
        Output(f"donchian_position_{LENGTH}", "fraction", "Close between the lowest low (0) and the highest high (1)."),
    ),
)
