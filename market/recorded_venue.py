"""A venue made of recorded data, compiled: our orders in, fills out, the recording itself unmoved by them.

What is taken from a level stays taken until the recording sets that level anew. A resting order waits behind the lots
that were at its price when it arrived (market/queues.py); a trade at a worse price, or a level set beyond it, would
have met it first, so it fills, never more than that trade or level held. Where only trades are known, the last price
of buying and of selling takers stands for the quote, and a resting order needs a trade beyond its price.
At equal times the market comes before our orders.
"""

from typing import Any

from market import desk as d
from market import feed as f
from market.arriving_orders import arrive, enter, enter_ready
from market.kernel import njit
from market.queues import front_after
from market.resting_orders import fill

FOREVER = 2**62


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
            ours += fill(desk, slot, min(row[d.LEFT], int(reached)), float(row[d.TICK]), True, time)
        if k < desk.counters[d.OPEN_COUNT] and desk.open[k] == slot:
            k += 1
    enter_ready(desk, time)


@njit(cache=True, nogil=True)
def _trigger(desk: Any, j: int, tick: int, time: int) -> None:
    """A trade may set off stops."""
    for slot in range(desk.counters[d.SLOTS]):
        row = desk.orders[slot]
        if row[d.STATE] == d.STOPPED and row[d.INSTRUMENT] == j and (tick - row[d.STOP]) * (1 - 2 * row[d.SIDE]) >= 0:
            enter(desk, slot, time)
    enter_ready(desk, time)


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
        arrive(desk)
