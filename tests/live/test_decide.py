"""Weights to orders: on the grid, within limits, never short, dust left alone."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake.instruments import INSTRUMENTS
from live.decide import Book, Reason, choose, hold, is_stale, rebalance
from live.orders import Side
from market.policy import PolicyParameters
from tests.live.fakes import BTC, TRADED

PARAMETERS = PolicyParameters(full_weight_return=0.001, band=0.1)


def _book(position: str = "0", in_flight: bool = False, name: str = BTC) -> Book:
    return Book(INSTRUMENTS[name], Decimal(position), in_flight, Decimal(10_000), Decimal(5_000))


@pytest.mark.parametrize(
    ("weight", "position", "expected"),
    [
        (0.5, "0", (Side.BUY, Decimal("0.12500"))),
        (1.0, "0", (Side.BUY, Decimal("0.12500"))),  # cut to one order's limit
        (0.5, "0.125", None),
        (0.5, "0.1249", None),  # 4 USDT: below the least notional
        (0.0, "0.1000063", (Side.SELL, Decimal("0.10000"))),  # dust stays
        (0.0, "0.00005", None),
        (0.25, "0.125", (Side.SELL, Decimal("0.06250"))),
        (0.0, "1", (Side.SELL, Decimal("0.12500"))),
        (0.0, "-0.1", (Side.BUY, Decimal("0.10000"))),
    ],
)
def test_a_weight_becomes_an_order_on_the_grid(
    weight: float, position: str, expected: tuple[Side, Decimal] | None
) -> None:
    assert rebalance(weight, _book(position), Decimal(40_000)) == expected


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    weight=st.floats(0, 1),
    lots=st.integers(0, 10**6),
    price=st.decimals(min_value="0.0001", max_value="200000", places=4),
    name=st.sampled_from(sorted(INSTRUMENTS)),
)
def test_no_order_is_off_grid_over_the_limit_or_short(weight: float, lots: int, price: Decimal, name: str) -> None:
    traded = INSTRUMENTS[name]
    book = _book(str(traded.quantity_step * lots), name=name)
    order = rebalance(weight, book, price)
    if order is None:
        return
    side, quantity = order
    traded.quantity_lots(quantity)
    assert traded.min_notional <= quantity * price <= book.max_order_notional
    assert quantity >= traded.min_quantity
    after = book.position + (quantity if side is Side.BUY else -quantity)
    assert after >= 0
    target = Decimal(weight) * book.capital / price
    assert abs(target - after) < abs(target - book.position)


@pytest.mark.parametrize("prediction", [float("nan"), float("inf"), float("-inf")])
def test_a_prediction_that_is_no_number_holds(prediction: float) -> None:
    choice = choose(prediction, _book("0.1"), Decimal(40_000), PARAMETERS, 0.0005)
    assert (choice.reason, choice.order, choice.weight) == (Reason.NAN, None, 0.4)


def test_an_order_in_flight_keeps_the_target_but_sends_nothing() -> None:
    choice = choose(0.01, _book(in_flight=True), Decimal(40_000), PARAMETERS, 0.0005)
    assert choice.weight > 0.5
    assert choice.order is None


def test_a_gain_buys_and_a_loss_sells_everything() -> None:
    assert choose(0.01, _book(), Decimal(40_000), PARAMETERS, 0.0005).order is not None
    selling = choose(-0.05, _book("0.1"), Decimal(40_000), PARAMETERS, 0.0005)
    assert (selling.weight, selling.order) == (0.0, (Side.SELL, Decimal("0.10000")))


def test_holding_keeps_the_weight_it_has() -> None:
    assert hold(Reason.GAP, _book("0.05"), Decimal(40_000)).weight == 0.2


def test_a_bar_is_stale_after_two_bars() -> None:
    assert not is_stale(1000, 1000 + 2 * 300, 300)
    assert is_stale(1000, 1001 + 2 * 300, 300)
    assert TRADED
