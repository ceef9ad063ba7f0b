"""VPIN: volume-synchronised probability of informed trading (Easley, Lopez de Prado and O'Hara, 2012).

Trades fill buckets of equal volume; VPIN is the mean of |buys - sells| / volume over the last 50 full ones. Sides are
the venue's own taker sides instead of the paper's bulk classification. A trade that overflows a bucket is split. NaN
until 50 buckets are full.

State: 0 full buckets; 1 filled volume of the running one; 2 its buys less sells; 3… window of 50 imbalances (100
places); 103 the value.
"""

from feature_store.book_inputs import BUCKET, TRADE_QUANTITY, TRADE_SIDE
from feature_store.rolling import push
from feature_store.view import NAN, FeatureView, Floats, Output, kernel
from feature_store.windows import total

BUCKETS = 50
FILLED, NET, WINDOW = 1, 2, 3
VALUE = WINDOW + 2 * BUCKETS


@kernel
def fill(state: Floats, side: float, quantity: float, bucket: float) -> None:
    """Pour one trade into the buckets; of a trade beyond 50 whole ones the last 50 alone matter."""
    left = quantity
    if left > (BUCKETS + 1) * bucket:
        left = BUCKETS * bucket + left % bucket
    while left > 0.0:
        part = min(left, bucket - state[FILLED])
        left -= part
        state[FILLED] += part
        state[NET] += side * part
        if state[FILLED] >= bucket:
            start = push(state, WINDOW, BUCKETS, int(state[0]), abs(state[NET]) / bucket)
            state[0] += 1.0
            state[FILLED] = state[NET] = 0.0
            state[VALUE] = total(state, start, BUCKETS) / BUCKETS


@kernel
def update(state: Floats, row: Floats, out: Floats) -> None:
    if row[TRADE_SIDE] != 0.0:
        fill(state, row[TRADE_SIDE], row[TRADE_QUANTITY], row[BUCKET])
    out[0] = state[VALUE] if state[0] >= BUCKETS else NAN


VPIN = FeatureView(
    name="vpin",
    version=1,
    inputs=("trade_quantity", "trade_side", "bucket"),
    warm_up=BUCKETS,
    state_size=VALUE + 1,
    update=update,
    outputs=(Output(f"vpin_{BUCKETS}", "0-1", f"Mean |buys - sells| / volume of {BUCKETS} volume buckets."),),
)
