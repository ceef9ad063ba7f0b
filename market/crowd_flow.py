"""The crowd's one step in compiled form; `market/crowd.py` says who these agents are and why.

Arrays have the instrument on their first axis. A price is a log price relative to the fair price; quantities are lots
as floats until they become commands. Everything that decides lives in this file, because Numba's cache follows it.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from market.book import BUY, ORDER_ID, ORDER_LOTS, ORDER_PRICE, ORDER_SIDE, SELL, Integers
from market.engine import (
    DO_INSTRUMENT,
    DO_KIND,
    DO_LOTS,
    DO_OWNER,
    DO_PRICE,
    DO_SIDE,
    QUOTE_LEVEL,
    STATE_QUOTES,
    TAKE,
    WITHDRAW,
)
from market.kernel import njit

Floats = NDArray[np.float64]
MAKER, TAKER = 1, 2

HALF_CELLS = 96
CELLS = 2 * HALF_CELLS
VISIBLE = 8
"""Cells of the patient traders' field that show in the book, per side."""
MAKERS = 3
MAKER_RUNGS = 2
METAS = 3
"""Large orders at work at once, per instrument."""
ROWS = 2 * (VISIBLE + MAKERS * MAKER_RUNGS)
"""Quotes per instrument and step at most."""
MOST_TAKERS = 120
# Columns of `planned`: what was quoted, and a cell (0 and up) or a maker (−1 and down).
PLAN_SIDE, PLAN_PRICE, PLAN_LOTS, PLAN_WHO, PLAN_FIELDS = range(5)
# Columns of a large order.
(
    META_SIDE, META_LEFT, META_LOTS, META_RATE, META_START, META_FROM, META_LOG_FROM, META_VOLUME, META_SIGMA,
    META_FIELDS,
) = range(10)  # fmt: skip
# Columns of a finished one.
(
    DONE_INSTRUMENT, DONE_SIDE, DONE_LOTS, DONE_SECONDS, DONE_IMPACT, DONE_MOVE, DONE_VOLUME, DONE_SIGMA, DONE_END,
    DONE_FIELDS,
) = range(10)  # fmt: skip


class State(NamedTuple):
    """What the crowd remembers."""

    field: Floats
    """[n, CELLS] lots of patient interest per cell: bids positive, asks negative."""
    displaced: Floats
    """[n] log price at which patient bids and asks meet, relative to the fair price."""
    inventory: Floats
    """[n, MAKERS] lots."""
    averages: Floats
    """[n, 3] log price averaged over 1, 10 and 60 minutes."""
    metas: Floats
    """[n, METAS, META_FIELDS]; META_LEFT 0 is a free place."""
    planned: Integers
    """[n, ROWS, PLAN_FIELDS]."""
    planned_rows: Integers
    """[n]."""
    done: Floats
    """[rows, DONE_FIELDS] large orders that ended."""
    done_rows: Integers
    """[1]."""


class Model(NamedTuple):
    """What does not change; float64 [n] where not said otherwise."""

    ticks: Floats
    trade_lots: Floats
    half_spread: Floats
    """Declared, as a fraction of price."""
    sigma: Floats
    """Typical volatility per square-root second."""
    volume: Floats
    """Typical lots per second."""
    cell: Floats
    """Width of a cell, log price."""
    slope: Floats
    """Lots of patient interest per cell and cell of distance, in ordinary times."""
    diffusion: Floats
    """Share of a cell's interest that moves to each neighbour per second, in ordinary times."""
    forget: float
    """Share of the field per second that is drawn anew around the fair price."""
    skew: float
    """Makers' shift of their quotes, in half-spreads, per typical trade held."""
    unload: float
    """Share of its inventory a maker passes on per second."""
    shares: Floats
    """[5] of the volume: noise, momentum, reversion, value, stale quotes' chance per step."""
    metas_per_second: float
    meta_least: float
    """Smallest large order, as a share of the day's volume."""
    meta_most: float
    meta_tail: float
    """Tail exponent of their sizes."""
    participation: Floats
    """[2] least and greatest share of the volume that a large order makes."""


