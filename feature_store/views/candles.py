"""Candlestick patterns as TA-Lib defines them, with its default settings: 1 bullish, -1 bearish, 0 none.

Short and long bodies are below and above the mean body of the 10 bars before, very short shadows below a tenth of their
mean range, near within a fifth of that of 5 bars. Patterns that need a price gap are left out: a market that never
closes has none. TA-Lib's 100 and 80 (bodies that touch) are both 1. NaN until warm.

State: 0 bars seen; 1… last open, high, low, close; 5… window of 12 bodies (24 places); 29… of 12 ranges.
"""

from feature_store.rolling import push
from feature_store.view import CLOSE, HIGH, LOW, NAN, OPEN, FeatureView, Floats, Output, kernel
from feature_store.windows import total

AVERAGED, NEAR = 10, 5
LENGTH = AVERAGED + 2
LAST = 1
BODIES = LAST + 4
RANGES = BODIES + 2 * LENGTH


@kernel
def update(state: Floats, bar: Floats, out: Floats) -> None:
    count = int(state[0])
    last_open, last_high, last_low, last_close = state[LAST], state[LAST + 1], state[LAST + 2], state[LAST + 3]
    for i in range(4):
        state[LAST + i] = bar[i]
    body, top, bottom = abs(bar[CLOSE] - bar[OPEN]), max(bar[OPEN], bar[CLOSE]), min(bar[OPEN], bar[CLOSE])
    bodies = push(state, BODIES, LENGTH, count, body)
    ranges = push(state, RANGES, LENGTH, count, bar[HIGH] - bar[LOW])
    state[0] = count + 1.0
    for k in range(7):
        out[k] = 0.0 if count + 1 >= LENGTH else NAN
    if count + 1 < LENGTH:
        return
    color, last_color = (1.0 if bar[CLOSE] >= bar[OPEN] else -1.0), (1.0 if last_close >= last_open else -1.0)
    last_top, last_bottom = max(last_open, last_close), min(last_open, last_close)
    mean_body = total(state, bodies + 1, AVERAGED) / AVERAGED
    tenth = 0.1 * total(state, ranges + 1, AVERAGED) / AVERAGED
    near = 0.2 * total(state, ranges + AVERAGED - NEAR, NEAR) / NEAR
    upper, lower = bar[HIGH] - top, bottom - bar[LOW]
    if body <= tenth:
        out[0] = 1.0
    if body < mean_body and lower > body and upper < tenth:
        out[1] = 1.0 if bottom <= last_low + near else 0.0
        out[2] = -1.0 if bottom >= last_high - near else 0.0
    if color != last_color and top >= last_top and bottom <= last_bottom and (top > last_top or bottom < last_bottom):
        out[3] = color
    long_before = last_top - last_bottom > total(state, bodies, AVERAGED) / AVERAGED
    if long_before and body <= mean_body and top <= last_top and bottom >= last_bottom:
        out[4] = -last_color
    if body > mean_body and upper < tenth and lower < tenth:
        out[5] = color
    if body < mean_body and upper > body and lower > body:
        out[6] = color


CANDLES = FeatureView(
    name="candles",
    version=1,
    inputs=("open", "high", "low", "close"),
    warm_up=LENGTH,
    state_size=RANGES + 2 * LENGTH,
    update=update,
    outputs=(
        Output("doji_10", "sign", "Body at most a tenth of the mean range; 1 if so."),
        Output("hammer_10", "sign", "Short body on a long lower shadow near the last low; 1 if so."),
        Output("hanging_man_10", "sign", "Short body on a long lower shadow near the last high; -1 if so."),
        Output("engulfing_2", "sign", "Body around the last one, of the other colour; the sign is this bar's."),
        Output("harami_10", "sign", "Short body inside a long one; the sign is against the long one's."),
        Output("marubozu_10", "sign", "Long body almost without shadows; the sign is the bar's."),
        Output("spinning_top_10", "sign", "Short body between longer shadows; the sign is the bar's."),
    ),
)
