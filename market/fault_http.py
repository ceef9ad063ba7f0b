"""Faults of requests: late, lost, refused or answered badly, and queries and snapshots that lag behind.

One middleware, between the limits and the handlers. `before` faults keep the request from the exchange; `after` faults
let it act and spoil the answer only, which is what makes a timed-out order's state unknown.
"""

import asyncio
import socket
import struct
import time
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from market.book import BUY, SELL
from market.faults import HttpFault
from market.reports import price_text, quantity_text
from market.rest import Handler, answer
from market.signing import WALL_MS

if TYPE_CHECKING:
    from market.venue import Venue

NEVER_SECONDS = 600.0
"""How long `never` keeps a connection whose client does not give up."""
MOST_LEVELS = 5_000
PAGE = "<html><head><title>503 Service Temporarily Unavailable</title></head><body><hr>nginx</body></html>"
_MESSAGES = {
    -1000: "An unknown error occurred while processing the request.",
    -1001: "Internal error; unable to process your request. Please try again.",
    -1006: "An unexpected response was received from the message bus. Execution status unknown.",
    -1007: "Timeout waiting for response from backend server. Send status unknown; execution status unknown.",
    -1008: "Server is currently overloaded with other requests. Please try again in a few minutes.",
}
_ORDERS = ("/order", "/order/cancelReplace", "/batchOrders")
_QUERIES = ("/order", "/openOrders", "/openOrder", "/allOrders", "/myTrades", "/userTrades")
Key = tuple[str, str, int]
Levels = tuple[int, list[list[int]], list[list[int]]]


class HttpFaults:
    """The middleware of one venue."""

    def __init__(self, venue: "Venue") -> None:
        self._venue, self._faults = venue, venue.faults
        self._born: dict[Key, float] = {}
        self._old: tuple[float, list[Levels]] | None = None
        self._new: tuple[float, list[Levels]] | None = None

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        WALL_MS.set(self._faults.wall_ms)
        if self._faults.is_down:
            return web.Response(status=503, text=PAGE, content_type="text/html")
        api_key = request.headers.get("X-MBX-APIKEY")
        if api_key:
            self._faults.hear(api_key)
        fault = self._faults.strike(request.method, request.path)
        if fault is None:
            return self._lagging(request, await handler(request))
        if fault.stage == "before":
            if fault.action != "late":
                return await spoiled(request, fault, None)
            await _wait(request, fault.seconds)
            return self._lagging(request, await handler(request))
        return await spoiled(request, fault, self._lagging(request, await handler(request)))

    # -- lags -----------------------------------------------------------------------------------------------------

    def _lagging(self, request: web.Request, reply: web.StreamResponse) -> web.StreamResponse:
        """What a query shows while the knobs hold back orders and snapshots."""
        knobs = self._faults.knobs
        if not isinstance(reply, web.Response) or reply.status != 200:
            return reply
        if knobs.query_lag_seconds:
            if request.method in ("POST", "PUT") and request.path.endswith(_ORDERS):
                self._remember(request.path, orjson.loads(_body(reply)))
            elif request.method == "GET" and request.path.endswith(_QUERIES):
                return self._without_young(request.path, reply)
        if knobs.stale_snapshot_seconds and request.path.endswith("/depth"):
            return self._stale(request, reply)
        return reply

    def _remember(self, path: str, value: Any) -> None:
        for row in value if isinstance(value, list) else (value, value.get("newOrderResponse")):
            if isinstance(row, dict) and "orderId" in row:
                self._born[_family(path), row["symbol"], row["orderId"]] = time.monotonic()

    def _without_young(self, path: str, reply: web.Response) -> web.Response:
        oldest = time.monotonic() - self._faults.knobs.query_lag_seconds
        self._born = {key: at for key, at in self._born.items() if at > oldest}
        value = orjson.loads(_body(reply))
        if isinstance(value, list):
            rows = [row for row in value if (_family(path), row["symbol"], row["orderId"]) not in self._born]
            if len(rows) < len(value):
                self._faults.note(path, 0, "query lag")
            return answer(rows)
        if (_family(path), value["symbol"], value["orderId"]) in self._born:
            self._faults.note(path, 0, "query lag")
            return answer({"code": -2013, "msg": "Order does not exist."}, 400)
        return reply

    def _stale(self, request: web.Request, reply: web.Response) -> web.Response:
        """The snapshot with an older book in it, cut to the depth that was asked for."""
        value = orjson.loads(_body(reply))
        i = self._instrument(request)
        if i is None:
            return reply
        exchange = self._venue.exchange
        update_id, bids, asks = self._snapshots()[i]
        for name, levels in (("bids", bids), ("asks", asks)):
            value[name] = [
                [price_text(exchange, i, price), quantity_text(exchange, i, lots)]
                for price, lots in levels[: len(value[name])]
            ]
        value["lastUpdateId"] = update_id
        self._faults.note(request.path, 0, "stale snapshot")
        return answer(value)

    def _instrument(self, request: web.Request) -> int | None:
        exchange, symbol = self._venue.exchange, request.query.get("symbol")
        derivative = _family(request.path) == "fapi"
        for i, contract in enumerate(exchange.contracts):
            if contract.venue_symbol == symbol and contract.is_derivative == derivative:
                return i
        return None

    def _snapshots(self) -> list[Levels]:
        """All books as they were up to `stale_snapshot_seconds` ago, taken when this is asked and the last is old."""
        now, age = time.monotonic(), self._faults.knobs.stale_snapshot_seconds
        if self._new is None or now - self._new[0] > age / 2:
            self._old, self._new = self._new, (now, [self._levels(i) for i in range(len(self._venue.exchange.filters))])
        kept = self._old if self._old is not None and now - self._old[0] <= age else self._new
        return kept[1]

    def _levels(self, i: int) -> Levels:
        exchange = self._venue.exchange
        sides = [exchange.depth(i, side, MOST_LEVELS).tolist() for side in (BUY, SELL)]
        return exchange.update_id(i), sides[0], sides[1]