@njit(cache=True, nogil=True)
def _command(out, k, i, kind, owner, side, price, lots):  # type: ignore[no-untyped-def]
    if k < len(out):
        row = out[k]
        row[DO_INSTRUMENT], row[DO_KIND], row[DO_OWNER], row[DO_SIDE] = i, kind, owner, side
        row[DO_PRICE], row[DO_LOTS] = max(1, price), max(1, lots)
        return k + 1
    return k


@njit(cache=True, nogil=True)
def observe(state, book, quotes, counters):  # type: ignore[no-untyped-def]
    """Take out of the field and the inventories what traded since the quotes were planned."""
    for i in range(len(state.field)):
        rows, j = state.planned_rows[i], 0
        planned = state.planned[i]
        for q in range(counters[i, STATE_QUOTES]):
            slot = quotes[i, q, 0]
            order = book.orders[i, slot]
            if quotes[i, q, 2] != MAKER or order[ORDER_ID] != quotes[i, q, 1]:
                continue
            at = j
            while at < rows and not (
                planned[at, PLAN_PRICE] == order[ORDER_PRICE] and planned[at, PLAN_SIDE] == order[ORDER_SIDE]
            ):
                at += 1
            if at < rows:  # rows that were passed over are gone: they traded whole
                planned[at, PLAN_LOTS] -= order[ORDER_LOTS]
                j = at + 1
        for k in range(rows):
            traded, who = max(0, planned[k, PLAN_LOTS]), planned[k, PLAN_WHO]
            bought = traded if planned[k, PLAN_SIDE] == BUY else -traded
            if who >= 0:
                state.field[i, who] -= bought
            else:
                state.inventory[i, -1 - who] += bought
        state.planned_rows[i] = 0


@njit(cache=True, nogil=True)
def settle_field(field, meet, passed, cell, slope, diffusion, forget):  # type: ignore[no-untyped-def]
    """One step of the patient traders' minds; returns where bids and asks meet, relative to the fair price.

    What makers pass on (`passed` lots, positive after they sold) is taken where they met, interest moves to
    neighbouring cells (reassessment), and a little of it is drawn anew, linear around the fair price.
    """
    exact = min(max(meet / cell + HALF_CELLS - 0.5, 1.0), CELLS - 3.0)
    below = int(exact)
    field[below] += passed * (1.0 - (exact - below))
    field[below + 1] += passed * (exact - below)
    before = field[0]
    for j in range(1, CELLS - 1):
        here = field[j]
        field[j] = here + diffusion * (before - 2.0 * here + field[j + 1])
        before = here
    for j in range(CELLS):
        field[j] += forget * (-slope * (j - HALF_CELLS + 0.5) - field[j])
    bid = below
    while bid > 0 and field[bid] <= 0.0:
        bid -= 1
    while bid < CELLS - 2 and field[bid + 1] > 0.0:
        bid += 1
    share = field[bid] / max(1e-9, field[bid] - field[bid + 1])
    return (bid + min(1.0, max(0.0, share)) - HALF_CELLS + 0.5) * cell


@njit(cache=True, nogil=True)
def _plan(state, i, side, price, lots, who):  # type: ignore[no-untyped-def]
    row = state.planned[i, state.planned_rows[i]]
    row[PLAN_SIDE], row[PLAN_PRICE], row[PLAN_LOTS], row[PLAN_WHO] = side, max(1, price), max(1, lots), who
    state.planned_rows[i] += 1


@njit(cache=True, nogil=True)
def _quote_patient(out, k, i, state, fair, cell, half, depth):  # type: ignore[no-untyped-def]
    """Show the field's nearest cells, none nearer than half a spread to where it changes sign."""
    meet = state.displaced[i]
    for side in (BUY, SELL):
        sign = 1.0 if side == BUY else -1.0
        j = math.floor(meet / cell + HALF_CELLS - 0.5) + (0 if side == BUY else 1)
        shown = 0
        while 0 < j < CELLS - 1 and shown < VISIBLE:
            lots = int(sign * state.field[i, j] * min(1.0, depth))
            apart = max(half, sign * (meet - (j - HALF_CELLS + 0.5) * cell))
            exact = fair * math.exp(meet - sign * apart)
            price = math.floor(exact) if side == BUY else math.ceil(exact)
            if lots > 0:
                _plan(state, i, side, price, lots, j)
                k = _command(out, k, i, QUOTE_LEVEL, MAKER, side, price, lots)
                shown += 1
            j -= int(sign)
    return k


