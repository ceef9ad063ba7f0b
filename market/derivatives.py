"""Open a venue's derivatives: put contracts, past, world, desk, streams and routes together, and the options beside.

`python -m market.server --derivatives` calls this; without it a venue is spot alone and nothing here runs.
"""

from decimal import Decimal
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

from market.agents import Agents
from market.basis import CARRY, YEAR
from market.contracts import FUTURE
from market.deribit import Deribit
from market.futures_desk import MAKER_FEE, TAKER_FEE, FuturesDesk
from market.futures_past import Past, derivative_contracts, simulate_past
from market.futures_rest import FuturesRest
from market.futures_streams import FuturesHub, FuturesSockets
from market.futures_world import open_derivatives
from market.scenario import History

if TYPE_CHECKING:
    from market.exchange import Exchange
    from market.venue import Venue


_STREAM = 1_000_003
"""Between the seeds of two venues' derivatives."""


def past_of(history: History, venue: str = "binance", stream: int = 0) -> Past:
    """The derivatives that a venue with this history lists, with their past; each stream has a basis of its own."""
    return simulate_past(history, derivative_contracts(history, venue), history.state.scenario.seed + stream * _STREAM)


def open_desk(
    exchange: "Exchange", past: Past, spot_agents: Agents | None, quote_balance: Decimal,
    fees: tuple[int, int] = (MAKER_FEE, TAKER_FEE),
) -> FuturesDesk:  # fmt: skip
    """Let the derivatives of an exchange trade: its contracts are spot's, then the past's; fees in millionths."""
    first = len(exchange.contracts) - len(past.contracts)
    world, agents = open_derivatives(exchange, past, spot_agents, first)
    if agents is not None:
        exchange.crowds.append(agents)
    desk = FuturesDesk(exchange, world)
    desk.endow(quote_balance, *fees)
    return desk


def serve(venue: "Venue", desk: FuturesDesk) -> None:
    """Give a venue the streams and routes of its derivatives, and of the options over them."""
    hub = FuturesHub(desk)
    venue.hubs.insert(0, hub)  # before spot's, which empties the outbox
    venue.more_routes += FuturesRest(venue, desk).routes() + FuturesSockets(venue, desk, hub).routes()
    venue.more_routes += Deribit(venue, partial(carry_of, desk)).routes()


def carry_of(desk: FuturesDesk, base: str, expiry: int) -> float:
    """ln(forward / index) of an option's expiry: on the line between the coin's futures, by their marks.

    Before the first future the line goes to zero at once, behind the last it goes on with that one's yearly carry.
    """
    now, world = desk.exchange.time, desk.world
    points = [(0.0, 0.0)]
    for k, contract in enumerate(world.contracts):
        if contract.kind == FUTURE and contract.base_asset == base and contract.expiry and contract.expiry > now:
            points.append((float(contract.expiry - now), float(world.mark[k] / world.index[k] - 1)))
    points.sort()
    left = max(0.0, float(expiry - now))
    for (before, low), (after, high) in pairwise(points):
        if left <= after:
            return low + (high - low) * (left - before) / (after - before)
    time, basis = points[-1]
    return basis * left / time if time else CARRY * left / YEAR
