"""What a strategy's commands become at a venue: sizes, prices, links between orders. Figures by hand."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import pytest

from lake.errors import UsageError
from lake.instruments import instruments
from market.runner import Runner
from market.strategy import Account, Bar, Book, Cancel, Command, Fill, Order, Strategy, Target, Trade
from market.turns import Execution, Heard, Outcome, Submit, Withdraw, events, in_turn

BTC, ADA = "binance:BTC/USDT", "binance:ADA/USDT"
TRADED = instruments((BTC, ADA))


@dataclass
class Scripted(Strategy):
    """Answers each bar with the next list of commands, and each fill with `on_fills`."""

    script: list[list[Command]] = field(default_factory=list)
    on_fills: list[Command] = field(default_factory=list)
    fills: list[Fill] = field(default_factory=list)

    def on_bar(self, bar: Bar, account: Account) -> Iterable[Command]:
        return self.script.pop(0) if self.script else ()

    def on_fill(self, fill: Fill, account: Account) -> Iterable[Command]:
        self.fills.append(fill)
        commands, self.on_fills = self.on_fills, []
        return commands


def runner(*script: Sequence[Command], on_fills: Sequence[Command] = (), capital: str = "10000") -> Runner:
    return Runner(Scripted([list(s) for s in script], list(on_fills)), TRADED, Decimal(capital))


def bar(name: str, close: float, number: int = 0) -> Bar:
    return Bar(name, number * 300, number * 300 + 300, close, close, close, close, 1.0)


def actions(runner: Runner, close: float = 20_000.0, name: str = BTC) -> list[Submit | Withdraw]:
    """What one bar leads to when nothing trades."""
    steps, found = events(runner, Outcome(), [bar(name, close)]), []
    action = next(steps, None)
    while action is not None:
        found.append(action)
        try:
            action = steps.send(Outcome())
        except StopIteration:
            break
    return found


def fill(runner: Runner, order_id: str, quantity: str, price: str, fee: str = "0", side: str = "buy") -> list[object]:
    """The actions that follow an execution of so much."""
    asset = "BTC" if side == "buy" else "USDT"
    execution = Execution(order_id, BTC, side, 400, Decimal(price), Decimal(quantity), Decimal(fee), asset)  # type: ignore[arg-type]
    steps, found = events(runner, Outcome([execution]), ()), []
    action = next(steps, None)
    while action is not None:
        found.append(action)
        try:
            action = steps.send(Outcome())
        except StopIteration:
            break
    return found


def test_a_target_is_weight_times_equity_less_what_is_held_floored_to_the_step() -> None:
    run = runner([Target(BTC, 0.5)], [Target(BTC, 0.5)], [Target(BTC, 0.1)])
    (first,) = actions(run, 30_000.0)
    assert isinstance(first, Submit) and (first.order.side, first.quantity) == ("buy", Decimal("0.16666"))
    assert actions(run, 30_000.0) == [], "what is under way counts as held; the rest is below the step"
    fill(run, "#1", "0.16666", "30000", "0.00008333")
    run.on_end("#1")
    (sale,) = actions(run, 30_000.0)
    assert isinstance(sale, Submit) and sale.order.side == "sell"
    held = Decimal("0.16666") - Decimal("0.00008333")
    equity = Decimal(10_000) - Decimal("0.16666") * 30_000 + held * 30_000
    assert sale.quantity == TRADED[0].floor_quantity(held - equity / 10 / 30_000)


def test_a_sale_never_exceeds_what_is_held_and_not_yet_offered_and_a_buy_never_the_cash() -> None:
    buy = Order(BTC, "buy", 5.0, id="b")
    offers = [Order(BTC, "sell", 0.08, "limit", limit_price=21_000.004, id=name) for name in ("s1", "s2", "s3")]
    run = runner([buy], offers)
    (bought,) = actions(run)
    assert isinstance(bought, Submit)
    assert bought.quantity == Decimal("0.49900"), "10000 / (20000 x 1.002)"
    fill(run, "b", "0.1", "20000")
    run.on_end("b")
    sent = [a for a in actions(run) if isinstance(a, Submit)]
    assert [a.quantity for a in sent] == [Decimal("0.08000"), Decimal("0.02000")], "the third finds nothing left"
    assert sent[0].limit_price == Decimal("21000.01"), "rounded up: never below what was asked"
    assert sorted(run.account.open_orders) == ["s1", "s2"]


def test_what_waits_for_an_order_is_sent_at_its_first_fill_and_a_group_cancels_the_rest() -> None:
    entry = Order(BTC, "buy", 0.1, "limit", limit_price=19_000.0, id="in")
    profit = Order(BTC, "sell", 0.05, "limit", limit_price=20_500.0, id="tp", group="out", after="in")
    stop = Order(BTC, "sell", 0.05, "stop", stop_price=18_000.0, id="sl", group="out", after="in")
    run = runner([entry, profit, stop])
    assert [a.order.id for a in actions(run) if isinstance(a, Submit)] == ["in"]
    follow = fill(run, "in", "0.1", "19000")
    assert [(a.order.id, a.stop_price) for a in follow if isinstance(a, Submit)] == [("tp", None), ("sl", 18000)]
    assert fill(run, "tp", "0.05", "20500", side="sell") == [Withdraw("sl")]


def test_what_waits_is_dropped_when_its_order_ends_unfilled() -> None:
    run = runner(
        [Order(BTC, "buy", 0.1, "limit", limit_price=1.0, id="in"), Order(BTC, "sell", 0.1, id="x", after="in")]
    )
    actions(run)
    run.on_end("in")
    assert run.account.open_orders == {} and run.next_action() is None


def test_cancels_and_orders_below_the_minimum() -> None:
    run = runner([Order(BTC, "buy", 0.1, "limit", limit_price=1_000.0, id="a")], [Cancel("a"), Cancel("gone")],
                 [Order(ADA, "buy", 1.0)])  # fmt: skip
    actions(run)
    assert actions(run) == [Withdraw("a")]
    assert actions(run, 0.3, ADA) == [], "below the least notional of 5"
    assert list(run.account.open_orders) == ["a"]


def test_fees_in_base_shrink_the_position_and_are_told_in_quote() -> None:
    run = runner([Order(BTC, "buy", 0.1, id="a")])
    actions(run)
    fill(run, "a", "0.1", "20000", "0.0001")
    assert (run.cash, run.held[BTC]) == (Decimal(8000), Decimal("0.0999"))
    assert isinstance(run.strategy, Scripted) and run.strategy.fills[0].fee == 2.0
    assert run.equity() == Decimal("9998.0000")


@pytest.mark.parametrize(
    "command",
    [
        Target("binance:XYZ/USDT", 0.5), Target(BTC, float("nan")), Order(BTC, "buy", 0.0), Order(BTC, "up", 1.0),  # type: ignore[arg-type]
        Order(BTC, "buy", 1.0, "limit"), Order(BTC, "buy", 1.0, after="none"), "buy",
        Order(BTC, "buy", 1.0, time_in_force="day"),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_commands_that_make_no_sense_are_refused(command: Command) -> None:
    with pytest.raises(UsageError):
        actions(runner([command]))


def test_an_id_is_used_once() -> None:
    with pytest.raises(UsageError, match="id"):
        actions(runner([Order(BTC, "buy", 0.01, id="a"), Order(BTC, "buy", 0.01, id="a")]))


@dataclass
class Listener(Strategy):
    """Remembers what it heard, in turn."""

    heard: list[object] = field(default_factory=list)
    interval_us = 100

    def on_bar(self, bar: Bar, account: Account) -> Iterable[Command]:
        self.heard.append(bar.instrument)
        return ()

    def on_book(self, book: Book, account: Account) -> Iterable[Command]:
        self.heard.append(account.prices.get(book.instrument))
        return ()

    def on_trade(self, trade: Trade, account: Account) -> Iterable[Command]:
        self.heard.append((trade.instrument, trade.price))
        return [Order(BTC, "buy", 10.0)] if trade.price == 3.0 else ()

    def on_time(self, time: int, account: Account) -> Iterable[Command]:
        self.heard.append(time)
        return ()


def test_trades_come_by_time_then_books_then_bars_then_the_newest_time() -> None:
    run = Runner(Listener(), TRADED, Decimal(10_000))
    book = Heard(Book(BTC, 350, ((100.0, 1.0),), ((102.0, 1.0),)), 9, 300)
    rows = ((ADA, 1.0, 5, 200), (BTC, 2.0, 8, 200), (BTC, 3.0, 7, 100))
    trades = [Heard(Trade(name, 350, price, 1.0, "buy"), number, time) for name, price, number, time in rows]
    assert run.is_due(350) and run.moments(350) == [], "the first multiple is yet to come"
    heard = in_turn([book, *trades], run)
    steps = events(run, Outcome(), [*heard, bar(BTC, 50.0, 1), *run.moments(655)])
    assert next(steps, None) is not None, "the order of the first trade"
    with pytest.raises(StopIteration):
        steps.send(Outcome())
    assert isinstance(run.strategy, Listener)
    assert run.strategy.heard == [(BTC, 3.0), (BTC, 2.0), (ADA, 1.0), 101.0, BTC, 600]
    assert (run.account.prices[BTC], run.account.prices[ADA], run.account.time) == (50.0, 1.0, 600)
    assert not run.is_due(699) and run.is_due(700)


def test_an_action_knows_what_led_to_it() -> None:
    run = Runner(Listener(), TRADED, Decimal(10_000))
    trade = Heard(Trade(BTC, 350, 3.0, 1.0, "buy"), 7, 100)
    action = next(events(run, Outcome(), [trade]))
    assert isinstance(action, Submit) and action.cause is trade


def test_the_market_stands_as_often_as_the_strategy_asks() -> None:
    class Seldom(Strategy):
        interval_us = 7_000_000

    assert [Runner(each, TRADED, Decimal(1)).step for each in (Scripted(), Listener(), Seldom())] == [
        60_000_000, 1_000, 1_000_000,
    ]  # fmt: skip
