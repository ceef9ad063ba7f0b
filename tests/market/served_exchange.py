"""The embedded exchange for tests: in the test's own event loop, or as the real process."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import aiohttp

from lake.intervals import SECOND
from market.clock import MarketClock, Speed
from market.scenario import Scenario
from market.server import listening
from market.signing import signature
from market.venue import Venue, build_venue


@dataclass
class Served:
    """A running exchange and a client of its first account."""

    venue: Venue
    rest: str
    ws: str
    admin: str
    http: aiohttp.ClientSession

    async def get(self, path: str, **parameters: Any) -> tuple[int, Any]:
        async with self.http.get(f"{self.rest}/api/v3/{path}", params=parameters) as reply:
            return reply.status, await reply.json()

    async def signed(self, verb: str, path: str, account: int = 0, **parameters: Any) -> tuple[int, Any]:
        """A signed request; parameters stand in the query."""
        keys = self.venue.exchange.accounts[account]
        query = urlencode({"timestamp": time.time_ns() // 1_000_000} | parameters)
        url = f"{self.rest}/api/v3/{path}?{query}&signature={signature(keys.api_secret, query)}"
        async with self.http.request(verb, url, headers={"X-MBX-APIKEY": keys.api_key}) as reply:
            return reply.status, await reply.json()

    async def socket(self, path: str) -> aiohttp.ClientWebSocketResponse:
        return await self.http.ws_connect(f"{self.ws}{path}")

    async def user_stream(self, account: int = 0) -> aiohttp.ClientWebSocketResponse:
        """Subscribed to the account's events; the answer is already read."""
        keys = self.venue.exchange.accounts[account]
        parameters: dict[str, Any] = {"apiKey": keys.api_key, "timestamp": time.time_ns() // 1_000_000}
        payload = "&".join(f"{name}={parameters[name]}" for name in sorted(parameters))
        parameters["signature"] = signature(keys.api_secret, payload)
        socket = await self.socket("/ws-api/v3")
        await socket.send_json({"id": "u", "method": "userDataStream.subscribe.signature", "params": parameters})
        answer = await socket.receive_json(timeout=5)
        assert answer == {"id": "u", "status": 200, "result": {"subscriptionId": 0}}
        return socket


@asynccontextmanager
async def serving(
    speed: Speed = 60.0, agents: bool = True, seed: int = 4, accounts: int = 2, derivatives: bool = False
) -> AsyncIterator[Served]:  # fmt: skip
    """An exchange in this event loop, a minute into its present."""
    venue = build_venue(
        Scenario(seed, days=2), speed, agents, accounts, Decimal(5), Decimal(100_000), None, derivatives
    )
    venue.exchange.advance(venue.exchange.time + 60 * SECOND)
    venue.clock = MarketClock(venue.exchange.time, speed)
    async with listening(venue) as (public, admin), aiohttp.ClientSession() as http:
        yield Served(venue, f"http://{public}", f"ws://{public}", f"http://{admin}", http)


@contextmanager
def exchange_process(*options: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """The real process and what its ready line says; terminated at the end."""
    command = [sys.executable, "-m", "market.server", *options]
    environment = {"PATH": os.environ["PATH"], "PYTHONWARNINGS": "error"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        yield process, json.loads(line)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
