"""The pool and its chain: x·y never falls, nothing is lost, blocks order by gas, failures pay."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake.errors import UsageError
from market.amm import DEPOSIT, GAS, SHARES, SWAP, WITHDRAW, Chain, Pool, Transaction

UNIT = 10**8
BLOCK = 12_000_000


def eth_pool(fee: int = 3000) -> Pool:
    return Pool(("ETH", "USDT"), [1_000 * UNIT, 2_000_000 * UNIT], fee)


def chain_with(*owners: int) -> Chain:
    chain = Chain(eth_pool())
    for owner in owners:
        chain.fund(owner, ETH=100 * UNIT, USDT=200_000 * UNIT)
    return chain


def swap(owner: int, asset: str, amount: int, least: int = 0, gas_price: int = 1000) -> Transaction:
    return Transaction(owner, SWAP, asset, amount, least, gas_price)


def test_a_swap_gives_what_the_formula_says() -> None:
    pool = eth_pool()
    paid = Fraction(10 * UNIT) * Fraction(997, 1000)
    exact = paid * pool.reserves[1] / (pool.reserves[0] + paid)
    assert pool.swap("ETH", 10 * UNIT) == exact.__floor__()
    assert pool.reserves[0] == 1_010 * UNIT


actions = st.lists(
    st.tuples(
        st.sampled_from([SWAP, SWAP, SWAP, DEPOSIT, WITHDRAW]),
        st.integers(1, 3),
        st.sampled_from(["ETH", "USDT"]),
        st.integers(1, 60 * UNIT),
        st.integers(0, 5000),
        st.integers(0, BLOCK * 2),
    ),
    max_size=60,
)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(actions)
def test_no_sequence_lets_the_product_per_share_fall_or_loses_a_unit(
    moves: list[tuple[str, int, str, int, int, int]],
) -> None:
    chain = chain_with(1, 2, 3)
    total = chain.totals()
    for kind, owner, asset, amount, gas_price, wait in moves:
        chain.submit(Transaction(owner, kind, asset, amount, 0, gas_price), chain.time)
        x, y, shares = *chain.pool.reserves, chain.pool.shares
        included = chain.advance(chain.time + wait)
        assert chain.pool.reserves[0] * chain.pool.reserves[1] * shares**2 >= x * y * chain.pool.shares**2
        if all(transaction.kind == SWAP for transaction in included):
            assert chain.pool.reserves[0] * chain.pool.reserves[1] >= x * y
        assert chain.totals() == total
        assert min(amount for held in chain.holdings.values() for amount in held.values()) >= 0
        assert sum(chain.holding(o, SHARES) for o in (1, 2, 3)) <= chain.pool.shares


def test_a_block_orders_by_gas_price_then_arrival() -> None:
    chain = chain_with(1, 2, 3)
    first, second, third = (
        swap(1, "ETH", UNIT, gas_price=5),
        swap(2, "ETH", UNIT, gas_price=5),
        swap(3, "ETH", UNIT, gas_price=9),
    )
    for transaction in (first, second, third):
        chain.submit(transaction, 100)
    assert chain.advance(BLOCK - 1) == []
    assert chain.advance(BLOCK) == [third, first, second]
    assert third.got > first.got > second.got, "who is first pays less slippage"


def test_what_finds_no_room_waits_for_the_next_block() -> None:
    chain = chain_with(1, 2)
    chain.block_gas = GAS[SWAP]
    rich, poor = (
        chain.submit(swap(1, "ETH", UNIT, gas_price=9), 0),
        chain.submit(swap(2, "ETH", UNIT, gas_price=5), 0),
    )
    chain.advance(3 * BLOCK)
    assert (rich.block, poor.block) == (1, 2)


def test_a_transaction_at_the_instant_of_a_block_waits_for_the_next_one() -> None:
    chain = chain_with(1)
    chain.advance(BLOCK)
    late = chain.submit(swap(1, "ETH", UNIT), BLOCK)
    chain.advance(2 * BLOCK)
    assert (late.status, late.block) == ("done", 2)


def test_a_swap_beyond_its_slippage_limit_fails_and_pays_gas_only() -> None:
    chain = chain_with(1, 2)
    expected = chain.pool.out("ETH", UNIT)
    ahead = chain.submit(swap(1, "ETH", 50 * UNIT, gas_price=2000), 0)
    behind = chain.submit(swap(2, "ETH", UNIT, least=expected), 0)
    chain.advance(BLOCK)
    assert (ahead.status, behind.status) == ("done", "failed")
    assert behind.gas_paid == GAS[SWAP] * 1000 // 1_000_000 * 40 // 100 > 0
    assert chain.holding(2, "ETH") == 100 * UNIT - behind.gas_paid
    assert chain.holding(2, "USDT") == 200_000 * UNIT


def test_a_transaction_whose_gas_cannot_be_paid_is_dropped() -> None:
    chain = Chain(eth_pool())
    chain.fund(1, USDT=10 * UNIT)
    dropped = chain.submit(swap(1, "USDT", UNIT), 0)
    chain.advance(BLOCK)
    assert (dropped.status, chain.holding(1, "USDT")) == ("dropped", 10 * UNIT)


def test_shares_earn_the_fees_of_the_swaps() -> None:
    chain = chain_with(1, 2)
    chain.submit(Transaction(1, DEPOSIT, "ETH", 50 * UNIT, 0, 0), 0)
    chain.advance(BLOCK)
    shares = chain.holding(1, SHARES)
    spent = 100 * UNIT - chain.holding(1, "ETH")
    assert spent == 50 * UNIT
    for _ in range(20):
        got = chain.submit(swap(2, "USDT", 100_000 * UNIT, gas_price=0), chain.time)
        chain.advance(chain.time + BLOCK)
        chain.submit(swap(2, "ETH", got.got, gas_price=0), chain.time)
        chain.advance(chain.time + BLOCK)
    chain.submit(Transaction(1, WITHDRAW, SHARES, shares, 0, 0), chain.time)
    chain.advance(chain.time + BLOCK)
    value = chain.holding(1, "ETH") * 2000 + chain.holding(1, "USDT")
    assert value > 100 * UNIT * 2000 + 200_000 * UNIT, "the round trips' fees belong to the shares"


@pytest.mark.parametrize("asset", ["ETH", "USDT"])
def test_a_spread_to_a_central_exchange_closes_at_the_expected_profit(asset: str) -> None:
    """The exchange trades at 2100 or 1900 where the pool stands at 2000: the profit is the formula's, less gas."""
    chain = chain_with(1)
    elsewhere = 1900 if asset == "ETH" else 2100
    amount = chain.pool.amount_to_price(asset, elsewhere)
    expected = chain.pool.out(asset, amount)
    done = chain.submit(swap(1, asset, amount, least=expected), 0)
    chain.advance(BLOCK)
    assert (done.status, done.got) == ("done", expected)
    paid, got = (
        (amount * elsewhere, expected) if asset == "ETH" else (amount, expected * elsewhere)
    )  # both legs in USDT
    profit = got - paid
    assert profit > 0
    assert chain.pool.price == pytest.approx(elsewhere, rel=2e-3), "the spread is closed up to the fee"
    again = max(1, chain.pool.amount_to_price(asset, elsewhere))
    second = chain.pool.out(asset, again)
    assert (second - again * elsewhere if asset == "ETH" else second * elsewhere - again) <= 0, "and none is left"


def test_nonsense_is_refused() -> None:
    chain = chain_with(1)
    with pytest.raises(UsageError, match="positive amount"):
        chain.submit(swap(1, "ETH", 0), 0)
    with pytest.raises(UsageError, match="expected one of these"):
        chain.submit(swap(1, "DOGE", 1), 0)
    with pytest.raises(UsageError, match="positive reserves"):
        Pool(("A", "B"), [0, 1])
    chain.advance(BLOCK)
    with pytest.raises(UsageError, match="already"):
        chain.submit(swap(1, "ETH", 1), 0)
