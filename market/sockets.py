"""One WebSocket connection from its opening to its end, and the requests about streams that every endpoint answers."""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from market.errors import Refused
from market.gate import heard
from market.listeners import MOST_STREAMS, PING_SECONDS, Client, Listeners

if TYPE_CHECKING:
    from market.venue import Venue

log = logging.getLogger("market.sockets")
Message = dict[str, Any]
Serve = Callable[[Client, Message], Message]


class Sockets:
    """What the endpoints of spot and of derivatives share, over one venue and one hub."""

    def __init__(self, venue: "Venue", hub: Listeners[Any]) -> None:
        self._venue, self._hub = venue, hub

    async def _converse(
        self, request: web.Request, combined: bool, names: list[str], serve: Serve, market: str | None,
        welcome: Callable[[Client], None] | None = None,
    ) -> web.WebSocketResponse:  # fmt: skip
        """Hold a connection: answer its requests until it closes, or talks too fast for the market."""
        socket = web.WebSocketResponse(heartbeat=PING_SECONDS, compress=False, max_msg_size=1 << 20)
        await socket.prepare(request)
        client = Client(socket, request, combined)
        if welcome is not None:
            welcome(client)
        self._venue.faults.filter.attach(client)
        self._hub.clients.add(client)
        self._hub.subscribe(client, names)
        try:
            async for text in heard(socket, self._venue.limiter, market):
                client.send(orjson.dumps(served(client, text, serve)).decode())
        finally:
            self._left(client)
        return socket

    def _left(self, client: Client) -> None:
        """The connection is over."""
        self._hub.forget(client)

    def _answer(self, client: Client, message: Message) -> Message:
        """Subscribe, unsubscribe, or list the streams of a client."""
        method, streams = message.get("method"), message.get("params") or []
        if method == "LIST_SUBSCRIPTIONS":
            return {"result": sorted(client.streams), "id": message.get("id")}
        if not isinstance(streams, list) or not all(isinstance(s, str) and self._hub.known(s) for s in streams):
            raise Refused(2, f"Invalid request: unknown stream in {streams!r:.200}")
        if method == "SUBSCRIBE":
            if len(client.streams | set(streams)) > MOST_STREAMS:
                raise Refused(2, f"Invalid request: more than {MOST_STREAMS} streams")
            self._hub.subscribe(client, streams)
        elif method == "UNSUBSCRIBE":
            self._hub.unsubscribe(client, streams)
        else:
            raise Refused(2, f"Invalid request: unknown method {method!r:.50}")
        return {"result": None, "id": message.get("id")}


def served(client: Client, text: str, serve: Serve) -> Message:
    """Answer one request, or say what is wrong with it."""
    try:
        message = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return {"error": {"code": 3, "msg": f"Invalid JSON: {error}"}, "id": None}
    if not isinstance(message, dict):
        return {"error": {"code": 3, "msg": "Invalid JSON: expected an object"}, "id": None}
    try:
        return serve(client, message)
    except Refused as error:
        problem = {"error": {"code": error.code, "msg": error.message}, "id": message.get("id")}
        return problem if error.code > 0 else {"status": error.status, **problem}
    except Exception:
        log.exception("a WebSocket request failed")
        problem = {"code": -1000, "msg": "An unknown error occurred while processing the request."}
        return {"error": problem, "id": message.get("id"), "status": 500}