@njit(cache=True, nogil=True)
def _quote_makers(rng, out, k, i, state, model, middle, half, depth):  # type: ignore[no-untyped-def]
    """Each maker quotes around its own reservation price, lower the more it holds (Avellaneda and Stoikov 2008)."""
    size = model.trade_lots[i]
    for m in range(MAKERS):
        held = state.inventory[i, m] / size
        center = middle - model.skew * held * half
        for rung in range(MAKER_RUNGS):
            wide = half * (1.0 + 0.35 * m + 1.1 * rung) * (0.9 + 0.2 * rng.random())
            for side in (BUY, SELL):
                adds = held > 0 if side == BUY else held < 0
                eager = math.exp(-0.15 * abs(held)) if adds else 1.0
                lots = int(2.5 * size * depth * eager * math.exp(0.4 * rng.standard_normal()))
                sign = 1.0 if side == BUY else -1.0
                price = math.floor(center - sign * max(0.5, wide) + 0.5)
                price = min(price, math.ceil(middle) - 1) if side == BUY else max(price, math.floor(middle) + 1)
                if lots > 0:
                    _plan(state, i, side, price, lots, -1 - m)
                    k = _command(out, k, i, QUOTE_LEVEL, MAKER, side, price, lots)
    return k


@njit(cache=True, nogil=True)
def _pass_on(inventory, unload, dt):  # type: ignore[no-untyped-def]
    """Makers pass what they hold on to patient traders, away from the book; lots bought (sold: negative)."""
    share, passed = 1.0 - math.exp(-unload * dt), 0.0
    for m in range(MAKERS):
        passed -= inventory[m] * share
        inventory[m] *= 1.0 - share
    return passed


@njit(cache=True, nogil=True)
def _takers(rng, out, k, i, wanted, buying, size, lowest, highest):  # type: ignore[no-untyped-def]
    """Poisson many takers of lognormal sizes that make `wanted` lots on average; `buying` is the chance to buy."""
    mean = max(1.2 * size, wanted / MOST_TAKERS)
    for _ in range(min(rng.poisson(wanted / mean), MOST_TAKERS)):
        lots = int(mean * math.exp(1.0 * rng.standard_normal() - 0.5)) + 1
        if rng.random() < buying:
            k = _command(out, k, i, TAKE, TAKER, BUY, highest, lots)
        else:
            k = _command(out, k, i, TAKE, TAKER, SELL, lowest, lots)
    return k


@njit(cache=True, nogil=True)
def _large_orders(rng, out, k, i, state, model, dt, time, log_fair, volume, sigma, lowest, highest):  # type: ignore[no-untyped-def]
    """Begin, continue and end the large orders of one instrument: slices at a steady share of the volume."""
    begins = rng.random() < model.metas_per_second * dt
    size = model.trade_lots[i]
    for m in range(METAS):
        meta = state.metas[i, m]
        if meta[META_LEFT] <= 0.0:
            if begins:
                begins = False
                day = model.volume[i] * 86_400.0
                share = model.meta_least * (1.0 - rng.random()) ** (-1.0 / model.meta_tail)
                meta[META_LOTS] = meta[META_LEFT] = day * min(share, model.meta_most)
                meta[META_SIDE] = BUY if rng.random() < 0.5 else SELL
                least, most = model.participation
                meta[META_RATE] = least + (most - least) * rng.random()
                meta[META_START], meta[META_FROM], meta[META_LOG_FROM] = time, state.displaced[i], log_fair
                meta[META_VOLUME] = meta[META_SIGMA] = 0.0
            continue
        meta[META_VOLUME] += volume * dt
        meta[META_SIGMA] += sigma * sigma * dt
        side = int(meta[META_SIDE])
        wanted = meta[META_RATE] * volume * dt
        for _ in range(rng.poisson(wanted / (0.35 * size))):
            lots = int(min(meta[META_LEFT], size * (0.15 + 0.4 * rng.random()))) + 1
            k = _command(out, k, i, TAKE, TAKER, side, highest if side == BUY else lowest, lots)
            meta[META_LEFT] -= lots
        if meta[META_LEFT] <= 0.0:
            _write_done(state, i, meta, time, log_fair)
    return k


