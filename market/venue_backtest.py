"""Backtest a strategy against the embedded exchange itself, in process and in virtual time.

The same seed gives the same agents, the same matching and the same fills as `python -m market.server --seed N`; there
is no network and no waiting. The market stops at every multiple of `step`, there the strategy hears of its fills, of
trades, books and bars, and of the time (`market/turns.py`), and its orders arrive at that instant: exactly what
`--speed lockstep` does for a live node. A step is a minute, or less where the strategy asks for more (`Runner.step`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from decimal import Decimal

import numpy as np

from lake.errors import UsageError
from lake.instruments import Instrument
from lake.intervals import HOUR, MILLISECOND, timeframe_us
from market import execution as x
from market.bars import Bars
from market.book import BUY, SELL
from market.candles import CLOSE, HIGH, LOTS, LOW, OPEN
from market.conditions import Conditions
from market.errors import Refused
from market.exchange import Exchange
from market.orders import Fill, NewOrder, TimeInForce
from market.orders import Order as VenueOrder
from market.reports import amount, price_text, quantity_text
from market.runner import Runner
from market.scenario import Scenario
from market.simulation import Run
from market.strategy import Bar, Side, Strategy
from market.turns import Action, Execution, Outcome, Submit, events, in_turn
from market.venue import build_venue
from market.venue_news import VenueNews

TYPES = {"market": "MARKET", "limit": "LIMIT", "stop": "STOP_LOSS", "stop_limit": "STOP_LOSS_LIMIT"}
IN_FORCE: dict[str, TimeInForce] = {"gtc": "GTC", "ioc": "IOC", "fok": "FOK"}
KIND_OF = {"market": x.MARKET_FILL, "limit": x.LIMIT_FILL, "stop": x.STOP_FILL, "stop_limit": x.STOP_FILL}


@dataclass(frozen=True, slots=True)
class Placed:
    """One order as it reached the venue; what parity compares. Texts are plain decimals."""

    time: int
    """Market µs."""
    instrument: str
    side: str
    type: str
    quantity: str
    price: str
    """Of a limit order; empty otherwise."""


@dataclass(slots=True)
class VenueRun:
    """What happened."""

    runner: Runner
    start: int
    end: int
    orders: list[Placed] = field(default_factory=list)
    executions: list[Execution] = field(default_factory=list)
    equity: list[tuple[int, Decimal]] = field(default_factory=list)
    """Market time and equity after each bar's events."""
    decided: list[float] = field(default_factory=list)
    """Last close known at each execution."""
    exposure: list[float] = field(default_factory=list)
    """Positions over equity, with each entry of `equity`."""
    kinds: dict[str, int] = field(default_factory=dict)
    """FILL_KIND of each order's executions."""

    @property
    def pnl(self) -> Decimal:
        """Equity at the last closes less the capital, in quote."""
        return self.runner.equity() - self.runner.capital


