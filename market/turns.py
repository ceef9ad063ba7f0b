"""What a strategy is told and what it asks for in return, in one order everywhere: live and backtest take turns alike.

A turn begins with what has become of our orders: executions by time, instrument and trade id, then the orders that
ended. Then what the market did: trades by time, instrument and id, books in the order of the instruments, bars that
closed, and last the time. After each of these its commands are carried out one by one, and what each of them trades is
heard before the next is thought of.
"""

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, TypeAlias

from market.strategy import Bar, Book, Order, Side, Trade

if TYPE_CHECKING:
    from market.runner import Runner


@dataclass(frozen=True, slots=True)
class Heard:
    """A trade or a book as the strategy is shown it, and what it is at the venue."""

    event: Trade | Book
    id: int
    """Trade id, or the id of the last update that the book holds."""
    market_time: int
    """µs: when it happened, by the venue's clock in whole milliseconds."""
    received: int = 0
    """µs of wall time; 0 where nothing was received."""
    payload: str = ""
    """The venue's message, or the levels shown as JSON."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A multiple of the strategy's `interval_us` was reached, market µs."""

    time: int


@dataclass(frozen=True, slots=True)
class Execution:
    """A trade of ours as the venue reports it; `time` in market µs."""

    order_id: str
    instrument: str
    side: Side
    time: int
    price: Decimal
    quantity: Decimal
    fee: Decimal
    fee_asset: str
    trade_id: int = 0


Event: TypeAlias = Heard | Bar | Moment
Cause: TypeAlias = Event | Execution | None
"""What made the strategy give a command."""


@dataclass(frozen=True, slots=True)
class Submit:
    """An order on the venue's grid; prices are None where the kind has none."""

    order: Order
    quantity: Decimal
    limit_price: Decimal | None
    stop_price: Decimal | None
    cause: Cause = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Cancel an order that was submitted."""

    order_id: str
    cause: Cause = field(default=None, compare=False)


Action: TypeAlias = Submit | Withdraw


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one action: trades in their order, and the ids of orders that are over."""

    executions: Sequence[Execution] = ()
    ended: Sequence[str] = ()


def events(runner: "Runner", since: Outcome, happened: Iterable[Event]) -> Generator[Action, Outcome, None]:
    """Hand the runner what has happened and give out, one by one, what to do about it.

    Whoever drives it sends the outcome of each action back. `happened` comes in the order of `in_turn`.
    """
    for execution in in_order(since.executions, runner):
        runner.on_execution(execution)
        yield from _carry_out(runner)
    for order_id in since.ended:
        runner.on_end(order_id)
    for event in happened:
        runner.on_event(event)
        yield from _carry_out(runner)


def _carry_out(runner: "Runner") -> Generator[Action, Outcome, None]:
    while (action := runner.next_action()) is not None:
        outcome = yield action
        for execution in in_order(outcome.executions, runner):
            runner.on_execution(execution)
        for order_id in outcome.ended:
            runner.on_end(order_id)


def in_order(executions: Iterable[Execution], runner: "Runner") -> list[Execution]:
    """By time, then in the order of the instruments, then by trade id."""
    names = list(runner.instruments)
    return sorted(executions, key=lambda e: (e.time, names.index(e.instrument), e.trade_id))


def in_turn(heard: Iterable[Heard], runner: "Runner") -> list[Heard]:
    """Trades by time, instrument and id; then books in the order of the instruments."""
    names = list(runner.instruments)

    def turn(each: Heard) -> tuple[bool, int, int, int]:
        is_book, number = isinstance(each.event, Book), names.index(each.event.instrument)
        return is_book, 0 if is_book else each.market_time, number, each.id

    return sorted(heard, key=turn)
