"""A venue made of recorded data, compiled: our orders in, fills out, the recording itself unmoved by them.

What is taken from a level stays taken until the recording sets that level anew. A resting order waits behind the lots
that were at its price when it arrived (market/queues.py); a trade at a worse price, or a level set beyond it, would
have met it first, so it fills, never more than that trade or level held. Where only trades are known, the last price
of buying and of selling takers stands for the quote, and a resting order needs a trade beyond its price.
At equal times the market comes before our orders.
"""

import math
from typing import Any

import numpy as np
from numba import njit

from market import desk as d
from market import feed as f
from market import tick_strategy as s
from market.impact import of_order, push, shift_against
from market.latency import ack_delay
from market.queues import front_after

FOREVER = 2**62


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
def _rest(desk: Any, slot: int, time: int) -> None:
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
def _leave(desk: Any, slot: int) -> None:
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
    _leave(desk, slot)
    answer(desk, slot, kind, -1, time)
    if row[d.LEFT] < row[d.LOTS]:
        return
    for other in range(desk.counters[d.SLOTS]):
        if desk.orders[other, d.STATE] == d.WAITING and desk.orders[other, d.AFTER] == row[d.ID]:
            _leave(desk, other)
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
def _fill(desk: Any, slot: int, lots: int, ticks: float, maker: bool, time: int) -> int:
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
            _leave(desk, slot)
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


@njit(cache=True, nogil=True)
def _available(desk: Any, j: int, side: int, limit: int, wanted: int) -> int:
    """Lots within a limit price on the other side, up to `wanted`; a negative limit is none."""
    if not desk.has_book[j]:
        return wanted
    other, total = 1 - side, 0
    at, step = desk.best[other, j], 1 if side == 0 else -1
    while desk.offsets[j] <= at < desk.offsets[j + 1] and total < wanted:
        if limit >= 0 and (desk.ticks[at] - limit) * step > 0:
            break
        total += max(desk.lots[other, at] - desk.used[other, at], 0)
        at += step
    return int(min(total, wanted))


@njit(cache=True, nogil=True)
def _take(desk: Any, slot: int, limit: int, time: int) -> None:
    """Walk the other side up to a limit price (negative: none)."""
    row, terms = desk.orders[slot], desk.terms
    j, side = row[d.INSTRUMENT], row[d.SIDE]
    other, sign = 1 - side, 1 - 2 * side
    at = desk.best[other, j]
    step_us = float(desk.grid_times[1] - desk.grid_times[0])
    wanted = row[d.LEFT]
    cost = terms[d.SLIPPAGE] + shift_against(desk.flow, j, float(sign), time, terms[d.HALF_LIFE])
    if not desk.has_book[j]:
        cost += of_order(desk.flow, j, float(wanted), terms[d.IMPACT], step_us)
    while row[d.LEFT] > 0 and desk.offsets[j] <= at < desk.offsets[j + 1]:
        tick = desk.ticks[at]
        if limit >= 0 and (tick - limit) * sign > 0:
            break
        there = desk.lots[other, at] - desk.used[other, at] if desk.has_book[j] else row[d.LEFT]
        if there > 0:
            price = tick * (1.0 + sign * cost)
            if limit >= 0:
                price = min(price, float(limit)) if sign > 0 else max(price, float(limit))
            done = _fill(desk, slot, min(there, row[d.LEFT]), price, False, time)
            desk.used[other, at] += done
            if row[d.STATE] == d.GONE or done == 0:
                break
        at += sign
    taken = wanted - row[d.LEFT]
    if terms[d.PERMANENT] > 0.0 and taken > 0:
        push(desk.flow, j, sign * terms[d.PERMANENT] * of_order(desk.flow, j, float(taken), terms[d.IMPACT], step_us))