class Desk:
    """One strategy at one exchange: places its orders, reads its fills and bars."""

    def __init__(self, exchange: Exchange, runner: Runner, timeframe: str) -> None:
        self._exchange, self._runner, self._timeframe = exchange, runner, timeframe
        self._account = exchange.accounts[0]
        names = [each.id for each in exchange.instruments]
        self._columns = {name: names.index(name) for name in runner.instruments}
        self._seen = dict.fromkeys(runner.instruments, 0)
        self._own: dict[int, dict[int, str]] = {i: {} for i in self._columns.values()}
        self._open: dict[str, VenueOrder] = {}
        self._length = timeframe_us(timeframe)
        self._news = VenueNews(exchange, runner, self._columns)
        self.run = VenueRun(runner, exchange.time, exchange.time)

    def show_history(self) -> None:
        """The bars the strategy wants from before the start, instrument by instrument, oldest first."""
        wanted = self._runner.strategy.history
        for name in self._columns:
            newest = self._exchange.time // self._length * self._length
            for opened in range(newest - wanted * self._length, newest, self._length):
                if opened >= self._exchange.candles.start:
                    self._runner.on_history(self._bar(name, opened))

    def play(self, end: int, step: int) -> VenueRun:
        """Let the market run to `end`, standing where it is and at every multiple of `step`."""
        exchange = self._exchange
        self._empty_outbox()
        self._stand(closed=False)
        while exchange.time < end:
            exchange.advance(min((exchange.time // step + 1) * step, end))
            self._stand(closed=exchange.time % self._length == 0)
        self.run.end = exchange.time
        return self.run

    def _empty_outbox(self) -> None:
        outbox = self._exchange.outbox
        for each in fields(outbox):
            getattr(outbox, each.name).clear()

    def _stand(self, closed: bool) -> None:
        """What happens while the market stands; what our orders do now is news of the next time."""
        time = self._exchange.time
        bars = [self._bar(name, time - self._length) for name in self._columns] if closed else []
        heard = in_turn(self._news.take(), self._runner)
        self._empty_outbox()
        steps = events(self._runner, self._outcome(), [*heard, *bars, *self._runner.moments(time)])
        action = next(steps, None)
        while action is not None:
            try:
                action = steps.send(self._carry_out(action))
            except StopIteration:
                break
        if closed:
            equity = self._runner.equity()
            self.run.equity.append((self._exchange.time, equity))
            self.run.exposure.append(float((equity - self._runner.cash) / equity))

    def bars(self, start: int, count: int) -> Bars:
        """So many bars of the run from `start` on."""
        times = start + np.arange(count, dtype=np.int64) * self._length
        held = [[self._bar(name, int(opened)) for name in self._columns] for opened in times]
        values = [[(bar.open, bar.high, bar.low, bar.close, bar.volume) for bar in row] for row in held]
        return Bars(tuple(self._columns), times, np.array(values), self._length)

    def _bar(self, name: str, opened: int) -> Bar:
        exchange, i = self._exchange, self._columns[name]
        number = (opened - exchange.candles.start) // self._length
        row = exchange.candles.aggregated(i, self._timeframe, number, 1)[0].tolist()
        first, high, low, last = (float(price_text(exchange, i, row[column])) for column in (OPEN, HIGH, LOW, CLOSE))
        volume = float(quantity_text(exchange, i, row[LOTS]))
        return Bar(name, opened, opened + self._length, first, high, low, last, volume)

    def _carry_out(self, action: Action) -> Outcome:
        if isinstance(action, Submit):
            return self._submit(action)
        order = self._open.get(action.order_id)
        if order is not None and order.is_open:
            self._exchange.cancel(self._account, order)
        return self._outcome()

    def _submit(self, action: Submit) -> Outcome:
        i, order = self._columns[action.order.instrument], action.order
        self.run.orders.append(placed(self._exchange.time, action))
        try:
            accepted = self._exchange.submit(self._account, new_order(i, action))
        except Refused:
            return Outcome(ended=(order.id,))
        self.run.kinds[order.id] = KIND_OF[order.kind]
        self._own[i][accepted.id], self._open[order.id] = order.id, accepted
        return self._outcome()

    def _outcome(self) -> Outcome:
        """Fills since the last look, and which of our orders are over."""
        fresh: list[Execution] = []
        for name, i in self._columns.items():
            fills = self._account.fills[i]
            for fill in fills[self._seen[name] :]:
                fresh.append(self._execution(name, i, fill))
            self._seen[name] = len(fills)
        ended = [order_id for order_id, order in self._open.items() if not order.is_open]
        for order_id in ended:
            del self._open[order_id]
        self.run.executions += fresh
        self.run.decided += [self._runner.account.prices.get(each.instrument, float("nan")) for each in fresh]
        return Outcome(fresh, ended)

    def _execution(self, name: str, i: int, fill: Fill) -> Execution:
        exchange, traded = self._exchange, self._runner.instruments[name]
        side: Side = "buy" if fill.side == BUY else "sell"
        return Execution(
            self._own[i][fill.order_id], name, side, fill.time // MILLISECOND * MILLISECOND,
            Decimal(price_text(exchange, i, fill.price)), Decimal(quantity_text(exchange, i, fill.lots)),
            Decimal(amount(fill.fee)), fill.fee_asset or (traded.base if side == "buy" else traded.quote), fill.id,
        )  # fmt: skip


def placed(time: int, action: Submit) -> Placed:
    """What reaches the venue, as parity compares it."""
    limit = action.limit_price
    return Placed(
        time, action.order.instrument, action.order.side, action.order.kind, plain(action.quantity),
        "" if limit is None else plain(limit),
    )  # fmt: skip


def plain(value: Decimal) -> str:
    """A decimal without an exponent and without trailing zeros."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def new_order(i: int, action: Submit) -> NewOrder:
    """The venue's words for an order."""
    order = action.order
    kind = "LIMIT_MAKER" if order.post_only and order.kind == "limit" else TYPES[order.kind]
    force: TimeInForce = IN_FORCE[order.time_in_force] if kind in ("LIMIT", "STOP_LOSS_LIMIT") else "GTC"
    return NewOrder(
        i, BUY if order.side == "buy" else SELL, kind, action.quantity, price=action.limit_price,
        time_in_force=force, stop_price=action.stop_price,
    )  # fmt: skip


def backtest_venue(
    strategy: Strategy, scenario: Scenario, hours: float, conditions: Conditions,
    traded: Sequence[Instrument], timeframe: str = "5m", step: int = 0,
) -> tuple[VenueRun, Run]:  # fmt: skip
    """Run a strategy for so many market hours after the history; returns what happened and the same to be measured.

    The account begins with the conditions' capital and pays their `fee_bps`; slippage and impact are the market's own,
    so the conditions' are not used. Commands of a bar arrive at its close. `step` 0 is as often as the strategy asks.

    Raises:
        UsageError: the hours are no whole number of bars, or the strategy's commands make no sense.
    """
    length = timeframe_us(timeframe)
    span = round(hours * HOUR)
    if span < length or span % length:
        raise UsageError(f"--hours {hours}: expected a whole number of {timeframe} bars, at least one.")
    capital = Decimal(str(conditions.capital))
    venue = build_venue(scenario, 1.0, True, 1, Decimal(str(conditions.fee_bps)), capital)
    runner = Runner(strategy, traded, capital)
    desk = Desk(venue.exchange, runner, timeframe)
    desk.show_history()
    start = venue.exchange.time
    run = desk.play(start + span, step or runner.step)
    return run, measurable(run, desk.bars(start, span // length), conditions)


def measurable(run: VenueRun, bars: Bars, conditions: Conditions) -> Run:
    """The run in the form every measure reads: equity, exposure and fills by bars.

    Fees in the base asset are shown in quote, with the quantity net of them. A sale that leaves less than one step
    behind counts as the whole position: that dust can never be sold.
    """
    held = dict.fromkeys(bars.instruments, 0.0)
    rows, last = np.zeros((len(run.executions), x.FILL_FIELDS)), len(bars.open_time) - 1
    for row, execution, decided in zip(rows, run.executions, run.decided, strict=True):
        traded = run.runner.instruments[execution.instrument]
        price, in_base = float(execution.price), execution.fee_asset == traded.base
        quantity = float(execution.quantity - (execution.fee if in_base and execution.side == "buy" else 0))
        if execution.side == "sell" and held[traded.id] - quantity < float(traded.quantity_step):
            quantity = held[traded.id]
        signed = quantity if execution.side == "buy" else -quantity
        held[traded.id] += signed
        bar = min(last, int((execution.time - run.start) // bars.timeframe))
        fee = float(execution.fee) * (price if in_base else 1.0)
        j = bars.instruments.index(traded.id)
        row[[x.FILL_BAR, x.FILL_INSTRUMENT, x.FILL_QUANTITY, x.FILL_PRICE]] = bar, j, signed, price
        row[[x.FILL_FEE, x.FILL_DECIDED, x.FILL_KIND]] = fee, decided, run.kinds.get(execution.order_id, x.MARKET_FILL)
        row[x.FILL_COST] = max(signed * (price - decided), 0.0)
    equity = np.array([float(value) for _, value in run.equity])
    exposure = np.array(run.exposure)
    return Run(bars, conditions, equity, exposure, rows, None, False)
