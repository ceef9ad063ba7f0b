"""Run a strategy over recorded trades and order books, event by event or as one compiled step.

Three clocks run apart: the venue meets each event at its own time, the strategy hears of it `feed` later, and its
orders arrive `entry` after that. So a strategy cannot know an event before its latency, an order cannot fill before it
has arrived, and nothing the recording says later changes what happened before.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from lake.errors import UsageError
from lake.intervals import MINUTE, SECOND
from market import desk as d
from market import execution as x
from market import feed as f
from market.bars import Bars
from market.desk import Desk, Integers, Room, new_desk
from market.execution import Floats
from market.feed import Feed
from market.kernel import njit
from market.recorded_venue import note, play
from market.simulation import Run
from market.strategy import Strategy
from market.strategy_side import carry_out, hear, learn_all, show
from market.tick_conditions import TickConditions
from market.tick_strategy import COMMAND_FIELDS, COMMANDS, MINE_FIELDS, SEEN_FIELDS, StepStrategy, View

GRIDS = (SECOND, 5 * SECOND, 10 * SECOND, 30 * SECOND, MINUTE, 5 * MINUTE, 15 * MINUTE, 60 * MINUTE)
MOST_POINTS = 5_000
"""Of the equity curve: the finest grid with no more is taken."""
TROUBLES = {
    d.ORDERS_FULL: "more open orders than a run has room for; cancel those that are no longer wanted",
    d.RING_FULL: "more requests or answers on their way than a run has room for",
    d.BAD_COMMAND: "a command with an unknown instrument or side, or with a quantity or price that is not above 0",
}


def grid_of(feed: Feed, step: int = 0) -> Integers:
    """Times at which equity is noted: ends of equal steps (µs; 0: chosen) over the whole recording."""
    first, last = int(feed.rows[0, f.TIME]), int(feed.rows[-1, f.TIME])
    step = step or next((grid for grid in GRIDS if (last - first) / grid <= MOST_POINTS), GRIDS[-1])
    begin = first // step * step
    return np.arange(begin + step, max(last, begin + step) + step + 1, step, dtype=np.int64)


def loop_of(step: Callable[[View], int]) -> Any:
    """The compiled loop around a strategy's step; compiled once for each."""
    if step not in _LOOPS:

        @njit(nogil=True)
        def loop(desk: Any, view: Any, mine: Any, interval: int, first: int, last: int) -> None:
            now = first
            while now <= last and desk.counters[d.TROUBLE] == d.NO_TROUBLE:
                play(desk, now, False)
                hear(desk, now)
                learn_all(desk, now)
                count = show(desk, view.market, view.depth, mine, view.money)
                asked = step(
                    View(
                        now, view.market, view.depth, view.grid, view.money, mine[:count], view.state,
                        view.parameters, view.commands,
                    )
                )  # fmt: skip
                carry_out(desk, now, view.commands, asked)
                now += interval

        _LOOPS[step] = loop
    return _LOOPS[step]


_LOOPS: dict[Callable[[View], int], Any] = {}


def new_view(strategy: StepStrategy, feed: Feed, room: Room) -> tuple[View, Integers]:
    """Empty arrays for a strategy's step, and room for its orders."""
    k = len(feed.instruments)
    mine = np.zeros((room.slots, MINE_FIELDS), np.int64)
    view = View(
        0, np.zeros((k, SEEN_FIELDS), np.int64), np.zeros((k, 2, strategy.book_levels, 2), np.int64), feed.grid,
        np.zeros(1), mine[:0], np.zeros(strategy.state_size), strategy.numbers(),
        np.zeros((COMMANDS, COMMAND_FIELDS), np.int64),
    )  # fmt: skip
    return view, mine


def desk_for(feed: Feed, conditions: TickConditions, room: Room, step: int = 0) -> Desk:
    """A fresh run's arrays under these conditions."""
    delays = conditions.latency.delays()
    return new_desk(feed, conditions.capital, conditions.terms(), delays, conditions.queue, grid_of(feed, step), room)


