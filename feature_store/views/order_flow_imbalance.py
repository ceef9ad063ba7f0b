"""Order-flow imbalance at the best prices over the last 100 book updates (Cont, Kukanov and Stoikov, 2014).

Each update contributes what the bid gained less what the ask gained: a better or equal bid adds its new quantity, a
worse or equal one takes the old one away, and the other way round for the ask. NaN until warm; an update with an empty
side contributes 0. Trades are no updates.

State: 0 updates seen; 1… last bid, its quantity, last ask, its quantity; 5… window of 100 contributions (200 places).
"""

import math

from feature_store.book_inputs import ASK_PRICE, ASK_QUANTITY, BID_PRICE, BID_QUANTITY, TRADE_SIDE
from feature_store.rolling import push
from feature_store.view import NAN, FeatureView, Floats, Output, kernel
from feature_store.windows import total

LENGTH = 100
LAST, WINDOW = 1, 5
RESULT = WINDOW + 2 * LENGTH


@kernel
def contribution(state: Floats, bid: float, bids: float, ask: float, asks: float) -> float:
    """e of one update; 0 where a price is absent now or was before."""
    gain = 0.0
    if bid >= state[LAST]:
        gain += bids
    if bid <= state[LAST]:
        gain -= state[LAST + 1]
    if ask <= state[LAST + 2]:
        gain -= asks
    if ask >= state[LAST + 2]:
        gain += state[LAST + 3]
    return 0.0 if math.isnan(bid + ask + state[LAST] + state[LAST + 2]) else gain


@kernel
def update(state: Floats, row: Floats, out: Floats) -> None:
    count = int(state[0])
    if row[TRADE_SIDE] == 0.0:
        bid, bids, ask, asks = row[BID_PRICE], row[BID_QUANTITY], row[ASK_PRICE], row[ASK_QUANTITY]
        if count > 0:
            start = push(state, WINDOW, LENGTH, count - 1, contribution(state, bid, bids, ask, asks))
            state[RESULT] = total(state, start, LENGTH)
        state[LAST], state[LAST + 1], state[LAST + 2], state[LAST + 3] = bid, bids, ask, asks
        count += 1
        state[0] = count
    out[0] = state[RESULT] if count > LENGTH else NAN


ORDER_FLOW_IMBALANCE = FeatureView(
    name="order_flow_imbalance",
    version=1,
    inputs=("bid_price", "bid_quantity", "ask_price", "ask_quantity", "trade_side"),
    warm_up=LENGTH + 1,
    state_size=RESULT + 1,
    update=update,
    outputs=(Output(f"order_flow_imbalance_{LENGTH}", "base", f"Bids' gains less asks' over {LENGTH} book updates."),),
)
