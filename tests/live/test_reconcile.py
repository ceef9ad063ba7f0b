"""Journal and venue come to agree, whatever was lost on the way; nothing is called "not placed" too early."""

from decimal import Decimal
from pathlib import Path

import pytest

from live.account import Account
from live.errors import BooksDiffer, VenueUnavailable
from live.orders import Order, Side, Status
from live.reconcile import Reconciler
from tests.live.fakes import BTC, ETH, PRICE, TRADED, FakeVenue, market_order, open_account, open_gateway


class World:
    """A venue that stays, and a live process that comes and goes."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.venue = folder, FakeVenue()
        self.begin()

    def begin(self) -> None:
        self.account: Account = open_account(self.folder)
        self.gateway = open_gateway(self.account, self.venue)
        self.reconciler = Reconciler(self.account, self.venue, self.gateway, TRADED)  # type: ignore[arg-type]

    def kill(self) -> None:
        self.account.journal.close()

    async def restart(self) -> str:
        self.kill()
        self.begin()
        return await self.reconciler.recover()

    async def order(self, fault: str = "", side: Side = Side.BUY, quantity: str = "0.01", name: str = BTC) -> Order:
        self.venue.faults = [fault]
        order = await self.gateway.submit(market_order(side, quantity, name), PRICE[name])
        assert isinstance(order, Order)
        return order

    def agree(self) -> None:
        """I1, I2, I4: trades and fills one to one, one venue order per intent, balances exact."""
        ledger = self.account.ledger
        assert {(t["symbol"], str(t["id"])) for t in self.venue.trades} == {
            (TRADED[i].venue_symbol, t) for i, t in ledger.fills
        }
        assert len(self.venue.posts) == len(set(self.venue.posts))
        held = {a: b for a, b in ledger.expected_balances().items() if b}
        assert held == {a: b for a, b in self.venue.assets.items() if b}


@pytest.fixture
async def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    assert await world.reconciler.recover() == "fresh"
    return world


async def test_recovery_waits_as_long_as_the_venue_asks_and_not_for_ever(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            world.venue.unreadable = False

    monkeypatch.setattr("live.reconcile.asyncio.sleep", sleep)
    world.venue.unreadable, world.venue.pause_seconds = True, 20.0
    assert await world.restart() == "recovered"
    assert slept == [20.0, 20.0]
    world.venue.unreadable, world.venue.pause_seconds = True, 400.0
    with pytest.raises(VenueUnavailable):
        await world.restart()
    world.venue.pause_seconds = 0.0
    with pytest.raises(VenueUnavailable):
        await world.restart()
    assert slept == [20.0, 20.0]


async def test_the_first_start_takes_the_balances_it_finds(world: World) -> None:
    assert world.account.ledger.start_balances == {"USDT": Decimal(100_000)}
    assert await world.restart() == "recovered"


@pytest.mark.parametrize("fault", ["lost reply", "503"])
async def test_an_order_whose_reply_was_lost_is_found_and_its_fills_booked(world: World, fault: str) -> None:
    order = await world.order(fault)
    assert order.status is Status.UNKNOWN
    await world.reconciler.settle()
    assert (order.status, order.is_settled) == (Status.FILLED, True)
    world.agree()


async def test_an_order_that_never_arrived_stays_unknown_until_window_and_votes_agree(world: World) -> None:
    order = await world.order("lost order")
    for _ in range(5):
        await world.reconciler.settle()
    assert order.status is Status.UNKNOWN
    world.venue.wall += world.venue.recv_window_ms + 10_000
    await world.reconciler.settle()
    assert order.status is Status.UNKNOWN, "on the last millisecond it may still arrive"
    world.venue.wall += 1
    await world.reconciler.settle()
    assert order.status is Status.REJECTED
    world.agree()


async def test_three_votes_must_be_consecutive_and_the_venues_own(world: World) -> None:
    order = await world.order("lost order")
    world.venue.wall += 60_000
    await world.reconciler.settle()
    await world.reconciler.settle()
    world.venue.unreachable = True
    await world.reconciler.settle()
    world.venue.unreachable = False
    await world.reconciler.settle()
    await world.reconciler.settle()
    assert order.status is Status.UNKNOWN
    await world.reconciler.settle()
    assert order.status is Status.REJECTED


async def test_an_order_that_appears_after_not_found_was_said_is_booked(world: World) -> None:
    order = await world.order("late")
    for _ in range(4):
        await world.reconciler.settle()
    world.venue.release_late()
    await world.reconciler.settle()
    assert order.status is Status.FILLED
    world.agree()


async def test_a_lagging_query_cannot_hide_an_order_that_all_orders_shows(world: World) -> None:
    order = await world.order("lost reply")
    world.venue.forgets = 100
    world.venue.wall += 60_000
    for _ in range(3):
        await world.reconciler.settle()
    assert order.status is Status.FILLED
    world.agree()


@pytest.mark.parametrize("fault", ["", "lost reply", "lost order", "reject"])
async def test_a_restart_recovers_every_outcome(world: World, fault: str) -> None:
    await world.order(quantity="0.02")
    await world.order(fault)
    await world.order("lost reply", name=ETH, quantity="1")
    await world.restart()
    world.venue.wall += 60_000
    for _ in range(3):
        await world.reconciler.settle()
    assert world.account.ledger.unsettled() == []
    world.agree()


async def test_a_crash_between_reply_and_journal_loses_no_fill(world: World) -> None:
    """The intent is durable, the order filled, and nothing after it was written."""
    await world.order()
    request = market_order(Side.BUY, "0.03")
    token = world.account.intend(request, world.venue.timestamp())
    await world.venue.place(world.account.ledger.orders[token.record["client_order_id"]])
    await world.restart()
    assert world.account.ledger.unsettled() == []
    world.agree()


async def test_the_sweep_finds_a_fill_whose_event_and_reply_were_lost(world: World) -> None:
    first = await world.order("lost reply")
    await world.order()
    await world.reconciler.sweep()
    assert first.is_settled
    world.agree()


async def test_an_intent_without_an_outcome_is_unknown_after_a_restart(world: World) -> None:
    world.account.intend(market_order(Side.BUY, "0.03"), world.venue.timestamp())
    await world.restart()
    (order,) = world.account.ledger.unsettled()
    assert order.status is Status.UNKNOWN
    assert world.account.ledger.outstanding(BTC, Side.BUY) == Decimal("0.03")


async def test_an_older_copy_of_the_journal_is_refused(world: World) -> None:
    await world.order()
    path = world.folder / "journal.log"
    copy = path.read_bytes()
    await world.order()
    world.kill()
    path.write_bytes(copy)
    world.begin()
    with pytest.raises(BooksDiffer, match="older copy"):
        await world.reconciler.recover()


async def test_coins_that_went_elsewhere_are_refused_and_a_deposit_of_quote_is_not(world: World) -> None:
    await world.order()
    world.venue.assets["USDT"] += 5
    assert await world.restart() == "recovered"
    world.venue.assets["BTC"] -= Decimal("0.00001")
    with pytest.raises(BooksDiffer, match="BTC: expected"):
        await world.restart()


async def test_user_events_that_come_first_twice_or_out_of_order_change_nothing(world: World) -> None:
    order = await world.order()
    trade = world.venue.trades[0]
    event = {
        "e": "executionReport", "E": trade["time"], "s": "BTCUSDT", "c": order.client_order_id, "C": "", "S": "BUY",
        "x": "TRADE", "X": "PARTIALLY_FILLED", "i": trade["orderId"], "l": trade["qty"], "z": trade["qty"],
        "L": trade["price"], "n": trade["commission"], "N": "BTC", "T": trade["time"], "t": trade["id"], "m": False,
    }  # fmt: skip
    for _ in range(2):
        world.reconciler.on_event(event)
    world.reconciler.on_event({**event, "x": "NEW", "X": "NEW", "t": -1})
    assert order.status is Status.FILLED
    world.agree()


async def test_a_user_event_resolves_an_unknown_order(world: World) -> None:
    order = await world.order("lost reply")
    for trade, total in zip(world.venue.trades, ("0.005", "0.010"), strict=True):
        world.reconciler.on_event({
            "e": "executionReport", "E": trade["time"], "s": "BTCUSDT", "c": order.client_order_id, "C": "",
            "S": "BUY", "x": "TRADE", "X": "FILLED" if total == "0.010" else "PARTIALLY_FILLED",
            "i": trade["orderId"], "l": trade["qty"], "z": total, "L": trade["price"], "n": trade["commission"],
            "N": "BTC", "T": trade["time"], "t": trade["id"], "m": False,
        })  # fmt: skip
    assert order.is_settled
    world.agree()
