"""Which waiting orders a price sets off: heaps by price, ladders of trailing stops, a heap by date.

A price that moves looks at the nearest trigger only: per instrument, price source and direction the waiting orders form
a binary heap ordered by trigger price, then by id. Trailing stops move with the market; those of one distance form a
ladder in order of their activation. The oldest has seen most and so has the highest peak and fires first; neighbours
with the same peak are a group that only its first member, the leader, speaks for, and a new high merges groups. So a
price change costs the number of distinct distances, not of orders. Compiled code over plain arrays, no money, no book.

A trailing sell follows the highest price since its activation, a buy the lowest; prices are multiplied by 1 or −1 so
that both are peaks. It fires when price × 10000 ≤ peak × 10000 − distance × |peak| (distance in 0.01 %).
"""

from typing import Any, NamedTuple

import numpy as np

from market.book import BUY, ORDER_SIDE, Integers
from market.kernel import kernel

# Heaps: by last price rising and falling, by mark price rising and falling, by date.
RISES, FALLS, EXPIRES, HEAPS = 0, 1, 4, 5
SOURCES = 2
# Columns of Triggers.conditions, per order slot: key, place and id in a heap of prices, the same in the heap of dates;
# the request; neighbours in a ladder, the peak (0: not a leader) and the neighbouring leaders.
(
    KEY, AT, KEY_ID, DATE_KEY, DATE_AT, DATE_ID, COND_KIND, COND_TIF, COND_SOURCE, COND_HEAP, COND_TRAIL, OLDER,
    YOUNGER, PEAK, LEADER_BEFORE, LEADER_AFTER, COND_FIELDS,
) = range(17)  # fmt: skip
# Columns of Triggers.ladders.
LADDER_TRAIL, LADDER_OLDEST, LADDER_YOUNGEST, LADDER_LEADER, LADDER_FIELDS = range(5)
# Columns of Triggers.counts: sizes of the heaps, ladders per source and side, orders fired and not yet carried out,
# orders that wait for each source.
LADDERS, FIRED, WAITING_FOR, COUNT_FIELDS = 5, 9, 10, 12
NOWHERE = -1
IN_LADDER = -2
BASIS_POINTS = 10_000


class Triggers(NamedTuple):
    """All waiting orders; first axis is the instrument."""

    conditions: Integers
    """[instruments, slots, COND_FIELDS]."""
    heaps: Integers
    """[instruments, HEAPS, slots]: slots of orders."""
    ladders: Integers
    """[instruments, sources × sides, slots, LADDER_FIELDS]."""
    fired: Integers
    """[instruments, slots]: slots in the order in which they fired."""
    counts: Integers
    """[instruments, COUNT_FIELDS]."""


def new_triggers(instruments: int, slots: int) -> Triggers:
    """Nothing waits."""
    empty = Triggers(
        conditions=np.zeros((instruments, 0, COND_FIELDS), np.int64),
        heaps=np.zeros((instruments, HEAPS, 0), np.int64),
        ladders=np.zeros((instruments, 2 * SOURCES, 0, LADDER_FIELDS), np.int64),
        fired=np.zeros((instruments, 0), np.int64),
        counts=np.zeros((instruments, COUNT_FIELDS), np.int64),
    )
    return with_slots(empty, slots)


def with_slots(triggers: Triggers, slots: int) -> Triggers:
    """The same for so many slots."""
    more = slots - triggers.fired.shape[1]
    if more <= 0:
        return triggers
    conditions = np.pad(triggers.conditions, ((0, 0), (0, more), (0, 0)))
    conditions[:, -more:, [AT, DATE_AT]] = NOWHERE
    return Triggers(
        conditions=conditions,
        heaps=np.pad(triggers.heaps, ((0, 0), (0, 0), (0, more))),
        ladders=np.pad(triggers.ladders, ((0, 0), (0, 0), (0, more), (0, 0))),
        fired=np.pad(triggers.fired, ((0, 0), (0, more))),
        counts=triggers.counts,
    )


# -- heaps ------------------------------------------------------------------------------------------------------------