@njit(cache=True, nogil=True)
def enter(desk: Any, slot: int, time: int) -> None:
    """An order goes to work: stops wait for their trigger, the rest trades, rests or ends by its time in force."""
    row = desk.orders[slot]
    j, side = row[d.INSTRUMENT], row[d.SIDE]
    sign = 1 - 2 * side
    if row[d.KIND] >= s.STOP_LIMIT and row[d.STATE] != d.STOPPED:
        last = desk.flow[j, d.LAST_TRADE]
        if last == 0.0 or (last - row[d.STOP]) * sign < 0:
            row[d.STATE] = d.STOPPED
            desk.counters[d.STOPS] += 1
            answer(desk, slot, d.ACCEPTED, -1, time)
            return
    elif row[d.STATE] == d.STOPPED:
        desk.counters[d.STOPS] -= 1
    row[d.STATE] = d.TRAVELLING
    if row[d.REDUCE_ONLY]:
        closes = max(-sign * desk.positions[j], 0)
        row[d.LOTS] -= max(row[d.LEFT] - closes, 0)
        row[d.LEFT] = min(row[d.LEFT], closes)
        if row[d.LEFT] == 0:
            end(desk, slot, d.REFUSED, time)
            return
    limit = row[d.TICK] if row[d.KIND] == s.LIMIT or row[d.KIND] == s.STOP_LIMIT else -1
    best = desk.best[1 - side, j]
    known = desk.offsets[j] <= best < desk.offsets[j + 1]
    crosses = known and (limit < 0 or (desk.ticks[best] - limit) * sign <= 0)
    if row[d.TIF] == s.POST_ONLY and crosses:
        end(desk, slot, d.REFUSED, time)
        return
    if row[d.TIF] == s.FOK and _available(desk, j, side, limit, row[d.LEFT]) < row[d.LEFT]:
        end(desk, slot, d.ENDED, time)
        return
    if crosses:
        _take(desk, slot, limit, time)
    if row[d.STATE] == d.GONE:
        return
    if limit < 0 or row[d.TIF] == s.IOC or row[d.TIF] == s.FOK:
        end(desk, slot, d.ENDED, time)
    else:
        _rest(desk, slot, time)


@njit(cache=True, nogil=True)
def _enter_ready(desk: Any, time: int) -> None:
    """Orders whose parent has filled go to work, in the order of their slots."""
    while desk.counters[d.READY_COUNT] > 0:
        for slot in range(desk.counters[d.SLOTS]):
            if desk.orders[slot, d.STATE] == d.READY:
                desk.counters[d.READY_COUNT] -= 1
                enter(desk, slot, time)


@njit(cache=True, nogil=True)
def _arrive(desk: Any) -> None:
    """The next request reaches the venue."""
    c = desk.counters
    request = desk.requests[c[d.REQUEST_HEAD] % len(desk.requests)]
    c[d.REQUEST_HEAD] += 1
    slot, time = request[d.REQUEST_SLOT], request[d.REQUEST_TIME]
    row = desk.orders[slot]
    if row[d.ID] != request[d.REQUEST_ID] or row[d.STATE] == d.GONE or row[d.STATE] == d.FREE:
        return
    if request[d.REQUEST_KIND] == s.CANCEL:
        c[d.CANCELS] += 1
        end(desk, slot, d.ENDED, time)
        return
    row[d.ARRIVED] = time
    if row[d.AFTER] > 0:
        parent = -1
        for other in range(c[d.SLOTS]):
            if desk.orders[other, d.ID] == row[d.AFTER] and desk.orders[other, d.STATE] != d.FREE:
                parent = other
        if parent < 0 or (
            desk.orders[parent, d.STATE] == d.GONE and desk.orders[parent, d.LEFT] == desk.orders[parent, d.LOTS]
        ):
            end(desk, slot, d.ENDED, time)
            return
        if desk.orders[parent, d.LEFT] == desk.orders[parent, d.LOTS]:
            row[d.STATE] = d.WAITING
            answer(desk, slot, d.ACCEPTED, -1, time)
            return
    enter(desk, slot, time)
    _enter_ready(desk, time)


@njit(cache=True, nogil=True)
def _queue_moved(desk: Any, side: int, at: int, before: int, now: int) -> None:
    """The total at a price where we rest has changed."""
    kind, exponent = desk.model
    for k in range(desk.counters[d.OPEN_COUNT]):
        slot = desk.open[k]
        if desk.orders[slot, d.AT] == at and desk.orders[slot, d.SIDE] == side:
            queue = desk.queue[slot]
            queue[d.FRONT] = front_after(kind, exponent, queue[d.FRONT], queue[d.TRADED], before, now)
            queue[d.TRADED] = 0.0


