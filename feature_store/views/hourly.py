"""One-hour returns and RSI inside every row: what the last closed hours say, the running hour left out.

An hour is aggregated from the bars that the venue has of it. It closes with the bar that ends at the full hour or, if
that bar is missing, is known closed with the next bar there is; an hour without any bar is absent, so windows count
hours with bars. Its close alone is used, so the hour at which a scan begins need not be whole. Bars longer than an hour
count as the hour they end in.

The RSI is Cutler's: plain sums over 14 hourly changes instead of Wilder's averages, which would still remember, at a
period's start, where the scan began. 50 where nothing moved. NaN until warm.

State: 0 hours closed; 1 number of the running hour plus 1, 0 if none; 2 last close; 3… window of 25 hourly closes.
"""

from feature_store.rolling import log_return, push
from feature_store.view import CLOSE, EVENT_TIME, NAN, FeatureView, Floats, Output, kernel
from lake.intervals import HOUR

DAY_HOURS, RSI_HOURS = 24, 14
LENGTH = DAY_HOURS + 1
RUNNING, LAST, WINDOW = 1, 2, 3


@kernel
def close_hour(state: Floats) -> None:
    push(state, WINDOW, LENGTH, int(state[0]), state[LAST])
    state[0] += 1.0
    state[RUNNING] = 0.0


@kernel
def update(state: Floats, bar: Floats, out: Floats) -> None:
    time = int(bar[EVENT_TIME])
    hour = (time - 1) // HOUR + 1.0
    if state[RUNNING] not in (0.0, hour):
        close_hour(state)
    state[RUNNING], state[LAST] = hour, bar[CLOSE]
    if time % HOUR == 0:
        close_hour(state)
    closed = int(state[0])
    newest = WINDOW + LENGTH + (closed - 1) % LENGTH
    out[0] = log_return(state[newest], state[newest - 1]) if closed > 1 else NAN
    out[1] = log_return(state[newest], state[newest - DAY_HOURS]) if closed > DAY_HOURS else NAN
    rise = fall = 0.0
    for i in range(newest - RSI_HOURS + 1, newest + 1):
        change = state[i] - state[i - 1]
        rise += max(change, 0.0)
        fall += max(-change, 0.0)
    strength = 100.0 * (rise / (rise + fall)) if rise + fall > 0.0 else 50.0
    out[2] = strength if closed > RSI_HOURS else NAN


HOURLY = FeatureView(
    name="hourly",
    version=1,
    inputs=("close", "event_time"),
    warm_up=12 * LENGTH,
    state_size=WINDOW + 2 * LENGTH,
    update=update,
    outputs=(
        Output("log_return_1_1h", "log", "ln of the last closed hour's close over that of the hour before."),
        Output(f"log_return_{DAY_HOURS}_1h", "log", f"ln of it over the close {DAY_HOURS} hours before."),
        Output(f"cutler_rsi_{RSI_HOURS}_1h", "0-100", f"RSI over the last {RSI_HOURS} hourly changes, plain sums."),
    ),
)
