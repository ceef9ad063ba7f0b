"""Venue = journal = gold, exactly; and every planted difference is found."""

from typing import Any

import pytest
from small_world import BTC, fill

from bitacora.reconcile import compare
from bitacora.venue import Account
from lake.errors import JournalCorrupted


def journal(*fills: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"kind": "start", "balances": {"USDT": "100000"}}, *({"kind": "fill", **each} for each in fills)]


def trade(**change: Any) -> dict[str, Any]:
    row = {"id": 5, "isBuyer": True, "price": "30000.10000000", "qty": "0.10000000", "commission": "0.00005000",
           "commissionAsset": "BTC"}  # fmt: skip
    return row | change


def account(btc: str = "0.09995", usdt: str = "96999.990", **change: Any) -> Account:
    balances = {"USDT": [usdt, "0"], "BTC": [btc, "0.00000000"], "ETH": ["0", "0"]}
    return Account("test", balances, {BTC: [trade(**change)]}, [])


def test_equal_books_are_exact_whatever_the_text_of_a_number() -> None:
    result = compare(journal(fill()), [fill()], account(btc="0.09995000"))
    assert result["ok"]
    assert result["assets"]["BTC"] == {
        "start": "0", "fills": "0.1", "fees": "0.00005", "expected": "0.09995", "venue": "0.09995000",
        "difference": "0.00000000",
    }  # fmt: skip
    assert result["fills"] == {"journal": 1, "gold": 1, "venue": 1}
    assert "ETH" not in result["assets"]


@pytest.mark.parametrize(
    ("records", "gold", "at_venue", "problem"),
    [
        (journal(fill()), [fill()], account(btc="0.0999500001"), "BTC: 1E-10 more at the venue"),
        (journal(fill()), [fill()], account(usdt="96999.99"), ""),
        (journal(), [fill()], account(), "the journal lacks trade 5"),
        (journal(fill()), [], account(), "gold lacks trade 5"),
        (journal(fill(), fill()), [fill()], account(), "journal holds trade 5"),
        (journal(fill()), [fill() | {"price": "30000.11"}], account(), "trade 5 of"),
        (journal(fill()), [fill()], account(commission="0.00004"), "trade 5 of"),
        (journal(fill()), [fill()], account(id=6), "venue lacks trade 5"),
    ],
)
def test_a_difference_is_found(
    records: list[dict[str, Any]], gold: list[dict[str, Any]], at_venue: Account, problem: str
) -> None:
    result = compare(records, gold, at_venue)
    assert result["ok"] == (problem == "")
    assert not problem or any(problem in found for found in result["problems"]), result["problems"]


def test_an_order_left_open_at_the_venue_is_a_problem() -> None:
    at_venue = account()
    left = Account(at_venue.source, at_venue.balances, at_venue.trades, ["99"])
    assert compare(journal(fill()), [fill()], left)["problems"] == ["order 99 is still open at the venue"]


def test_a_journal_without_a_start_has_no_books() -> None:
    with pytest.raises(JournalCorrupted, match="no `start`"):
        compare([], [], account())
