"""The money of derivatives once more, as plainly as possible: a ledger of cash, `Fraction`s, no arrays, no shared code.

An owner is a deposit and everything that was ever paid or received. Equity is cash plus what the positions are worth;
no average entry price is needed for it. Only an isolated position needs its own purse, kept by the venue's rules.
An owner of this ledger holds all its positions cross or all isolated.
"""

from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor


@dataclass
class Rules:
    """Of one contract: units per tick and lot, tiers (floor in units, maintenance rate, most leverage), fee rates."""

    unit: int
    tiers: list[tuple[int, Fraction, int]]
    liquidation_fee: Fraction
    maker_fee: Fraction
    taker_fee: Fraction

    def maintenance(self, notional: int) -> int:
        """Each slice of the notional at the rate of its own tier."""
        total, bounds = Fraction(0), [low for low, _, _ in self.tiers[1:]] + [10**30]
        for (low, rate, _), high in zip(self.tiers, bounds, strict=True):
            total += rate * max(0, min(notional, high) - low)
        return ceil(total)

    def most_leverage(self, notional: int) -> int:
        return next(most for low, _, most in reversed(self.tiers) if low < notional or low == 0)


@dataclass
class Held:
    """One owner's position in one contract."""

    lots: int = 0
    isolated: bool = False
    leverage: int = 20
    purse: int = 0
    cost: int = 0
    """Of an isolated position: what it cost, by the average rule; of a cross one unused."""
    orders: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    """Resting: sign, price, lots by order id."""


@dataclass
class Owner:
    cash: int
    """Deposit and flows of everything but the isolated positions, whose purses are beside it."""
    held: list[Held]


@dataclass
class NaiveMargin:
    rules: list[Rules]
    owners: dict[int, Owner]
    marks: list[int]
    fund: int = 0
    """Cash of the insurance fund; its positions are in `fund_lots`."""
    fund_lots: list[int] = field(default_factory=list)
    venue: int = 0

    def worth(self, c: int, lots: int) -> int:
        return lots * self.marks[c] * self.rules[c].unit

    def equity(self, owner: int) -> int:
        """Everything the owner has at the marks, cross and isolated."""
        return self.owners[owner].cash + sum(
            held.purse - held.cost + self.worth(c, held.lots) if held.isolated else self.worth(c, held.lots)
            for c, held in enumerate(self.owners[owner].held)
        )

    def cross_equity(self, owner: int) -> int:
        return self.owners[owner].cash + sum(
            self.worth(c, held.lots) for c, held in enumerate(self.owners[owner].held) if not held.isolated
        )

    def requirement(self, owner: int, c: int, more: int = 0) -> int:
        """Margin asked from the cross wallet, with `more` signed units of orders on top."""
        held, unit = self.owners[owner].held[c], self.rules[c].unit
        worth = self.worth(c, held.lots)
        buys = sum(p * n * unit for s, p, n in held.orders.values() if s > 0) + max(0, more)
        sells = sum(p * n * unit for s, p, n in held.orders.values() if s < 0) + max(0, -more)
        exposure = max(abs(worth + buys), abs(worth - sells)) - (abs(worth) if held.isolated else 0)
        return ceil(Fraction(max(0, exposure), held.leverage))

    def available(self, owner: int) -> int:
        return self.cross_equity(owner) - sum(self.requirement(owner, c) for c in range(len(self.rules)))

    def affords(self, owner: int, c: int, sign: int, lots: int, units: int) -> bool:
        extra = self.requirement(owner, c, sign * units) - self.requirement(owner, c)
        if extra <= 0:
            return True
        loss = max(0, sign * (units - self.worth(c, lots)))
        return self.available(owner) >= extra + loss + floor(units * self.rules[c].taker_fee)

    def is_due(self, owner: int, c: int) -> bool:
        """Whether the owner's position in this contract is to be liquidated now."""
        held = self.owners[owner].held[c]
        if not held.lots:
            return False
        if held.isolated:
            return held.purse - held.cost + self.worth(c, held.lots) <= self.rules[c].maintenance(
                abs(self.worth(c, held.lots))
            )
        needed = sum(
            self.rules[k].maintenance(abs(self.worth(k, other.lots)))
            for k, other in enumerate(self.owners[owner].held)
            if other.lots and not other.isolated
        )
        return self.cross_equity(owner) <= needed

    # -- facts --------------------------------------------------------------------------------------------------------

    def fill(self, owner: int, c: int, sign: int, price: int, lots: int, fee_rate: Fraction) -> None:
        """One side of a trade that happened."""
        rules = self.rules[c]
        units = price * lots * rules.unit
        fee = floor(units * fee_rate)
        self.venue += fee
        if owner not in self.owners:
            self.fund -= sign * units
            self.fund_lots[c] += sign * lots
            return
        holder = self.owners[owner]
        held = holder.held[c]
        if held.isolated:
            self._fill_isolated(holder, held, sign, price * rules.unit, lots)
        else:
            held.lots += sign * lots
            holder.cash -= sign * units
        self._pay(holder, held, fee)

    def _fill_isolated(self, holder: Owner, held: Held, sign: int, price: int, lots: int) -> None:
        closed = min(lots, abs(held.lots)) if held.lots * sign < 0 else 0
        if closed:
            share = Fraction(closed, abs(held.lots))
            released, freed = floor(held.cost * share), floor(held.purse * share)
            held.cost -= released
            held.purse -= freed
            holder.cash += freed
            held.lots += sign * closed
            self._pay(holder, held, sign * price * closed + released)
        opened = lots - closed
        if opened:
            held.lots += sign * opened
            held.cost += sign * price * opened
            moved = min(holder.cash, ceil(Fraction(price * opened, held.leverage)))
            holder.cash -= moved
            held.purse += moved

    def _pay(self, holder: Owner, held: Held, amount: int) -> None:
        """Out of the wallet; what an isolated owner has not got comes from purse and position, at last the fund."""
        holder.cash -= amount
        if not held.isolated:
            if holder.cash < 0 and not any(other.lots for other in holder.held):
                self.fund += holder.cash
                holder.cash = 0
            return
        debt, holder.cash = max(0, -holder.cash), max(0, holder.cash)
        taken = min(debt, held.purse)
        held.purse -= taken
        if held.lots:
            held.cost += debt - taken
        else:
            self.fund -= debt - taken

    def funding(self, c: int, rate: Fraction) -> None:
        for holder in self.owners.values():
            held = holder.held[c]
            payment = ceil(self.worth(c, held.lots) * rate)
            self.fund += payment
            if held.isolated:
                own = min(payment, held.purse)
                held.purse -= own
                payment -= own
            if payment:
                self._pay(holder, held, payment)
        payment = ceil(self.worth(c, self.fund_lots[c]) * rate)
        self.fund += payment - payment  # what the fund pays, it pays to the fund

    def clear(self, owner: int, amount: int) -> None:
        """A liquidation fee."""
        self.owners[owner].cash -= amount
        self.fund += amount

    def take_over(self, owner: int, c: int) -> None:
        """The fund gets what the book did not take, with what is behind it."""
        holder = self.owners[owner]
        if holder.held[c].isolated:
            held = holder.held[c]
            self.fund += held.purse - held.cost
            self.fund_lots[c] += held.lots
            held.purse = held.cost = held.lots = 0
            return
        for k, held in enumerate(holder.held):
            if not held.isolated:
                self.fund_lots[k] += held.lots
                held.lots = 0
        self.fund += holder.cash
        holder.cash = 0
