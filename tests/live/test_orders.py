"""The ledger is a fold: exact, repeatable, deaf to repetition."""

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake.errors import JournalCorrupted
from lake.journal import read_journal
from live.account import Account
from live.orders import Fill, Ledger, OrderReport, Side, Status
from tests.live.fakes import BTC, MARKET_TIME, market_order, open_account, start


def _fill(client_order_id: str, trade_id: str, quantity: str, side: Side = Side.BUY, fee_asset: str = "BTC") -> Fill:
    return Fill(
        BTC, trade_id, "9", client_order_id, side, Decimal("40000.01"), Decimal(quantity), Decimal("0.0000007"),
        fee_asset, False, MARKET_TIME + 5,
    )  # fmt: skip


@pytest.fixture
def account(tmp_path: Path) -> Account:
    return start(open_account(tmp_path))


def _intend(account: Account, quantity: str = "0.01") -> str:
    return str(account.intend(market_order(Side.BUY, quantity), 1).record["client_order_id"])


def test_client_order_ids_are_short_and_unique_over_restarts(tmp_path: Path) -> None:
    seen = set()
    for _ in range(3):
        account = start(open_account(tmp_path))
        seen |= {_intend(account) for _ in range(5)}
        account.journal.close()
    assert len(seen) == 15
    assert all(len(name) <= 36 and name.startswith(f"b{account.journal.id}-") for name in seen)


def test_position_and_balances_are_the_exact_sum_of_fills_and_fees(account: Account) -> None:
    name = _intend(account)
    account.fill(_fill(name, "1", "0.004"))
    account.fill(_fill(name, "2", "0.006"))
    assert account.ledger.positions[BTC] == Decimal("0.01") - 2 * Decimal("0.0000007")
    assert account.ledger.expected_balances() == {
        "BTC": Decimal("0.0099986"), "USDT": Decimal(100_000) - Decimal("0.01") * Decimal("40000.01"),
    }  # fmt: skip


def test_a_fee_in_another_asset_leaves_the_position_whole(account: Account) -> None:
    account.fill(_fill(_intend(account), "1", "0.01", fee_asset="BNB"))
    assert account.ledger.positions[BTC] == Decimal("0.01")
    assert account.ledger.expected_balances()["BNB"] == Decimal("-0.0000007")


def test_a_fill_heard_three_ways_is_booked_once(account: Account) -> None:
    name = _intend(account)
    assert [account.fill(_fill(name, "1", "0.01")) for _ in range(3)] == [True, False, False]
    assert account.ledger.orders[name].filled == Decimal("0.01")


def test_an_order_is_settled_only_when_every_reported_fill_is_held(account: Account) -> None:
    name = _intend(account)
    account.report(OrderReport(name, "9", Status.FILLED, Decimal("0.01"), MARKET_TIME))
    order = account.ledger.orders[name]
    assert (order.is_terminal, order.is_settled, order.outstanding) == (True, False, Decimal("0.01"))
    account.fill(_fill(name, "1", "0.01"))
    assert order.is_settled
    assert account.ledger.unsettled() == []


def test_terminal_states_absorb_but_a_late_fill_is_booked(account: Account) -> None:
    name = _intend(account)
    account.mark(account.ledger.orders[name], Status.REJECTED, "never placed")
    account.report(OrderReport(name, None, Status.OPEN, Decimal(0), MARKET_TIME))
    account.fill(_fill(name, "1", "0.01"))
    assert account.ledger.orders[name].status is Status.REJECTED
    assert account.ledger.positions[BTC] > 0


def test_an_overfilled_order_is_a_fault_that_survives_replay(account: Account, tmp_path: Path) -> None:
    name = _intend(account)
    account.fill(_fill(name, "1", "0.01"))
    account.fill(_fill(name, "2", "0.01"))
    assert account.ledger.faults
    account.journal.close()
    assert open_account(tmp_path).ledger.faults


def test_a_record_of_a_kind_from_the_future_is_refused() -> None:
    with pytest.raises(JournalCorrupted, match="does not know"):
        Ledger().apply({"seq": 0, "kind": "borrow", "event_time": 1})


def test_a_fill_without_an_intent_is_refused() -> None:
    record = {
        "seq": 3, "kind": "fill", "event_time": 1, "instrument": BTC, "trade_id": "1", "order_id": "1",
        "client_order_id": "b1-1", "side": "buy", "price": "1", "quantity": "1", "fee": "0", "fee_asset": "BTC",
        "is_maker": False,
    }  # fmt: skip
    with pytest.raises(JournalCorrupted, match="no intent"):
        Ledger().apply(record)


def test_the_ledger_itself_is_deaf_to_repeated_fills_and_later_states(account: Account, tmp_path: Path) -> None:
    name = _intend(account)
    account.fill(_fill(name, "1", "0.01"))
    account.report(OrderReport(name, "9", Status.FILLED, Decimal("0.01"), MARKET_TIME))
    ledger = account.ledger
    for record in read_journal(tmp_path / "journal.log")[0][-2:]:
        ledger.apply(record)
    late = {"seq": 9, "kind": "order", "client_order_id": name, "order_id": "9", "status": "open"}
    ledger.apply(late | {"filled_quantity": "0"})
    assert ledger.positions[BTC] == Decimal("0.01") - Decimal("0.0000007")
    assert ledger.orders[name].status is Status.FILLED
    assert (ledger.unsettled(), ledger.faults) == ([], [])


_EVENTS = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from(["fill", *[s.value for s in Status if s is not Status.PENDING]]),
        st.integers(0, 4),
    ),
    max_size=30,
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(events=_EVENTS)
def test_whatever_arrives_in_whatever_order_replay_gives_the_same_books(
    events: list[tuple[int, str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("journal")
    account = start(open_account(folder))
    names = [_intend(account) for _ in range(3)]
    for which, what, number in events:
        if what == "fill":
            account.fill(_fill(names[which], f"{which}{number}", "0.002"))
        else:
            filled = Decimal("0.002") * number
            account.report(OrderReport(names[which], str(which), Status(what), filled, MARKET_TIME))
    account.journal.close()
    again = open_account(folder)
    again.journal.close()
    assert vars(again.ledger) == vars(account.ledger)
    fills = list(again.ledger.fills.values())
    assert again.ledger.positions.get(BTC, Decimal(0)) == sum((f.quantity - f.fee for f in fills), Decimal(0))
