"""A decentralised exchange: a constant-product pool on a chain with blocks, gas and transactions that fail.

The pool is Uniswap v2's (whitepaper, section 3.2.1): reserves x and y; a trade adds `a` to one and takes

    out = a·(1 − f)·y ÷ (x + a·(1 − f)),   rounded down

so that x·y never falls; the fee f stays in the pool and belongs to its shares. A trade of a large share of the pool
pays slippage by the same formula.

A transaction waits for the next block. A block takes waiting transactions by gas price, then by arrival, up to its gas
limit; the rest waits on. A trade that would give less than its limit fails and still pays its gas. Everything is an
integer in units of 1e-8 (Python's own integers: x·y has more than 64 bits), and nothing is random.
"""

import heapq
from dataclasses import dataclass, field
from math import isqrt

from lake.errors import UsageError

FEE_SCALE = 1_000_000
SWAP, DEPOSIT, WITHDRAW = "swap", "deposit", "withdraw"
GAS = {SWAP: 120_000, DEPOSIT: 180_000, WITHDRAW: 160_000}
"""Gas of a pool action: typical of Uniswap v2's router."""
FAILED_GAS_SHARE = 40
"""Per cent of the gas that a failing transaction uses before it stops."""
SHARES = "shares"
"""Name of the pool's shares among an owner's holdings."""