def run_step(strategy: StepStrategy, feed: Feed, conditions: TickConditions, step: int = 0) -> Desk:
    """The fast path: a compiled step over the whole recording."""
    room = Room()
    interval = strategy.interval_us
    if interval < 1:
        raise UsageError(f"{type(strategy).__name__}.interval_us: expected above 0, found {interval}.")
    while True:
        desk = desk_for(feed, conditions, room, step)
        view, mine = new_view(strategy, feed, room)
        first = -(-int(feed.rows[0, f.HEARD]) // interval) * interval
        loop_of(strategy.step)(desk, view, mine, interval, first, int(feed.rows[-1, f.HEARD]))
        finish(desk)
        if desk.counters[d.TROUBLE] != d.FILLS_FULL:
            break
        room = Room(room.slots, room.ring, 4 * room.fills)
    check(desk, strategy)
    return desk


def finish(desk: Desk) -> None:
    """Let the venue play what is left of the recording and note the rest of the equity curve."""
    end = int(max(desk.rows[-1, f.TIME], desk.rows[-1, f.HEARD], desk.grid_times[-1]))
    play(desk, end, False)
    note(desk, end + 1)


def check(desk: Desk, strategy: Strategy) -> None:
    """Raise what stopped a run.

    Raises:
        UsageError: the strategy's commands make no sense, or are more than a run has room for.
    """
    trouble = int(desk.counters[d.TROUBLE])
    if trouble:
        raise UsageError(f"{type(strategy).__name__}: {TROUBLES.get(trouble, 'more fills than a run has room for')}.")


def tick_backtest(
    strategy: Strategy, feed: Feed, conditions: TickConditions, compiled: bool = True, step: int = 0
) -> Run:
    """Run a strategy over a feed; `compiled=False` gives a `StepStrategy` its events one by one, as live would.

    Args:
        step: of the equity curve in µs; 0 takes the finest of a second to an hour with at most 5,000 points.

    Raises:
        UsageError: the strategy's commands make no sense.
    """
    if compiled and isinstance(strategy, StepStrategy):
        desk = run_step(strategy, feed, conditions, step)
        return run_of(desk, feed, conditions, True)
    from market.tick_simulation import TickSimulation

    return run_of(TickSimulation(strategy, feed, conditions, step).run(), feed, conditions, False)


def run_of(desk: Desk, feed: Feed, conditions: TickConditions, compiled: bool) -> Run:
    """A finished run on its grid, as the measures and reports of bars read it."""
    step = int(desk.grid_times[1] - desk.grid_times[0])
    bars = _bars(desk, feed, step)
    fills = desk.fills[: desk.counters[d.FILLS]]
    out = np.zeros((len(fills), x.FILL_FIELDS))
    out[:, x.FILL_BAR] = (fills[:, d.FILL_TIME].astype(np.int64) - bars.open_time[0]) // step
    out[:, x.FILL_BAR] = np.clip(out[:, x.FILL_BAR], 0, len(bars.open_time) - 1)
    j = fills[:, d.FILL_INSTRUMENT].astype(np.int64)
    out[:, x.FILL_INSTRUMENT] = j
    out[:, x.FILL_QUANTITY] = fills[:, d.FILL_LOTS] * feed.grid[j, f.LOT_SIZE]
    out[:, x.FILL_PRICE], out[:, x.FILL_FEE] = fills[:, d.FILL_PRICE], fills[:, d.FILL_FEE]
    out[:, x.FILL_COST], out[:, x.FILL_DECIDED] = fills[:, d.FILL_COST], fills[:, d.FILL_DECIDED]
    out[:, x.FILL_KIND] = np.where(fills[:, d.FILL_MAKER] > 0, x.LIMIT_FILL, x.MARKET_FILL)
    worth, exposure = desk.worth[:, 0].copy(), desk.worth[:, 1].copy()
    lost = np.flatnonzero(~(worth > x.RUIN * conditions.capital))
    ruined = int(lost[0]) if len(lost) else None
    if ruined is not None:
        worth[ruined:], exposure[ruined:] = x.RUIN * conditions.capital, 0.0
        out = out[out[:, x.FILL_BAR] <= ruined]
    return Run(bars, conditions, worth, exposure, out, ruined, compiled, _more(desk, feed, fills))


def _bars(desk: Desk, feed: Feed, step: int) -> Bars:
    """Bars of the venue's mids, with highs and lows of mids and trades."""
    mids = desk.mids
    values = np.full((len(mids), len(feed.instruments), x.BAR_FIELDS), np.nan)
    scale = feed.grid[:, f.TICK_SIZE]
    values[:, :, x.CLOSE] = mids[:, :, 0] * scale
    values[:, :, x.HIGH], values[:, :, x.LOW] = mids[:, :, 1] * scale, mids[:, :, 2] * scale
    values[:, :, x.VOLUME] = mids[:, :, 3] * feed.grid[:, f.LOT_SIZE]
    _begin_with_the_first(values)
    values[0, :, x.OPEN], values[1:, :, x.OPEN] = values[0, :, x.CLOSE], values[:-1, :, x.CLOSE]
    return Bars(feed.instruments, desk.grid_times - step, values, step)


def _begin_with_the_first(values: Floats) -> None:
    """Where no price was known yet, the first one stands, so that holding can be compared from the start."""
    for j in range(values.shape[1]):
        known = np.flatnonzero(~np.isnan(values[:, j, x.CLOSE]))
        if len(known):
            values[: known[0], j] = values[known[0], j, x.CLOSE]
            values[: known[0], j, x.VOLUME] = 0.0


def _more(desk: Desk, feed: Feed, fills: Floats) -> dict[str, float]:
    """Measures that only such a run has."""
    c, money = desk.counters, desk.money
    messages, answers = max(int(c[d.MESSAGES]), 1), max(int(c[d.ANSWERS]), 1)
    feed_us = float((feed.rows[:, f.HEARD] - feed.rows[:, f.TIME]).mean())
    entry, ack = float(money[d.ENTRY_SUM]) / messages, float(money[d.ACK_SUM]) / answers
    return {
        "latency_seconds": (feed_us + entry) / SECOND,
        "feed_latency_ms": feed_us / 1e3,
        "entry_latency_ms": entry / 1e3,
        "ack_latency_ms": ack / 1e3,
        "orders": float(c[d.IDS]),
        "cancels": float(c[d.CANCELS]),
        "refusals": float(c[d.REFUSALS]),
        "maker_share": float(fills[:, d.FILL_MAKER].mean()) if len(fills) else 0.0,
        "funding": float(money[d.FUNDING_PAID]),
    }
