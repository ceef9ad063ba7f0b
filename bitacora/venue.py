"""The venue's own word on an account, by signed REST calls; kept apart from `live`, whose books it checks.

A snapshot of the same answers is kept when the embedded exchange stops, so that the books can still be compared.
"""

import hashlib
import hmac
import os
import time
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlencode

import orjson

from bitacora import web
from bitacora.home import Home
from bitacora.services import exchange
from lake.errors import Unavailable
from lake.instruments import INSTRUMENTS

TRADES_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Account:
    """Balances (free plus locked, decimal text), trades by instrument, open order ids; and where they come from."""

    source: str
    balances: dict[str, list[str]]
    """Asset to free and locked."""
    trades: dict[str, list[dict[str, Any]]]
    """Instrument id to the venue's own trade rows."""
    open_orders: list[str]


@dataclass(frozen=True, slots=True)
class SignedClient:
    """Read-only calls signed with the account's key."""

    rest: str
    api_key: str
    api_secret: str

    def get(self, path: str, **parameters: object) -> Any:
        query = urlencode({**parameters, "recvWindow": 10_000, "timestamp": int(time.time() * 1000)})
        signature = hmac.new(self.api_secret.encode(), query.encode(), hashlib.sha256).hexdigest()
        url = f"{self.rest}{path}?{query}&signature={signature}"
        return web.json_of("GET", url, headers={"X-MBX-APIKEY": self.api_key})

    def trades(self, symbol: str) -> list[dict[str, Any]]:
        """All trades of the account in a symbol, oldest first."""
        found: list[dict[str, Any]] = []
        while True:
            start = int(found[-1]["id"]) + 1 if found else 0
            page = self.get("/api/v3/myTrades", symbol=symbol, limit=TRADES_PAGE, fromId=start)
            found.extend(page)
            if len(page) < TRADES_PAGE:
                return found

    def account(self) -> Account:
        balances = {b["asset"]: [b["free"], b["locked"]] for b in self.get("/api/v3/account")["balances"]}
        trades = {i.id: self.trades(i.venue_symbol) for i in INSTRUMENTS.values()}
        open_orders = [str(order["orderId"]) for order in self.get("/api/v3/openOrders")]
        return Account(f"venue {self.rest}", balances, trades, open_orders)


def client(home: Home) -> SignedClient | None:
    """A client for the running embedded exchange, or for the venue that LIVE_* names."""
    if running := exchange.running(home):
        return SignedClient(running.rest, running.api_key, running.api_secret)
    names = ("LIVE_REST_URL", "LIVE_API_KEY", "LIVE_API_SECRET")
    rest, key, secret = (os.environ.get(name, "") for name in names)
    return SignedClient(rest.rstrip("/"), key, secret) if rest and key and secret else None


def account(home: Home) -> Account:
    """What the venue says now, or said last.

    Raises:
        Unavailable: no venue is running or set, and there is no snapshot.
    """
    if signed := client(home):
        return signed.account()
    try:
        return Account(**orjson.loads(home.venue_snapshot.read_bytes()))
    except OSError:
        raise Unavailable(
            "no venue to compare with: the embedded exchange is not running and left no snapshot. "
            "Start it (`bitacora up`), or set LIVE_REST_URL, LIVE_API_KEY and LIVE_API_SECRET."
        ) from None


def keep_snapshot(home: Home) -> None:
    """Keep what the running venue says, for later comparisons."""
    signed = client(home)
    if signed is None:
        return
    taken = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    kept = asdict(signed.account()) | {"source": f"snapshot of {taken}"}
    home.venue_snapshot.parent.mkdir(parents=True, exist_ok=True)
    home.venue_snapshot.write_bytes(orjson.dumps(kept))
