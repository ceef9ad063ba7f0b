"""The exchange's core without I/O: orders, money, bars, and the agents' present against the simulated past."""

from decimal import Decimal
from itertools import pairwise

import numpy as np
import pytest

from lake.intervals import DAY, MINUTE, SECOND
from market.accounts import FREE, VENUE
from market.agents import Agents
from market.book import BUY, SELL, UNIT
from market.candles import CLOSE, HIGH, LOTS, LOW, OPEN, QUOTE_UNITS, TRADES
from market.errors import Refused
from market.exchange import Exchange, fee_rate
from market.fees import SCHEDULE_VOLUME, SPOT_MARKET
from market.orders import NewOrder
from market.scenario import INSTRUMENT_PROCESSES, Scenario, simulate_history
from market.venue import build_venue

BTC = 0
LIVED = 720
"""Minutes of the present that are compared with the past."""


def exchange(agents: bool = True, seed: int = 5, days: int = 7, accounts: int = 2) -> Exchange:
    return build_venue(Scenario(seed, days=days), 1.0, agents, accounts, Decimal(5), Decimal(100_000)).exchange


def limit(side: int, price: str, quantity: str, client_id: str | None = None) -> NewOrder:
    return NewOrder(BTC, side, "LIMIT", Decimal(quantity), None, Decimal(price), client_id)


def market(side: int, quantity: str) -> NewOrder:
    return NewOrder(BTC, side, "MARKET", Decimal(quantity))


def last_price(venue: Exchange) -> Decimal:
    return Decimal(int(venue.candles.bars[BTC, -1, CLOSE])) * venue.instruments[BTC].price_tick


def holdings(venue: Exchange, account: int, asset: str) -> tuple[int, int]:
    return venue.balance(venue.accounts[account].owner, venue.column(asset))


# -- money and orders ---------------------------------------------------------------------------------------------