@njit(cache=True, nogil=True)
def _write_done(state, i, meta, time, log_fair):  # type: ignore[no-untyped-def]
    row = state.done[state.done_rows[0] % len(state.done)]
    sign = 1.0 if meta[META_SIDE] == BUY else -1.0
    seconds = max(1e-9, (time - meta[META_START]) / 1e6)
    row[DONE_INSTRUMENT], row[DONE_SIDE] = i, meta[META_SIDE]
    row[DONE_LOTS], row[DONE_SECONDS] = meta[META_LOTS], seconds
    row[DONE_IMPACT] = sign * (state.displaced[i] - meta[META_FROM])
    row[DONE_MOVE] = row[DONE_IMPACT] + sign * (log_fair - meta[META_LOG_FROM])
    row[DONE_VOLUME] = meta[META_VOLUME] / seconds
    row[DONE_SIGMA] = math.sqrt(meta[META_SIGMA] / seconds)
    row[DONE_END] = time
    state.done_rows[0] += 1


@njit(cache=True, nogil=True)
def step(rng, out, state, model, dt, time, log_price, sigma, volume, spread, depth):  # type: ignore[no-untyped-def]
    """Write the commands of one step of `dt` seconds; `observe` comes first. Returns how many."""
    k = 0
    for i in range(len(log_price)):
        size, cell, fair = model.trade_lots[i], model.cell[i], math.exp(log_price[i]) * model.ticks[i]
        wild = sigma[i] / model.sigma[i]
        busy = volume[i] / model.volume[i]
        thin = min(4.0, max(0.1, busy / (wild * wild)))
        moves = min(0.4, model.diffusion[i] * wild * wild * dt)
        passed = _pass_on(state.inventory[i], model.unload, dt)
        fresh = 1.0 - math.exp(-model.forget * dt)
        state.displaced[i] = settle_field(
            state.field[i], state.displaced[i], passed, cell, model.slope[i] * thin, moves, fresh
        )
        middle = fair * math.exp(state.displaced[i])
        half_fraction = model.half_spread[i] * (0.6 + 0.4 * wild) * spread[i]
        half = max(0.5, fair * half_fraction)
        for side in (BUY, SELL):  # stale quotes are picked off before anybody quotes anew
            if rng.random() < model.shares[4]:
                sign = 1.0 if side == BUY else -1.0
                lots = int(rng.exponential(0.5 * size)) + 1
                k = _command(out, k, i, TAKE, TAKER, side, math.floor(middle - sign * 0.25 * half + 0.5), lots)
        k = _command(out, k, i, WITHDRAW, MAKER, BUY, 0, 0)
        reach = max(12.0 * half, 12.0 * cell * fair)
        lowest, highest = math.ceil(middle - reach), int(middle + reach)
        k = _quote_patient(out, k, i, state, fair, cell, half_fraction, depth[i])
        k = _quote_makers(rng, out, k, i, state, model, middle, half, depth[i])

        mean = state.averages[i]
        now = log_price[i] + state.displaced[i]
        for a, seconds in enumerate((60.0, 600.0, 3600.0)):
            mean[a] += (1.0 - math.exp(-dt / seconds)) * (now - mean[a])
        trend = (mean[0] - mean[1]) / (sigma[i] * 24.5)
        stretch = (now - mean[2]) / (sigma[i] * 60.0)
        gap = state.displaced[i] / (sigma[i] * 60.0)
        hurry = abs(now - mean[0]) / (sigma[i] * 7.75)  # a minute that moves is a minute that trades
        flow = volume[i] * dt * (0.45 + 0.65 * min(2.5, hurry))
        k = _takers(rng, out, k, i, flow * model.shares[0], 0.5, size, lowest, highest)
        for share, lean in ((model.shares[1], trend), (model.shares[2], -stretch), (model.shares[3], -gap)):
            wanted = flow * share * min(2.0, abs(lean))
            k = _takers(rng, out, k, i, wanted, 1.0 if lean > 0 else 0.0, size, lowest, highest)
        k = _large_orders(
            rng, out, k, i, state, model, dt, time, log_price[i], flow / dt, sigma[i], lowest, highest
        )  # fmt: skip
    return k
