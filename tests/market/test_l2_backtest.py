"""The tick backtest: hand cases of every order, latency that cannot be cheated, and one result however it is run."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from tick_worlds import FREE, MS, NAME, START, feed_of, random_rows

from lake.errors import UsageError
from market import execution as x
from market import feed as f
from market import replay
from market.desk import Room
from market.feed import Feed
from market.l2_backtest import desk_for, finish, tick_backtest
from market.latency import parse_latency
from market.queues import parse_queue
from market.simulation import Run
from market.strategy import Account, Book, Cancel, Command, Fill, Order, Strategy, Target, Trade, apply_settings
from market.strategy_file import load_strategy
from market.tick_conditions import TickConditions

EXAMPLE = Path(__file__).resolve().parents[2] / "docs/examples/market_maker.py"
BOOK = [(0, f.SET_BID, 100, 5), (0, f.SET_ASK, 102, 5), (0, f.SET_BID, 99, 9), (0, f.SET_ASK, 103, 9)]


@dataclass
class Script(Strategy):
    """Sends what it is told when it hears of anything at or after a time in milliseconds; writes down what it hears."""

    orders: Sequence[tuple[float, Command]] = ()
    fills: list[Fill] = field(default_factory=list, init=False)
    heard: list[tuple[int, float]] = field(default_factory=list, init=False)
    ended: list[str] = field(default_factory=list, init=False)
    _next: int = field(default=0, init=False)

    def _due(self, account: Account) -> Iterable[Command]:
        while self._next < len(self.orders) and account.time >= START + self.orders[self._next][0] * MS:
            self._next += 1
            yield self.orders[self._next - 1][1]

    def on_book(self, book: Book, account: Account) -> Iterable[Command]:
        self.heard.append((account.time, book.mid))
        return self._due(account)

    def on_trade(self, trade: Trade, account: Account) -> Iterable[Command]:
        self.heard.append((account.time, trade.price))
        return self._due(account)

    def on_fill(self, fill: Fill, account: Account) -> Iterable[Command]:
        self.fills.append(fill)
        return ()


def order(side: str, lots: int, tick: int = 0, **more: object) -> Order:
    kind = more.pop("kind", "limit" if tick else "market")
    return Order(NAME, side, lots * 0.1, kind, tick * 0.5, **more)  # type: ignore[arg-type]


def played(
    rows: Sequence[tuple[int, int, int, int]], *orders: tuple[float, Command], conditions: TickConditions = FREE,
    has_book: bool = True,
) -> list[tuple[float, int, float]]:  # fmt: skip
    """(milliseconds, signed lots, tick) of every fill."""
    script = Script(orders)
    last = max(row[0] for row in rows) + 1_000
    feed = feed_of([*rows, (last, f.SET_BID, 1, 1)], conditions.latency, has_book)
    tick_backtest(script, feed, conditions)
    return [
        ((fill.time - START) / MS, round(fill.quantity / 0.1) * (1 if fill.side == "buy" else -1), fill.price / 0.5)
        for fill in script.fills
    ]


def test_a_market_order_walks_the_book_and_ends_where_it_is_empty() -> None:
    rows = [*BOOK, (10, f.SET_BID, 98, 1)]
    assert played(rows, (0, order("buy", 7))) == [(0, 5, 102), (0, 2, 103)]
    assert played(rows, (0, order("sell", 99))) == [(0, -5, 100), (0, -9, 99)]


def test_what_was_taken_stays_taken_until_the_venue_sets_the_level_again() -> None:
    rows = [*BOOK, (10, f.SET_BID, 98, 1), (20, f.SET_ASK, 102, 6), (30, f.SET_BID, 98, 2)]
    orders = [(at, order("buy", 4, 102, time_in_force="ioc")) for at in (0, 10, 30)]
    assert played(rows, *orders) == [(0, 4, 102), (10, 1, 102), (30, 4, 102)]


def test_a_resting_order_waits_for_those_who_were_there_before() -> None:
    rows = [
        *BOOK, (10, f.SELL, 100, 3), (10, f.SET_BID, 100, 2), (20, f.SELL, 100, 4), (30, f.SELL, 100, 1),
        (40, f.SELL, 100, 50),
    ]  # fmt: skip
    assert played(rows, (0, order("buy", 10, 100))) == [(20, 2, 100), (30, 1, 100), (40, 7, 100)]


def test_a_new_best_price_is_first_and_a_trade_beyond_it_meets_it_first() -> None:
    rows = [*BOOK, (10, f.SELL, 101, 2), (20, f.SELL, 100, 3), (30, f.SELL, 99, 50)]
    assert played(rows, (0, order("buy", 6, 101))) == [(10, 2, 101), (20, 3, 101), (30, 1, 101)]


def test_a_level_set_across_fills_no_more_than_it_holds() -> None:
    rows = [*BOOK, (10, f.SET_ASK, 100, 2), (20, f.SET_ASK, 99, 3)]
    assert played(rows, (0, order("buy", 9, 100))) == [(10, 2, 100), (20, 3, 100)]


def test_two_of_ours_share_one_trade_by_price_then_time() -> None:
    rows = [*BOOK, (10, f.SELL, 99, 8)]
    orders = (order("buy", 3, 100, id="low"), order("buy", 3, 101, id="high"), order("buy", 3, 100, id="late"))
    fills = played(rows, *((0, each) for each in orders))
    assert fills == [(10, 3, 101), (10, 3, 100), (10, 2, 100)]


@pytest.mark.parametrize(("model", "when"), [("risk_averse", 30), ("power:1", 20)])
def test_cancellations_ahead_count_by_the_queue_model(model: str, when: int) -> None:
    rows = [*BOOK, (5, f.SET_BID, 100, 8), (10, f.SET_BID, 100, 3), (20, f.SELL, 100, 3), (30, f.SELL, 100, 9)]
    fills = played(rows, (0, order("buy", 4, 100)), conditions=replace(FREE, queue=parse_queue(model)))
    assert fills[0][0] == when


def test_time_in_force() -> None:
    rows = [*BOOK, (10, f.SELL, 100, 50)]
    assert played(rows, (0, order("buy", 7, 102, time_in_force="ioc"))) == [(0, 5, 102)]
    assert played(rows, (0, order("buy", 7, 102, time_in_force="fok"))) == []
    assert played(rows, (0, order("buy", 7, 103, time_in_force="fok"))) == [(0, 5, 102), (0, 2, 103)]
    assert played(rows, (0, order("buy", 3, 102, post_only=True))) == []
    assert played(rows, (0, order("buy", 3, 101, post_only=True))) == [(10, 3, 101)]


def test_a_limit_order_that_crosses_takes_and_the_rest_waits() -> None:
    rows = [*BOOK, (10, f.SELL, 102, 1), (20, f.SELL, 102, 9)]
    assert played(rows, (0, order("buy", 7, 102))) == [(0, 5, 102), (10, 1, 102), (20, 1, 102)]


def test_stops_wait_for_a_trade_at_their_price() -> None:
    rows = [*BOOK, (10, f.BUY, 102, 1), (20, f.BUY, 103, 1), (30, f.SELL, 102, 9)]
    assert played(rows, (0, order("buy", 2, kind="stop", stop_price=51.5))) == [(20, 2, 102)]
    limited = order("buy", 7, 102, kind="stop_limit", stop_price=51.5)
    assert played(rows, (0, limited)) == [(20, 5, 102), (30, 2, 102)]


def test_groups_attached_orders_and_reduce_only() -> None:
    rows = [*BOOK, (10, f.SELL, 100, 50), (20, f.BUY, 102, 50), (30, f.SELL, 99, 50), (40, f.BUY, 103, 99)]
    bracket = [
        order("buy", 2, 101, id="in"), order("sell", 2, 102, id="out", after="in", group="g"),
        order("sell", 2, id="stop", kind="stop", stop_price=49.5, after="in", group="g"),
    ]  # fmt: skip
    assert played(rows, *((0, each) for each in bracket)) == [(10, 2, 101), (20, -2, 102)]
    assert played(rows, (0, order("sell", 2, 102, reduce_only=True))) == []
    both = (order("buy", 2, 101), order("sell", 5, 102, reduce_only=True))
    assert played(rows, (0, both[0]), (10, both[1])) == [(10, 2, 101), (20, -2, 102)]
    orphan = (order("buy", 2, 90, id="far"), order("sell", 2, 102, after="far"), Cancel("far"))
    assert played(rows, *((0, each) for each in orphan)) == []


def test_the_account_limits_what_fills() -> None:
    rows = [*BOOK, (10, f.SET_BID, 98, 1)]
    spot = TickConditions(capital=20.4, maker_fee_bps=0, taker_fee_bps=0)
    assert played(rows, (0, order("sell", 3)), conditions=spot) == []
    assert played(rows, (0, order("buy", 9)), conditions=spot) == [(0, 4, 102)]  # 4 lots cost 20.4
    assert played(rows, (0, order("buy", 1)), (10, order("sell", 3)), conditions=spot) == [(0, 1, 102), (10, -1, 100)]


def test_trades_alone_fill_a_resting_order_only_beyond_its_price() -> None:
    rows = [(0, f.BUY, 102, 5), (0, f.SELL, 100, 5), (10, f.SELL, 100, 50), (20, f.SELL, 99, 3), (30, f.BUY, 102, 1)]
    assert played(rows, (0, order("buy", 4, 100)), has_book=False) == [(20, 3, 100)]
    assert played(rows, (0, order("buy", 40)), has_book=False) == [(0, 40, 102)]


def test_fees_funding_and_the_equity_curve_add_up() -> None:
    rows = [*BOOK, (1_500, f.SELL, 101, 50), (4_000, f.SET_BID, 100, 6)]
    feed = f.with_funding(feed_of(rows), [(START + 2_500 * MS, 0, 0.01)])
    conditions = replace(FREE, capital=1_000.0, maker_fee_bps=-1.0, taker_fee_bps=10.0)
    script = Script(((0, order("buy", 4)), (0, order("buy", 6, 101))))
    run = tick_backtest(script, feed, conditions)
    taken, rested, mid = 4 * 0.1 * 51.0, 6 * 0.1 * 50.5, 50.5
    fees = taken * 1e-3 - rested * 1e-4
    assert run.fills[:, x.FILL_FEE].sum() == pytest.approx(fees)
    assert run.more["funding"] == pytest.approx(0.01 * 10 * 0.1 * mid)
    assert run.equity[-1] == pytest.approx(1_000 - taken - rested - fees - run.more["funding"] + 10 * 0.1 * mid)
    assert run.more["maker_share"] == 0.5


# Latency


def test_nothing_is_heard_before_the_feed_and_nothing_fills_before_the_order_arrives() -> None:
    rows = [*BOOK, (10, f.SET_ASK, 101, 5), (50, f.SET_ASK, 101, 0), (100, f.SELL, 101, 9)]
    conditions = replace(FREE, latency=parse_latency("feed=3ms,entry=20ms,ack=7ms"))
    script = Script(((10, order("buy", 2)),))
    tick_backtest(script, feed_of(rows, conditions.latency), conditions)
    assert script.heard[0] == (START + 3 * MS, 50.5)
    assert script.heard[1][0] == START + 13 * MS  # the first moment at or after 10 ms; its order arrives at 33 ms
    assert [(fill.time, fill.price) for fill in script.fills] == [(START + 33 * MS, 50.5)]
    late = replace(conditions, latency=parse_latency("feed=3ms,entry=60ms,ack=7ms"))
    assert played(rows, (10, order("buy", 2)), conditions=late) == [(73, 2, 102)]  # the cheaper level is gone


def test_an_order_does_not_fill_on_what_happened_before_it_arrived() -> None:
    rows = [*BOOK, (10, f.SELL, 101, 9), (30, f.SELL, 101, 9)]
    conditions = replace(FREE, latency=parse_latency("entry=20ms"))
    assert played(rows, (0, order("buy", 5, 101)), conditions=conditions) == [(30, 5, 101)]


def test_a_cancellation_can_come_too_late() -> None:
    rows = [*BOOK, (10, f.SET_BID, 98, 2), (25, f.SELL, 101, 2), (35, f.SELL, 101, 9)]
    conditions = replace(FREE, latency=parse_latency("entry=20ms"))
    resting = order("buy", 5, 101, id="a")
    assert played(rows, (0, resting), (10, Cancel("a")), conditions=conditions) == [(25, 2, 101)]


@pytest.mark.parametrize("seed", range(3))
def test_a_strategy_sees_the_book_of_its_own_time(seed: int) -> None:
    latency = parse_latency("feed=exponential:1ms:15ms", seed=seed)
    feed = feed_of(random_rows(300, seed), latency)
    seen: list[tuple[int, tuple[tuple[float, float], ...]]] = []

    class Watch(Strategy):
        book_levels = 3

        def on_book(self, book: Book, account: Account) -> Iterable[Command]:
            seen.append((account.time, book.bids))
            return ()

    tick_backtest(Watch(), feed, replace(FREE, latency=latency))
    assert len(seen) > 50
    for now, bids in seen:
        book: dict[int, int] = {}
        for row in feed.rows[(feed.rows[:, f.HEARD] <= now) & (feed.rows[:, f.KIND] == f.SET_BID)]:
            book[int(feed.ticks[row[f.AT]])] = int(row[f.LOTS])
        best = sorted((tick for tick, lots in book.items() if lots), reverse=True)[:3]
        assert bids == tuple((tick * 0.5, pytest.approx(book[tick] * 0.1)) for tick in best)


# One result however it is run

BUSY = replace(
    FREE, latency=parse_latency("feed=uniform:1ms:4ms,entry=lognormal:5ms:0.6,ack=3ms"), queue=parse_queue("power3:2"),
    maker_fee_bps=1.0, leverage=3.0, capital=10_000.0,
)  # fmt: skip


MAKER = load_strategy(str(EXAMPLE))  # once: its step is compiled once


def maker(**settings: str) -> Strategy:
    return apply_settings(MAKER, {"lots": "7", "most": "40", **settings})


def same(one: Run, other: Run) -> bool:
    return (
        np.array_equal(one.fills, other.fills) and np.array_equal(one.equity, other.equity) and one.more == other.more
    )


@pytest.mark.parametrize("seed", range(3))
def test_a_compiled_step_gives_what_it_gives_event_by_event(seed: int) -> None:
    feed = feed_of(random_rows(4_000, seed), BUSY.latency)
    for distance in ("0", "1"):
        compiled = tick_backtest(maker(distance=distance), feed, BUSY)
        by_event = tick_backtest(maker(distance=distance), feed, BUSY, compiled=False)
        assert compiled.compiled and not by_event.compiled and len(compiled.fills) > 20
        assert same(compiled, by_event)
    assert same(tick_backtest(maker(), feed, BUSY), tick_backtest(maker(), feed, BUSY))
    at_once = replace(BUSY, latency=parse_latency("0ms"))
    feed = feed_of(random_rows(4_000, seed))
    assert same(tick_backtest(maker(), feed, at_once), tick_backtest(maker(), feed, at_once, compiled=False))


@pytest.mark.parametrize("seed", range(3))
def test_what_comes_later_changes_nothing_before(seed: int) -> None:
    rows = random_rows(3_000, seed)
    whole = tick_backtest(maker(), feed_of(rows, BUSY.latency), BUSY)
    for cut in (1_000, 2_000):
        short = tick_backtest(maker(), feed_of(rows[:cut], BUSY.latency), BUSY)
        until = (rows[cut - 1][0] - 100) * MS + START  # the last steps of the short run differ: it ends there
        count = int(np.searchsorted(whole.bars.open_time + whole.bars.timeframe, until, side="right"))
        assert np.array_equal(short.equity[:count], whole.equity[:count])
        early = [run.fills[run.fills[:, x.FILL_BAR] < count] for run in (short, whole)]
        assert len(early[0]) > 5 and np.array_equal(*early)


@pytest.mark.parametrize("queue", ["risk_averse", "power:1", "log2"])
def test_no_event_fills_more_than_it_holds(queue: str) -> None:
    feed = feed_of(random_rows(4_000, 7))
    rng = np.random.default_rng(3)
    orders = []
    for at in np.sort(rng.integers(0, 15_000, 300)):
        side = "buy" if rng.random() < 0.5 else "sell"
        orders.append((float(at), order(side, int(rng.integers(1, 30)), int(rng.integers(990, 1_010)))))
    conditions, script = replace(FREE, queue=parse_queue(queue)), Script(orders)
    run = tick_backtest(script, feed, conditions)
    rested = run.fills[:, x.FILL_KIND] == x.LIMIT_FILL
    assert rested.sum() > 50
    resting: dict[tuple[int, str], float] = {}
    for fill, was_resting in zip(script.fills, rested, strict=False):  # those of the last moment are not heard of
        if was_resting:
            resting[fill.time, fill.side] = resting.get((fill.time, fill.side), 0.0) + fill.quantity
    for (time, side), quantity in resting.items():
        at_once = feed.rows[feed.rows[:, f.TIME] == time]
        kinds = (f.SELL, f.SET_ASK) if side == "buy" else (f.BUY, f.SET_BID)
        assert quantity <= at_once[np.isin(at_once[:, f.KIND], kinds), f.LOTS].sum() * 0.1 + 1e-9


def test_higher_costs_never_help_who_earns_a_rebate() -> None:
    rebate = replace(FREE, maker_fee_bps=-1.0, taker_fee_bps=4.0)
    fees = [
        (rebate.with_costs(factor).maker_fee_bps, rebate.with_costs(factor).taker_fee_bps) for factor in (0, 0.5, 2)
    ]
    assert fees == [(-1.0, 0.0), (-1.0, 2.0), (-0.5, 8.0)]


def test_a_larger_account_trades_more_and_earns_less_per_unit() -> None:
    feed = feed_of(random_rows(4_000, 5), BUSY.latency)
    small, large = (tick_backtest(maker(), feed, BUSY.with_capital(factor)) for factor in (1.0, 50.0))
    traded = [float(np.abs(run.fills[:, x.FILL_QUANTITY]).sum()) for run in (small, large)]
    assert traded[0] < traded[1] < 50 * traded[0]


def test_targets_hold_a_share_of_the_equity() -> None:
    rows = [(0, f.SET_BID, 100, 900), (0, f.SET_ASK, 102, 900), (10, f.SET_BID, 99, 5), (20, f.SET_BID, 99, 6)]
    conditions = replace(FREE, capital=1_000.0)
    assert played(rows, (0, Target(NAME, 0.5)), (10, Target(NAME, 0.0)), conditions=conditions) == [
        (0, 99, 102), (10, -99, 100),
    ]  # fmt: skip


def test_two_instruments_are_played_on_one_clock() -> None:
    parts = []
    for j, name in enumerate(("test:A/USD", "test:B/USD")):
        rows = [
            (START + MS * at + j, START, kind, tick, 5 + at // 20)
            for at in range(0, 40, 10)
            for kind, tick in ((0, 100), (1, 102))
        ]
        parts.append(f.Part(name, np.array(rows, np.int64), 0.5, 0.1, True))
    heard: list[str] = []

    class Both(Strategy):
        def on_book(self, book: Book, account: Account) -> Iterable[Command]:
            heard.append(book.instrument)
            return [Order(book.instrument, "buy", 0.1)] if len(heard) <= 2 else ()

    run = tick_backtest(Both(), f.join(parts).heard(parse_latency("0ms")), FREE)
    assert heard == ["test:A/USD", "test:B/USD"] * 2, "a level set to what it was is no news"
    assert run.fills[:, x.FILL_INSTRUMENT].tolist() == [0, 1]


@pytest.mark.parametrize(
    "command",
    [Order("x:Y/Z", "buy", 1.0), Order(NAME, "buy", -1.0), Order(NAME, "buy", 1.0, "limit"), "buy",
     Order(NAME, "buy", 1.0, after="nobody"), Target(NAME, float("nan"))],
)  # fmt: skip
def test_a_command_that_makes_no_sense_is_refused(command: Command) -> None:
    with pytest.raises(UsageError, match="Script"):
        played(BOOK, (0, command))


# The recorded capture


def test_the_played_book_is_the_rebuilt_one_and_a_maker_runs_on_it(shared_data: Path) -> None:
    path = shared_data / "orderbook/binance_spot_btcusdt_20240808.jsonl.gz"
    if not path.exists():
        pytest.skip(f"no {path}: the recorded order books are not in the real data")
    capture = replay.read_capture([path])
    latency = parse_latency("feed=recorded:1ms,entry=5ms,ack=5ms")
    feed: Feed = f.join([f.part_of_capture("binance:BTC/USDT", capture, f.catalogue_grid("binance:BTC/USDT"))])
    feed = feed.heard(latency)
    conditions = replace(FREE, latency=latency)
    desk = desk_for(feed, conditions, Room())
    finish(desk)
    bid, ask = feed.ticks[desk.best[0, 0]], feed.ticks[desk.best[1, 0]]
    last = replay.rebuild(capture).best[-1]
    assert (bid * feed.grid[0, 0], ask * feed.grid[0, 0]) == pytest.approx(
        [float(price) for price in capture.prices(last[[replay.BID_TICK, replay.ASK_TICK]])]
    )
    compiled, by_event = (tick_backtest(maker(lots="100", most="1000"), feed, conditions, way) for way in (True, False))
    assert len(compiled.fills) > 50 and same(compiled, by_event)
