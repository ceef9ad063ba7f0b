"""Spreads that a venue can show, closed through the kernel at the profit that arithmetic promises."""

from decimal import Decimal
from itertools import pairwise

import numpy as np
import pytest

from lake.instruments import INSTRUMENTS, Instrument
from market import clearing, fees, requests
from market import engine as engines
from market.accounts import FREE, FUND
from market.basis import BasisProcess, fair_ticks
from market.book import BUY, SELL, UNIT
from market.contracts import Contract, asset_names, future, perpetual, quarterly_expiries, spot
from market.engine import Engine
from market.fees import DERIVATIVES_MARKET, MAKER_RATE, SPOT_MARKET, TAKER_RATE
from market.margin import POS_COST, POS_LEVERAGE, POS_LOTS, transfer

MAKER, TRADER = 1, 3
START = 1_672_617_600_000_000
SPOT_FEE, FUTURE_FEE = 500, 400
BTC, ETH = INSTRUMENTS["binance:BTC/USDT"], INSTRUMENTS["binance:ETH/USDT"]
ETH_BTC = Instrument("binance", "ETH/BTC", Decimal("0.00001"), Decimal("0.001"), Decimal("0.001"), Decimal("0"))


def venue(contracts: list[Contract], funds: dict[str, int]) -> Engine:
    """A maker who has everything, and a trader with these funds (whole units) who pays fees."""
    engine = engines.new_engine(contracts, TRADER + 1)
    engine.accounts.balances[MAKER, :, FREE] = 10**9 * UNIT
    engine.accounts.positions[MAKER, :, POS_LEVERAGE] = 1
    for asset, amount in funds.items():
        engine.accounts.balances[TRADER, asset_names(contracts).index(asset), FREE] = amount * UNIT
    engine.accounts.fees.rates[TRADER, SPOT_MARKET] = SPOT_FEE
    engine.accounts.fees.rates[TRADER, DERIVATIVES_MARKET] = FUTURE_FEE
    return engine


def trade(engine: Engine, i: int, side: int, price: int, lots: int) -> None:
    """Let the trader take what the maker offers at this price."""
    for owner, way in ((MAKER, 1 - side), (TRADER, side)):
        request = engines.new_request(i, owner, way, lots, engines.LIMIT, price)
        order_id, filled, _ = requests.submit(engine, request, 0)
        assert order_id > 0, order_id
    assert filled == lots


def held(engine: Engine, contracts: list[Contract], asset: str) -> int:
    return int(engine.accounts.balances[TRADER, asset_names(contracts).index(asset)].sum())


def after_fee(units: int, rate: int) -> int:
    return units - units * rate // 10**6


