"""Moving average convergence/divergence of the close (Appel), seeded as in TA-Lib.

The fast average begins so that its first value falls on the slow one's first bar. TA-Lib holds all three columns back
until the signal exists; here the line itself appears as soon as it is known, eight bars earlier.

State: 0 bars seen; 1 slow EMA; 3 fast EMA; 5 signal EMA (each count, average).
"""

from feature_store.rolling import smooth
from feature_store.view import CLOSE, NAN, FeatureView, Floats, Output, kernel

FAST_LENGTH, SLOW_LENGTH, SIGNAL_LENGTH = 12, 26, 9
SLOW, FAST, SIGNAL = 1, 3, 5


@kernel
def update(state: Floats, bar: Floats, out: Floats) -> None:
    count = state[0]
    close = bar[CLOSE]
    out[0] = out[1] = out[2] = NAN
    slow = smooth(state, SLOW, SLOW_LENGTH, 2.0 / (SLOW_LENGTH + 1), close)
    if count < SLOW_LENGTH:
        state[0] = count + 1.0
    if count < SLOW_LENGTH - FAST_LENGTH:
        return
    line = smooth(state, FAST, FAST_LENGTH, 2.0 / (FAST_LENGTH + 1), close) - slow
    if count < SLOW_LENGTH - 1:
        return
    signal = smooth(state, SIGNAL, SIGNAL_LENGTH, 2.0 / (SIGNAL_LENGTH + 1), line)
    out[0] = line
    out[1] = signal
    out[2] = line - signal


_LENGTHS = f"{FAST_LENGTH}_{SLOW_LENGTH}"

MACD = FeatureView(
    name="macd",
    version=1,
    inputs=("close",),
    warm_up=SLOW_LENGTH + SIGNAL_LENGTH - 1,
    state_size=SIGNAL + 2,
    update=update,
    outputs=(
        Output(f"macd_{_LENGTHS}", "quote", f"EMA {FAST_LENGTH} minus EMA {SLOW_LENGTH} of the close."),
        Output(f"macd_signal_{_LENGTHS}_{SIGNAL_LENGTH}", "quote", f"EMA {SIGNAL_LENGTH} of the MACD line."),
        Output(f"macd_hist_{_LENGTHS}_{SIGNAL_LENGTH}", "quote", "MACD line minus its signal."),
    ),
)
