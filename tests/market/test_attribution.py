"""Where the difference of two runs comes from: figures by hand, and parts that always sum to it."""

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from lake.instruments import instrument
from lake.intervals import DAY
from market.attribution import Arrival, Result, attribute, rerun, result_of
from market.conditions import Conditions
from market.orders import NewOrder
from market.scenario import Scenario, epoch_us
from market.turns import Execution

BTC = instrument("binance:BTC/USDT")
TRADED = {BTC.id: BTC}
amounts = st.decimals(-1000, 1000, places=4, allow_nan=False)


def execution(side: str, price: int, quantity: str, fee: str, asset: str, time: int = 5) -> Execution:
    return Execution("a", BTC.id, side, time, Decimal(price), Decimal(quantity), Decimal(fee), asset)  # type: ignore[arg-type]


def test_a_result_counts_positions_and_coin_fees_at_the_mark_and_only_what_came_before() -> None:
    trades = [execution("buy", 100, "2", "0.01", "BTC"), execution("sell", 110, "1", "0.5", "USDT")]
    late = execution("buy", 1, "5", "0", "BTC", time=9)
    found = result_of([*trades, late], {BTC.id: Decimal(120)}, TRADED, before=9)
    assert found == Result(Decimal(2 * 20 - 10), Decimal("0.01") * 120 + Decimal("0.5"))
    assert found.net == Decimal("28.3")


@settings(max_examples=50, derandomize=True)
@given(st.lists(amounts, min_size=6, max_size=6))
def test_the_parts_sum_to_the_total(values: list[Decimal]) -> None:
    results = [Result(gross, fees) for gross, fees in zip(values[:3], values[3:], strict=True)]
    parts = attribute(*results)
    assert parts["latency"] + parts["queue"] + parts["fees"] == parts["total"] == results[2].net - results[0].net


def test_orders_placed_again_at_their_times_trade_again_and_a_refused_one_does_not() -> None:
    scenario, conditions = Scenario(5, days=1), Conditions(capital=10_000)
    start = epoch_us(scenario.seed) + DAY
    buy = NewOrder(0, 0, "MARKET", Decimal("0.1"))
    never = NewOrder(0, 0, "MARKET", Decimal(50))
    far = Arrival("far", (start + 2_000_000, 2), NewOrder(0, 1, "LIMIT", Decimal("0.05"), price=Decimal(90_000)))
    arrivals = [Arrival("buy", (start + 1_000_000, 0), buy), Arrival("never", (start + 1_500_000, 1), never), far]
    found, marks = rerun(arrivals, scenario, conditions, (BTC,), start + 60_000_000)
    assert {each.order_id for each in found} == {"buy"}
    assert sum(each.quantity for each in found) == Decimal("0.1")
    assert all(each.time == start + 1_000_000 for each in found)
    assert abs(marks[BTC.id] / found[0].price - 1) < Decimal("0.02")
