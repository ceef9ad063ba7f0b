"""A crash before or after every single disk operation and send, with and without a power cut: the books still agree.

The journal's file layer raises at operation N, the process's memory is gone, and in a power cut the unsynced bytes
with it. A new process opens what is left and reconciles with the same venue. Every N of the script is tried.
"""

import contextlib
import os
from pathlib import Path

import pytest

from lake.errors import BitacoraError
from live.journal import JOURNAL_FILE, Journal, OsFiles
from live.orders import Side
from live.reconcile import Reconciler
from live.replies import Reply
from tests.live.fakes import ETH, PRICE, TRADED, FakeVenue, market_order, open_account, open_gateway


class Crash(BaseException):
    """The process is gone: nothing may catch this but the test."""


class CrashingFiles(OsFiles):
    """Counts operations and crashes at one; in a power cut only synced bytes survive."""

    def __init__(self, crash_at: int, after: bool) -> None:
        self.operations, self.crash_at, self.after = 0, crash_at, after
        self.synced_length = 0

    def write(self, fd: int, data: bytes) -> int:
        self._before()
        written = super().write(fd, data)
        self._after()
        return written

    def fdatasync(self, fd: int) -> None:
        self._before()
        super().fdatasync(fd)
        self.synced_length = os.fstat(fd).st_size
        self._after()

    def point(self) -> None:
        """A point that is no disk operation: just before or after a send."""
        self._before()
        self._after()

    def _before(self) -> None:
        self.operations += 1
        if self.operations == self.crash_at and not self.after:
            raise Crash

    def _after(self) -> None:
        if self.operations == self.crash_at and self.after:
            raise Crash


class CrashingVenue(FakeVenue):
    """Adds crash points around the venue's acceptance: mid-send and after the send, before the reply is read."""

    files: CrashingFiles | None = None

    async def place(self, order):  # type: ignore[no-untyped-def]
        if self.files:
            self.files.point()
        reply: Reply = await super().place(order)
        if self.files:
            self.files.point()
        return reply


async def _trade(folder: Path, venue: CrashingVenue, files: CrashingFiles) -> None:
    """Three orders with mixed fates, as far as the crash lets them."""
    account = open_account(folder, files)
    gateway = open_gateway(account, venue)
    reconciler = Reconciler(account, venue, gateway, TRADED)  # type: ignore[arg-type]
    venue.files = files
    await reconciler.recover()
    for fault, request in (
        ("", market_order(Side.BUY, "0.02")),
        ("lost reply", market_order(Side.BUY, "1", ETH)),
        ("lost order", market_order(Side.BUY, "0.03")),
        ("", market_order(Side.SELL, "0.01")),
    ):
        venue.faults = [fault]
        await gateway.submit(request, PRICE[request.instrument])
        await reconciler.settle()


async def _recover(folder: Path, venue: CrashingVenue) -> None:
    """A new process: recover, wait out the unknown window, and compare everything."""
    venue.files, venue.faults = None, []
    account = open_account(folder)
    reconciler = Reconciler(account, venue, open_gateway(account, venue), TRADED)  # type: ignore[arg-type]
    await reconciler.recover()
    venue.wall += 60_000
    for _ in range(4):
        await reconciler.settle()
    ledger = account.ledger
    assert ledger.unsettled() == []
    assert ledger.faults == []
    assert len(venue.posts) == len(set(venue.posts)), "an order was sent twice"
    assert set(venue.orders) <= set(ledger.orders), "the venue holds an order without an intent"
    assert {str(t["id"]) for t in venue.trades} == {trade_id for _, trade_id in ledger.fills}
    held = {a: b for a, b in ledger.expected_balances().items() if b}
    assert held == {a: b for a, b in venue.assets.items() if b}
    account.journal.close()


@pytest.mark.parametrize("power_cut", [False, True], ids=["kill", "power-cut"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_crash_at_any_point_doubles_and_loses_nothing(tmp_path: Path, power_cut: bool, after: bool) -> None:
    crashes = 0
    for crash_at in range(1, 200):
        folder = tmp_path / str(crash_at)
        venue, files = CrashingVenue(), CrashingFiles(crash_at, after)
        try:
            await _trade(folder, venue, files)
        except Crash:
            crashes += 1
        if power_cut:
            os.truncate(folder / JOURNAL_FILE, files.synced_length)
        _release_lock()
        await _recover(folder, venue)
        if crashes < crash_at:
            break
    assert 25 <= crashes < 199


def _release_lock() -> None:
    """What the kernel does when a process dies: close its descriptors."""
    for journal in _OPEN:
        for fd in (journal._fd, journal._lock_fd):
            with contextlib.suppress(OSError):
                os.close(fd)
    _OPEN.clear()


_OPEN: list[Journal] = []


@pytest.fixture(autouse=True)
def _track(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Journal.__init__

    def remember(self: Journal, *arguments: object) -> None:
        original(self, *arguments)  # type: ignore[arg-type]
        _OPEN.append(self)

    monkeypatch.setattr(Journal, "__init__", remember)


async def test_the_harness_catches_a_journal_that_skips_the_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checker has teeth: without fdatasync before the send a power cut leaves an order without an intent."""
    monkeypatch.setattr(Journal, "sync", lambda self: None)
    caught = 0
    for crash_at in range(1, 60):
        folder = tmp_path / str(crash_at)
        venue, files = CrashingVenue(), CrashingFiles(crash_at, False)
        with contextlib.suppress(Crash):
            await _trade(folder, venue, files)
        os.truncate(folder / JOURNAL_FILE, files.synced_length)
        _release_lock()
        try:
            await _recover(folder, venue)
        except (AssertionError, BitacoraError):
            caught += 1
        _release_lock()
    assert caught > 10
