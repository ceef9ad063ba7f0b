"""Keltner channel (Keltner, 1960, in Raschke's form): EMA 20 of the close plus and minus 2 ATR 10.

The position is 0 at the lower band, 1 at the upper, 0.5 where they meet. NaN until warm.

State: 0 bars seen; 1 last close; 2 EMA (count, average); 4 ATR (count, average).
"""

from feature_store.rolling import smooth
from feature_store.view import CLOSE, HIGH, LOW, NAN, FeatureView, Floats, Output, kernel

LENGTH, RANGE_LENGTH, RANGES = 20, 10, 2
LAST, EMA, ATR = 1, 2, 4


@kernel
def update(state: Floats, bar: Floats, out: Floats) -> None:
    close, last = bar[CLOSE], state[LAST]
    state[LAST] = close
    average = NAN
    if state[0] > 0.0:
        true_range = max(bar[HIGH], last) - min(bar[LOW], last)
        average = smooth(state, ATR, RANGE_LENGTH, 1.0 / RANGE_LENGTH, true_range)
    state[0] = 1.0
    middle = smooth(state, EMA, LENGTH, 2.0 / (LENGTH + 1), close)
    width = RANGES * average
    out[0] = middle + width
    out[1] = middle - width
    out[2] = 0.5 if width == 0.0 else 0.5 + (close - middle) / (2.0 * width)


_LENGTHS = f"{LENGTH}_{RANGE_LENGTH}_{RANGES}"
_BANDS = f"EMA {LENGTH} of the close {{}} {RANGES} ATR {RANGE_LENGTH}."

KELTNER = FeatureView(
    name="keltner",
    version=1,
    inputs=("high", "low", "close"),
    warm_up=LENGTH,
    state_size=ATR + 2,
    update=update,
    outputs=(
        Output(f"keltner_upper_{_LENGTHS}", "quote", _BANDS.format("plus")),
        Output(f"keltner_lower_{_LENGTHS}", "quote", _BANDS.format("minus")),
        Output(f"keltner_position_{_LENGTHS}", "fraction", "Close between the lower band (0) and the upper (1)."),
    ),
)
