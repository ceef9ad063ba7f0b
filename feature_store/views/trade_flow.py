"""Trade imbalance and Kyle's lambda over the last 100 trades.

Imbalance: taker buys less taker sells over both, by quantity. Lambda (Kyle, Continuous Auctions and Insider Trading,
1985): slope of the mid price's change from trade to trade on the signed quantity of the trade that ends it; 0 where no
quantity varied. A trade while a side of the book is empty is left out of lambda. NaN until warm.

State: 0 trades seen; 1… window of 100 signed quantities (200 places); 201 trades with a mid; 202 last mid; 203…
comoments of 100 pairs (210 places); 413 the imbalance; 414 lambda.
"""

import math

from feature_store.book_inputs import ASK_PRICE, BID_PRICE, TRADE_QUANTITY, TRADE_SIDE
from feature_store.comoments import COMOMENTS, comoments, slope_on_x
from feature_store.rolling import push
from feature_store.view import NAN, FeatureView, Floats, Output, kernel

LENGTH = 100
SIGNED = 1
PRICED = SIGNED + 2 * LENGTH
MID, PAIRS = PRICED + 1, PRICED + 2
IMBALANCE = PAIRS + COMOMENTS + 2 * LENGTH
LAMBDA = IMBALANCE + 1


@kernel
def imbalance(state: Floats, start: int) -> float:
    """Sum of the window over the sum of its sizes."""
    net = gross = 0.0
    for i in range(start, start + LENGTH):
        net += state[i]
        gross += abs(state[i])
    return net / gross


@kernel
def take(state: Floats, signed: float, mid: float) -> None:
    """One trade."""
    count = int(state[0])
    start = push(state, SIGNED, LENGTH, count, signed)
    state[0] = count + 1.0
    state[IMBALANCE] = imbalance(state, start)
    if math.isnan(mid):
        return
    priced = int(state[PRICED])
    if priced > 0:
        xx, _, xy = comoments(state, PAIRS, LENGTH, signed, mid - state[MID])
        state[LAMBDA] = slope_on_x(xx, xy)
    state[PRICED], state[MID] = priced + 1.0, mid


@kernel
def update(state: Floats, row: Floats, out: Floats) -> None:
    if row[TRADE_SIDE] != 0.0:
        take(state, row[TRADE_SIDE] * row[TRADE_QUANTITY], 0.5 * (row[BID_PRICE] + row[ASK_PRICE]))
    out[0] = state[IMBALANCE] if state[0] >= LENGTH else NAN
    out[1] = state[LAMBDA] if state[PRICED] > LENGTH else NAN


TRADE_FLOW = FeatureView(
    name="trade_flow",
    version=1,
    inputs=("bid_price", "ask_price", "trade_quantity", "trade_side"),
    warm_up=LENGTH + 1,
    state_size=LAMBDA + 1,
    update=update,
    outputs=(
        Output(f"trade_imbalance_{LENGTH}", "-1 to 1", f"Taker buys less sells over both, {LENGTH} trades."),
        Output(f"kyle_lambda_{LENGTH}", "quote per base", f"Mid change per signed quantity, {LENGTH} trades."),
    ),
)
