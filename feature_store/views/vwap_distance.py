"""Distance of the close from the volume-weighted average of the typical price, (high + low + close) / 3.

Rolling over 48 and 288 bars; 0 where nothing traded; NaN until warm. Source: `ta`'s `VolumeWeightedAveragePrice`.

State: 0 bars seen; 1… window of 288 typical prices (576 places); 577… of 288 volumes.
"""

from feature_store.rolling import log_return, push
from feature_store.view import CLOSE, HIGH, LOW, NAN, VOLUME, FeatureView, Floats, Output, kernel

LENGTHS = (48, 288)
LONGEST = LENGTHS[-1]
PRICES = 1
VOLUMES = PRICES + 2 * LONGEST


@kernel
def distance(state: Floats, price: int, volume: int, length: int, close: float) -> float:
    """ln(close / VWAP) over `length` values from `price` and `volume` on; sums of differences to the first price."""
    origin = state[price]
    traded = weighted = 0.0
    for i in range(length):
        traded += state[volume + i]
        weighted += state[volume + i] * (state[price + i] - origin)
    return log_return(close, origin + weighted / traded) if traded > 0.0 else 0.0


@kernel
def update(state: Floats, bar: Floats, out: Floats) -> None:
    count = int(state[0])
    price = push(state, PRICES, LONGEST, count, (bar[HIGH] + bar[LOW] + bar[CLOSE]) / 3.0)
    volume = push(state, VOLUMES, LONGEST, count, bar[VOLUME])
    state[0] = count + 1.0
    for k in range(len(LENGTHS)):
        skip = LONGEST - LENGTHS[k]
        warm = count + 1 >= LENGTHS[k]
        out[k] = distance(state, price + skip, volume + skip, LENGTHS[k], bar[CLOSE]) if warm else NAN


VWAP_DISTANCE = FeatureView(
    name="vwap_distance",
    version=1,
    inputs=("high", "low", "close", "volume"),
    warm_up=LONGEST,
    state_size=VOLUMES + 2 * LONGEST,
    update=update,
    outputs=tuple(
        Output(f"vwap_distance_{n}", "log", f"ln(close / VWAP of the last {n} bars); 0 if nothing traded.")
        for n in LENGTHS
    ),
)
