"""What a strategy knows and asks for in a tick backtest, compiled: its book, its orders, its requests."""

from typing import Any

import numpy as np

from market import desk as d
from market import feed as f
from market import tick_strategy as s
from market.kernel import njit
from market.latency import entry_delay
from market.recorded_venue import forget


@njit(cache=True, nogil=True)
def hear(desk: Any, now: int) -> None:
    """Take in the market data that has reached the strategy by `now`."""
    rows, lots, best, seen = desk.rows, desk.seen_lots, desk.seen_best, desk.seen
    offsets, ticks, count, e = desk.offsets, desk.ticks, len(desk.rows), desk.counters[d.NEXT_HEARD]
    while e < count and rows[e, f.HEARD] <= now:
        kind, j, at, size = rows[e, f.KIND], rows[e, f.INSTRUMENT], rows[e, f.AT], rows[e, f.LOTS]
        if kind == f.SET_BID:
            lots[0, at] = size
            if size > 0:
                if at > best[0, j]:
                    best[0, j] = at
            elif at == best[0, j]:
                while at >= offsets[j] and lots[0, at] == 0:
                    at -= 1
                best[0, j] = at
        elif kind == f.SET_ASK:
            lots[1, at] = size
            if size > 0:
                if at < best[1, j]:
                    best[1, j] = at
            elif at == best[1, j]:
                while at < offsets[j + 1] and lots[1, at] == 0:
                    at += 1
                best[1, j] = at
        elif kind <= f.SELL:
            seen[j, s.TRADE_TICK] = ticks[at]
            seen[j, s.TRADE_LOTS] = size if kind == f.BUY else -size
            seen[j, s.TRADES] += 1
            if not desk.has_book[j]:
                side = 1 if kind == f.BUY else 0
                if offsets[j] <= best[side, j] < offsets[j + 1]:
                    lots[side, best[side, j]] = 0
                lots[side, at], best[side, j] = size, at
        elif kind == f.LOST:
            forget(lots, best, offsets, j)
        e += 1
    desk.counters[d.NEXT_HEARD] = e


@njit(cache=True, nogil=True)
def learn(desk: Any) -> tuple[int, int, int, int]:
    """Take in the venue's next answer: slot, kind, row of the fill or −1, order id. An order's end frees its slot."""
    c = desk.counters
    row = desk.answers[c[d.ANSWER_HEAD] % len(desk.answers)]
    c[d.ANSWER_HEAD] += 1
    slot, kind, fill = row[d.ANSWER_SLOT], row[d.ANSWER_KIND], row[d.ANSWER_FILL]
    order = desk.orders[slot]
    if kind == d.FILLED:
        lots, j = int(desk.fills[fill, d.FILL_LOTS]), order[d.INSTRUMENT]
        order[d.KNOWN_LEFT] -= abs(lots)
        desk.seen[j, s.POSITION] += lots
        worth = d.value(desk, j, lots, desk.fills[fill, d.FILL_PRICE] / desk.grid[j, 0])
        desk.money[d.KNOWN_CASH] -= worth + desk.fills[fill, d.FILL_FEE]
    if row[d.ANSWER_LAST]:
        order[d.KNOWN_STATE], order[d.STATE] = s.DONE, d.FREE
    return slot, kind, fill, row[d.ANSWER_ID]


@njit(cache=True, nogil=True)
def learn_all(desk: Any, now: int) -> None:
    """Take in every answer that has arrived."""
    c = desk.counters
    while c[d.ANSWER_HEAD] < c[d.ANSWER_TAIL] and (
        desk.answers[c[d.ANSWER_HEAD] % len(desk.answers), d.ANSWER_TIME] <= now
    ):
        learn(desk)


@njit(cache=True, nogil=True)
def _send(desk: Any, slot: int, kind: int, now: int) -> None:
    c = desk.counters
    if c[d.REQUEST_TAIL] - c[d.REQUEST_HEAD] >= len(desk.requests):
        c[d.TROUBLE] = d.RING_FULL
        return
    delay = entry_delay(desk.delays, now, c[d.MESSAGES])
    c[d.LAST_ARRIVAL] = max(c[d.LAST_ARRIVAL], now + delay)
    row = desk.requests[c[d.REQUEST_TAIL] % len(desk.requests)]
    row[d.REQUEST_TIME], row[d.REQUEST_SLOT] = c[d.LAST_ARRIVAL], slot
    row[d.REQUEST_KIND], row[d.REQUEST_ID] = kind, desk.orders[slot, d.ID]
    desk.money[d.ENTRY_SUM] += c[d.LAST_ARRIVAL] - now
    c[d.REQUEST_TAIL] += 1
    c[d.MESSAGES] += 1