# -- bad answers --------------------------------------------------------------------------------------------------


async def spoiled(request: web.Request, fault: HttpFault, reply: web.StreamResponse | None) -> web.StreamResponse:
    """What the client gets in place of `reply`, or of an answer that was never made."""
    body = _body(reply) if isinstance(reply, web.Response) else b'{"code":-1000,"msg":"never sent"}'
    match fault.action:
        case "late":
            await _wait(request, fault.seconds)
            return reply if reply is not None else answer({})
        case "never":
            await _wait(request, NEVER_SECONDS)
            _abort(request)
            return web.Response(status=504)
        case "status":
            await _wait(request, fault.seconds)
            if fault.code:
                message = _MESSAGES.get(fault.code, "Internal error.")
                return answer({"code": fault.code, "msg": message}, fault.status)
            return web.Response(status=fault.status, text=PAGE, content_type="text/html")
        case "truncate":
            return web.Response(body=body[: max(1, len(body) // 2)], content_type="application/json")
        case "garbage":
            return web.Response(text=PAGE, content_type="text/html")
    return await _broken_off(request, body, reset=fault.action == "reset")


async def _broken_off(request: web.Request, body: bytes, reset: bool) -> web.StreamResponse:
    """Half of an answer, then RST or FIN."""
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(body))})
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    transport = request.transport
    if transport is not None:
        sock = transport.get_extra_info("socket")
        if reset and sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        else:
            transport.close()
    return response


async def _wait(request: web.Request, seconds: float) -> None:
    """Sleep, but no longer than the client holds its connection."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and request.transport is not None:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(min(left, 0.2))


def _abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


def _body(reply: web.Response) -> bytes:
    return bytes(reply.body) if isinstance(reply.body, bytes | bytearray) else b""


def _family(path: str) -> str:
    return path.split("/", 2)[1]