@njit(cache=True, nogil=True)
def _meet(desk: Any, side: int, j: int, at: int, lots: int, trade: bool, time: int) -> None:
    """A trade, or a level of the other side, of so many lots at a price that reaches our orders of `side`."""
    tick, ours, k = desk.ticks[at], 0, 0
    while k < desk.counters[d.OPEN_COUNT]:
        slot = desk.open[k]
        row = desk.orders[slot]
        beyond = (row[d.TICK] - tick) * (1 - 2 * side)  # above zero: a better price than this one
        if row[d.INSTRUMENT] != j or row[d.SIDE] != side or beyond < 0:
            k += 1
            continue
        front, queue = 0.0, desk.queue[slot]
        if trade and beyond == 0:
            front = queue[d.FRONT]
            queue[d.FRONT] = max(front - (lots - ours), 0.0)
            queue[d.TRADED] += lots
        reached = lots - ours - front
        if reached >= 1.0:
            ours += _fill(desk, slot, min(row[d.LEFT], int(reached)), float(row[d.TICK]), True, time)
        if k < desk.counters[d.OPEN_COUNT] and desk.open[k] == slot:
            k += 1
    _enter_ready(desk, time)


@njit(cache=True, nogil=True)
def _trigger(desk: Any, j: int, tick: int, time: int) -> None:
    """A trade may set off stops."""
    for slot in range(desk.counters[d.SLOTS]):
        row = desk.orders[slot]
        if row[d.STATE] == d.STOPPED and row[d.INSTRUMENT] == j and (tick - row[d.STOP]) * (1 - 2 * row[d.SIDE]) >= 0:
            enter(desk, slot, time)
    _enter_ready(desk, time)


@njit(cache=True, nogil=True)
def note(desk: Any, before: int) -> None:
    """Write equity, exposure and mids for every grid time before `before`."""
    c, flow = desk.counters, desk.flow
    while c[d.NEXT_GRID] < len(desk.grid_times) and desk.grid_times[c[d.NEXT_GRID]] < before:
        g = c[d.NEXT_GRID]
        for j in range(len(desk.positions)):
            mid, row = d.mid_ticks(desk, j), flow[j]
            if mid != mid:
                continue
            last = row[d.LAST_MID] if row[d.LAST_MID] > 0.0 else mid
            high, low = max(last, mid), min(last, mid)
            if row[d.HIGH] > 0.0:
                high, low = max(high, row[d.HIGH]), min(low, row[d.LOW])
            out = desk.mids[g, j]
            out[0], out[1], out[2], out[3] = mid, high, low, row[d.TRADED_LOTS]
            row[d.VARIANCE] += (mid / last - 1.0) ** 2
            row[d.VOLUME] += row[d.TRADED_LOTS]
            row[d.SEEN] += 1.0
            row[d.LAST_MID], row[d.TRADED_LOTS], row[d.HIGH], row[d.LOW] = mid, 0.0, 0.0, 0.0
        now = d.equity(desk)
        desk.worth[g, 0], desk.worth[g, 1] = now, d.gross(desk) / now if now > 0.0 else 0.0
        c[d.NEXT_GRID] = g + 1


@njit(cache=True, nogil=True)
def forget(lots: Any, best: Any, offsets: Any, j: int) -> None:
    """Empty one instrument's book."""
    lots[:, offsets[j] : offsets[j + 1]] = 0
    best[0, j], best[1, j] = offsets[j] - 1, offsets[j + 1]


@njit(cache=True, nogil=True)
def _rare(desk: Any, j: int, kind: int, lots: int, time: int) -> None:
    """A lost book or a funding payment."""
    if kind == f.LOST:
        forget(desk.lots, desk.best, desk.offsets, j)
        for k in range(desk.counters[d.OPEN_COUNT]):
            if desk.orders[desk.open[k], d.INSTRUMENT] == j:  # who stood ahead is gone or not; we stay where we are
                desk.queue[desk.open[k], d.TRADED] = 0.0
        return
    mid = d.mid_ticks(desk, j)
    if desk.positions[j] != 0 and mid == mid:
        paid = d.value(desk, j, desk.positions[j], mid) * (lots / f.RATE)
        desk.money[d.CASH] -= paid
        desk.money[d.FUNDING_PAID] += paid


