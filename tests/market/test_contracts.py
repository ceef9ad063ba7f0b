"""Contracts: their names, their expiries and the tables that compiled code reads."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake.errors import UsageError
from lake.instruments import INSTRUMENTS, Instrument
from market import contracts
from market.book import UNIT
from market.contracts import FUTURE, PERPETUAL, SPOT, TIER_AMOUNT, TIER_FLOOR, TIER_RATE, Contract, MarginTier

BTC = INSTRUMENTS["binance:BTC/USDT"]
MARCH = int(datetime(2023, 3, 31, 8, tzinfo=UTC).timestamp()) * 1_000_000


def test_names_follow_ccxt_and_the_venue() -> None:
    perpetual, future = contracts.perpetual("BTC"), contracts.future("BTC", MARCH)
    assert (perpetual.id, perpetual.venue_symbol, perpetual.kind) == ("binance:BTC/USDT:USDT", "BTCUSDT", PERPETUAL)
    assert (future.id, future.venue_symbol, future.kind) == ("binance:BTC/USDT:USDT-230331", "BTCUSDT_230331", FUTURE)
    assert (future.base_asset, future.quote_asset) == ("BTC", "USDT:margin")


def test_quarterly_expiries_are_the_last_fridays_at_eight() -> None:
    start = int(datetime(2023, 1, 2, tzinfo=UTC).timestamp()) * 1_000_000
    found = [datetime.fromtimestamp(e // 1_000_000, UTC) for e in contracts.quarterly_expiries(start, 5)]
    assert found == [
        datetime(y, m, d, 8, tzinfo=UTC)
        for y, m, d in [(2023, 3, 31), (2023, 6, 30), (2023, 9, 29), (2023, 12, 29), (2024, 3, 29)]
    ]
    assert contracts.quarterly_expiries(MARCH, 1)[0] > MARCH, "an expiry is not later than itself"


def test_spot_keeps_its_columns_and_derivatives_get_a_wallet_of_their_own() -> None:
    pairs = [contracts.spot(BTC), contracts.perpetual("BTC"), contracts.spot(INSTRUMENTS["binance:ETH/USDT"])]
    assert contracts.asset_names(pairs) == ("BTC", "ETH", "USDT", "USDT:margin")
    assert contracts.scales_of(pairs).tolist() == [[0, 2, 1000, 10], [-1, 3, 100_000, 10_000], [1, 2, 10_000, 100]]
    assert contracts.contract_table(pairs)[:, contracts.CON_KIND].tolist() == [SPOT, PERPETUAL, SPOT]


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(1, 1_800_000_000), st.sampled_from(["BTC", "ADA"]))
def test_maintenance_margin_by_the_table_is_the_sum_over_the_tiers(notional: int, base: str) -> None:
    contract = contracts.perpetual(base)
    row = [r for r in contracts.tier_table([contract])[0].tolist() if r[TIER_FLOOR] < notional * UNIT][-1]
    expected, floor = Decimal(0), 0
    for k, tier in enumerate(contract.margin_tiers):
        last = k == len(contract.margin_tiers) - 1
        top = notional if last else min(notional, tier.cap)
        expected += max(0, top - floor) * tier.maintenance_rate
        floor = tier.cap
    assert Decimal(notional * row[TIER_RATE]) / 10**6 - Decimal(row[TIER_AMOUNT]) / UNIT == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": FUTURE, "margin_tiers": contracts.MAJOR_TIERS}, "expected an expiry"),
        ({"expiry": MARCH}, "expected an expiry"),
        ({"kind": PERPETUAL}, "expected margin tiers"),
        ({"kind": PERPETUAL, "margin_tiers": (MarginTier(2, Decimal(1), 1), MarginTier(1, Decimal(1), 1))}, "rising"),
    ],
)
def test_a_contract_that_makes_no_sense_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Contract(BTC, **arguments)  # type: ignore[arg-type]


def test_rates_and_scales_that_do_not_fit_integers_are_refused() -> None:
    with pytest.raises(UsageError, match=r"multiple of 0\.000001"):
        contracts.contract_table([Contract(BTC, price_band=Decimal("0.00000001"))])
    fine = Instrument("binance", "BTC/USDT", Decimal("0.01"), Decimal("0.0000001"), Decimal(1), Decimal(1))
    with pytest.raises(UsageError, match="1e-8"):
        contracts.scales_of([contracts.spot(fine)])
    with pytest.raises(UsageError, match="no derivative of 'DOGE'"):
        contracts.perpetual("DOGE")
