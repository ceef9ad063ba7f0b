"""Garman and Klass's volatility (1980): from range and body, for a price without drift; per bar.

sqrt(mean(ln(high / low)² / 2 - (2 ln 2 - 1) ln(close / open)²)) over 60 bars. NaN until warm.

State: 0 bars seen; 1… window of 60 terms (120 places).
"""

import math

from feature_store.rolling import log_return, push
from feature_store.view import CLOSE, HIGH, LOW, NAN, OPEN, FeatureView, Floats, Output, kernel
from feature_store.windows import total

LENGTH = 60
BODY_WEIGHT = 2.0 * math.log(2.0) - 1.0
WINDOW = 1


@kernel
def update(state: Floats, bar: Floats, out: Floats) -> None:
    count = int(state[0])
    width, body = log_return(bar[HIGH], bar[LOW]), log_return(bar[CLOSE], bar[OPEN])
    start = push(state, WINDOW, LENGTH, count, 0.5 * width * width - BODY_WEIGHT * body * body)
    state[0] = count + 1.0
    out[0] = math.sqrt(max(total(state, start, LENGTH), 0.0) / LENGTH) if count + 1 >= LENGTH else NAN


GARMAN_KLASS = FeatureView(
    name="garman_klass",
    version=1,
    inputs=("open", "high", "low", "close"),
    warm_up=LENGTH,
    state_size=WINDOW + 2 * LENGTH,
    update=update,
    outputs=(Output(f"garman_klass_vol_{LENGTH}", "log", f"Garman-Klass volatility over {LENGTH} bars, per bar."),),
)