@dataclass(slots=True)
class Pool:
    """Reserves of two assets, and who owns how many shares of them is the chain's to know."""

    assets: tuple[str, str]
    reserves: list[int]
    fee: int = 3000
    """Millionths of what comes in."""
    shares: int = 0

    def __post_init__(self) -> None:
        if min(self.reserves) <= 0 or not 0 <= self.fee < FEE_SCALE:
            raise UsageError(f"pool {self.assets}: expected positive reserves and a fee below 1, found {self}.")
        self.shares = self.shares or isqrt(self.reserves[0] * self.reserves[1])

    @property
    def price(self) -> float:
        """Units of the second asset per unit of the first, before fee and slippage."""
        return self.reserves[1] / self.reserves[0]

    def side(self, asset: str) -> int:
        """Which reserve an asset is.

        Raises:
            UsageError: neither.
        """
        if asset not in self.assets:
            raise UsageError(f"pool of {self.assets}: expected one of these, found {asset!r}.")
        return self.assets.index(asset)

    def out(self, asset: str, amount: int) -> int:
        """What `amount` units of `asset` would buy now, after fee and slippage."""
        k = self.side(asset)
        paid = amount * (FEE_SCALE - self.fee)
        return paid * self.reserves[1 - k] // (self.reserves[k] * FEE_SCALE + paid)

    def swap(self, asset: str, amount: int) -> int:
        got = self.out(asset, amount)
        k = self.side(asset)
        self.reserves[k] += amount
        self.reserves[1 - k] -= got
        return got

    def deposit(self, first: int, second: int) -> tuple[int, int, int]:
        """Take in as much of both as keeps the price; returns what was taken (rounded up) and the shares made."""
        made = min(first * self.shares // self.reserves[0], second * self.shares // self.reserves[1])
        taken = tuple(-(-made * reserve // self.shares) for reserve in self.reserves)
        self.shares += made
        self.reserves = [reserve + amount for reserve, amount in zip(self.reserves, taken, strict=True)]
        return taken[0], taken[1], made

    def withdraw(self, shares: int) -> tuple[int, int]:
        """Give back the part of the reserves that the shares stand for, rounded down."""
        given = tuple(reserve * shares // self.shares for reserve in self.reserves)
        self.shares -= shares
        self.reserves = [reserve - amount for reserve, amount in zip(self.reserves, given, strict=True)]
        return given[0], given[1]

    def amount_to_price(self, asset: str, price: float) -> int:
        """Units of `asset` that, swapped, move the pool to `price` (second per first); 0 if it is beyond already.

        From x·y constant without the fee: x' = √(x·y ÷ price). The fee makes the true end a little nearer.
        """
        target = self.reserves[0] * self.reserves[1]
        goal = (target / price) ** 0.5 if self.side(asset) == 0 else (target * price) ** 0.5
        return max(0, int((goal - self.reserves[self.side(asset)]) * FEE_SCALE / (FEE_SCALE - self.fee)))


@dataclass(slots=True)
class Transaction:
    """What an owner asked the pool for; `status` is waiting, done, failed (gas paid) or dropped (gas not payable)."""

    owner: int
    kind: str
    asset: str
    amount: int
    """Units of `asset` to swap; of the first asset to deposit; of shares to withdraw."""
    least: int
    """Slippage limit: units to get at least, of the other asset (swap), of shares (deposit), of the first asset."""
    gas_price: int
    """Units of the gas asset per million gas."""
    submitted: int = 0
    status: str = "waiting"
    block: int = 0
    got: int = 0
    gas_paid: int = 0


@dataclass(slots=True)
class Chain:
    """Blocks at multiples of `block_time` (µs), the waiting transactions and everybody's holdings."""

    pool: Pool
    gas_asset: str = "ETH"
    block_time: int = 12_000_000
    block_gas: int = 30_000_000
    time: int = 0
    holdings: dict[int, dict[str, int]] = field(default_factory=dict)
    burnt: int = 0
    """Gas paid by all, units of the gas asset."""
    waiting: list[tuple[int, int, Transaction]] = field(default_factory=list)
    arrivals: int = 0

    def fund(self, owner: int, **amounts: int) -> None:
        """Credit units that come from outside of the chain."""
        for asset, amount in amounts.items():
            self._add(owner, asset, amount)

    def holding(self, owner: int, asset: str) -> int:
        return self.holdings.get(owner, {}).get(asset, 0)

    def submit(self, transaction: Transaction, time: int) -> Transaction:
        """Let a transaction wait for the first block after `time`.

        Raises:
            UsageError: an unknown kind or asset, an amount that is not positive, or a time before the last block.
        """
        if transaction.kind not in GAS or transaction.amount <= 0 or transaction.gas_price < 0:
            raise UsageError(f"transaction: expected one of {list(GAS)} of a positive amount, found {transaction}.")
        if transaction.kind == SWAP:
            self.pool.side(transaction.asset)
        if time < self.time:
            raise UsageError(f"transaction at {time} µs: the chain is at {self.time} µs already.")
        transaction.submitted = time
        self.arrivals += 1
        heapq.heappush(self.waiting, (-transaction.gas_price, self.arrivals, transaction))
        return transaction

    def advance(self, to_time: int) -> list[Transaction]:
        """Make the blocks up to `to_time`; returns what they held, in order."""
        included: list[Transaction] = []
        block = self.time // self.block_time + 1
        while block * self.block_time <= to_time:
            self.time = block * self.block_time
            included += self._block(block)
            block = block + 1 if self.waiting else max(block + 1, to_time // self.block_time)
        self.time = max(self.time, to_time)
        return included

    def _block(self, number: int) -> list[Transaction]:
        room, included, later = self.block_gas, list[Transaction](), list[tuple[int, int, Transaction]]()
        while self.waiting:
            entry = heapq.heappop(self.waiting)
            transaction = entry[2]
            if transaction.submitted >= self.time or GAS[transaction.kind] > room:
                later.append(entry)
                continue
            room -= GAS[transaction.kind]
            transaction.block = number
            self._include(transaction)
            included.append(transaction)
        self.waiting = later
        heapq.heapify(self.waiting)
        return included

    def _include(self, transaction: Transaction) -> None:
        """Pay the gas and try the action; a failure undoes all but the gas, which is less for having stopped early."""
        full = GAS[transaction.kind] * transaction.gas_price // 1_000_000
        if self.holding(transaction.owner, self.gas_asset) < full:
            transaction.status = "dropped"
            return
        self._add(transaction.owner, self.gas_asset, -full)
        done = self._act(transaction)
        transaction.status = "done" if done else "failed"
        transaction.gas_paid = full if done else full * FAILED_GAS_SHARE // 100
        self._add(transaction.owner, self.gas_asset, full - transaction.gas_paid)
        self.burnt += transaction.gas_paid

    def _act(self, transaction: Transaction) -> bool:
        if transaction.kind == SWAP:
            return self._swap(transaction)
        return self._deposit(transaction) if transaction.kind == DEPOSIT else self._withdraw(transaction)

    def _swap(self, transaction: Transaction) -> bool:
        owner, asset, amount = transaction.owner, transaction.asset, transaction.amount
        if self.holding(owner, asset) < amount or self.pool.out(asset, amount) < max(1, transaction.least):
            return False
        transaction.got = self.pool.swap(asset, amount)
        self._add(owner, asset, -amount)
        self._add(owner, self.pool.assets[1 - self.pool.side(asset)], transaction.got)
        return True

    def _deposit(self, transaction: Transaction) -> bool:
        first, second = self.pool.assets
        owner, most = transaction.owner, self.holding(transaction.owner, second)
        made = min(
            transaction.amount * self.pool.shares // self.pool.reserves[0],
            most * self.pool.shares // self.pool.reserves[1],
        )
        if self.holding(owner, first) < transaction.amount or made < max(1, transaction.least):
            return False
        taken = self.pool.deposit(transaction.amount, most)
        for asset, amount in zip((first, second, SHARES), (-taken[0], -taken[1], taken[2]), strict=True):
            self._add(owner, asset, amount)
        transaction.got = taken[2]
        return True

    def _withdraw(self, transaction: Transaction) -> bool:
        owner, shares = transaction.owner, transaction.amount
        first = self.pool.reserves[0] * shares // self.pool.shares
        if self.holding(owner, SHARES) < shares or shares == self.pool.shares or first < max(1, transaction.least):
            return False
        given = self.pool.withdraw(shares)
        for asset, amount in zip((*self.pool.assets, SHARES), (*given, -shares), strict=True):
            self._add(owner, asset, amount)
        transaction.got = given[0]
        return True

    def _add(self, owner: int, asset: str, amount: int) -> None:
        held = self.holdings.setdefault(owner, {})
        held[asset] = held.get(asset, 0) + amount

    def totals(self) -> dict[str, int]:
        """Units per asset over holdings, pool and burnt gas: nothing but `fund` changes them."""
        sums = dict(zip(self.pool.assets, self.pool.reserves, strict=True))
        sums[self.gas_asset] = sums.get(self.gas_asset, 0) + self.burnt
        for held in self.holdings.values():
            for asset, amount in held.items():
                if asset != SHARES:
                    sums[asset] = sums.get(asset, 0) + amount
        return sums
