"""Our orders at a recorded venue, compiled: where they rest, how they fill and end, and what the strategy is told."""

import math
from typing import Any

import numpy as np

from market import desk as d
from market.kernel import njit
from market.latency import ack_delay


@njit(cache=True, nogil=True)
def answer(desk: Any, slot: int, kind: int, fill: int, time: int) -> None:
    """Tell the strategy, `ack` later; nothing overtakes."""
    c = desk.counters
    tail = c[d.ANSWER_TAIL]
    if tail - c[d.ANSWER_HEAD] >= len(desk.answers):
        c[d.TROUBLE] = d.RING_FULL
        return
    delay = ack_delay(desk.delays, time, c[d.ANSWERS])
    c[d.LAST_ANSWER] = max(c[d.LAST_ANSWER], time + delay)
    row = desk.answers[tail % len(desk.answers)]
    row[d.ANSWER_TIME], row[d.ANSWER_SLOT], row[d.ANSWER_KIND] = c[d.LAST_ANSWER], slot, kind
    row[d.ANSWER_FILL], row[d.ANSWER_ID] = fill, desk.orders[slot, d.ID]
    row[d.ANSWER_LAST] = kind >= d.ENDED or desk.orders[slot, d.LEFT] == 0
    desk.money[d.ACK_SUM] += c[d.LAST_ANSWER] - time
    c[d.REFUSALS] += kind == d.REFUSED
    c[d.ANSWER_TAIL] = tail + 1
    c[d.ANSWERS] += 1


@njit(cache=True, nogil=True)
def _find_touch(desk: Any, side: int, j: int) -> None:
    """Set `touch` from the first of our orders on that side: the list is sorted."""
    low, high = desk.offsets[j], desk.offsets[j + 1]
    desk.touch[side, j] = low - 1 if side == 0 else high
    for k in range(desk.counters[d.OPEN_COUNT]):
        row = desk.orders[desk.open[k]]
        if row[d.INSTRUMENT] == j and row[d.SIDE] == side:
            if side == 0:
                desk.touch[side, j] = low + np.searchsorted(desk.ticks[low:high], row[d.TICK], side="right") - 1
            else:
                desk.touch[side, j] = low + np.searchsorted(desk.ticks[low:high], row[d.TICK])
            return


@njit(cache=True, nogil=True)
def rest(desk: Any, slot: int, time: int) -> None:
    """Put an order behind what is at its price."""
    row = desk.orders[slot]
    j, side, tick = row[d.INSTRUMENT], row[d.SIDE], row[d.TICK]
    low, high = desk.offsets[j], desk.offsets[j + 1]
    at = low + np.searchsorted(desk.ticks[low:high], tick)
    row[d.AT] = at if at < high and desk.ticks[at] == tick else -1
    row[d.STATE] = d.RESTING
    desk.queue[slot, d.TRADED] = 0.0
    if not desk.has_book[j]:
        desk.queue[slot, d.FRONT] = np.inf
    else:
        desk.queue[slot, d.FRONT] = desk.lots[side, at] if row[d.AT] >= 0 else 0.0
    if row[d.AT] >= 0:
        desk.ours[side, row[d.AT]] += 1
    count, place = desk.counters[d.OPEN_COUNT], desk.counters[d.OPEN_COUNT]
    for k in range(count):
        other = desk.orders[desk.open[k]]
        worse = other[d.TICK] < tick if side == 0 else other[d.TICK] > tick
        if other[d.INSTRUMENT] == j and other[d.SIDE] == side and worse:
            place = k
            break
    for k in range(count, place, -1):
        desk.open[k] = desk.open[k - 1]
    desk.open[place] = slot
    desk.counters[d.OPEN_COUNT] += 1
    _find_touch(desk, side, j)
    answer(desk, slot, d.ACCEPTED, -1, time)


@njit(cache=True, nogil=True)
def leave(desk: Any, slot: int) -> None:
    """Take an order out of wherever the venue keeps it."""
    row = desk.orders[slot]
    if row[d.STATE] == d.RESTING:
        count, place = desk.counters[d.OPEN_COUNT], 0
        while desk.open[place] != slot:
            place += 1
        for k in range(place, count - 1):
            desk.open[k] = desk.open[k + 1]
        desk.counters[d.OPEN_COUNT] -= 1
        if row[d.AT] >= 0:
            desk.ours[row[d.SIDE], row[d.AT]] -= 1
        row[d.STATE] = d.GONE
        _find_touch(desk, row[d.SIDE], row[d.INSTRUMENT])
    if row[d.STATE] == d.STOPPED:
        desk.counters[d.STOPS] -= 1
    if row[d.STATE] == d.READY:
        desk.counters[d.READY_COUNT] -= 1
    row[d.STATE] = d.GONE


