"""An exchange with derivatives in the test's event loop, whose market time stands still unless the test moves it."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import aiohttp
from yarl import URL

from lake.intervals import SECOND
from market.futures_desk import FuturesDesk
from market.scenario import Scenario
from market.server import listening
from market.signing import signature
from market.venue import Venue, build_venue


@dataclass
class ServedFutures:
    """A running venue and a client of its accounts."""

    venue: Venue
    rest: str
    ws: str
    http: aiohttp.ClientSession

    @property
    def desk(self) -> FuturesDesk:
        return next(x for x in self.venue.exchange.listeners if isinstance(x, FuturesDesk))

    async def get(self, path: str, **parameters: Any) -> Any:
        """The answer of a public path, which must be 200."""
        async with self.http.get(f"{self.rest}{path}", params=parameters) as reply:
            body = await reply.json()
            assert reply.status == 200, body
            return body

    async def refused(self, path: str, **parameters: Any) -> int:
        """Binance's error code of a public path."""
        async with self.http.get(f"{self.rest}{path}", params=parameters) as reply:
            assert reply.status >= 400
            return int((await reply.json())["code"])

    async def signed(self, verb: str, path: str, account: int = 0, **parameters: Any) -> Any:
        """The answer to a signed request, whatever its status."""
        keys = self.venue.exchange.accounts[account]
        query = urlencode({"timestamp": time.time_ns() // 1_000_000} | parameters)
        url = f"{self.rest}{path}?{query}&signature={signature(keys.api_secret, query)}"
        async with self.http.request(verb, URL(url, encoded=True), headers={"X-MBX-APIKEY": keys.api_key}) as reply:
            return await reply.json()

    async def order(self, side: str, kind: str, account: int = 0, symbol: str = "BTCUSDT", **rest: Any) -> Any:
        named = {"symbol": symbol, "side": side, "type": kind, "newOrderRespType": "RESULT", **rest}
        return await self.signed("POST", "/fapi/v1/order", account, **named)

    async def user_stream(self, account: int = 0) -> aiohttp.ClientWebSocketResponse:
        keys = self.venue.exchange.accounts[account]
        async with self.http.post(f"{self.rest}/fapi/v1/listenKey", headers={"X-MBX-APIKEY": keys.api_key}) as reply:
            key = (await reply.json())["listenKey"]
        return await self.http.ws_connect(f"{self.ws}/private/ws?listenKey={key}")

    def pass_time(self, seconds: float) -> None:
        """Let the market live for so long."""
        self.venue.advance(self.venue.exchange.time + round(seconds * SECOND))
        self.venue.clock.move_to(self.venue.exchange.time)
        self.venue.publish()
        self.venue.publish_depth()
        self.venue.publish_second()


@asynccontextmanager
async def serving_futures(agents: bool = True, seed: int = 4) -> AsyncIterator[ServedFutures]:
    """Two accounts; a few seconds into the present, where there are agents."""
    venue = build_venue(
        Scenario(seed, days=2), "lockstep", agents, 2, Decimal(5), Decimal(100_000), with_derivatives=True
    )
    venue.limiter.enforced = False
    async with listening(venue) as (public, _), aiohttp.ClientSession() as http:
        served = ServedFutures(venue, f"http://{public}", f"ws://{public}", http)
        served.pass_time(3)
        yield served
