"""Rate limits as Binance enforces them: request weight per address, orders per account, WebSocket connections.

Windows are fixed pieces of the wall clock (a minute begins at :00), as Binance documents, and not sliding ones. Who
goes on after a 429 is banned with 418, each time longer: 2 minutes up to 3 days. Sources: weights and limits of "REST
API" and "WebSocket Streams" in binance/binance-spot-api-docs, and of USDⓈ-M "General Info". Binance does not publish
after how many refusals it bans, nor the steps between the shortest and the longest ban; `PATIENCE`, `BANS` are ours.

Options (/api/v2) have no weights. A path absent from `WEIGHTS` weighs one: a router calls `weigh` where it does not.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil
from time import time

from market.errors import Limited

Weight = int | Callable[[Mapping[str, str]], int]

PATIENCE = 10
"""Requests answered 429 within one window before the address is banned."""
BANS = (120, 600, 3_600, 21_600, 86_400, 259_200)
"""Seconds of an address's first, second, … ban; three days without one start the list anew."""
CONNECTIONS, CONNECTION_SECONDS = 300, 300
"""WebSocket connections of an address in so many seconds."""
MESSAGES_PER_SECOND = {"spot": 5, "futures": 10}
"""Messages a client may send on one stream connection; a faster one is disconnected."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Paths that share their budgets."""

    prefix: str
    weight_per_minute: int
    orders: tuple[tuple[str, int, int], ...]
    """Header suffix, seconds and most orders per account of each window."""


SPOT = Pool("/api/v3/", 6_000, (("10S", 10, 100), ("1D", 86_400, 200_000)))
USDM = Pool("/fapi/", 2_400, (("10S", 10, 300), ("1M", 60, 1_200)))
POOLS = (SPOT, USDM)


def _whole(parameters: Mapping[str, str], name: str, default: int) -> int:
    text = parameters.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else default


def _by_limit(default: int, *steps: tuple[int, int]) -> Weight:
    """A weight that grows with `limit`: (largest limit, weight) in order; beyond the last, the last."""

    def weight(parameters: Mapping[str, str]) -> int:
        limit = _whole(parameters, "limit", default)
        return next((cost for most, cost in steps if limit <= most), steps[-1][1])

    return weight


def _with(name: str, present: int, absent: int) -> Weight:
    return lambda parameters: present if parameters.get(name) else absent


def _tickers(one: int, several: int, everything: int, most: int = 100) -> Weight:
    """By symbol: one, a JSON list (`several` from 21 on), or all."""

    def weight(parameters: Mapping[str, str]) -> int:
        if parameters.get("symbol"):
            return one
        count = parameters.get("symbols", "").count('"') // 2
        if not count or count > most:
            return everything
        return one if count <= 20 else several

    return weight


