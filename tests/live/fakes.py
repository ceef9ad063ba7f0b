"""Fakes of what live touches: a disk that records or fails, and a venue with its own books and faults."""

import itertools
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from lake.instruments import Instrument, instrument
from live.account import Account
from live.clock import MarketClock
from live.errors import VenueUnavailable
from live.journal import Journal, OsFiles
from live.orders import Order, OrderRequest, OrderType, Side
from live.replies import Reply, classify_query, classify_submit
from live.risk import Gateway, Limits

BTC = "binance:BTC/USDT"
ETH = "binance:ETH/USDT"
TRADED = {name: instrument(name) for name in (BTC, ETH)}
PRICE = {BTC: Decimal("40000.00"), ETH: Decimal("2500.00")}
LIMITS = Limits(max_order_notional=Decimal(5000), max_position_notional=Decimal(10000))
MARKET_TIME = 1_700_000_100_000_000


class RecordingFiles(OsFiles):
    """The real disk, and a log of what was asked of it, shared with whoever else appends to `events`."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.fail: dict[str, OSError] = {}

    def write(self, fd: int, data: bytes) -> int:
        self._note("write")
        return super().write(fd, data)

    def fdatasync(self, fd: int) -> None:
        self._note("fdatasync")
        super().fdatasync(fd)

    def _note(self, name: str) -> None:
        self.events.append(name)
        if name in self.fail:
            raise self.fail[name]


class FakeVenue:
    """One account with exact books, filling market orders at `PRICE` for 5 bps taken in the received asset.

    `faults` are consumed one per POST: "lost reply" (placed, no answer), "lost order" (no answer, never placed),
    "late" (no answer, placed only after `release_late`), "reject" (-2010), "503" (placed, but a proxy's page).
    `forgets` makes queries say not found that many times.
    """

    def __init__(self, balances: dict[str, str] | None = None) -> None:
        self.assets = {a: Decimal(t) for a, t in (balances or {"USDT": "100000"}).items()}
        self.orders: dict[str, dict[str, Any]] = {}
        self.trades: list[dict[str, Any]] = []
        self.posts: list[str] = []
        self.faults: list[str] = []
        self.late: list[Order] = []
        self.forgets = 0
        self.unreachable = self.unreadable = False
        self.wall = 1_800_000_000_000
        self.market_ms = MARKET_TIME // 1000
        self.skew_ms = 0
        self.recv_window_ms = 5_000
        self.pause_reason: str | None = None
        self.pause_seconds = 0.0
        self.on_post: Callable[[], None] = lambda: None
        self._ids = itertools.count(1)

    def timestamp(self) -> int:
        return self.wall

    async def sync_clock(self) -> None:
        pass

    async def filters(self, traded: Mapping[str, Instrument]) -> dict[str, Instrument]:
        return dict(traded)

    async def balances(self) -> dict[str, Decimal]:
        return {a: t for a, t in self.assets.items() if t}

    async def place(self, order: Order) -> Reply:
        self.on_post()
        self.posts.append(order.client_order_id)
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "reject":
            return classify_submit(400, b'{"code":-2010,"msg":"insufficient balance"}', order.client_order_id)
        if fault == "late":
            self.late.append(order)
        if fault in ("lost order", "late"):
            return classify_submit(None, None, order.client_order_id)
        row = self._fill(order)
        if fault == "lost reply":
            return classify_submit(None, None, order.client_order_id)
        if fault == "503":
            return classify_submit(503, b"<html>", order.client_order_id)
        return classify_submit(200, _json(row), order.client_order_id)

    def release_late(self) -> None:
        while self.late:
            self._fill(self.late.pop())

    async def cancel(self, order: Order) -> Reply:
        return classify_query(400, b'{"code":-2011,"msg":"Unknown order sent."}')

    async def order(self, order: Order) -> Reply:
        if self.unreachable:
            return classify_query(None, None)
        row = self.orders.get(order.client_order_id)
        if row is None or self.forgets > 0:
            self.forgets -= 1
            return classify_query(400, b'{"code":-2013,"msg":"Order does not exist."}')
        return classify_query(200, _json({k: v for k, v in row.items() if k not in ("fills", "transactTime")}))

    async def read(self, path: str, parameters: Mapping[str, str] | None = None, signed: bool = True) -> Any:
        if self.unreadable:
            raise VenueUnavailable(f"{path}: HTTP 429")
        asked = parameters or {}
        if path.endswith("klines"):
            return [[self.market_ms - 1, "1", "1", "1", "1", "1", self.market_ms + 59_998, "1", 1, "0", "0", "0"]]
        if path.endswith("allOrders"):
            rows = self.orders.values()
            return [r for r in rows if r["symbol"] == asked["symbol"] and r["orderId"] >= int(asked["orderId"])]
        rows = [t for t in self.trades if t["symbol"] == asked["symbol"]]
        if "orderId" in asked:
            return [t for t in rows if str(t["orderId"]) == asked["orderId"]]
        return [t for t in rows if t["id"] >= int(asked["fromId"])]

    def _fill(self, order: Order) -> dict[str, Any]:
        """Fill in two trades, as a walk through two price levels does."""
        self.market_ms += 10
        traded = instrument(order.request.instrument)
        quantity, price = order.request.quantity, PRICE[traded.id]
        first = traded.floor_quantity(quantity / 2)
        order_id, fills = next(self._ids), []
        for part in (first, quantity - first):
            if part:
                fills.append(self._trade(order, traded, order_id, part, price))
        row = {
            "symbol": traded.venue_symbol, "orderId": order_id, "clientOrderId": order.client_order_id,
            "status": "FILLED", "executedQty": str(quantity), "transactTime": self.market_ms,
            "updateTime": self.market_ms, "fills": fills,
        }  # fmt: skip
        self.orders[order.client_order_id] = row
        return row

    def _trade(self, order: Order, traded: Instrument, order_id: int, part: Decimal, price: Decimal) -> dict[str, Any]:
        buys = order.request.side is Side.BUY
        asset = traded.base if buys else traded.quote
        fee = (part if buys else part * price) * Decimal("0.0005")
        sign = 1 if buys else -1
        self._add(traded.base, sign * part)
        self._add(traded.quote, -sign * part * price)
        self._add(asset, -fee)
        trade_id = len(self.trades) + 100
        self.trades.append({
            "symbol": traded.venue_symbol, "id": trade_id, "orderId": order_id, "price": str(price), "qty": str(part),
            "commission": str(fee), "commissionAsset": asset, "time": self.market_ms, "isBuyer": buys, "isMaker": False,
        })  # fmt: skip
        return {
            "price": str(price),
            "qty": str(part),
            "commission": str(fee),
            "commissionAsset": asset,
            "tradeId": trade_id,
        }

    def _add(self, asset: str, amount: Decimal) -> None:
        self.assets[asset] = self.assets.get(asset, Decimal(0)) + amount


def _json(value: Any) -> bytes:
    import orjson

    return orjson.dumps(value)


def market_order(side: Side, quantity: str, name: str = BTC) -> OrderRequest:
    return OrderRequest(name, side, OrderType.MARKET, Decimal(quantity), None, "d-1")


def open_account(folder: Path, files: OsFiles | None = None) -> Account:
    """An account on its own journal, started with 100000 USDT if it is fresh."""
    account = Account(Journal.open(folder, files), MarketClock())
    account.clock.observe(MARKET_TIME)
    return account


def start(account: Account, balances: dict[str, str] | None = None) -> Account:
    if account.is_fresh:
        account.write(
            "start", MARKET_TIME, journal_id=account.journal.id, balances=balances or {"USDT": "100000"},
            instruments=list(TRADED), settings={},
        )  # fmt: skip
    return account


def open_gateway(account: Account, venue: FakeVenue, limits: Limits = LIMITS) -> Gateway:
    gateway = Gateway(account, limits, venue, dict(TRADED))
    gateway.not_ready.clear()
    return gateway
