"""Amihud's illiquidity (2002): mean of |return| per quote volume over 60 bars; the price impact of a million.

Quote volume = close × volume. Bars without volume are left out; NaN where none of the 60 traded, and until warm.

State: 0 bars seen; 1 last close; 2… window of 60 ratios, 0 where idle (120 places); 122… of 60 flags, 1 where traded.
"""

from feature_store.rolling import push
from feature_store.view import CLOSE, NAN, VOLUME, FeatureView, Floats, Output, kernel
from feature_store.windows import total

LENGTH = 60
MILLION = 1e6
LAST, RATIOS = 1, 2
TRADED = RATIOS + 2 * LENGTH


@kernel
def update(state: Floats, bar: Floats, out: Floats) -> None:
    count = int(state[0])
    last, traded = state[LAST], bar[CLOSE] * bar[VOLUME]
    state[LAST] = bar[CLOSE]
    state[0] = count + 1.0
    out[0] = NAN
    if count == 0:
        return
    ratio = abs(bar[CLOSE] - last) / last / traded if traded > 0.0 else 0.0
    ratios = push(state, RATIOS, LENGTH, count - 1, ratio)
    flags = push(state, TRADED, LENGTH, count - 1, 1.0 if traded > 0.0 else 0.0)
    bars = total(state, flags, LENGTH)
    if count >= LENGTH and bars > 0.0:
        out[0] = MILLION * total(state, ratios, LENGTH) / bars


AMIHUD = FeatureView(
    name="amihud",
    version=1,
    inputs=("close", "volume"),
    warm_up=LENGTH + 1,
    state_size=TRADED + 2 * LENGTH,
    update=update,
    outputs=(
        Output(
            f"amihud_{LENGTH}",
            "fraction per million quote",
            f"Mean |simple return| per quote volume over {LENGTH} bars.",
            f"until warm, and where none of {LENGTH} bars traded",
        ),
    ),
)