def test_a_market_order_pays_the_asks_and_the_fee_in_the_asset_received() -> None:
    venue = exchange()
    venue.advance(venue.time + MINUTE)
    order = venue.submit(venue.accounts[0], market(BUY, "0.5"))
    assert order.status == "FILLED"
    assert holdings(venue, 0, "BTC") == (UNIT // 2 - sum(fill.fee for fill in order.fills), 0)
    assert sum(fill.fee for fill in order.fills) == pytest.approx(UNIT // 2 * 0.0005, abs=len(order.fills))
    assert holdings(venue, 0, "USDT") == (100_000 * UNIT - order.filled_units, 0)


def test_fees_follow_the_volume_of_whole_days_where_the_tiers_are_joined() -> None:
    venue = exchange()
    owner = venue.accounts[0].owner
    venue.engine.accounts.fees.schedule[SPOT_MARKET, 1, SCHEDULE_VOLUME] = 20_000 * UNIT
    assert venue.commission_rates(owner) == (500, 500)
    venue.join_fee_tiers()
    assert venue.commission_rates(owner) == (1000, 1000)
    venue.advance(venue.time + MINUTE)
    venue.submit(venue.accounts[0], market(BUY, "1.5"))
    assert venue.accounts[0].orders[BTC][0].filled_units > 20_000 * UNIT
    venue.crowds.clear()  # the day may pass quickly
    assert venue.commission_rates(owner) == (1000, 1000), "today does not count"
    venue.advance(venue.time // DAY * DAY + DAY + 2 * MINUTE)
    assert venue.commission_rates(owner) == (900, 1000)
    assert venue.commission_rates(venue.accounts[1].owner) == (1000, 1000)
    venue.advance(venue.time + 31 * DAY)
    assert venue.commission_rates(owner) == (1000, 1000)


def test_a_market_order_into_an_empty_book_expires() -> None:
    venue = exchange(agents=False)
    order = venue.submit(venue.accounts[0], market(BUY, "0.2"))
    assert (order.status, order.filled_lots) == ("EXPIRED", 0)
    reports = [event for _, event in venue.outbox.user if event["e"] == "executionReport"]
    assert [(report["x"], report["X"]) for report in reports] == [("NEW", "NEW"), ("EXPIRED", "EXPIRED")]
    assert holdings(venue, 0, "USDT") == (100_000 * UNIT, 0)


def test_a_partly_filled_market_order_expires_with_the_rest() -> None:
    venue = exchange(agents=False)
    seller = venue.accounts[1]
    venue.engine.accounts.balances[seller.owner, BTC, FREE] = UNIT
    venue.submit(venue.accounts[0], limit(BUY, str(last_price(venue)), "0.1"))
    order = venue.submit(seller, market(SELL, "0.25"))
    assert (order.status, order.filled_lots, order.lots) == ("EXPIRED", 10_000, 25_000)
    assert holdings(venue, 1, "BTC") == (UNIT * 9 // 10, 0)


def test_a_market_order_beyond_the_balance_is_refused() -> None:
    venue = exchange()
    venue.advance(venue.time + SECOND)
    with pytest.raises(Refused) as refusal:
        venue.submit(venue.accounts[0], market(SELL, "0.2"))
    assert (refusal.value.code, refusal.value.message) == (
        -2010,
        "Account has insufficient balance for requested action.",
    )
    assert venue.accounts[0].orders[BTC] == []


def test_an_open_limit_order_locks_its_funds_and_cancelling_frees_them() -> None:
    venue = exchange()
    account = venue.accounts[0]
    price = (last_price(venue) * Decimal("0.9")).quantize(Decimal("0.01"))
    order = venue.submit(account, limit(BUY, str(price), "0.1"))
    locked = int(price * Decimal("0.1") * UNIT)
    assert holdings(venue, 0, "USDT") == (100_000 * UNIT - locked, locked)
    venue.cancel(account, order)
    assert holdings(venue, 0, "USDT") == (100_000 * UNIT, 0)
    assert (order.status, account.open) == ("CANCELED", {})
    with pytest.raises(Refused) as refusal:
        venue.cancel(account, order)
    assert (refusal.value.code, refusal.value.message) == (-2011, "Unknown order sent.")


def test_a_resting_order_is_filled_by_the_flow_when_the_price_gets_there() -> None:
    venue = exchange()
    venue.advance(venue.time + MINUTE)
    bid = int(venue.depth(BTC, BUY, 1)[0, 0]) * venue.instruments[BTC].price_tick
    order = venue.submit(venue.accounts[0], limit(BUY, str(bid), "0.01"))
    venue.advance(venue.time + 30 * MINUTE)
    assert order.status == "FILLED"
    assert all(fill.is_maker and fill.price * venue.instruments[BTC].price_tick == bid for fill in order.fills)
    reports = [event for _, event in venue.outbox.user if event["e"] == "executionReport" and event["i"] == order.id]
    assert reports[0]["x"] == "NEW"
    assert (reports[-1]["x"], reports[-1]["X"], reports[-1]["m"]) == ("TRADE", "FILLED", True)


def test_a_client_id_is_unique_among_open_orders_only() -> None:
    venue = exchange()
    account = venue.accounts[0]
    price = str((last_price(venue) * Decimal("0.9")).quantize(Decimal("0.01")))
    first = venue.submit(account, limit(BUY, price, "0.01", "mine"))
    with pytest.raises(Refused) as refusal:
        venue.submit(account, limit(BUY, price, "0.01", "mine"))
    assert (refusal.value.code, refusal.value.message) == (-2010, "Duplicate order sent.")
    venue.cancel(account, first)
    second = venue.submit(account, limit(BUY, price, "0.01", "mine"))
    assert venue.find(account, BTC, None, "mine") is second
    assert venue.find(account, BTC, first.id, None) is first
    assert venue.submit(venue.accounts[1], limit(BUY, price, "0.01", "mine")).status == "NEW"


def test_a_market_order_by_quote_quantity_spends_at_most_that() -> None:
    venue = exchange()
    venue.advance(venue.time + SECOND)
    order = venue.submit(venue.accounts[0], NewOrder(BTC, BUY, "MARKET", None, Decimal("1000")))
    assert order.status == "FILLED"
    assert 990 * UNIT < order.filled_units <= 1000 * UNIT


@pytest.mark.parametrize(
    ("price", "quantity", "failure"),
    [
        ("100.001", "1", "PRICE_FILTER"),
        ("2000000", "0.001", "PRICE_FILTER"),
        ("0.9x", "0.000001", "LOT_SIZE"),
        ("0.9x", "0.0000005", "LOT_SIZE"),
        ("0.1x", "1", "PERCENT_PRICE_BY_SIDE"),
        ("6x", "0.01", "PERCENT_PRICE_BY_SIDE"),
        ("0.9x", "0.00001", "NOTIONAL"),
    ],
)
def test_filters_are_enforced(price: str, quantity: str, failure: str) -> None:
    venue = exchange()
    if price.endswith("x"):
        price = str((last_price(venue) * Decimal(price[:-1])).quantize(Decimal("0.01")))
    with pytest.raises(Refused) as refusal:
        venue.submit(venue.accounts[0], limit(BUY, price, quantity))
    assert (refusal.value.code, refusal.value.message) == (-1013, f"Filter failure: {failure}")


def test_at_most_two_hundred_orders_rest_per_symbol() -> None:
    venue = exchange()
    price = str((last_price(venue) * Decimal("0.9")).quantize(Decimal("0.01")))
    for _ in range(200):
        venue.submit(venue.accounts[0], limit(BUY, price, "0.0005"))
    with pytest.raises(Refused, match="MAX_NUM_ORDERS"):
        venue.submit(venue.accounts[0], limit(BUY, price, "0.0005"))


def test_money_is_conserved_and_never_negative_under_random_trading() -> None:
    venue = exchange(accounts=3)
    start = venue.totals()
    rng = np.random.default_rng(11)
    submitted = 0
    for _ in range(300):
        venue.advance(venue.time + int(rng.integers(1, 4 * SECOND)))
        account = venue.accounts[int(rng.integers(3))]
        i, side = int(rng.integers(6)), int(rng.integers(2))
        instrument, scale = venue.instruments[i], Decimal(str(round(float(rng.uniform(0.995, 1.005)), 5)))
        price = instrument.round_price(int(venue.candles.bars[i, -1, CLOSE]) * instrument.price_tick * scale)
        quantity = instrument.floor_quantity(Decimal(int(rng.integers(10, 30_000))) / price)
        try:
            if rng.random() < 0.5:
                venue.submit(account, NewOrder(i, side, "LIMIT", quantity, None, price))
            else:
                venue.submit(account, NewOrder(i, side, "MARKET", quantity))
            submitted += 1
        except Refused as refusal:
            assert refusal.code in (-2010, -1013)
        if account.open and rng.random() < 0.3:
            venue.cancel(account, next(iter(account.open.values())))
        assert venue.totals() == start
        assert venue.least_balance() >= 0
    assert submitted > 100
    assert sum(len(fills) for account in venue.accounts for fills in account.fills) > 100


def test_a_balance_is_the_start_plus_fills_minus_fees_exactly() -> None:
    venue = exchange()
    account = venue.accounts[0]
    for number in range(40):
        venue.advance(venue.time + 7 * SECOND)
        venue.submit(account, market(BUY if number % 2 == 0 else SELL, "0.01234" if number % 2 == 0 else "0.012"))
    base = sum((f.lots * 1000 if f.side == BUY else -f.lots * 1000) for f in account.fills[BTC])
    base -= sum(f.fee for f in account.fills[BTC] if f.side == BUY)
    quote = 100_000 * UNIT + sum((-f.units if f.side == BUY else f.units - f.fee) for f in account.fills[BTC])
    assert holdings(venue, 0, "BTC") == (base, 0)
    assert holdings(venue, 0, "USDT") == (quote, 0)
    fees = venue.balance(VENUE, venue.column("USDT"))[FREE]
    assert fees == sum(f.fee for f in account.fills[BTC] if f.side == SELL)


def test_a_paused_market_refuses_orders_and_still_cancels() -> None:
    venue = exchange()
    order = venue.submit(venue.accounts[0], limit(BUY, str(last_price(venue) - 1000), "0.01"))
    venue.trading = False
    with pytest.raises(Refused, match="Market is closed"):
        venue.submit(venue.accounts[0], market(BUY, "0.01"))
    venue.cancel(venue.accounts[0], order)
    assert order.status == "CANCELED"


@pytest.mark.parametrize(("bps", "rate"), [("5", 500), ("7.5", 750), ("0", 0), ("0.01", 1)])
def test_fees_are_exact_in_hundredths_of_a_basis_point(bps: str, rate: int) -> None:
    assert fee_rate(Decimal(bps)) == rate


# -- time and bars ------------------------------------------------------------------------------------------------


def test_the_history_is_a_prefix_that_the_present_never_changes() -> None:
    venue = exchange()
    minutes = venue.candles.minutes - 1
    before = venue.candles.bars[:, :minutes].copy()
    venue.advance(venue.time + 20 * MINUTE)
    assert (venue.candles.bars[:, :minutes] == before).all()
    history = simulate_history(Scenario(5, days=7))
    assert venue.candles.start + minutes * MINUTE == history.state.time_us
    assert np.allclose(before[BTC, :, CLOSE] / 100, history.close[BTC], rtol=0, atol=1e-9)
    assert np.allclose(before[BTC, :, LOTS] / 1e5, history.volume[BTC], rtol=0, atol=1e-9)


def test_bars_are_made_of_exactly_the_tape() -> None:
    venue = exchange()
    venue.advance(venue.time + 10 * MINUTE)
    trades = [row for row in venue.outbox.trades if row[0] == BTC]
    bars = venue.candles.bars[BTC, -11:-1]
    assert bars[:, TRADES].sum() == len(trades)
    assert bars[:, LOTS].sum() == sum(row[4] for row in trades)
    assert bars[:, QUOTE_UNITS].sum() == sum(row[3] * row[4] * 10 for row in trades)
    first = venue.candles.start + (venue.candles.minutes - 11) * MINUTE
    inside = [row for row in trades if first <= row[2] < first + MINUTE]
    expected = [inside[0][3], max(r[3] for r in inside), min(r[3] for r in inside), inside[-1][3]]
    assert bars[0, [OPEN, HIGH, LOW, CLOSE]].tolist() == expected
    assert [row[1] for row in trades] == list(range(trades[0][1], trades[0][1] + len(trades)))


def test_every_minute_closes_once_even_without_trades() -> None:
    venue = exchange(agents=False)
    last = venue.candles.bars[:, -1, CLOSE].copy()
    first = venue.candles.minutes - 1
    venue.advance(venue.time + 3 * MINUTE + 5 * SECOND)
    assert venue.outbox.closed_minutes == [first, first + 1, first + 2]
    assert venue.candles.open_time == venue.time - 5 * SECOND
    for bar in venue.candles.bars[BTC, -4:]:
        assert bar[[OPEN, HIGH, LOW, CLOSE]].tolist() == [last[BTC]] * 4
        assert (bar[LOTS], bar[TRADES]) == (0, 0)


@pytest.mark.parametrize(("interval", "step"), [("5m", 5), ("1h", 60), ("1d", 1440)])
def test_longer_candles_aggregate_the_minutes(interval: str, step: int) -> None:
    venue = exchange()
    venue.advance(venue.time + 7 * MINUTE)
    minutes = venue.candles.bars[3]
    bars = venue.candles.aggregated(3, interval, 0, 10**9)
    assert len(bars) == -(-len(minutes) // step)
    for number in (0, 1, len(bars) - 1):
        rows = minutes[number * step : (number + 1) * step]
        bar = bars[number]
        assert bar[[OPEN, HIGH, LOW, CLOSE]].tolist() == [
            rows[0, OPEN], rows[:, HIGH].max(), rows[:, LOW].min(), rows[-1, CLOSE],
        ]  # fmt: skip
        assert (bar[LOTS], bar[QUOTE_UNITS], bar[TRADES]) == tuple(rows[:, [LOTS, QUOTE_UNITS, TRADES]].sum(axis=0))


def test_the_same_seed_and_the_same_steps_give_the_same_market() -> None:
    first, second = exchange(), exchange()
    for venue in (first, second):
        for _ in range(5):
            venue.advance(venue.time + 20 * SECOND)
    assert (first.candles.bars == second.candles.bars).all()
    assert first.outbox.trades == second.outbox.trades


# -- the present is like the past ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lived() -> tuple[Exchange, int, np.ndarray]:
    """A venue that has lived half a day after 28 days of history, and its mean spreads."""
    venue = exchange(seed=3, days=28)
    minutes = venue.candles.minutes - 1
    spreads = []
    for _ in range(LIVED):
        venue.advance(venue.time + MINUTE)
        venue.outbox.trades.clear()
        best = [[venue.depth(i, side, 1)[0, 0] for i in range(6)] for side in (BUY, SELL)]
        spreads.append((np.array(best[1]) / np.array(best[0]) - 1) * 1e4)
    return venue, minutes, np.mean(spreads, axis=0)


def test_live_volatility_volume_and_range_are_within_twice_of_history(lived: tuple[Exchange, int, np.ndarray]) -> None:
    venue, minutes, _ = lived
    for i, instrument in enumerate(venue.instruments):
        past, live = venue.candles.bars[i, :minutes].astype(float), venue.candles.bars[i, minutes:-1].astype(float)
        assert len(live) == LIVED
        ratios = {
            "volatility": np.diff(np.log(live[:, CLOSE])).std() / np.diff(np.log(past[:, CLOSE])).std(),
            "range": np.log(live[:, HIGH] / live[:, LOW]).mean() / np.log(past[:, HIGH] / past[:, LOW]).mean(),
            "volume": live[:, LOTS].mean() / past[:, LOTS].mean(),
            "trades": live[:, TRADES].mean() / past[:, TRADES].mean(),
        }
        assert all(0.5 <= ratio <= 2 for ratio in ratios.values()), (instrument.id, ratios)


def test_the_quoted_spread_is_within_twice_of_the_scenario(lived: tuple[Exchange, int, np.ndarray]) -> None:
    venue, _, spreads = lived
    for i, instrument in enumerate(venue.instruments):
        price = float(
            last_price(venue) if i == BTC else venue.candles.bars[i, -1, CLOSE] * float(instrument.price_tick)
        )
        declared = max(INSTRUMENT_PROCESSES[instrument.id].spread_bps, float(instrument.price_tick) / price * 1e4)
        assert 0.5 <= spreads[i] / declared <= 2, (instrument.id, spreads[i], declared)


def test_the_price_does_not_jump_where_the_present_begins(lived: tuple[Exchange, int, np.ndarray]) -> None:
    venue, minutes, _ = lived
    around = np.log(venue.candles.bars[:, minutes - 2 : minutes + 3, CLOSE].astype(float))
    assert np.abs(np.diff(around, axis=1)).max() < 60e-4


def test_agents_stay_solvent_and_the_book_stays_uncrossed(lived: tuple[Exchange, int, np.ndarray]) -> None:
    venue, _, _ = lived
    assert venue.least_balance() >= 0
    for i in range(6):
        bids, asks = venue.depth(i, BUY, 100)[:, 0].tolist(), venue.depth(i, SELL, 100)[:, 0].tolist()
        assert bids[0] < asks[0]
        assert all(a > b for a, b in pairwise(bids))
        assert all(a < b for a, b in pairwise(asks))


def test_a_user_can_trade_without_moving_the_price_beyond_a_few_basis_points() -> None:
    venue = exchange()
    venue.advance(venue.time + MINUTE)
    for i, instrument in enumerate(venue.instruments):
        bid, ask = (int(venue.depth(i, side, 1)[0, 0]) for side in (BUY, SELL))
        order = venue.submit(venue.accounts[0], NewOrder(i, BUY, "MARKET", None, Decimal(10_000)))
        paid = order.filled_units / (order.filled_lots * venue.units(i, 1, 1))
        assert (paid / ((bid + ask) / 2) - 1) * 1e4 < 5, instrument.id


def test_agents_never_write_more_commands_than_fit() -> None:
    history = simulate_history(Scenario(9, days=1))
    crowd = Agents(history, np.zeros((6, 4), np.int64))
    counts = [crowd.act(0.5, history.state.time_us + k * SECOND) for k in range(200)]
    assert max(counts) <= len(crowd.commands)
    assert min(counts) > 6 * 20