def _windows(parameters: Mapping[str, str]) -> int:
    """Four a symbol, at most 200: `/api/v3/ticker` and `ticker/tradingDay`."""
    return min(200, 4 * max(1, parameters.get("symbols", "").count('"') // 2))


_FUTURES_KLINES = _by_limit(500, (99, 1), (499, 2), (1_000, 5), (1_500, 10))

WEIGHTS: dict[tuple[str, str], Weight] = {
    ("GET", "/api/v3/exchangeInfo"): 20,
    ("GET", "/api/v3/depth"): _by_limit(100, (100, 5), (500, 25), (1_000, 50), (5_000, 250)),
    ("GET", "/api/v3/trades"): 25,
    ("GET", "/api/v3/historicalTrades"): 25,
    ("GET", "/api/v3/aggTrades"): 4,
    ("GET", "/api/v3/klines"): 2,
    ("GET", "/api/v3/uiKlines"): 2,
    ("GET", "/api/v3/avgPrice"): 2,
    ("GET", "/api/v3/ticker/24hr"): _tickers(2, 40, 80),
    ("GET", "/api/v3/ticker/price"): _with("symbol", 2, 4),
    ("GET", "/api/v3/ticker/bookTicker"): _with("symbol", 2, 4),
    ("GET", "/api/v3/ticker/tradingDay"): _windows,
    ("GET", "/api/v3/ticker"): _windows,
    ("POST", "/api/v3/order/test"): _with("computeCommissionRates", 20, 1),
    ("GET", "/api/v3/order"): 4,
    ("PUT", "/api/v3/order/amend/keepPriority"): 4,
    ("GET", "/api/v3/order/amendments"): 4,
    ("GET", "/api/v3/openOrders"): _with("symbol", 6, 80),
    ("GET", "/api/v3/allOrders"): 20,
    ("GET", "/api/v3/myTrades"): _with("orderId", 5, 20),
    ("GET", "/api/v3/account"): 20,
    ("GET", "/api/v3/account/commission"): 20,
    ("GET", "/api/v3/rateLimit/order"): 40,
    ("GET", "/fapi/v1/depth"): _by_limit(500, (50, 2), (100, 5), (500, 10), (1_000, 20)),
    ("GET", "/fapi/v1/trades"): 5,
    ("GET", "/fapi/v1/historicalTrades"): 20,
    ("GET", "/fapi/v1/aggTrades"): 20,
    ("GET", "/fapi/v1/klines"): _FUTURES_KLINES,
    ("GET", "/fapi/v1/continuousKlines"): _FUTURES_KLINES,
    ("GET", "/fapi/v1/markPriceKlines"): _FUTURES_KLINES,
    ("GET", "/fapi/v1/indexPriceKlines"): _FUTURES_KLINES,
    ("GET", "/fapi/v1/premiumIndexKlines"): _FUTURES_KLINES,
    ("GET", "/fapi/v1/premiumIndex"): _with("symbol", 1, 10),
    ("GET", "/fapi/v1/ticker/24hr"): _with("symbol", 1, 40),
    ("GET", "/fapi/v1/ticker/price"): _with("symbol", 1, 2),
    ("GET", "/fapi/v2/ticker/price"): _with("symbol", 1, 2),
    ("GET", "/fapi/v1/ticker/bookTicker"): _with("symbol", 2, 5),
    ("POST", "/fapi/v1/order"): 0,
    ("GET", "/fapi/v1/openOrders"): _with("symbol", 1, 40),
    ("GET", "/fapi/v1/allOrders"): 5,
    ("POST", "/fapi/v1/batchOrders"): 5,
    ("POST", "/fapi/v1/countdownCancelAll"): 10,
    ("GET", "/fapi/v1/commissionRate"): 20,
    ("GET", "/fapi/v1/userTrades"): 5,
    ("GET", "/fapi/v1/income"): 30,
    **{("GET", f"/fapi/{v}/{name}"): 5 for v in ("v1", "v2", "v3") for name in ("account", "balance", "positionRisk")},
}
"""Weight by verb and path; where a weight depends on parameters, a function of the query's."""

ORDERS: dict[tuple[str, str], int] = {
    ("POST", "/api/v3/order"): 1,
    ("POST", "/api/v3/order/cancelReplace"): 1,
    ("POST", "/fapi/v1/order"): 1,
    ("PUT", "/fapi/v1/order"): 1,
    ("POST", "/fapi/v1/batchOrders"): 5,
}
"""What a successful request adds to its account's order counts. Unlike at Binance, a fill gives nothing back."""

METHODS = {"ping": 1, "time": 1, "session.logon": 2, "order.place": 1, "order.cancel": 1}
"""Weights of the WebSocket API; connecting and every other method weigh two."""


def weigh(verb: str, path: str, weight: Weight, orders: int = 0) -> None:
    """Declare what a path costs; for routers of paths that this file does not know."""
    WEIGHTS[verb, path] = weight
    if orders:
        ORDERS[verb, path] = orders


def pool_of(path: str) -> Pool | None:
    return next((pool for pool in POOLS if path.startswith(pool.prefix)), None)


class Window:
    """Counts per key in fixed windows of the clock; old windows are forgotten."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds
        self._number, self._counts = -1, dict[str, int]()

    def add(self, key: str, amount: int, now: float) -> int:
        """The key's count in the current window, after adding."""
        number = int(now // self.seconds)
        if number != self._number:
            self._number, self._counts = number, {}
        count = self._counts[key] = self._counts.get(key, 0) + amount
        return count

    def left(self, now: float) -> int:
        """Whole seconds until the window ends, at least one."""
        return max(1, ceil((now // self.seconds + 1) * self.seconds - now))


class Limiter:
    """The budgets of one venue. Switched off it counts, so that headers stay true, and refuses nothing."""

    def __init__(self, enforced: bool = True, now: Callable[[], float] = time) -> None:
        self.enforced = enforced
        self.now = now
        self._weights = {pool: Window(60) for pool in POOLS}
        self._refusals = Window(60)
        self._orders = {(pool, letter): Window(seconds) for pool in POOLS for letter, seconds, _ in pool.orders}
        self._connections = Window(CONNECTION_SECONDS)
        self._bans: dict[str, tuple[int, float]] = {}
        self.most_weight = dict.fromkeys((pool.prefix for pool in POOLS), 0)
        self.refused = {"429": 0, "418": 0}

    def weight(self, verb: str, path: str, parameters: Mapping[str, str]) -> int:
        cost = WEIGHTS.get((verb, path), 1)
        return cost if isinstance(cost, int) else cost(parameters)

    def charge(self, address: str, pool: Pool, weight: int) -> int:
        """Charge a request; returns the weight the address has used in this minute.

        Raises:
            Limited: 429 beyond the budget, with the seconds left; 418 while the address is banned.
        """
        now = self.now()
        self._check_ban(address, now)
        used = self._weights[pool].add(address, weight, now)
        self.most_weight[pool.prefix] = max(self.most_weight[pool.prefix], used)
        if self.enforced and used > pool.weight_per_minute:
            self._refuse(address, self._weights[pool], now, f"{pool.weight_per_minute} request weight per 1 MINUTE")
        return used

    def connect(self, address: str) -> None:
        """Count a WebSocket connection.

        Raises:
            Limited: too many of them, or the address is banned.
        """
        now = self.now()
        self._check_ban(address, now)
        if self._connections.add(address, 1, now) > CONNECTIONS and self.enforced:
            self._refuse(address, self._connections, now, f"{CONNECTIONS} connections per 5 MINUTE")

    def check_orders(self, account: str, pool: Pool, verb: str, path: str) -> None:
        """Whether the account may place what this request places.

        Raises:
            Limited: 429 with -1015 and, as at Binance, without Retry-After.
        """
        amount = ORDERS.get((verb, path), 0)
        if not amount or not self.enforced:
            return
        for letter, seconds, most in pool.orders:
            if self._orders[pool, letter].add(account, 0, self.now()) + amount > most:
                self.refused["429"] += 1
                raise Limited(-1015, f"Too many new orders; current limit is {most} orders per {seconds} SECOND.", 429)

    def count_orders(self, account: str, pool: Pool, verb: str, path: str) -> dict[str, int]:
        """Count a successful order; returns the account's counts by header suffix, empty for other requests."""
        amount = ORDERS.get((verb, path), 0)
        if not amount:
            return {}
        return {letter: self._orders[pool, letter].add(account, amount, self.now()) for letter, _, _ in pool.orders}

    def _check_ban(self, address: str, now: float) -> None:
        times, until = self._bans.get(address, (0, 0.0))
        if now < until and self.enforced:
            self.refused["418"] += 1
            raise Limited(-1003, _banned(until), 418, max(1, ceil(until - now)))
        if times and now > until + BANS[-1]:
            del self._bans[address]

    def _refuse(self, address: str, window: Window, now: float, limit: str) -> None:
        if self._refusals.add(address, 1, now) > PATIENCE:
            times = self._bans.get(address, (0, 0.0))[0]
            until = now + BANS[min(times, len(BANS) - 1)]
            self._bans[address] = (times + 1, until)
            self._check_ban(address, now)
        self.refused["429"] += 1
        text = f"Too much request weight used; current limit is {limit}. Please use WebSocket Streams for live updates."
        raise Limited(-1003, text, 429, window.left(now))

    def status(self) -> dict[str, object]:
        """For the admin side: highest weight of a minute per pool, refusals, and who is banned until when."""
        now = self.now()
        banned = {address: until for address, (_, until) in self._bans.items() if until > now}
        return {
            "enforced": self.enforced, "most_weight_1m": self.most_weight, "refused": self.refused, "banned": banned,
        }  # fmt: skip


def _banned(until: float) -> str:
    return (
        f"Way too much request weight used; IP banned until {int(until * 1000)}. "
        "Please use WebSocket Streams for live updates to avoid bans."
    )


class Talk:
    """Messages of one WebSocket connection."""

    def __init__(self, most_per_second: int, now: Callable[[], float] = time) -> None:
        self._most, self.now, self._window = most_per_second, now, Window(1)

    def allows(self) -> bool:
        return self._window.add("", 1, self.now()) <= self._most