@njit(cache=True, nogil=True)
def send_order(
    desk: Any, now: int, j: int, side: int, kind: int, time_in_force: int, tick: int, stop: int, lots: int,
    reduce_only: int, group: int, after: int,
) -> int:  # fmt: skip
    """Send an order; answers its id, or −1 where there is no room for it (then the run is in trouble)."""
    c, slot = desk.counters, 0
    while slot < len(desk.orders) and desk.orders[slot, d.STATE] != d.FREE:
        slot += 1
    if slot == len(desk.orders):
        c[d.TROUBLE] = d.ORDERS_FULL
        return -1
    sized = max(1, round(lots * desk.terms[d.SIZE]))
    if (
        not 0 <= j < len(desk.positions) or not 0 <= side <= 1 or lots <= 0
        or (tick <= 0 and kind != s.MARKET and kind != s.STOP_MARKET)
    ):  # fmt: skip
        c[d.TROUBLE] = d.BAD_COMMAND
        return -1
    c[d.SLOTS], c[d.IDS] = max(c[d.SLOTS], slot + 1), c[d.IDS] + 1
    row = desk.orders[slot]
    row[:] = 0
    row[d.ID], row[d.STATE], row[d.INSTRUMENT], row[d.SIDE] = c[d.IDS], d.TRAVELLING, j, side
    row[d.KIND], row[d.TIF], row[d.TICK], row[d.STOP], row[d.AT] = kind, time_in_force, tick, stop, -1
    row[d.LOTS], row[d.LEFT], row[d.KNOWN_LEFT] = sized, sized, sized
    row[d.REDUCE_ONLY], row[d.GROUP], row[d.AFTER], row[d.SENT] = reduce_only, group, after, now
    desk.queue[slot, d.DECIDED] = seen_mid(desk, j) * desk.grid[j, 0]
    _send(desk, slot, s.PLACE, now)
    return int(c[d.IDS])


@njit(cache=True, nogil=True)
def send_cancel(desk: Any, now: int, order_id: int) -> None:
    """Ask for an order to be cancelled; one that is gone or already asked for is left alone."""
    for slot in range(desk.counters[d.SLOTS]):
        row = desk.orders[slot]
        if row[d.ID] == order_id and row[d.STATE] != d.FREE and row[d.KNOWN_STATE] == s.OPEN:
            row[d.KNOWN_STATE] = s.CANCELLING
            _send(desk, slot, s.CANCEL, now)
            return


@njit(cache=True, nogil=True)
def seen_mid(desk: Any, j: int) -> float:
    """Mid of the strategy's book in ticks; the last trade's price where a side is empty, NaN where there is none."""
    bid, ask = desk.seen_best[0, j], desk.seen_best[1, j]
    if bid >= desk.offsets[j] and ask < desk.offsets[j + 1]:
        return float(0.5 * (desk.ticks[bid] + desk.ticks[ask]))
    return float(desk.seen[j, s.TRADE_TICK]) if desk.seen[j, s.TRADE_TICK] > 0 else np.nan


@njit(cache=True, nogil=True)
def show(desk: Any, market: Any, depth: Any, mine: Any, money: Any) -> int:
    """Fill a step's view from what the strategy knows; answers how many orders are its own."""
    size = desk.terms[d.SIZE]
    for j in range(len(market)):
        market[j] = desk.seen[j]
        market[j, s.POSITION] = round(desk.seen[j, s.POSITION] / size)
        for side in range(2):
            at, step = desk.seen_best[side, j], -1 if side == 0 else 1
            known = desk.offsets[j] <= at < desk.offsets[j + 1]
            market[j, s.BID_TICK if side == 0 else s.ASK_TICK] = desk.ticks[at] if known else -1
            market[j, s.BID_LOTS if side == 0 else s.ASK_LOTS] = desk.seen_lots[side, at] if known else 0
            for level in range(depth.shape[2]):
                while desk.offsets[j] <= at < desk.offsets[j + 1] and desk.seen_lots[side, at] == 0:
                    at += step
                known = desk.offsets[j] <= at < desk.offsets[j + 1]
                depth[j, side, level, 0] = desk.ticks[at] if known else 0
                depth[j, side, level, 1] = desk.seen_lots[side, at] if known else 0
                at += step if known else 0
    money[0] = desk.money[d.KNOWN_CASH] / size
    count = 0
    for slot in range(desk.counters[d.SLOTS]):
        row = desk.orders[slot]
        if row[d.STATE] == d.FREE:
            continue
        k = count
        while k > 0 and mine[k - 1, s.MINE_ID] > row[d.ID]:
            mine[k] = mine[k - 1]
            k -= 1
        mine[k, s.MINE_ID], mine[k, s.MINE_INSTRUMENT], mine[k, s.MINE_SIDE] = row[d.ID], row[d.INSTRUMENT], row[d.SIDE]
        mine[k, s.MINE_TICK], mine[k, s.MINE_STATE] = row[d.TICK], row[d.KNOWN_STATE]
        mine[k, s.MINE_LOTS] = round(row[d.KNOWN_LEFT] / size)
        count += 1
    return count


@njit(cache=True, nogil=True)
def carry_out(desk: Any, now: int, commands: Any, count: int) -> None:
    """Send what a step answered."""
    for k in range(min(count, len(commands))):
        row = commands[k]
        if row[s.COMMAND_KIND] == s.CANCEL:
            send_cancel(desk, now, row[s.COMMAND_ID])
        else:
            send_order(
                desk, now, row[s.COMMAND_INSTRUMENT], row[s.COMMAND_SIDE], row[s.COMMAND_ORDER], row[s.COMMAND_TIF],
                row[s.COMMAND_TICK], row[s.COMMAND_STOP], row[s.COMMAND_LOTS], 0, 0, 0,
            )  # fmt: skip
