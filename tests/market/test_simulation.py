"""Fills of orders against bars: by hand, against a naive loop, and the fast path against the slow one."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from bar_worlds import FREE, NAME, bars_of, random_bars
from hypothesis import given, settings
from hypothesis import strategies as st

from lake.errors import UsageError
from market import execution as x
from market.bars import Bars
from market.simulation import Run, backtest, follow_weights
from market.strategy import (
    Account,
    Bar,
    BarArrays,
    Cancel,
    Command,
    Fill,
    Order,
    Strategy,
    Target,
    WeightStrategy,
)


@dataclass
class Script(Strategy):
    """Gives fixed commands after the bars of these numbers, and remembers what it was told."""

    commands: dict[int, list[Command]] = field(default_factory=dict)
    on_fills: dict[str, list[Command]] = field(default_factory=dict)
    fills: list[Fill] = field(default_factory=list)
    heard: int = 0

    def on_bar(self, bar: Bar, account: Account) -> Iterable[Command]:
        self.heard += 1
        return self.commands.get(self.heard - 1, [])

    def on_fill(self, fill: Fill, account: Account) -> Iterable[Command]:
        self.fills.append(fill)
        return self.on_fills.get(fill.order_id, [])


FLAT = [(100, 101, 99, 100)] * 8


def played(
    commands: dict[int, list[Command]], bars: Bars, **changes: float
) -> tuple[Run, list[tuple[int, float, float]]]:
    """Run a script; each fill as bar, signed quantity, price."""
    run = backtest(Script(commands), bars, replace(FREE, **changes))
    return run, [(int(f[x.FILL_BAR]), float(f[x.FILL_QUANTITY]), float(f[x.FILL_PRICE])) for f in run.fills]


def order(kind: str = "market", side: str = "buy", quantity: float = 1.0, **more: object) -> Order:
    return Order(NAME, side, quantity, kind, **more)  # type: ignore[arg-type]


def test_a_market_order_fills_at_the_open_of_the_next_bar() -> None:
    bars = bars_of([(100, 101, 99, 100), (103, 104, 102, 103.5), (103, 104, 102, 103)])
    run, fills = played({0: [order()]}, bars)
    assert fills == [(1, 1.0, 103.0)]
    assert run.equity.tolist() == [10_000, 10_000.5, 10_000]


@pytest.mark.parametrize("delay", [1, 2, 3])
def test_no_bar_ever_fills_a_signal_it_produced(delay: int) -> None:
    for kind, prices in (("market", {}), ("limit", {"limit_price": 100.5}), ("stop", {"stop_price": 99.5})):
        _, fills = played({2: [order(kind, **prices)]}, bars_of(FLAT), delay_bars=delay)
        assert [fill[0] for fill in fills] == [2 + delay], kind
    with pytest.raises(UsageError, match="own signal"):
        replace(FREE, delay_bars=0)


def test_costs_are_paid_on_both_sides() -> None:
    commands: dict[int, list[Command]] = {0: [order(quantity=10)], 2: [order(side="sell", quantity=10)]}
    run, fills = played(commands, bars_of(FLAT), fee_bps=10, slippage_bps=20)
    assert [price for _, _, price in fills] == pytest.approx([100.2, 99.8])
    assert run.equity[-1] == pytest.approx(10_000 - 10 * 0.4 - 10 * (100.2 + 99.8) * 0.001)
    assert run.fills[:, x.FILL_COST] == pytest.approx([2, 2])


def test_a_resting_limit_needs_a_price_beyond_it_and_gets_no_better_than_its_own() -> None:
    bars = bars_of([(100, 101, 99, 100), (100, 101, 98, 99), (99, 99, 97.9, 99), (90, 95, 89, 94)])
    assert played({0: [order("limit", limit_price=98.0)]}, bars)[1] == [(2, 1.0, 98.0)]  # touched is not filled
    assert played({0: [order("limit", limit_price=95.0)]}, bars)[1] == [(3, 1.0, 95.0)]  # though the bar opens at 90


def test_a_limit_that_arrives_beyond_the_market_takes_at_the_open_never_worse_than_its_price() -> None:
    assert played({0: [order("limit", limit_price=100.5)]}, bars_of(FLAT), slippage_bps=10)[1] == [(1, 1.0, 100.1)]
    assert played({0: [order("limit", limit_price=100.05)]}, bars_of(FLAT), slippage_bps=10)[1] == [(1, 1.0, 100.05)]


def test_a_limit_gets_a_share_of_the_volume_and_the_rest_stays() -> None:
    rows = [(100, 101, 99, 100, 50), (100, 101, 99, 100, 50), (100, 101, 97, 100, 50), (100, 101, 97, 100, 20)]
    _, fills = played({0: [order("limit", quantity=8, limit_price=98)]}, bars_of(rows))
    assert fills == [(2, 5.0, 98.0), (3, 2.0, 98.0)]


def test_a_stop_fills_at_its_price_or_at_an_open_beyond_it() -> None:
    inside = bars_of([(100, 101, 99, 100), (100, 102, 99, 101), (101, 106, 100, 105)])
    assert played({0: [order("stop", stop_price=105.0)]}, inside)[1] == [(2, 1.0, 105.0)]
    beyond = bars_of([(100, 101, 99, 100), (100, 102, 99, 101), (107, 108, 106, 107)])
    assert played({0: [order("stop", stop_price=105.0)]}, beyond)[1] == [(2, 1.0, 107.0)]


def test_a_stop_limit_rests_from_the_bar_after_its_trigger() -> None:
    bars = bars_of([(100, 101, 99, 100), (100, 106, 99, 105), (105, 107, 103, 106)])
    commands: dict[int, list[Command]] = {0: [order("stop_limit", stop_price=105.0, limit_price=104.0)]}
    assert played(commands, bars)[1] == [(2, 1.0, 104.0)]


def test_an_attached_stop_is_met_in_the_entry_bar_and_cancels_its_group() -> None:
    bars = bars_of([(100, 101, 99, 100), (100, 110, 90, 100), (100, 120, 80, 100)])
    bracket: list[Command] = [
        order(id="in"),
        order("limit", "sell", limit_price=105, after="in", group="out"),
        order("stop", "sell", stop_price=95, after="in", group="out"),
    ]
    assert played({0: bracket}, bars)[1] == [(1, 1.0, 100.0), (1, -1.0, 95.0)]  # the stop is taken to come first


def test_an_attached_limit_waits_a_bar_when_its_order_filled_inside_one() -> None:
    bars = bars_of([(100, 101, 99, 100), (100, 110, 97, 100), (100, 110, 99, 100)])
    bracket: list[Command] = [
        order("limit", limit_price=98, id="in"),
        order("limit", "sell", limit_price=105, after="in"),
    ]
    assert played({0: bracket}, bars)[1] == [(1, 1.0, 98.0), (2, -1.0, 105.0)]


def test_what_waits_for_an_order_ends_with_it() -> None:
    commands: dict[int, list[Command]] = {
        0: [order("limit", limit_price=1, id="in"), order("stop", "sell", stop_price=99.5, after="in", id="out")],
        1: [Cancel("in"), Cancel("never was")],
    }
    strategy = Script(commands)
    assert len(backtest(strategy, bars_of(FLAT), FREE).fills) == 0


def test_a_cancel_travels_as_long_as_an_order() -> None:
    bars = bars_of([(100, 101, 99, 100), (100, 101, 97, 100), (100, 101, 96, 100), (100, 101, 96, 100)])
    resting = order("limit", limit_price=96.5, id="a")
    assert played({0: [resting], 1: [Cancel("a")]}, bars)[1] == []
    assert len(played({0: [resting], 1: [Cancel("a")]}, bars, delay_bars=2)[1]) == 1  # too late: bar 2 fills it first


def test_answers_to_a_fill_arrive_as_late_as_answers_to_a_bar() -> None:
    script = Script({0: [order(id="in")]}, {"in": [order(side="sell", id="out")]})
    run = backtest(script, bars_of(FLAT), FREE)
    assert [(int(f[x.FILL_BAR]), f[x.FILL_QUANTITY]) for f in run.fills] == [(1, 1), (2, -1)]
    assert [(fill.order_id, fill.side) for fill in script.fills] == [("in", "buy"), ("out", "sell")]


def test_a_bar_without_volume_fills_nothing() -> None:
    bars = bars_of([(100, 101, 99, 100), (100, 100, 100, 100, 0), (102, 103, 101, 102)])
    assert played({0: [order()]}, bars)[1] == [(2, 1.0, 102.0)]


def test_reduce_only_never_turns_a_position() -> None:
    sells: list[Command] = [order(side="sell", quantity=5, reduce_only=True)]
    assert played({0: sells}, bars_of(FLAT), shorts=True)[1] == []
    assert played({0: [order()], 2: sells}, bars_of(FLAT), shorts=True)[1][-1] == (3, -1.0, 100.0)


def test_the_account_buys_what_it_can_pay_fees_included_and_sells_what_it_has() -> None:
    run, fills = played({0: [order(quantity=1e6)], 3: [order(side="sell", quantity=1e6)]}, bars_of(FLAT), fee_bps=10)
    assert fills[0][1] == pytest.approx(10_000 / (100 * 1.001))
    assert fills[1][1] == -fills[0][1]
    assert run.exposure[1] == pytest.approx(1.0)


def test_a_catalogue_instrument_trades_in_steps_above_its_least_notional() -> None:
    bars = bars_of([(100, 101, 99, 100)] * 5, "binance:BTC/USDT")
    small = Order("binance:BTC/USDT", "buy", 0.04)
    commands: dict[int, list[Command]] = {0: [replace(small, quantity=0.1234567)], 2: [small]}
    assert [f[1] for f in played(commands, bars)[1]] == [pytest.approx(0.12345)]


@pytest.mark.parametrize(
    "bad",
    [
        order(quantity=0), order("limit"), order("stop", stop_price=-1.0), order("iceberg"), Order("no:X", "buy", 1.0),
        order(after="nothing"), Target(NAME, float("nan")), "buy",
    ],
)  # fmt: skip
def test_commands_that_make_no_sense_are_refused(bad: Command) -> None:
    with pytest.raises(UsageError, match="Script"):
        played({0: [bad]}, bars_of(FLAT))


def test_impact_follows_the_square_root_of_the_share_of_volume() -> None:
    bars = random_bars(600, volatility=0.003)
    drawn = []
    for quantity in (10.0, 40.0):
        run, _ = played({500: [order(quantity=quantity)]}, bars, impact=1.0, capital=1e9)
        drawn.append(run.fills[0, x.FILL_COST] / quantity)
    assert drawn[1] == pytest.approx(2 * drawn[0])
    day = slice(500 - 287, 501)
    returns, volume = np.diff(np.log(bars.values[day, 0, x.CLOSE])), bars.values[day, 0, x.VOLUME].mean() * 288
    rough = returns.std() * np.sqrt(288) * np.sqrt(10 / volume) * bars.values[501, 0, x.OPEN]
    assert drawn[0] == pytest.approx(rough, rel=0.25)  # means here are exponential


@dataclass
class Crossing(WeightStrategy):
    fast: int = 3
    slow: int = 9

    @property
    def memory(self) -> int:
        return self.slow + 1

    def weights(self, bars: BarArrays) -> np.ndarray:
        def mean(window: int) -> np.ndarray:
            stacked = np.lib.stride_tricks.sliding_window_view(bars.close, window).mean(axis=1)
            return np.concatenate([np.full(min(window - 1, len(bars.close)), np.nan), stacked])

        if len(bars.close) < self.slow:
            return np.full(len(bars.close), np.nan)
        fast, slow = mean(self.fast), mean(self.slow)
        return np.where(np.isnan(slow), np.nan, (fast > slow).astype(float))


@pytest.mark.parametrize("exits", [{}, {"stop_loss": 0.01, "take_profit": 0.02}, {"trailing_stop": 0.008}])
@pytest.mark.parametrize("delay", [1, 3])
def test_the_fast_path_fills_exactly_what_events_fill(exits: dict[str, float], delay: int) -> None:
    bars = random_bars(1500, k=3)
    bars.values[100:110, 1] = np.nan  # an instrument may lack bars, or trade nothing in some
    bars.values[200:204, 2, x.VOLUME] = 0
    conditions = replace(FREE, fee_bps=5, slippage_bps=1, impact=1.0, delay_bars=delay, **exits)
    fast, slow = (backtest(Crossing(), bars, conditions, compiled=way) for way in (True, False))
    assert fast.compiled and not slow.compiled and len(fast.fills) > 300
    assert np.array_equal(fast.fills, slow.fills)
    assert np.array_equal(fast.equity, slow.equity) and np.array_equal(fast.exposure, slow.exposure)


def test_truncating_the_future_changes_no_fill_before_it() -> None:
    bars = random_bars(900, k=2)
    whole, part = (backtest(Crossing(), b, FREE) for b in (bars, bars.head(500)))
    assert np.array_equal(whole.equity[:500], part.equity)
    assert np.array_equal(whole.fills[whole.fills[:, x.FILL_BAR] < 500], part.fills)


def test_an_oracle_of_the_bar_itself_earns_nothing_certain() -> None:
    """Knowing a bar's own close is worth nothing once it is over; knowing the next one's is worth a fortune."""
    bars = random_bars(4000)
    rises = (bars.values[:, :, x.CLOSE] > bars.values[:, :, x.OPEN]).astype(float)
    honest, leaky = (follow_weights(w, bars, FREE) for w in (rises, np.roll(rises, -1, axis=0)))
    assert abs(np.log(honest.equity[-1] / 10_000)) < 3 * 0.002 * np.sqrt(4000)
    assert np.log(leaky.equity[-1] / 10_000) > 20 * 0.002 * np.sqrt(4000)


def naive_weights(bars: Bars, weights: np.ndarray, fee: float, slippage: float, stop: float) -> np.ndarray:
    """One instrument, long or flat, written apart: what the kernel must give without impact."""
    cash, held, entry, last, pending, equity = 10_000.0, 0.0, 0.0, 0.0, 0.0, []
    for t, (opened, _, low, close, _) in enumerate(bars.values[:, 0]):
        if pending > 0:
            price = opened * (1 + slippage)
            bought = min(pending, (cash - held * 0) / (price * (1 + fee)))
            entry = (entry * held + price * bought) / (held + bought)
            cash, held = cash - bought * price * (1 + fee), held + bought
        elif pending < 0:
            sold = min(-pending, held)
            cash, held = cash + sold * opened * (1 - slippage) * (1 - fee), held - sold
            held = 0.0 if held < 1e-9 else held
        pending = 0.0
        if held and stop and low <= entry * (1 - stop):
            cash += held * min(opened, entry * (1 - stop)) * (1 - slippage) * (1 - fee)
            held = 0.0
        equity.append(cash + held * close)
        if weights[t, 0] != last:
            pending, last = weights[t, 0] * equity[-1] / close - held, weights[t, 0]
    return np.array(equity)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.004]), st.sampled_from([0.0, 0.001]))
def test_the_fast_path_agrees_with_a_naive_loop(seed: int, stop: float, fee: float) -> None:
    bars = random_bars(300, seed=seed)
    weights = np.repeat(np.random.default_rng(seed).choice([0.0, 0.3, 1.0], 100), 3)[:, None].copy()
    conditions = replace(FREE, fee_bps=fee * 1e4, slippage_bps=2, stop_loss=stop)
    assert follow_weights(weights, bars, conditions).equity == pytest.approx(
        naive_weights(bars, weights, fee, 2e-4, stop), rel=1e-9
    )


ORDERS = st.builds(
    lambda kind, side, quantity, limit, stop, reduce: order(
        kind, side, quantity, limit_price=limit, stop_price=stop, reduce_only=reduce
    ),
    st.sampled_from(["market", "limit", "stop", "stop_limit"]),
    st.sampled_from(["buy", "sell"]),
    st.floats(0.01, 300),
    st.floats(95, 105),
    st.floats(95, 105),
    st.booleans(),
)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.integers(0, 70), st.lists(st.one_of(ORDERS, st.floats(-1, 2).map(lambda w: Target(NAME, w))))),
    st.integers(0, 1000),
    st.sampled_from([0.0, 10.0]),
    st.integers(1, 3),
)
def test_no_commands_overdraw_the_account_or_fill_better_or_sooner_than_the_market_allows(
    commands: dict[int, list[Command]], seed: int, fee_bps: float, delay: int
) -> None:
    bars = random_bars(80, seed=seed, volatility=0.01)
    run, _ = played(commands, bars, fee_bps=fee_bps, delay_bars=delay)
    cash, held = 10_000.0, 0.0
    earliest = min(commands, default=0) + delay
    for fill in run.fills:
        low, high = bars.values[int(fill[x.FILL_BAR]), 0, [x.LOW, x.HIGH]]
        quantity, price = fill[x.FILL_QUANTITY], fill[x.FILL_PRICE]
        cash, held = cash - quantity * price - fill[x.FILL_FEE], held + quantity
        assert cash > -1e-6 and held > -1e-9
        assert price >= low if quantity > 0 else price <= high
        assert fill[x.FILL_BAR] >= earliest
    assert run.equity[-1] == pytest.approx(cash + held * bars.values[-1, 0, x.CLOSE])


def test_money_is_conserved_by_every_fill() -> None:
    bars = random_bars(2000, k=2)
    run = backtest(Crossing(), bars, replace(FREE, fee_bps=7, slippage_bps=3, shorts=True))
    cash = 10_000 - (run.fills[:, x.FILL_QUANTITY] * run.fills[:, x.FILL_PRICE] + run.fills[:, x.FILL_FEE]).sum()
    held = [run.fills[run.fills[:, x.FILL_INSTRUMENT] == j, x.FILL_QUANTITY].sum() for j in range(2)]
    assert run.equity[-1] == pytest.approx(cash + held @ bars.values[-1, :, x.CLOSE])


def test_a_ruined_account_stays_ruined() -> None:
    bars = bars_of([(100, 101, 99, 100), (100, 101, 99, 100), (100, 100, 30, 30), (30, 31, 29, 30)])
    run = follow_weights(np.full((4, 1), 5.0), bars, replace(FREE, leverage=5.0))
    assert run.ruined_at == 2
    assert run.equity[2:].tolist() == [0.01, 0.01]


def test_drift_is_traded_back_only_where_asked() -> None:
    bars = random_bars(500, volatility=0.01)
    half = np.full((500, 1), 0.5)
    counts: Callable[[float], int] = lambda drift: len(follow_weights(half, bars, replace(FREE, drift=drift)).fills)  # noqa: E731
    assert counts(np.inf) == 1
    assert 1 < counts(0.05) < counts(0.01)
