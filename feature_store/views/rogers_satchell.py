"""Rogers and Satchell's volatility (1991): from the four prices, whatever the drift; per bar.

sqrt(mean(ln(high / close) ln(high / open) + ln(low / close) ln(low / open))) over 60 bars. NaN until warm.

State: 0 bars seen; 1… window of 60 terms (120 places).
"""

import math

from feature_store.rolling import log_return, push
from feature_store.view import CLOSE, HIGH, LOW, NAN, OPEN, FeatureView, Floats, Output, kernel
from feature_store.windows import total

LENGTH = 60
WINDOW = 1


@kernel
def term(bar: Floats) -> float:
    """One bar's share of the variance; not below 0 where high and low enclose open and close."""
    above = log_return(bar[HIGH], bar[CLOSE]) * log_return(bar[HIGH], bar[OPEN])
    return above + log_return(bar[LOW], bar[CLOSE]) * log_return(bar[LOW], bar[OPEN])


@kernel
def update(state: Floats, bar: Floats, out: Floats) -> None:
    count = int(state[0])
    start = push(state, WINDOW, LENGTH, count, term(bar))
    state[0] = count + 1.0
    out[0] = math.sqrt(max(total(state, start, LENGTH), 0.0) / LENGTH) if count + 1 >= LENGTH else NAN


ROGERS_SATCHELL = FeatureView(
    name="rogers_satchell",
    version=1,
    inputs=("open", "high", "low", "close"),
    warm_up=LENGTH,
    state_size=WINDOW + 2 * LENGTH,
    update=update,
    outputs=(
        Output(f"rogers_satchell_vol_{LENGTH}", "log", f"Rogers-Satchell volatility over {LENGTH} bars, per bar."),
    ),
)
