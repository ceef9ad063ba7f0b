"""The WebSocket endpoints: market streams (`/ws`, `/stream`) and the WebSocket API (`/ws-api/v3`) for user data."""

from typing import TYPE_CHECKING

from aiohttp import web

from market.errors import Refused, missing
from market.limits import METHODS, SPOT
from market.listeners import Client
from market.orders import Account
from market.signing import account_of, check_message, wall_ms
from market.sockets import Message, Serve, Sockets

if TYPE_CHECKING:
    from market.venue import Venue


class WebSockets(Sockets):
    """The handlers, over one venue."""

    def __init__(self, venue: "Venue") -> None:
        super().__init__(venue, venue.hub)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/ws", self._raw),
            web.get("/ws/{streams:.*}", self._raw),
            web.get("/stream", self._combined),
            web.get("/ws-api/v3", self._api),
        ]

    async def _raw(self, request: web.Request) -> web.WebSocketResponse:
        """Bare events. A number instead of stream names is ccxt's way to open several connections."""
        path = request.match_info.get("streams", "").strip("/")
        names = [] if not path or path.isdigit() else path.split("/")
        return await self._market(request, names, combined=False)

    async def _combined(self, request: web.Request) -> web.WebSocketResponse:
        """Events wrapped with the name of their stream."""
        names = [name for name in request.query.get("streams", "").split("/") if name]
        return await self._market(request, names, combined=True)

    async def _market(self, request: web.Request, names: list[str], combined: bool) -> web.WebSocketResponse:
        unknown = [name for name in names if not self._hub.known(name)]
        if unknown:
            raise web.HTTPBadRequest(text=f"unknown stream {unknown[0]}")
        return await self._converse(request, combined, names, self._paced(self._answer), "spot")

    async def _api(self, request: web.Request) -> web.WebSocketResponse:
        session = ApiSession(self._venue, request.remote or "")

        def welcome(client: Client) -> None:
            client.is_api = True

        return await self._converse(request, False, [], self._paced(session.serve), None, welcome)

    def _left(self, client: Client) -> None:
        self._venue.lockstep.leave(client)
        super()._left(client)

    def _paced(self, serve: Serve) -> Serve:
        return lambda client, message: self._pace(client, message) or serve(client, message)

    def _pace(self, client: Client, message: Message) -> Message | None:
        """Serve what concerns lockstep, on either kind of connection; None for any other request."""
        method, parameters = message.get("method"), message.get("params") or {}
        if method not in ("bitacora.hold", "bitacora.advance"):
            return None
        until = parameters.get("to") if isinstance(parameters, dict) else None
        if self._venue.clock.speed != "lockstep":
            raise Refused(2, "Invalid request: start the exchange with --speed lockstep")
        if until is not None and (isinstance(until, bool) or not isinstance(until, int)):
            raise Refused(2, f"Invalid request: expected market microseconds in to, found {until!r:.50}")
        if method == "bitacora.hold":
            self._venue.hold(client)
        else:
            self._venue.let_go(client, until)
        return {"result": {"standing": self._venue.exchange.time}, "id": message.get("id")}


class ApiSession:
    """One connection to the WebSocket API: logon and user-data subscriptions.

    Unlike the real venue, `session.logon` also takes an HMAC signature, since test accounts have no other key.
    """

    def __init__(self, venue: "Venue", address: str) -> None:
        self._venue, self._address = venue, address
        self._account: Account | None = None
        self._subscriptions = 0
        self._owners: dict[int, int] = {}

    def serve(self, client: Client, message: Message) -> Message:
        method, parameters = message.get("method"), message.get("params") or {}
        if not isinstance(parameters, dict):
            raise Refused(-1100, "Illegal characters found in a parameter.")
        self._venue.limiter.charge(self._address, SPOT, METHODS.get(str(method), 2))
        result: object
        match method:
            case "ping":
                result = {}
            case "time":
                result = {"serverTime": wall_ms()}
            case "session.logon":
                self._account = self._verified(parameters)
                result = self._status()
            case "session.status":
                result = self._status()
            case "session.logout":
                self._account = None
                result = self._status()
            case "userDataStream.subscribe":
                result = self._subscribe(client, self._logged_on())
            case "userDataStream.subscribe.signature":
                result = self._subscribe(client, self._verified(parameters))
            case "userDataStream.unsubscribe":
                result = self._unsubscribe(client, parameters.get("subscriptionId"))
            case _:
                raise Refused(-1000, f"Unknown method {method!r:.50}.")
        return {"id": message.get("id"), "status": 200, "result": result}

    def _verified(self, parameters: Message) -> Account:
        if not parameters.get("apiKey"):
            raise missing("apiKey")
        account = account_of(self._venue.accounts, str(parameters["apiKey"]))
        check_message(account, parameters, wall_ms())
        return account

    def _logged_on(self) -> Account:
        if self._account is None:
            raise Refused(-1102, "The session is not authenticated: send session.logon first.")
        return self._account

    def _status(self) -> Message:
        return {"apiKey": self._account and self._account.api_key, "serverTime": wall_ms()}

    def _subscribe(self, client: Client, account: Account) -> Message:
        if account.owner in self._owners.values():
            raise Refused(-2035, "Subscription already active.")
        number, self._subscriptions = self._subscriptions, self._subscriptions + 1
        self._owners[number] = account.owner
        self._venue.hub.subscribe_user(client, account.owner, number)
        if self._venue.clock.speed == "lockstep":
            self._venue.say_standing((), users=True)
        return {"subscriptionId": number}

    def _unsubscribe(self, client: Client, number: object) -> Message:
        if number is not None and not (isinstance(number, int) and number in self._owners):
            raise Refused(-2036, "Unknown subscription.")
        whole = number if isinstance(number, int) else None
        self._venue.hub.unsubscribe_user(client, whole)
        self._owners = {} if whole is None else {n: o for n, o in self._owners.items() if n != whole}
        return {}
