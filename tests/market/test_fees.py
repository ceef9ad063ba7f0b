"""Fee tiers by 30 days of volume, and fees in the coin."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market import fees as charges
from market.fees import DAY, DERIVATIVES_MARKET, MAKER_RATE, SPOT_MARKET, SPOT_TIERS, TAKER_RATE, WINDOW

UNIT = 10**8
OWNER = 3


def rates(fees: charges.Fees, market: int = SPOT_MARKET) -> tuple[int, int]:
    row = fees.rates[OWNER, market]
    return int(row[MAKER_RATE]), int(row[TAKER_RATE])


def tiered() -> charges.Fees:
    fees = charges.new_fees(5)
    charges.join_tiers(fees, OWNER)
    return fees


def test_volume_lowers_the_rates_from_the_next_midnight() -> None:
    fees = tiered()
    assert rates(fees) == (1000, 1000)
    charges.note_volume(fees, OWNER, SPOT_MARKET, 5_000_000 * UNIT)
    assert rates(fees) == (1000, 1000), "today does not count"
    charges.roll_days(fees, DAY)
    assert rates(fees) == (800, 1000)
    assert rates(fees, DERIVATIVES_MARKET) == (200, 500), "the markets count apart"


def test_volume_counts_for_thirty_days() -> None:
    fees = tiered()
    charges.note_volume(fees, OWNER, SPOT_MARKET, 1_000_000 * UNIT)
    charges.roll_days(fees, WINDOW * DAY)
    assert rates(fees) == (900, 1000)
    charges.roll_days(fees, (WINDOW + 1) * DAY)
    assert rates(fees) == (1000, 1000)


def test_a_long_silence_forgets_everything() -> None:
    fees = tiered()
    charges.note_volume(fees, OWNER, SPOT_MARKET, 400_000_000 * UNIT)
    charges.roll_days(fees, 400 * DAY)
    assert charges.volume_of(fees, OWNER, SPOT_MARKET) == 0
    assert rates(fees) == (1000, 1000)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 12 * DAY), st.integers(0, 30_000_000 * UNIT)), max_size=30))
def test_rates_are_those_of_a_ledger_kept_in_full(trades: list[tuple[int, int]]) -> None:
    fees, ledger, now = tiered(), list[tuple[int, int]](), 0
    for wait, units in trades:
        now += wait
        charges.roll_days(fees, now)
        charges.note_volume(fees, OWNER, SPOT_MARKET, units)
        ledger.append((now // DAY, units))
        counted = sum(u for day, u in ledger if now // DAY - WINDOW <= day < now // DAY)
        assert charges.volume_of(fees, OWNER, SPOT_MARKET) == counted
        assert rates(fees) == next((m, t) for v, m, t in reversed(SPOT_TIERS) if v * UNIT <= counted)


def test_owners_outside_the_tiers_keep_their_rate() -> None:
    fees = charges.new_fees(5)
    fees.rates[OWNER] = 500
    charges.note_volume(fees, OWNER, SPOT_MARKET, 10**9 * UNIT)
    charges.roll_days(fees, DAY)
    assert rates(fees) == (500, 500)


@given(st.integers(0, 10**17), st.integers(0, 10**6))
def test_a_share_is_the_exact_floor(units: int, rate: int) -> None:
    assert charges.share(units, rate) == int(Fraction(units * rate, 10**6))


@given(st.integers(0, 10**15), st.integers(1, 10**9))
def test_a_fee_in_the_coin_is_three_quarters_at_its_price(quote_fee: int, lot_price: int) -> None:
    fees = charges.new_fees(5)
    fees.wants_coin[OWNER] = 1
    worth = quote_fee - int(Fraction(quote_fee, 4))
    assert charges.coin_fee(fees, OWNER, quote_fee, 2**62, 1000, lot_price) == int(Fraction(worth * 1000, lot_price))


@pytest.mark.parametrize(("wants", "free", "price"), [(0, 10**9, 50), (1, 10, 50), (1, 10**9, 0)])
def test_the_coin_is_not_used_unasked_unheld_or_unpriced(wants: int, free: int, price: int) -> None:
    fees = charges.new_fees(5)
    fees.wants_coin[OWNER] = wants
    assert charges.coin_fee(fees, OWNER, 1000, free, 1000, price) == -1
