"""The test bench's controls, on a loopback port of their own: clock, speed, pause, statistics, disconnects."""

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

import orjson
from aiohttp import web

from lake.errors import UsageError
from market import adversity, adversity_live
from market.accounts import FREE, VENUE
from market.clock import parse_speed
from market.faults import parse_script
from market.lockstep import ADMIN, parse_advance
from market.reports import amount
from market.rest import answer

if TYPE_CHECKING:
    from market.venue import Venue


class Admin:
    """The handlers, over one venue."""

    def __init__(self, venue: "Venue") -> None:
        self._venue = venue

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/clock", self._clock),
            web.get("/stats", self._stats),
            web.post("/pause", self._pause),
            web.post("/resume", self._resume),
            web.post("/speed", self._speed),
            web.post("/advance", self._advance),
            web.post("/disconnect", self._disconnect),
            web.get("/faults", self._faults),
            web.post("/faults", self._merge_faults),
            web.delete("/faults", self._clear_faults),
            web.post("/faults/script", self._script),
            web.get("/adversity", self._adversities),
            web.post("/adversity", self._adversity),
        ]

    def _time(self) -> dict[str, object]:
        clock = self._venue.clock
        return {
            "market_time": clock.now(),
            "matched_time": self._venue.exchange.time,
            "wall_time": time.time_ns() // 1_000,
            "speed": clock.speed,
            "paused": clock.paused,
        }

    async def _clock(self, request: web.Request) -> web.Response:
        return answer(self._time())

    async def _pause(self, request: web.Request) -> web.Response:
        self._venue.pause()
        return answer(self._time())

    async def _resume(self, request: web.Request) -> web.Response:
        self._venue.resume()
        return answer(self._time())

    async def _speed(self, request: web.Request) -> web.Response:
        """Set the speed; body {"speed": x}."""
        try:
            speed = parse_speed(str(orjson.loads(await request.read())["speed"]))
            self._venue.catch_up()
            self._venue.clock.set_speed(speed)
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, UsageError) as error:
            return answer({"error": f'expected {{"speed": a positive number}}: {error}'}, 400)
        return answer(self._time())

    async def _advance(self, request: web.Request) -> web.Response:
        """Let the market run in lockstep, and answer when it has.

        Body {"to": market µs} or {"bars": n, "timeframe": "5m"}; "clients": n waits for so many participants first;
        "wait": wall seconds to wait for the end, 30 by default, 0 answers at once. `reached`: the market stands there;
        `acknowledged`: every client is done with what it had to do there.
        """
        venue = self._venue
        try:
            order = parse_advance(await request.read(), venue.exchange.time)
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError, UsageError) as error:
            return answer({"error": f'expected {{"to": µs}} or {{"bars": n, "timeframe": "5m"}}: {error}'}, 400)
        if venue.clock.speed != "lockstep":
            return answer({"error": "the market runs by itself: start it with --speed lockstep"}, 409)
        venue.lockstep.clients_wanted = order.clients
        venue.let_go(ADMIN, order.to)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(order.wait):
                while venue.exchange.time < order.to or not venue.lockstep.acknowledged(order.to):
                    await venue.lockstep.news.wait()
        reached, done = venue.exchange.time >= order.to, venue.lockstep.acknowledged(order.to)
        return answer({**self._time(), "reached": reached, "acknowledged": reached and done})

    def _chosen(self, request: web.Request) -> "Venue":
        """The venue that `?venue=` names; the first one where it does not.

        Raises:
            UsageError: there is none of that name.
        """
        name = request.query.get("venue", self._venue.name)
        for venue in self._venue.venues:
            if venue.name == name:
                return venue
        raise UsageError(f"venue: expected one of {[venue.name for venue in self._venue.venues]}, found {name!r:.50}.")

    async def _disconnect(self, request: web.Request) -> web.Response:
        """Cut every WebSocket without a goodbye."""
        clients = [client for venue in self._venue.venues for client in venue.faults.filter.clients()]
        for client in clients:
            client.cut()
        return answer({"disconnected": len(clients)})

    async def _faults(self, request: web.Request) -> web.Response:
        """The knobs, what has struck so far, and how much of a script is left."""
        try:
            return answer(self._chosen(request).faults.status())
        except UsageError as error:
            return answer({"error": str(error)}, 400)

    async def _merge_faults(self, request: web.Request) -> web.Response:
        """Change knobs; body: a JSON merge patch."""
        try:
            self._chosen(request).faults.merge(orjson.loads(await request.read()))
        except (orjson.JSONDecodeError, UsageError) as error:
            return answer({"error": str(error)}, 400)
        return await self._faults(request)

    async def _clear_faults(self, request: web.Request) -> web.Response:
        with contextlib.suppress(UsageError):  # which is told by the answer
            self._chosen(request).faults.clear()
        return await self._faults(request)

    async def _script(self, request: web.Request) -> web.Response:
        """Play a timed list of patches and actions from now on."""
        try:
            self._chosen(request).faults.play(parse_script(await request.read()))
        except UsageError as error:
            return answer({"error": str(error)}, 400)
        return await self._faults(request)

    async def _adversities(self, request: web.Request) -> web.Response:
        """The adversities that run or are to come, and all there are."""
        return answer({"running": adversity_live.running(self._venue), "events": adversity.described()})

    async def _adversity(self, request: web.Request) -> web.Response:
        """Let an adversity happen; body: its name and any of its parameters."""
        try:
            event = adversity.parse(orjson.loads(await request.read()))
            self._venue.catch_up()
            return answer(adversity_live.apply(self._venue, event))
        except (orjson.JSONDecodeError, TypeError, ValueError, UsageError) as error:
            return answer({"error": f'expected {{"name": an adversity, …}}: {error}'}, 400)

    async def _stats(self, request: web.Request) -> web.Response:
        """Counts, and the totals per asset over all owners and fees, which never change."""
        exchange = self._venue.exchange
        accounts = exchange.accounts
        return answer(
            {
                **self._time(),
                "minutes": exchange.candles.minutes,
                "websockets": sum(len(venue.faults.filter.clients()) for venue in self._venue.venues),
                "tasks": len(asyncio.all_tasks()),
                "limits": self._venue.limiter.status(),
                "orders": sum(len(orders) for account in accounts for orders in account.orders),
                "open_orders": sum(len(account.open) for account in accounts),
                "fills": sum(len(fills) for account in accounts for fills in account.fills),
                "totals": dict(zip(exchange.assets, map(amount, exchange.totals()), strict=True)),
                "fees": {a: amount(exchange.balance(VENUE, c)[FREE]) for c, a in enumerate(exchange.assets)},
                "least_balance": exchange.least_balance(),
            }
        )
