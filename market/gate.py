"""What stands before every handler: bounds on what a client may send and keep busy, rate limits, faults, last resort.

Whatever arrives, the client gets an answer in Binance's form or a closed connection, and the server goes on: bodies
are bounded in size and in time and never unpacked, headers by the HTTP parser, idle and half-sent requests by
`IDLE_SECONDS`, WebSocket readers by their queue (`market.listeners`). An exception that no handler expected is logged
and answered with -1000.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING

from aiohttp import WSCloseCode, WSMsgType, web
from aiohttp.http_exceptions import HttpProcessingError

from market.errors import Limited, Refused
from market.fault_http import HttpFaults
from market.limits import MESSAGES_PER_SECOND, SPOT, Limiter, Talk, pool_of
from market.rest import Handler, answer, refusals

if TYPE_CHECKING:
    from market.venue import Venue

log = logging.getLogger("market.gate")
MOST_BODY = 256 * 1024
"""Bytes of a request's body; Binance's longest request is a batch of orders of a few kB."""
BODY_SECONDS = 10.0
"""Wall time for a body to arrive."""
IDLE_SECONDS = 75.0
"""A connection without a complete request head for this long is closed: idle, half-open, or sent drop by drop."""
MOST_HEADERS, MOST_LINE = 64, 8_190
CONNECT_WEIGHT = 2
"""What a connection to the WebSocket API costs."""


def runner(routes: Sequence[web.RouteDef], venue: "Venue | None" = None) -> web.AppRunner:
    """An application that survives its clients; with a venue also its limits and faults, else it is an admin side."""
    of_venue = [Limits(venue.limiter).middleware, HttpFaults(venue).middleware] if venue else []
    app = web.Application(middlewares=[survive, *of_venue, refusals], client_max_size=MOST_BODY)
    app.add_routes(routes)
    if venue is not None:
        app.cleanup_ctx.append(_looking(venue))
    return web.AppRunner(
        app, access_log=None, shutdown_timeout=0.5, keepalive_timeout=IDLE_SECONDS, max_line_size=MOST_LINE,
        max_field_size=MOST_LINE, max_headers=MOST_HEADERS, auto_decompress=False, lingering_time=1.0, logger=_quiet(),
    )  # fmt: skip


def _looking(venue: "Venue") -> Callable[[web.Application], AsyncIterator[None]]:
    """Let the venue's faults happen while the application runs."""

    async def context(app: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(venue.faults.run())
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    return context


class _Unparsed(logging.Filter):
    """Leaves out requests that are no HTTP: a stranger's bytes are no news."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, HttpProcessingError)


def _quiet() -> logging.Logger:
    logger = logging.getLogger("market.http")
    if not any(isinstance(f, _Unparsed) for f in logger.filters):
        logger.addFilter(_Unparsed())
    return logger


@web.middleware
async def survive(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Read the body within bounds, and answer what nobody else answered."""
    try:
        if request.can_read_body:
            await _read(request)
        return await handler(request)
    except Refused as error:
        return answer({"code": error.code, "msg": error.message}, error.status)
    except web.HTTPException:
        raise
    except ConnectionError:
        return web.Response(status=400)  # the client is gone: nobody reads this
    except Exception:
        log.exception("%s %s failed", request.method, request.path)
        return answer({"code": -1000, "msg": "An unknown error occurred while processing the request."}, 500)


async def _read(request: web.Request) -> None:
    """Read the body once, bounded, and check that its text can be read.

    Raises:
        Refused: too large, too slow, or not in the encoding it claims.
    """
    try:
        async with asyncio.timeout(BODY_SECONDS):
            body = await request.read()
        body.decode(request.charset or "utf-8")
    except web.HTTPRequestEntityTooLarge:
        raise Refused(-1102, f"Request body is too large: at most {MOST_BODY} bytes.", 413) from None
    except TimeoutError:
        raise Refused(-1102, f"Request body did not arrive within {BODY_SECONDS:g} s.", 408) from None
    except (UnicodeDecodeError, LookupError):
        raise Refused(-1100, "Illegal characters found in the request body.") from None
    except (web.RequestPayloadError, HttpProcessingError):
        raise Refused(-1102, "Request body is malformed.") from None


async def heard(socket: web.WebSocketResponse, limiter: Limiter, market: str | None) -> AsyncIterator[str]:
    """The texts a client sends, until it leaves, or talks too fast for a stream of that market and is closed.

    Messages of lockstep are ours and as fast as the market; without a market (the WebSocket API) weights are the limit.
    """
    talk = Talk(MESSAGES_PER_SECOND[market]) if market is not None and limiter.enforced else None
    async for frame in socket:
        text = frame.data if frame.type is WSMsgType.TEXT else ""
        if talk is not None and '"bitacora.' not in text and not talk.allows():
            await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"Too many requests")
            return
        if frame.type is WSMsgType.TEXT:
            yield text


class Limits:
    """Charges requests and connections, and writes the headers that show what is left."""

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await self._charged(request, handler)
        except Limited as error:
            reply = answer({"code": error.code, "msg": error.message}, error.status)
            if error.retry_after is not None:
                reply.headers["Retry-After"] = str(error.retry_after)
            return reply

    async def _charged(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        limiter, address = self._limiter, request.remote or ""
        if request.headers.get("Upgrade", "").lower() == "websocket":
            limiter.connect(address)
            if request.path.startswith("/ws-api"):
                limiter.charge(address, SPOT, CONNECT_WEIGHT)
            return await handler(request)
        pool, verb = pool_of(request.path), "GET" if request.method == "HEAD" else request.method
        if pool is None:
            return await handler(request)
        used = limiter.charge(address, pool, limiter.weight(verb, request.path, request.query))
        account = request.headers.get("X-MBX-APIKEY", "")
        limiter.check_orders(account, pool, verb, request.path)
        reply = await handler(request)
        if not reply.prepared:
            reply.headers["X-MBX-USED-WEIGHT"] = reply.headers["X-MBX-USED-WEIGHT-1M"] = str(used)
            if reply.status == 200:
                for letter, count in limiter.count_orders(account, pool, verb, request.path).items():
                    reply.headers[f"X-MBX-ORDER-COUNT-{letter}"] = str(count)
        return reply