@njit(cache=True, nogil=True)
def _trade(desk: Any, j: int, kind: int, at: int, lots: int, time: int) -> None:
    """Everything a trade does but move the recorded book."""
    tick, row = desk.ticks[at], desk.flow[j]
    row[d.LAST_TRADE] = tick
    row[d.TRADED_LOTS] += lots
    row[d.HIGH] = max(row[d.HIGH], float(tick))
    row[d.LOW] = float(tick) if row[d.LOW] == 0.0 else min(row[d.LOW], float(tick))
    if kind == f.SELL and at <= desk.touch[0, j]:
        _meet(desk, 0, j, at, lots, True, time)
    elif kind == f.BUY and at >= desk.touch[1, j]:
        _meet(desk, 1, j, at, lots, True, time)
    if desk.counters[d.STOPS] > 0:
        _trigger(desk, j, tick, time)
    if not desk.has_book[j]:
        desk.best[1 if kind == f.BUY else 0, j] = at


@njit(cache=True, nogil=True)
def play(desk: Any, until: int, stop_at_answer: bool) -> None:
    """Let the venue's time pass up to and with `until`; or to the first answer the strategy hears of by then.

    The loop over recorded rows is written out here: as a function it would cost more than its work.
    """
    rows, lots, best, used, ours = desk.rows, desk.lots, desk.best, desk.used, desk.ours
    offsets, touch, c = desk.offsets, desk.touch, desk.counters
    count, bound = len(rows), until
    while True:
        if stop_at_answer and c[d.ANSWER_TAIL] > c[d.ANSWER_HEAD]:
            bound = min(bound, desk.answers[c[d.ANSWER_HEAD] % len(desk.answers), d.ANSWER_TIME])
        arrival = FOREVER
        if c[d.REQUEST_TAIL] > c[d.REQUEST_HEAD]:
            arrival = desk.requests[c[d.REQUEST_HEAD] % len(desk.requests), d.REQUEST_TIME]
        last = min(bound, arrival)
        e, answers = c[d.NEXT_ROW], c[d.ANSWER_TAIL]
        due = desk.grid_times[c[d.NEXT_GRID]] if c[d.NEXT_GRID] < len(desk.grid_times) else FOREVER
        while e < count and rows[e, f.TIME] <= last:
            if rows[e, f.TIME] > due:
                note(desk, rows[e, f.TIME])
                due = desk.grid_times[c[d.NEXT_GRID]] if c[d.NEXT_GRID] < len(desk.grid_times) else FOREVER
            kind, j, at, size = rows[e, f.KIND], rows[e, f.INSTRUMENT], rows[e, f.AT], rows[e, f.LOTS]
            if kind <= f.SET_ASK:
                before = lots[kind, at]
                lots[kind, at] = size
                used[kind, at] = 0
                if ours[kind, at] > 0:
                    _queue_moved(desk, kind, at, before, size)
                if kind == f.SET_BID:
                    if size > 0:
                        if at > best[0, j]:
                            best[0, j] = at
                        if at >= touch[1, j]:
                            _meet(desk, 1, j, at, size, False, rows[e, f.TIME])
                    elif at == best[0, j]:
                        while at >= offsets[j] and lots[0, at] == 0:
                            at -= 1
                        best[0, j] = at
                elif size > 0:
                    if at < best[1, j]:
                        best[1, j] = at
                    if at <= touch[0, j]:
                        _meet(desk, 0, j, at, size, False, rows[e, f.TIME])
                elif at == best[1, j]:
                    while at < offsets[j + 1] and lots[1, at] == 0:
                        at += 1
                    best[1, j] = at
            elif kind <= f.SELL:
                _trade(desk, j, kind, at, size, rows[e, f.TIME])
            else:
                _rare(desk, j, kind, size, rows[e, f.TIME])
            e += 1
            if stop_at_answer and c[d.ANSWER_TAIL] > answers:
                break
        c[d.NEXT_ROW] = e
        if stop_at_answer and c[d.ANSWER_TAIL] > answers:
            continue
        if arrival > bound:
            c[d.NOW] = max(c[d.NOW], bound)
            return
        note(desk, arrival)
        _arrive(desk)
