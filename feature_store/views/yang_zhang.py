"""Yang and Zhang's volatility (2000): jumps between bars, bodies and Rogers-Satchell terms; per bar.

sqrt(V_open + k V_body + (1 - k) V_RS) over 60 bars, k = 0.34 / (1.34 + 61 / 59): V_open and V_body are the sample
variances of ln(open / last close) and ln(close / open). NaN until warm.

State: 0 bars seen; 1 last close; 2… windows of 60 jumps (120 places), of bodies, of Rogers-Satchell terms.
"""

import math

from feature_store.rolling import log_return, push
from feature_store.view import CLOSE, NAN, OPEN, FeatureView, Floats, Output, kernel
from feature_store.views.rogers_satchell import term
from feature_store.windows import squares_about_mean, total

LENGTH = 60
WEIGHT = 0.34 / (1.34 + (LENGTH + 1) / (LENGTH - 1))
LAST, JUMPS = 1, 2
BODIES = JUMPS + 2 * LENGTH
TERMS = BODIES + 2 * LENGTH


@kernel
def update(state: Floats, bar: Floats, out: Floats) -> None:
    count = int(state[0])
    last = state[LAST]
    state[LAST] = bar[CLOSE]
    state[0] = count + 1.0
    out[0] = NAN
    if count == 0:
        return
    jumps = push(state, JUMPS, LENGTH, count - 1, log_return(bar[OPEN], last))
    bodies = push(state, BODIES, LENGTH, count - 1, log_return(bar[CLOSE], bar[OPEN]))
    terms = push(state, TERMS, LENGTH, count - 1, term(bar))
    if count < LENGTH:
        return
    squares = squares_about_mean(state, jumps, LENGTH) + WEIGHT * squares_about_mean(state, bodies, LENGTH)
    inside = (1.0 - WEIGHT) * max(total(state, terms, LENGTH), 0.0)
    out[0] = math.sqrt(squares / (LENGTH - 1) + inside / LENGTH)


YANG_ZHANG = FeatureView(
    name="yang_zhang",
    version=1,
    inputs=("open", "high", "low", "close"),
    warm_up=LENGTH + 1,
    state_size=TERMS + 2 * LENGTH,
    update=update,
    outputs=(Output(f"yang_zhang_vol_{LENGTH}", "log", f"Yang-Zhang volatility over {LENGTH} bars, per bar."),),
)
