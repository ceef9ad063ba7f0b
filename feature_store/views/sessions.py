"""Which of the world's trading days is on at the bar's close, by fixed UTC hours; daylight saving is not followed.

Asia 00:00 to 09:00 (Tokyo 9 to 18), Europe 08:00 to 17:00 (London in winter), America 13:00 to 22:00 (New York 8 to 17
in winter); a start belongs to its session, an end does not. Weekdays alone count. Never NaN. Source: written here.

State: none.
"""

from feature_store.view import EVENT_TIME, FeatureView, Floats, Output, kernel
from feature_store.views.time_of_week import MONDAY
from lake.intervals import DAY, HOUR, WEEK

STARTS = (0, 8, 13)
HOURS = 9


@kernel
def update(state: Floats, bar: Floats, out: Floats) -> None:
    time = int(bar[EVENT_TIME]) - MONDAY
    weekday, hour = time % WEEK // DAY, time % DAY / HOUR
    for k in range(len(STARTS)):
        out[k] = 1.0 if weekday < 5 and STARTS[k] <= hour < STARTS[k] + HOURS else 0.0


SESSIONS = FeatureView(
    name="sessions",
    version=1,
    inputs=("event_time",),
    warm_up=1,
    state_size=0,
    update=update,
    outputs=tuple(
        Output(f"session_{place}", "0 or 1", f"1 on weekdays from {start:02}:00 to {start + HOURS:02}:00 UTC.")
        for place, start in zip(("asia", "europe", "america"), STARTS, strict=True)
    ),
)
