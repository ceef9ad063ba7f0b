"""One gateway, no way around it: limits at worst case, durable before sent, closed when in doubt."""

import asyncio
import errno
import random
from decimal import Decimal
from pathlib import Path

import pytest

from lake.errors import Misconfigured
from live.orders import Order, OrderRequest, OrderType, Side, Status
from live.replies import Outcome
from live.risk import Limits, Refusal
from tests.live.fakes import (
    BTC,
    ETH,
    LIMITS,
    PRICE,
    FakeVenue,
    RecordingFiles,
    market_order,
    open_account,
    open_gateway,
    start,
)


async def test_the_intent_is_synced_before_a_byte_leaves_in_two_hundred_orders(tmp_path: Path) -> None:
    files, venue = RecordingFiles(), FakeVenue()
    venue.on_post = lambda: files.events.append("send")
    account = start(open_account(tmp_path, files))
    gateway = open_gateway(account, venue)
    files.events.clear()
    for number in range(200):
        await gateway.submit(market_order(Side.SELL if number % 2 else Side.BUY, "0.001"), PRICE[BTC])
    sends = [i for i, event in enumerate(files.events) if event == "send"]
    assert len(sends) > 100
    assert all(files.events[i - 1] == "fdatasync" for i in sends)
    assert len(venue.posts) == len(set(venue.posts)) == len(account.ledger.orders)


async def test_a_failed_disk_sends_nothing_and_stays_closed(tmp_path: Path) -> None:
    files, venue = RecordingFiles(), FakeVenue()
    gateway = open_gateway(start(open_account(tmp_path, files)), venue)
    files.fail["fdatasync"] = OSError(errno.EIO, "Input/output error")
    first = await gateway.submit(market_order(Side.BUY, "0.01"), PRICE[BTC])
    files.fail.clear()
    second = await gateway.submit(market_order(Side.BUY, "0.01"), PRICE[BTC])
    assert [r.code for r in (first, second) if isinstance(r, Refusal)] == ["journal", "halted"]
    assert venue.posts == []


@pytest.mark.parametrize(
    ("request_", "price", "code"),
    [
        (market_order(Side.BUY, "0.126"), "40000", "max_order"),
        (market_order(Side.BUY, "0.00012"), "40000", "min_notional"),
        (market_order(Side.BUY, "0"), "40000", "quantity"),
        (market_order(Side.BUY, "-0.01"), "40000", "quantity"),
        (market_order(Side.BUY, "NaN"), "40000", "quantity"),
        (market_order(Side.BUY, "Infinity"), "40000", "quantity"),
        (market_order(Side.BUY, "0.010000001"), "40000", "quantity"),
        (market_order(Side.BUY, "0.01"), "NaN", "price"),
        (market_order(Side.BUY, "0.01"), "0", "price"),
        (market_order(Side.BUY, "0.01"), "-1", "price"),
        (market_order(Side.SELL, "0.01"), "40000", "short"),
        (market_order(Side.BUY, "10", "binance:SOL/USDT"), "100", "restricted"),
        (OrderRequest(BTC, Side.BUY, OrderType.LIMIT, Decimal("0.01"), None, "d"), "40000", "price"),
        (OrderRequest(BTC, Side.BUY, OrderType.MARKET, Decimal("0.01"), Decimal(1), "d"), "40000", "price"),
        (OrderRequest(BTC, Side.BUY, OrderType.LIMIT, Decimal("0.01"), Decimal("0.001"), "d"), "40000", "price"),
        (OrderRequest(BTC, Side.BUY, OrderType.LIMIT, Decimal("0.1"), Decimal("60000"), "d"), "40000", "max_order"),
    ],
)
async def test_what_breaks_a_limit_or_a_filter_is_refused_with_a_code(
    tmp_path: Path, request_: OrderRequest, price: str, code: str
) -> None:
    venue = FakeVenue()
    gateway = open_gateway(start(open_account(tmp_path)), venue)
    refusal = await gateway.submit(request_, Decimal(price))
    assert isinstance(refusal, Refusal)
    assert (refusal.code, venue.posts, gateway.refusals[code]) == (code, [], 1)


async def test_an_unknown_order_counts_at_full_size_and_is_never_sent_again(tmp_path: Path) -> None:
    venue = FakeVenue()
    gateway = open_gateway(start(open_account(tmp_path)), venue)
    venue.faults = ["lost order", "lost order"]
    for _ in range(2):
        order = await gateway.submit(market_order(Side.BUY, "0.12"), PRICE[BTC])
        assert isinstance(order, Order)
        assert order.status is Status.UNKNOWN
    third = await gateway.submit(market_order(Side.BUY, "0.02"), PRICE[BTC])
    assert isinstance(third, Refusal)
    assert third.code == "max_position"
    assert len(venue.posts) == 2


