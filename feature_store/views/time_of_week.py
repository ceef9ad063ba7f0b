"""Where the bar's close lies in the day and the week, UTC, as points on a circle; weekday and weekend.

Never NaN. Source: written here.

State: none.
"""

import math

from feature_store.view import EVENT_TIME, FeatureView, Floats, Output, kernel
from lake.intervals import DAY, WEEK

MONDAY = 4 * DAY
"""The first Monday after the epoch, which was a Thursday."""


@kernel
def update(state: Floats, bar: Floats, out: Floats) -> None:
    time = int(bar[EVENT_TIME]) - MONDAY
    day, week = 2.0 * math.pi * (time % DAY) / DAY, 2.0 * math.pi * (time % WEEK) / WEEK
    weekday = time % WEEK // DAY
    out[0], out[1] = math.sin(day), math.cos(day)
    out[2], out[3] = math.sin(week), math.cos(week)
    out[4] = weekday
    out[5] = 1.0 if weekday >= 5 else 0.0


TIME_OF_WEEK = FeatureView(
    name="time_of_week",
    version=1,
    inputs=("event_time",),
    warm_up=1,
    state_size=0,
    update=update,
    outputs=(
        Output("day_sin", "-1 to 1", "Sine of the time of day of the bar's close, a turn from midnight to midnight."),
        Output("day_cos", "-1 to 1", "Cosine of the time of day of the bar's close."),
        Output("week_sin", "-1 to 1", "Sine of the time of the week of the bar's close, a turn from Monday to Monday."),
        Output("week_cos", "-1 to 1", "Cosine of the time of the week of the bar's close."),
        Output("weekday", "days", "Weekday of the bar's close, 0 on Monday."),
        Output("weekend", "0 or 1", "1 on Saturday and Sunday."),
    ),
)
