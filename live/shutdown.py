"""The stop: nothing new, everything cancelled, every outcome known, balances written down."""

import asyncio
import logging
import time

from live.account import Account
from live.errors import JournalFailed, NotQuiet, VenueUnavailable
from live.orders import Status
from live.reconcile import Reconciler, balance_differences
from live.risk import Gateway
from live.venue import Venue

log = logging.getLogger("live.shutdown")
QUIET_SECONDS = 45.0
"""Longer than an unknown order takes to be proven never placed (recvWindow + 10 s + three votes)."""


async def stop(account: Account, venue: Venue, gateway: Gateway, reconciler: Reconciler) -> None:
    """Cancel every open order, wait for quiescence, and journal the venue's balances. The gateway is halted already.

    Raises:
        NotQuiet: outcomes are still open after `QUIET_SECONDS`; they stay in the journal for the next start.
        JournalFailed: the books cannot be written; open orders were cancelled all the same.
    """
    deadline = time.monotonic() + QUIET_SECONDS
    cancelled: set[str] = set()
    while True:
        try:
            await _cancel_open(account, gateway, cancelled)
            await reconciler.settle()
            if not account.ledger.unsettled() and not gateway.in_flight:
                await reconciler.sweep()
                break
        except VenueUnavailable as error:
            log.warning("stop waits for the venue: %s", error)
        if account.journal.failed:
            raise JournalFailed(account.journal.failed)
        if time.monotonic() > deadline:
            raise NotQuiet(_what_is_open(account))
        await asyncio.sleep(0.2)
    await _write_stop(account, venue, len(cancelled))


async def _cancel_open(account: Account, gateway: Gateway, cancelled: set[str]) -> None:
    for order in account.ledger.unsettled():
        if order.status is Status.OPEN and not order.is_terminal:
            cancelled.add(order.client_order_id)
            await gateway.cancel(order)


async def _write_stop(account: Account, venue: Venue, cancelled: int) -> None:
    balances = await venue.balances()
    differences = balance_differences(account.ledger.expected_balances(), balances)
    if differences:
        log.error("balances differ from the journal: %s", differences)
    account.write(
        "stop",
        account.clock.now,
        balances={asset: str(total) for asset, total in balances.items()},
        cancelled=cancelled,
    )
    account.journal.sync()
    log.info("stopped: %d cancelled, %d fills in the books", cancelled, len(account.ledger.fills))


def _what_is_open(account: Account) -> str:
    names = ", ".join(f"{o.client_order_id} {o.status}" for o in account.ledger.unsettled())
    return f"stopped with open outcomes: {names}. They are in the journal; start again to settle them."