@kernel
def _sooner(triggers: Any, i: int, heap: int, a: int, b: int) -> bool:
    """Whether slot `a` stands above slot `b`."""
    column = DATE_KEY if heap == EXPIRES else KEY
    first, second = triggers.conditions[i, a, column], triggers.conditions[i, b, column]
    ids = triggers.conditions[i, a, column + 2] < triggers.conditions[i, b, column + 2]
    return first < second or (first == second and ids)


@kernel
def _put(triggers: Any, i: int, heap: int, at: int, slot: int) -> None:
    triggers.heaps[i, heap, at] = slot
    triggers.conditions[i, slot, DATE_AT if heap == EXPIRES else AT] = at


@kernel
def _settle_down(triggers: Any, i: int, heap: int, at: int, slot: int) -> None:
    """Move `slot` up or down from the hole at `at` to where it belongs."""
    goes = at > 0
    while goes:
        parent = triggers.heaps[i, heap, (at - 1) // 2]
        goes = _sooner(triggers, i, heap, slot, parent)
        if goes:
            _put(triggers, i, heap, at, parent)
            at = (at - 1) // 2
            goes = at > 0
    size = triggers.counts[i, heap]
    goes = True
    while goes:
        child = 2 * at + 1
        if child + 1 < size and _sooner(
            triggers, i, heap, triggers.heaps[i, heap, child + 1], triggers.heaps[i, heap, child]
        ):
            child += 1
        goes = child < size and _sooner(triggers, i, heap, triggers.heaps[i, heap, child], slot)
        if goes:
            _put(triggers, i, heap, at, triggers.heaps[i, heap, child])
            at = child
    _put(triggers, i, heap, at, slot)


@kernel
def remove_from(triggers: Any, i: int, heap: int, slot: int) -> None:
    """Take a slot out of a heap if it is there."""
    column = DATE_AT if heap == EXPIRES else AT
    at = triggers.conditions[i, slot, column]
    if at >= 0:
        triggers.counts[i, heap] -= 1
        size = triggers.counts[i, heap]
        last = triggers.heaps[i, heap, size]
        triggers.conditions[i, slot, column] = NOWHERE
        if last != slot:
            _settle_down(triggers, i, heap, at, last)


@kernel
def push(triggers: Any, i: int, heap: int, slot: int, key: int, order_id: int) -> None:
    """Put a slot into a heap; a stale entry of the slot's last owner goes."""
    remove_from(triggers, i, heap, slot)
    column = DATE_KEY if heap == EXPIRES else KEY
    triggers.conditions[i, slot, column], triggers.conditions[i, slot, column + 2] = key, order_id
    triggers.counts[i, heap] += 1
    _settle_down(triggers, i, heap, triggers.counts[i, heap] - 1, slot)


# -- ladders of trailing stops ----------------------------------------------------------------------------------------


@kernel
def _ladder_of(triggers: Any, i: int, stand: int, trail: int) -> int:
    """Row of the ladder of this distance, or how many there are."""
    row, count = 0, triggers.counts[i, LADDERS + stand]
    while row < count and triggers.ladders[i, stand, row, LADDER_TRAIL] != trail:
        row += 1
    return row


@kernel
def _raise_peak(triggers: Any, i: int, stand: int, row: int, price: int) -> None:
    """Let a ladder see a price: groups whose peak it passes become one."""
    conditions, ladder = triggers.conditions, triggers.ladders[i, stand, row]
    leader = ladder[LADDER_LEADER]
    if conditions[i, leader, PEAK] < price:
        before = conditions[i, leader, LEADER_BEFORE]
        while before >= 0 and conditions[i, before, PEAK] <= price:
            conditions[i, leader, PEAK] = 0
            leader = before
            before = conditions[i, leader, LEADER_BEFORE]
        conditions[i, leader, PEAK], conditions[i, leader, LEADER_AFTER] = price, NOWHERE
        ladder[LADDER_LEADER] = leader


@kernel
def activate(triggers: Any, i: int, stand: int, slot: int, price: int) -> None:
    """Put a trailing stop at the young end of its ladder; `price` times 1 or −1 is its first peak."""
    conditions, trail = triggers.conditions, triggers.conditions[i, slot, COND_TRAIL]
    row = _ladder_of(triggers, i, stand, trail)
    ladder = triggers.ladders[i, stand, row]
    conditions[i, slot, AT] = IN_LADDER
    conditions[i, slot, COND_HEAP] = stand
    conditions[i, slot, YOUNGER] = conditions[i, slot, LEADER_AFTER] = NOWHERE
    conditions[i, slot, PEAK] = 0
    if row == triggers.counts[i, LADDERS + stand]:
        triggers.counts[i, LADDERS + stand] += 1
        ladder[LADDER_TRAIL], ladder[LADDER_OLDEST] = trail, slot
        ladder[LADDER_LEADER] = conditions[i, slot, OLDER] = NOWHERE
    else:
        _raise_peak(triggers, i, stand, row, price)  # the price that activates this one may be a new high
        conditions[i, slot, OLDER] = ladder[LADDER_YOUNGEST]
        conditions[i, ladder[LADDER_YOUNGEST], YOUNGER] = slot
    ladder[LADDER_YOUNGEST] = slot
    leader = ladder[LADDER_LEADER]
    if leader < 0 or conditions[i, leader, PEAK] != price:
        conditions[i, slot, PEAK], conditions[i, slot, LEADER_BEFORE] = price, leader
        if leader >= 0:
            conditions[i, leader, LEADER_AFTER] = slot
        ladder[LADDER_LEADER] = slot


@kernel
def leave_ladder(triggers: Any, i: int, slot: int) -> None:
    """Take a trailing stop out; the next of its group speaks for the group from now on."""
    conditions, stand = triggers.conditions, triggers.conditions[i, slot, COND_HEAP]
    row = _ladder_of(triggers, i, stand, conditions[i, slot, COND_TRAIL])
    ladder = triggers.ladders[i, stand, row]
    older, younger = conditions[i, slot, OLDER], conditions[i, slot, YOUNGER]
    if conditions[i, slot, PEAK] != 0:
        before, after = conditions[i, slot, LEADER_BEFORE], conditions[i, slot, LEADER_AFTER]
        if younger >= 0 and conditions[i, younger, PEAK] == 0:
            conditions[i, younger, PEAK], conditions[i, younger, LEADER_BEFORE] = conditions[i, slot, PEAK], before
            conditions[i, younger, LEADER_AFTER] = after
            before_after = after_before = younger
        else:
            before_after, after_before = after, before
        if before >= 0:
            conditions[i, before, LEADER_AFTER] = before_after
        if after >= 0:
            conditions[i, after, LEADER_BEFORE] = after_before
        else:
            ladder[LADDER_LEADER] = after_before
    if older >= 0:
        conditions[i, older, YOUNGER] = younger
    else:
        ladder[LADDER_OLDEST] = younger
    if younger >= 0:
        conditions[i, younger, OLDER] = older
    else:
        ladder[LADDER_YOUNGEST] = older
    conditions[i, slot, AT] = NOWHERE
    if ladder[LADDER_OLDEST] < 0:
        triggers.counts[i, LADDERS + stand] -= 1
        last = triggers.counts[i, LADDERS + stand]
        for field in range(LADDER_FIELDS):
            triggers.ladders[i, stand, row, field] = triggers.ladders[i, stand, last, field]


# -- what the engine calls --------------------------------------------------------------------------------------------


@kernel
def wait(triggers: Any, i: int, slot: int, heap: int, price: int, order_id: int) -> None:
    """Let a slot wait until the price of the heap's source has risen, or fallen, to `price`."""
    triggers.conditions[i, slot, COND_HEAP] = heap
    triggers.counts[i, WAITING_FOR + triggers.conditions[i, slot, COND_SOURCE]] += 1
    push(triggers, i, heap, slot, price if heap % 2 == RISES else -price, order_id)


@kernel
def trail_now(triggers: Any, i: int, slot: int, side: int, price: int, order_id: int) -> None:
    """Let a trailing stop follow the price from `price` on."""
    source = triggers.conditions[i, slot, COND_SOURCE]
    triggers.counts[i, WAITING_FOR + source] += 1
    triggers.conditions[i, slot, KEY_ID] = order_id
    activate(triggers, i, 2 * source + side, slot, -price if side == BUY else price)


@kernel
def next_date(triggers: Any, i: int) -> int:
    """When the next order expires, µs; ask only where one has a date."""
    return triggers.conditions[i, triggers.heaps[i, EXPIRES, 0], DATE_KEY]


@kernel
def stop_waiting(triggers: Any, i: int, slot: int) -> None:
    """Forget a waiting order."""
    triggers.counts[i, WAITING_FOR + triggers.conditions[i, slot, COND_SOURCE]] -= 1
    if triggers.conditions[i, slot, AT] == IN_LADDER:
        leave_ladder(triggers, i, slot)
    else:
        remove_from(triggers, i, triggers.conditions[i, slot, COND_HEAP], slot)


@kernel
def _fire(triggers: Any, i: int, slot: int) -> None:
    stop_waiting(triggers, i, slot)
    triggers.fired[i, triggers.counts[i, FIRED]] = slot
    triggers.counts[i, FIRED] += 1


@kernel
def _see_heap(triggers: Any, orders: Any, i: int, heap: int, price: int) -> None:
    """Fire what a price reaches; a trailing stop begins to trail instead."""
    reached = price if heap % 2 == RISES else -price
    while triggers.counts[i, heap] > 0 and triggers.conditions[i, triggers.heaps[i, heap, 0], KEY] <= reached:
        slot = triggers.heaps[i, heap, 0]
        if triggers.conditions[i, slot, COND_TRAIL] > 0:
            remove_from(triggers, i, heap, slot)
            side = orders[i, slot, ORDER_SIDE]
            activate(triggers, i, heap - heap % 2 + side, slot, -price if side == BUY else price)
        else:
            _fire(triggers, i, slot)


@kernel
def _see_ladders(triggers: Any, i: int, stand: int, price: int) -> None:
    """Raise peaks and fire; `price` comes times 1 or −1. Backwards, since a ladder that empties is replaced."""
    for row in range(triggers.counts[i, LADDERS + stand] - 1, -1, -1):
        _raise_peak(triggers, i, stand, row, price)
        trail, goes = triggers.ladders[i, stand, row, LADDER_TRAIL], True
        while goes:
            oldest = triggers.ladders[i, stand, row, LADDER_OLDEST]
            peak = triggers.conditions[i, oldest, PEAK]
            goes = price * BASIS_POINTS <= peak * BASIS_POINTS - trail * abs(peak)
            if goes:
                goes = triggers.conditions[i, oldest, YOUNGER] >= 0
                _fire(triggers, i, oldest)


@kernel
def _sort_fired(triggers: Any, i: int, first: int) -> None:
    """Bring trailing stops that fired at one price into the order of their ids."""
    fired, conditions = triggers.fired, triggers.conditions
    for k in range(first + 1, triggers.counts[i, FIRED]):
        slot, at = fired[i, k], k
        while at > first and conditions[i, fired[i, at - 1], KEY_ID] > conditions[i, slot, KEY_ID]:
            fired[i, at] = fired[i, at - 1]
            at -= 1
        fired[i, at] = slot


@kernel
def see(triggers: Any, orders: Any, i: int, source: int, price: int) -> None:
    """Let the waiting orders of one instrument see a price; who fires is appended to `fired`.

    `orders` is the book's.
    """
    if triggers.counts[i, WAITING_FOR + source] > 0:
        _see_heap(triggers, orders, i, 2 * source + RISES, price)
        _see_heap(triggers, orders, i, 2 * source + FALLS, price)
        first = triggers.counts[i, FIRED]
        _see_ladders(triggers, i, 2 * source + BUY, -price)
        _see_ladders(triggers, i, 2 * source + 1 - BUY, price)
        _sort_fired(triggers, i, first)
