"""Requests that reach a recorded venue, compiled: an order trades, rests, waits or ends; a cancellation ends one."""

from typing import Any

from market import desk as d
from market import tick_strategy as s
from market.impact import of_order, push, shift_against
from market.kernel import njit
from market.resting_orders import answer, end, fill, rest


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
            done = fill(desk, slot, min(there, row[d.LEFT]), price, False, time)
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
        rest(desk, slot, time)


@njit(cache=True, nogil=True)
def enter_ready(desk: Any, time: int) -> None:
    """Orders whose parent has filled go to work, in the order of their slots."""
    while desk.counters[d.READY_COUNT] > 0:
        for slot in range(desk.counters[d.SLOTS]):
            if desk.orders[slot, d.STATE] == d.READY:
                desk.counters[d.READY_COUNT] -= 1
                enter(desk, slot, time)


@njit(cache=True, nogil=True)
def arrive(desk: Any) -> None:
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
    enter_ready(desk, time)