def test_a_triangle_out_of_line_pays_its_gap_less_three_fees() -> None:
    contracts = [spot(BTC), spot(ETH), spot(ETH_BTC)]
    engine = venue(contracts, {"USDT": 100_000})
    total = clearing.totals(engine)
    trade(engine, 0, BUY, 2_000_000, 100_000)  # 1 BTC at 20,000
    bitcoin = after_fee(UNIT, SPOT_FEE)
    lots = bitcoin // 7_000  # ETH at 0.07 BTC, in lots of 0.001
    trade(engine, 2, BUY, 7_000, lots)
    ether = after_fee(lots * UNIT // 1000, SPOT_FEE)
    sold = ether // 10_000
    trade(engine, 1, SELL, 145_000, sold)  # at 1,450 where 1,400 would be in line
    profit = held(engine, contracts, "USDT") - 100_000 * UNIT
    assert profit == after_fee(sold * 145_000 * 100, SPOT_FEE) - 20_000 * UNIT
    worth = profit + held(engine, contracts, "BTC") * 20_000 + held(engine, contracts, "ETH") * 1_450
    expected = 20_000 * (0.9995**3 * 1450 / 1400 - 1)
    assert worth / UNIT == pytest.approx(expected, rel=0.01) and expected > 600
    assert clearing.totals(engine) == total


def test_a_carry_held_to_expiry_earns_the_basis_it_locked_less_its_costs() -> None:
    """Buy spot, sell the future above it, wait: whatever the index does, the gap at the start is the profit."""
    expiry = quarterly_expiries(START, 1)[0]
    contracts = [spot(BTC), future("BTC", expiry)]
    engine = venue(contracts, {"USDT": 30_000, "USDT:margin": 30_000})
    engine = engines.with_room(engine, 200)
    process = BasisProcess(contracts, 4, START)
    index = 20_000.0
    first = fair_ticks(index, process.step(START)[1], 0.1)
    clearing.set_mark(engine, 1, first, START)
    trade(engine, 0, BUY, 2_000_000, 100_000)
    trade(engine, 1, SELL, first, 1_000)
    basis = first * 1_000 * 10_000 - 20_000 * UNIT
    assert basis > 150 * UNIT, "a quarter at about 6 % a year"
    rng = np.random.default_rng(0)
    for time in np.linspace(START, expiry, 60).astype(np.int64)[1:]:
        index *= float(np.exp(0.03 * rng.standard_normal()))
        clearing.set_mark(engine, 1, fair_ticks(index, process.step(int(time))[1], 0.1), int(time))
    settled = fair_ticks(index, process.step(expiry)[1], 0.1)
    assert settled == round(index * 10), "at expiry the basis is zero to the tick"
    clearing.settle_expiry(engine, 1, settled, expiry)
    coins = held(engine, contracts, "BTC") // 1_000
    trade(engine, 0, SELL, settled * 10, coins)
    profit = held(engine, contracts, "USDT") + held(engine, contracts, "USDT:margin") - 60_000 * UNIT
    costs = first * 1_000 * 10_000 * FUTURE_FEE // 10**6  # selling the future
    costs += UNIT * SPOT_FEE // 10**6 * settled // 10  # buying spot cost a little of the coin
    costs += coins * settled * 10 * 10 * SPOT_FEE // 10**6  # selling it
    assert profit == pytest.approx(basis - costs, abs=2 * settled * 10 * 10)  # within two lots of spot
    assert 0 < profit < basis


def test_a_perpetual_above_spot_pays_its_premium_and_its_funding() -> None:
    contracts = [spot(BTC), perpetual("BTC")]
    engine = venue(contracts, {"USDT": 30_000, "USDT:margin": 10_000})
    trade(engine, 0, BUY, 2_000_000, 100_000)
    clearing.set_mark(engine, 1, 201_000, 0)  # half a per cent above
    trade(engine, 1, SELL, 201_000, 1_000)
    for _ in range(3):
        clearing.pay_funding(engine, 1, 45_000, 0)  # 0.045 %
    clearing.set_mark(engine, 1, 200_000, 0)
    trade(engine, 1, BUY, 200_000, 1_000)
    trade(engine, 0, SELL, 2_000_000, 99_950)
    profit = held(engine, contracts, "USDT") + held(engine, contracts, "USDT:margin") - 40_000 * UNIT
    premium, funding = 100 * UNIT, 3 * 20_100 * UNIT * 45 // 100_000
    costs = (20_000 * 2 * SPOT_FEE + 40_100 * FUTURE_FEE) * UNIT // 10**6
    assert profit == pytest.approx(premium + funding - costs, abs=UNIT // 100)
    assert profit > 0


def test_money_moves_between_the_wallets_only_as_far_as_it_is_free() -> None:
    contracts = [spot(BTC), perpetual("BTC")]
    engine = venue(contracts, {"USDT": 100, "USDT:margin": 1_100})
    spot_wallet, margin_wallet = asset_names(contracts).index("USDT"), asset_names(contracts).index("USDT:margin")
    clearing.set_mark(engine, 1, 200_000, 0)
    trade(engine, 1, BUY, 200_000, 1_000)  # 20,000 at 20x: 1,000 of margin, 8 of fee
    assert not transfer(engine.accounts, TRADER, margin_wallet, spot_wallet, 93 * UNIT)
    assert transfer(engine.accounts, TRADER, margin_wallet, spot_wallet, 92 * UNIT)
    assert not transfer(engine.accounts, TRADER, spot_wallet, margin_wallet, 193 * UNIT)
    assert transfer(engine.accounts, TRADER, spot_wallet, margin_wallet, 192 * UNIT)
    clearing.set_mark(engine, 1, 210_000, 0)
    assert not transfer(engine.accounts, TRADER, margin_wallet, spot_wallet, 143 * UNIT), "profit stays until taken"
    assert transfer(engine.accounts, TRADER, margin_wallet, spot_wallet, 142 * UNIT)


def test_a_fee_is_paid_in_the_coin_where_it_is_wished_and_held() -> None:
    coin = INSTRUMENTS["binance:BNB/USDT"]
    contracts = [spot(BTC), spot(coin)]
    engine = venue(contracts, {"USDT": 50_000, "BNB": 1})
    fees_of = engine.accounts.fees
    trade(engine, 1, BUY, 30_000, 1)  # BNB at 300, and its fee in BNB received
    before = held(engine, contracts, "BNB")
    fees_of.wants_coin[TRADER] = 1
    trade(engine, 0, BUY, 2_000_000, 10_000)  # 2,000 USDT: a fee worth 1, less a quarter, at 300
    assert before - held(engine, contracts, "BNB") == 75 * UNIT // 100 // 300
    assert held(engine, contracts, "BTC") == UNIT // 10
    trade(engine, 0, BUY, 2_000_000, 200_000 - 10_000)  # the fee of 38,000 is worth 0.0475 BNB
    engine.accounts.balances[TRADER, asset_names(contracts).index("BNB"), FREE] = 1
    trade(engine, 0, SELL, 2_000_000, 10_000)
    assert held(engine, contracts, "BNB") == 1, "too little of the coin: the fee comes out of the quote"
    assert engine.book.tape[engine.book.tape_rows[0] - 1, 11] == UNIT


def test_traded_volume_lowers_the_fee_through_the_engine() -> None:
    contracts = [spot(BTC)]
    engine = venue(contracts, {"USDT": 3_000_000})
    fees.join_tiers(engine.accounts.fees, TRADER)
    charged = []
    for day in range(2):
        fees.roll_days(engine.accounts.fees, START + day * fees.DAY)
        trade(engine, 0, BUY, 2_000_000, 5_500_000)  # 1.1 million
        charged.append(int(engine.book.tape[engine.book.tape_rows[0] - 1, 11]))
        trade(engine, 0, SELL, 2_000_000, 5_400_000)
    assert charged == [55 * UNIT * 1000 // 10**6, 55 * UNIT * 1000 // 10**6]
    assert engine.accounts.fees.rates[TRADER, SPOT_MARKET].tolist() == [900, 1000]
    assert engine.accounts.fees.rates[TRADER, SPOT_MARKET, MAKER_RATE] < SPOT_FEE * 2
    assert engine.accounts.fees.rates[TRADER, DERIVATIVES_MARKET, TAKER_RATE] == 500


def test_the_fund_and_the_venue_start_with_nothing() -> None:
    engine = venue([spot(BTC), perpetual("BTC")], {})
    assert not engine.accounts.balances[[0, FUND]].any() and not engine.accounts.positions[:, :, POS_COST].any()
    assert not engine.accounts.positions[:, :, POS_LOTS].any()


def test_tiers_of_the_catalogue_fall_with_volume() -> None:
    for tiers in (fees.SPOT_TIERS, fees.DERIVATIVE_TIERS):
        assert all(a[0] < b[0] and a[1] >= b[1] and a[2] >= b[2] for a, b in pairwise(tiers))
