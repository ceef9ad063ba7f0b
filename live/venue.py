"""Binance spot over REST: sign, send, classify. Nothing here retries an order, and no secret leaves this file.

A POST is sent once: aiohttp resends idempotent methods only, redirects are off, and a lost reply is an unknown one.
"""

import asyncio
import hashlib
import hmac
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import aiohttp

from lake.errors import BadInput, CredentialsRefused, Misconfigured
from lake.instruments import Instrument
from live.clock import wall_ms
from live.errors import VenueUnavailable
from live.orders import Order
from live.replies import TIMESTAMP_REFUSED, Outcome, Reply, classify_query, classify_submit
from live.reports import ORDER_TYPE, SIDE

log = logging.getLogger("live.venue")
MAX_SKEW_MS = 1_000
"""With a larger clock difference nothing new is sent, though requests are signed in the venue's time."""
_BAD_KEY = frozenset({-1022, -2014, -2015})


@dataclass(frozen=True, repr=False)
class Credentials:
    """An API key and its secret; neither is ever printed."""

    api_key: str
    api_secret: str

    def sign(self, text: str) -> str:
        return hmac.new(self.api_secret.encode(), text.encode(), hashlib.sha256).hexdigest()


class Venue:
    """One account's REST client. Replies come classified; only `read` raises."""

    def __init__(
        self, session: aiohttp.ClientSession, rest_url: str, credentials: Credentials, recv_window_ms: int = 5_000,
        now_ms: Callable[[], int] = wall_ms, timeout_s: float = 10,
    ) -> None:  # fmt: skip
        self._session, self._url, self._credentials = session, rest_url.rstrip("/"), credentials
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self.recv_window_ms = recv_window_ms
        self.now_ms = now_ms
        self.skew_ms = 0
        self._paused_until_ms = 0

    @property
    def pause_seconds(self) -> float:
        """How much longer the venue wants to be left alone (HTTP 429 or 418); zero or less: not now."""
        return (self._paused_until_ms - self.now_ms()) / 1000

    @property
    def pause_reason(self) -> str | None:
        """Why no order may be sent now: a rate limit's pause, or clocks too far apart."""
        if self.pause_seconds > 0:
            return f"the venue asked for a pause of {self.pause_seconds:.1f} s more"
        if abs(self.skew_ms) > MAX_SKEW_MS:
            return f"this machine's clock is {-self.skew_ms} ms off the venue's"
        return None

    def timestamp(self) -> int:
        """Wall milliseconds in the venue's clock, for signing."""
        return self.now_ms() + self.skew_ms

    async def place(self, order: Order) -> Reply:
        """Send an order, once. The timestamp is the intent's: after it plus recvWindow the venue refuses the order."""
        request = order.request
        parameters = {
            "symbol": _symbol(request.instrument),
            "side": SIDE[request.side],
            "type": ORDER_TYPE[request.order_type],
            "quantity": f"{request.quantity:f}",
            "newClientOrderId": order.client_order_id,
            "newOrderRespType": "FULL",
        }
        if request.price is not None:
            parameters |= {"price": f"{request.price:f}", "timeInForce": request.time_in_force}
        if request.stop_price is not None:
            parameters["stopPrice"] = f"{request.stop_price:f}"
        if request.post_only:
            parameters["type"] = "LIMIT_MAKER"
            del parameters["timeInForce"]  # the type says it all
        status, body = await self._send("POST", "/api/v3/order", self._signed(parameters, order.timestamp), True)
        reply = classify_submit(status, body, order.client_order_id)
        if reply.code == TIMESTAMP_REFUSED:
            await self.sync_clock()
        return reply

    async def cancel(self, order: Order) -> Reply:
        parameters = {"symbol": _symbol(order.request.instrument), "origClientOrderId": order.client_order_id}
        return await self.query("DELETE", "/api/v3/order", parameters)

    async def order(self, order: Order) -> Reply:
        """Ask for one order by our id."""
        parameters = {"symbol": _symbol(order.request.instrument), "origClientOrderId": order.client_order_id}
        return await self.query("GET", "/api/v3/order", parameters)

    async def query(self, method: str, path: str, parameters: Mapping[str, str], signed: bool = True) -> Reply:
        """One request that may safely be repeated by the caller; -1021 resyncs the clock for the next one."""
        sent = self._signed(parameters, self.timestamp()) if signed else dict(parameters)
        reply = classify_query(*await self._send(method, path, sent, signed))
        if reply.code == TIMESTAMP_REFUSED:
            await self.sync_clock()
        return reply

    async def read(self, path: str, parameters: Mapping[str, str] | None = None, signed: bool = True) -> Any:
        """The JSON of a GET, tried three times.

        Raises:
            CredentialsRefused: the venue does not accept the key or the signature.
            VenueUnavailable: no usable answer.
        """
        reply = Reply(Outcome.UNKNOWN)
        for attempt in range(3):
            if attempt:
                await asyncio.sleep(0.2 * 2**attempt)
            reply = await self.query("GET", path, parameters or {}, signed)
            if reply.outcome is Outcome.YES:
                return reply.body
            if reply.code in _BAD_KEY or (reply.outcome is Outcome.NO and reply.status in (401, 403)):
                raise CredentialsRefused(
                    f"{path}: the venue refuses the key ({reply}). Check LIVE_API_KEY and LIVE_API_SECRET."
                )
        raise VenueUnavailable(f"{self._url}{path}: {reply}. Check LIVE_REST_URL and that the venue is up.")

    async def sync_clock(self) -> None:
        """Measure the venue's clock against ours; a failed try leaves the old difference."""
        before = self.now_ms()
        reply = await self.query("GET", "/api/v3/time", {}, signed=False)
        after = self.now_ms()
        if (
            reply.outcome is Outcome.YES
            and isinstance(reply.body, dict)
            and isinstance(reply.body.get("serverTime"), int)
        ):
            difference = reply.body["serverTime"] - (before + after) // 2
            self.skew_ms = difference if abs(difference) > 50 else 0

    async def balances(self) -> dict[str, Decimal]:
        """Free plus locked per asset; zero balances left out."""
        account = await self.read("/api/v3/account")
        try:
            totals = {row["asset"]: Decimal(row["free"]) + Decimal(row["locked"]) for row in account["balances"]}
        except (KeyError, TypeError, ArithmeticError) as error:
            raise BadInput(f"/api/v3/account: unusable balances: {error!r}.") from None
        return {asset: total for asset, total in sorted(totals.items()) if total}

    async def filters(self, traded: Mapping[str, Instrument]) -> dict[str, Instrument]:
        """The instruments with the venue's own filters; those not trading now are left out.

        Raises:
            Misconfigured: the venue does not list one of them.
        """
        info = await self.read("/api/v3/exchangeInfo", signed=False)
        listed = {row["symbol"]: row for row in info["symbols"]}
        missing = [i.id for i in traded.values() if i.venue_symbol not in listed]
        if missing:
            raise Misconfigured(f"the venue does not list {', '.join(missing)}: correct LIVE_INSTRUMENTS.")
        return {
            name: with_filters(each, listed[each.venue_symbol])
            for name, each in traded.items()
            if listed[each.venue_symbol].get("status") == "TRADING"
        }

    def _signed(self, parameters: Mapping[str, str], timestamp: int) -> dict[str, str]:
        return {**parameters, "recvWindow": str(self.recv_window_ms), "timestamp": str(timestamp)}

    async def _send(
        self, method: str, path: str, parameters: dict[str, str], signed: bool
    ) -> tuple[int | None, bytes | None]:
        query = urlencode(parameters)
        headers = {}
        if signed:
            query += "&signature=" + self._credentials.sign(query)
            headers["X-MBX-APIKEY"] = self._credentials.api_key
        in_body = method == "POST"
        if in_body:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        url = f"{self._url}{path}" if in_body or not query else f"{self._url}{path}?{query}"
        try:
            async with self._session.request(
                method, url, data=query if in_body else None, headers=headers, timeout=self._timeout,
                allow_redirects=False,
            ) as response:  # fmt: skip
                body = await response.read()
                self._note_pause(response)
                return response.status, body
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            # The error's text may hold the signed address: its class says enough.
            log.warning("%s %s: no reply (%s)", method, path, type(error).__name__)
            return None, None

    def _note_pause(self, response: aiohttp.ClientResponse) -> None:
        if response.status in (418, 429):
            wait = response.headers.get("Retry-After", "")
            seconds = int(wait) if wait.isdigit() else 60
            self._paused_until_ms = max(self._paused_until_ms, self.now_ms() + seconds * 1000)
            log.warning("HTTP %d: no orders for %d s", response.status, seconds)


def with_filters(traded: Instrument, listed: Mapping[str, Any]) -> Instrument:
    """The instrument with the filters of one symbol of exchangeInfo.

    Raises:
        BadInput: a filter is missing or no positive number.
    """
    filters = {row["filterType"]: row for row in listed["filters"]}
    try:
        notional = filters.get("NOTIONAL") or filters["MIN_NOTIONAL"]
        found = replace(
            traded,
            price_tick=Decimal(filters["PRICE_FILTER"]["tickSize"]).normalize(),
            quantity_step=Decimal(filters["LOT_SIZE"]["stepSize"]).normalize(),
            min_quantity=Decimal(filters["LOT_SIZE"]["minQty"]),
            min_notional=Decimal(notional["minNotional"]),
        )
    except (KeyError, ArithmeticError, TypeError) as error:
        raise BadInput(f"exchangeInfo of {traded.venue_symbol}: unusable filters: {error!r}.") from None
    if min(found.price_tick, found.quantity_step) <= 0:
        raise BadInput(f"exchangeInfo of {traded.venue_symbol}: a tick or step is not above zero.")
    return found


def _symbol(instrument_id: str) -> str:
    return instrument_id.split(":", 1)[1].replace("/", "")
