"""Parkinson's volatility (1980): from the range alone, for a price without drift; per bar.

sqrt(mean(ln(high / low)²) / (4 ln 2)) over 60 bars. NaN until warm.

State: 0 bars seen; 1… window of 60 squared ranges (120 places).
"""

import math

from feature_store.rolling import log_return, push
from feature_store.view import HIGH, LOW, NAN, FeatureView, Floats, Output, kernel
from feature_store.windows import total

LENGTH = 60
SCALE = 4.0 * math.log(2.0)
WINDOW = 1


@kernel
def update(state: Floats, bar: Floats, out: Floats) -> None:
    count = int(state[0])
    width = log_return(bar[HIGH], bar[LOW])
    start = push(state, WINDOW, LENGTH, count, width * width)
    state[0] = count + 1.0
    out[0] = math.sqrt(total(state, start, LENGTH) / (LENGTH * SCALE)) if count + 1 >= LENGTH else NAN


PARKINSON = FeatureView(
    name="parkinson",
    version=1,
    inputs=("high", "low"),
    warm_up=LENGTH,
    state_size=WINDOW + 2 * LENGTH,
    update=update,
    outputs=(Output(f"parkinson_vol_{LENGTH}", "log", f"Parkinson's volatility over {LENGTH} bars, per bar."),),
)
