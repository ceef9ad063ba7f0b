"""Live's order books: whenever one says it is known, it is the venue's, whatever happened to the messages."""

import random
from collections.abc import Iterator

import pytest

from lake.errors import BadInput
from lake.wire.binance_depth import BestQuote, DepthDiff, DepthSnapshot
from live.books import UNKNOWN, DepthBook, QuoteBook


def text(units: int) -> str:
    return f"{units / 100:.2f}"


class Oracle:
    """A venue's book as plain dicts, written without live's code; every step is one diff of one to four updates."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.id, self.mid = 100, 10_000
        self.sides: tuple[dict[int, int], dict[int, int]] = ({}, {})
        for distance in range(1, 40):
            self.sides[0][self.mid - distance] = self.sides[1][self.mid + distance] = distance

    def step(self) -> DepthDiff:
        first = self.id + 1
        self.mid += self.random.choice((-1, 0, 0, 1))
        changes: list[dict[int, int]] = [{}, {}]
        for side, sign in ((0, -1), (1, 1)):
            held = self.sides[side]
            for price in [p for p in held if (p - self.mid) * sign <= 0]:
                changes[side][price] = held.pop(price) * 0
            for _ in range(2):
                price = self.mid + sign * self.random.randint(1, 60)
                changes[side][price] = quantity = self.random.choice((0, 1, 2, 3))
                held.pop(price, None)
                if quantity:
                    held[price] = quantity
        self.id += self.random.randint(1, 4)
        bids, asks = ([[text(p), text(q)] for p, q in change.items()] for change in changes)
        return DepthDiff(self.id * 1000, first, self.id, None, bids, asks)

    def levels(self, side: int, count: int) -> list[tuple[float, float]]:
        held = sorted(self.sides[side].items(), reverse=side == 0)[:count]
        return [(price / 100, quantity / 100) for price, quantity in held]

    def snapshot(self, limit: int) -> DepthSnapshot:
        bids, asks = ([[f"{p:.2f}", f"{q:.2f}"] for p, q in self.levels(side, limit)] for side in (0, 1))
        return DepthSnapshot(self.id, bids, asks)


def damaged(diffs: list[DepthDiff], chance: float, dice: random.Random) -> Iterator[DepthDiff]:
    """The same messages, some lost, some twice, some in the wrong order."""
    rows = [d for d in diffs if dice.random() >= chance]
    rows = [again for d in rows for again in ([d, d] if dice.random() < chance else [d])]
    for k in range(len(rows) - 1):
        if dice.random() < chance:
            rows[k], rows[k + 1] = rows[k + 1], rows[k]
    yield from rows


def follow(seed: int, steps: int, limit: int = 1000) -> tuple[int, int]:
    """Follow a damaged stream in bursts, with late snapshots; answers how often the book was known, and lost."""
    oracle, dice, book = Oracle(seed), random.Random(seed + 1), DepthBook(5)
    states, known, lost = {}, 0, 0
    for _ in range(steps // 20):
        stale = oracle.snapshot(limit)
        diffs = []
        for _ in range(20):
            diffs.append(oracle.step())
            states[oracle.id] = [oracle.levels(side, 5) for side in (0, 1)]
        arriving = list(damaged(diffs, 0.02, dice))
        for k, diff in enumerate(arriving):
            if not book.known and k == len(arriving) // 2:
                book.restore(stale if dice.random() < 0.5 else oracle.snapshot(limit), limit)
                states[stale.last_id] = states.get(stale.last_id, [])
            lost += bool(book.take(diff))
            if book.known and states.get(book.id):
                known += 1
                assert [list(side) for side in book.top(5)] == states[book.id]
            elif not book.known:
                assert book.top(5) == UNKNOWN
    return known, lost


@pytest.mark.parametrize(("seed", "limit"), [(1, 1000), (2, 1000), (3, 30), (4, 12)])
def test_a_known_book_is_the_venues_through_losses_doubles_and_disorder(seed: int, limit: int) -> None:
    known, lost = follow(seed, 4_000, limit)
    assert known > 1_000
    assert lost > 20


@pytest.mark.nightly
def test_a_known_book_is_the_venues_over_a_million_messages() -> None:
    assert follow(9, 1_000_000)[0] > 200_000


def snapshot(last: int = 10, bid: str = "99.00", ask: str = "101.00") -> DepthSnapshot:
    return DepthSnapshot(last, [[bid, "1"], ["98.00", "2"]], [[ask, "1"], ["102.00", "2"]])


def diff(first: int, final: int, bids: list[list[str]] | None = None, previous: int | None = None) -> DepthDiff:
    return DepthDiff(1, first, final, previous, bids or [], [])


def test_a_snapshot_older_than_the_first_diff_kept_is_no_beginning() -> None:
    book = DepthBook(1)
    assert book.take(diff(15, 16)) == ""
    assert (book.restore(snapshot(10), 1000), book.known) == ("gap", False)
    assert (book.restore(snapshot(15), 1000), book.known, book.id) == ("", True, 16)


def test_a_gap_a_crossed_book_and_the_end_of_the_snapshot_lose_the_book() -> None:
    book = DepthBook(1)
    book.restore(snapshot(), 1000)
    assert book.take(diff(11, 12, [["99.50", "1"]])) == ""
    assert book.top(1) == (((99.5, 1.0),), ((101.0, 1.0),))
    assert book.take(diff(14, 15)) == "gap"
    assert book.top(1) == UNKNOWN
    book.restore(snapshot(20), 1000)
    assert book.take(diff(21, 21, [["101.00", "1"]])) == "crossed"
    book.restore(snapshot(30), 2)  # it held two levels a side and no more were asked for
    assert book.take(diff(31, 31, [["99.00", "0"], ["97.00", "5"]])) == ""
    assert book.take(diff(32, 32, [["98.00", "0"]])) == "edge", "what lies below 98 was never heard"
    futures = DepthBook(1)
    futures.restore(snapshot(10), 1000)
    assert futures.take(diff(9, 12, previous=8)) == "", "the first spans the snapshot"
    assert futures.take(diff(14, 15, previous=12)) == ""
    assert futures.take(diff(16, 17, previous=14)) == "gap"


@pytest.mark.parametrize("price", ["0", "-1", "nan", "1e3"])
def test_prices_that_are_none_are_refused(price: str) -> None:
    book = DepthBook(1)
    book.restore(snapshot(), 1000)
    with pytest.raises(BadInput):
        book.take(diff(11, 11, [[price, "1"]]))


def test_a_quote_stands_until_a_newer_one_and_an_empty_side_is_empty() -> None:
    book = QuoteBook()
    assert book.take(BestQuote(5, None, "99.00", "1", "101.00", "2")) == ""
    assert book.take(BestQuote(4, None, "98.00", "1", "101.00", "2")) == ""
    assert book.top(1) == (((99.0, 1.0),), ((101.0, 2.0),))
    assert book.take(BestQuote(6, None, "99.00", "1", "0.00", "0")) == ""
    assert book.top(1) == (((99.0, 1.0),), ())
    assert (book.take(BestQuote(7, None, "101.00", "1", "101.00", "2")), book.known) == ("crossed", False)
    assert book.proven_by(snapshot(8))
    assert book.top(1) == (((99.0, 1.0),), ((101.0, 1.0),))