async def test_fifty_orders_at_once_cannot_pass_the_limit_together(tmp_path: Path) -> None:
    venue = FakeVenue()
    account = start(open_account(tmp_path))
    gateway = open_gateway(account, venue)
    results = await asyncio.gather(*(gateway.submit(market_order(Side.BUY, "0.03"), PRICE[BTC]) for _ in range(50)))
    assert sum(isinstance(r, Order) for r in results) == 8
    assert account.ledger.positions[BTC] * PRICE[BTC] <= LIMITS.max_position_notional


async def test_ten_thousand_random_orders_pass_no_limit(tmp_path: Path) -> None:
    venue = FakeVenue({"USDT": "1000000000"})
    account = start(open_account(tmp_path, RecordingFiles()), {"USDT": "1000000000"})
    gateway = open_gateway(account, venue)
    account.journal.sync = lambda: None  # type: ignore[method-assign]
    draw = random.Random(7)
    accepted = 0
    for _ in range(10_000):
        name = draw.choice((BTC, ETH))
        step = gateway.instruments[name].quantity_step
        notional = Decimal(draw.uniform(1, 6000))
        quantity = (notional / PRICE[name] / step).to_integral_value() * step
        request = OrderRequest(name, draw.choice(list(Side)), OrderType.MARKET, quantity, None, "d")
        venue.faults = draw.choices(["", "reject", "lost reply"], [90, 5, 5])
        result = await gateway.submit(request, PRICE[name])
        accepted += isinstance(result, Order)
        if isinstance(result, Order):
            assert quantity * PRICE[name] <= LIMITS.max_order_notional
        for each, price in PRICE.items():
            position = account.ledger.positions[each]
            worst = (position + account.ledger.outstanding(each, Side.BUY)) * price
            assert worst <= LIMITS.max_position_notional
            assert position - account.ledger.outstanding(each, Side.SELL) >= 0
        for order in account.ledger.unsettled():
            if draw.random() < 0.3:
                account.mark(order, Status.REJECTED, "test")
    assert accepted > 1000


@pytest.mark.parametrize("missing", ["recovery", "user stream"])
async def test_nothing_is_sent_before_live_is_ready(tmp_path: Path, missing: str) -> None:
    venue = FakeVenue()
    gateway = open_gateway(start(open_account(tmp_path)), venue)
    gateway.not_ready.add(missing)
    refusal = await gateway.submit(market_order(Side.BUY, "0.01"), PRICE[BTC])
    assert isinstance(refusal, Refusal)
    assert (refusal.code, venue.posts) == ("not_ready", [])


async def test_a_halt_or_a_pause_blocks_orders_but_not_cancels(tmp_path: Path) -> None:
    venue = FakeVenue()
    account = start(open_account(tmp_path))
    gateway = open_gateway(account, venue)
    venue.faults = ["lost order"]
    order = await gateway.submit(market_order(Side.BUY, "0.01"), PRICE[BTC])
    assert isinstance(order, Order)
    venue.pause_reason = "429"
    paused = await gateway.submit(market_order(Side.BUY, "0.01"), PRICE[BTC])
    venue.pause_reason = None
    gateway.halt("test")
    halted = await gateway.submit(market_order(Side.BUY, "0.01"), PRICE[BTC])
    assert [r.code for r in (paused, halted) if isinstance(r, Refusal)] == ["paused", "halted"]
    assert (await gateway.cancel(order)).outcome is Outcome.NO


async def test_a_definitive_no_frees_its_room_and_is_not_retried(tmp_path: Path) -> None:
    venue = FakeVenue()
    account = start(open_account(tmp_path))
    gateway = open_gateway(account, venue)
    venue.faults = ["reject"]
    order = await gateway.submit(market_order(Side.BUY, "0.01"), PRICE[BTC])
    assert isinstance(order, Order)
    assert order.status is Status.REJECTED
    assert account.ledger.outstanding(BTC, Side.BUY) == 0
    assert len(venue.posts) == 1


async def test_an_interrupted_send_leaves_the_order_unknown(tmp_path: Path) -> None:
    class Hanging(FakeVenue):
        async def place(self, order: Order):  # type: ignore[no-untyped-def]
            await asyncio.sleep(60)

    account = start(open_account(tmp_path))
    gateway = open_gateway(account, Hanging())
    task = asyncio.create_task(gateway.submit(market_order(Side.BUY, "0.01"), PRICE[BTC]))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (order,) = account.ledger.orders.values()
    assert order.status is Status.UNKNOWN


@pytest.mark.parametrize("value", ["0", "-1", "NaN", "Infinity"])
def test_a_limit_that_limits_nothing_is_refused(value: str) -> None:
    with pytest.raises(Misconfigured):
        Limits(Decimal(value), Decimal(1))
    with pytest.raises(Misconfigured):
        Limits(Decimal(1), Decimal(value))