@njit(cache=True, nogil=True)
def end(desk: Any, slot: int, kind: int, time: int) -> None:
    """End an order, and those that wait for it if it never filled."""
    row = desk.orders[slot]
    leave(desk, slot)
    answer(desk, slot, kind, -1, time)
    if row[d.LEFT] < row[d.LOTS]:
        return
    for other in range(desk.counters[d.SLOTS]):
        if desk.orders[other, d.STATE] == d.WAITING and desk.orders[other, d.AFTER] == row[d.ID]:
            leave(desk, other)
            answer(desk, other, d.ENDED, -1, time)


@njit(cache=True, nogil=True)
def _allowed(desk: Any, slot: int, lots: int, ticks: float) -> int:
    """The part of a fill the account allows: reduce-only, shorts, and gross exposure up to leverage × equity."""
    row, terms = desk.orders[slot], desk.terms
    j, sign = row[d.INSTRUMENT], 1 - 2 * row[d.SIDE]
    held = desk.positions[j]
    closes = max(-sign * held, 0)
    if row[d.REDUCE_ONLY] or (terms[d.SHORTS] == 0.0 and sign < 0):
        return int(min(lots, closes))
    if lots <= closes or terms[d.LEVERAGE] == math.inf:
        return int(lots)
    mid = d.mid_ticks(desk, j)
    others = d.gross(desk) - (abs(d.value(desk, j, held, mid)) if held != 0 else 0.0)
    room = terms[d.LEVERAGE] * d.equity(desk) - others
    each = d.value(desk, j, 1.0, ticks) * (1.0 + terms[d.LEVERAGE] * terms[d.TAKER_FEE])
    most = int(room / each + 1e-9) - (abs(held) if sign * held > 0 else 0) if room > 0.0 else 0
    return int(closes + min(lots - closes, max(most, 0)))


@njit(cache=True, nogil=True)
def fill(desk: Any, slot: int, lots: int, ticks: float, maker: bool, time: int) -> int:
    """Trade a part of an order; answers the lots the account allowed. What it refuses ends the order."""
    done = _allowed(desk, slot, lots, ticks)
    row, c = desk.orders[slot], desk.counters
    if done > 0 and c[d.FILLS] >= len(desk.fills):
        c[d.TROUBLE], done = d.FILLS_FULL, 0
    if done > 0:
        j, sign = row[d.INSTRUMENT], 1 - 2 * row[d.SIDE]
        worth = d.value(desk, j, done, ticks)
        fee = worth * desk.terms[d.MAKER_FEE if maker else d.TAKER_FEE]
        mid = d.mid_ticks(desk, j)
        out = desk.fills[c[d.FILLS]]
        out[d.FILL_TIME], out[d.FILL_INSTRUMENT], out[d.FILL_ORDER] = time, j, row[d.ID]
        out[d.FILL_LOTS], out[d.FILL_PRICE], out[d.FILL_FEE] = sign * done, ticks * desk.grid[j, 0], fee
        out[d.FILL_COST] = sign * d.value(desk, j, done, ticks - mid)
        out[d.FILL_DECIDED], out[d.FILL_MAKER] = desk.queue[slot, d.DECIDED], maker
        desk.money[d.CASH] -= sign * worth + fee
        desk.money[d.FEES] += fee
        desk.positions[j] += sign * done
        row[d.LEFT] -= done
        if row[d.LEFT] == 0:
            leave(desk, slot)
        answer(desk, slot, d.FILLED, c[d.FILLS], time)
        c[d.FILLS] += 1
        _relatives(desk, slot, time)
    if done < lots and row[d.STATE] != d.GONE:
        end(desk, slot, d.REFUSED, time)
    return int(done)


@njit(cache=True, nogil=True)
def _relatives(desk: Any, slot: int, time: int) -> None:
    """One of a group filled: the others end; what waited for this order goes to work as new."""
    row = desk.orders[slot]
    for other in range(desk.counters[d.SLOTS]):
        mate = desk.orders[other]
        if other == slot or mate[d.STATE] == d.FREE or mate[d.STATE] == d.GONE:
            continue
        if row[d.GROUP] > 0 and mate[d.GROUP] == row[d.GROUP] and mate[d.STATE] != d.TRAVELLING:
            end(desk, other, d.ENDED, time)
        elif mate[d.STATE] == d.WAITING and mate[d.AFTER] == row[d.ID]:
            mate[d.STATE] = d.READY
            desk.counters[d.READY_COUNT] += 1
