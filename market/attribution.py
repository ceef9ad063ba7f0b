"""Why two runs of the same strategy earned differently: latency, queue and fees, whose sum is the whole difference.

Three runs in the same seeded market: the backtest (orders at the close they answer), the orders that the slower run
really sent placed at the times they arrived (`rerun`), and the slower run itself. What lies between the first two is
latency: the same strategy, later, and what it decided otherwise because of it. What lies between the last two is the
queue: the same orders at the same times, filled from another place in the book. Both before fees; fees are the third.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from lake.instruments import Instrument
from lake.intervals import MILLISECOND
from market.book import BUY, SELL
from market.conditions import Conditions
from market.errors import Refused
from market.exchange import Exchange
from market.orders import NewOrder, Order
from market.reports import amount, price_text, quantity_text
from market.runner import ZERO
from market.scenario import Scenario
from market.turns import Execution
from market.venue import build_venue


@dataclass(frozen=True, slots=True)
class Result:
    """What executions came to in quote, positions at the marks."""

    gross: Decimal
    fees: Decimal

    @property
    def net(self) -> Decimal:
        return self.gross - self.fees


@dataclass(frozen=True, slots=True)
class Arrival:
    """An order as it reached the venue, and when it was cancelled if it was.

    Times are market µs and a running number, which orders what happened at the same instant.
    """

    id: str
    time: tuple[int, int]
    order: NewOrder
    cancelled: tuple[int, int] | None = None


def result_of(
    executions: Iterable[Execution], marks: Mapping[str, Decimal], traded: Mapping[str, Instrument], before: int
) -> Result:
    """Profit of the executions before a market time (µs); fees taken in coins count at the mark."""
    gross, fees = ZERO, ZERO
    for each in executions:
        if each.time < before:
            sign = 1 if each.side == "buy" else -1
            gross += sign * each.quantity * (marks[each.instrument] - each.price)
            in_base = each.fee_asset == traded[each.instrument].base
            fees += each.fee * (marks[each.instrument] if in_base else 1)
    return Result(gross, fees)


def attribute(backtest: Result, later: Result, live: Result) -> dict[str, Decimal]:
    """The difference live − backtest, and its parts; they sum to it exactly."""
    return {
        "latency": later.gross - backtest.gross,
        "queue": live.gross - later.gross,
        "fees": backtest.fees - live.fees,
        "total": live.net - backtest.net,
    }


def rerun(
    arrivals: Sequence[Arrival], scenario: Scenario, conditions: Conditions, traded: Sequence[Instrument], end: int
) -> tuple[list[Execution], dict[str, Decimal]]:
    """Place orders at given times in a fresh market of the scenario; answers their executions and the last closes.

    An order the venue refuses is left out, as it was then.
    """
    capital = Decimal(str(conditions.capital))
    exchange = build_venue(scenario, 1.0, True, 1, Decimal(str(conditions.fee_bps)), capital).exchange
    steps = [(each.time, False, k) for k, each in enumerate(arrivals)]
    steps += [(each.cancelled, True, k) for k, each in enumerate(arrivals) if each.cancelled is not None]
    placed: dict[int, Order] = {}
    for time, is_cancel, k in sorted(steps):
        exchange.advance(min(time[0], end))
        _step(exchange, placed, arrivals[k], k, is_cancel)
    exchange.advance(end)
    ids = {(order.instrument, order.id): arrivals[k].id for k, order in placed.items()}
    names = [each.id for each in exchange.instruments]
    columns = {each.id: names.index(each.id) for each in traded}
    found = [_execution(exchange, i, name, ids, n) for name, i in columns.items()
             for n in range(len(exchange.accounts[0].fills[i]))]  # fmt: skip
    return found, closes(exchange, traded)


def _step(exchange: Exchange, placed: dict[int, Order], arrival: Arrival, k: int, is_cancel: bool) -> None:
    account = exchange.accounts[0]
    if not is_cancel:
        try:
            placed[k] = exchange.submit(account, arrival.order)
        except Refused:
            return
    elif k in placed and placed[k].is_open:
        exchange.cancel(account, placed[k])


def _execution(exchange: Exchange, i: int, name: str, ids: Mapping[tuple[int, int], str], n: int) -> Execution:
    fill, instrument = exchange.accounts[0].fills[i][n], exchange.instruments[i]
    is_buy = fill.side == BUY
    return Execution(
        ids.get((i, fill.order_id), ""), name, "buy" if is_buy else "sell", fill.time // MILLISECOND * MILLISECOND,
        Decimal(price_text(exchange, i, fill.price)), Decimal(quantity_text(exchange, i, fill.lots)),
        Decimal(amount(fill.fee)), fill.fee_asset or (instrument.base if is_buy else instrument.quote), fill.id,
    )  # fmt: skip


def closes(exchange: Exchange, traded: Sequence[Instrument]) -> dict[str, Decimal]:
    """The last trade's price of each instrument."""
    names = [each.id for each in exchange.instruments]
    last = {each.id: int(exchange.candles.bars[names.index(each.id), -1, 3]) for each in traded}
    return {name: Decimal(price_text(exchange, names.index(name), price)) for name, price in last.items()}


SIDE = {"buy": BUY, "sell": SELL}
