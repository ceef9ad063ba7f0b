"""Quote both sides a little away from the touch, leaning against the inventory: a compiled step over order books."""

from dataclasses import dataclass

from numba import njit

from market import tick_strategy as s


@njit(cache=True)
def step(view: s.View) -> int:
    """Parameters in the order of the class's fields: ticks from the touch, lots a quote, most lots held."""
    distance, lots, most = int(view.parameters[0]), int(view.parameters[1]), int(view.parameters[2])
    count, seen = 0, view.market[0]
    bid, ask, held = seen[s.BID_TICK] - distance, seen[s.ASK_TICK] + distance, seen[s.POSITION]
    if seen[s.BID_TICK] < 0 or seen[s.ASK_TICK] < 0:
        return 0
    has_bid, has_ask = held + lots > most, held - lots < -most  # no quote where the inventory is full
    for row in view.orders:
        is_bid = row[s.MINE_SIDE] == s.BUY
        if row[s.MINE_STATE] == s.OPEN and row[s.MINE_TICK] != (bid if is_bid else ask):
            count = s.cancel(view, count, row[s.MINE_ID])
        has_bid, has_ask = has_bid or is_bid, has_ask or not is_bid
    if not has_bid:
        count = s.place(view, count, 0, s.BUY, bid, lots, s.POST_ONLY)
    if not has_ask:
        count = s.place(view, count, 0, s.SELL, ask, lots, s.POST_ONLY)
    return count


@dataclass
class MarketMaker(s.StepStrategy):
    distance: int = 0  # ticks behind the best price
    lots: int = 100  # of each quote
    most: int = 1000  # largest position
    step = staticmethod(step)
    interval_us = 100_000
