"""What the embedded exchange survives: load, abuse, a thousand sockets; no crash, leak or wrong fill.

    python bench/load.py [--seconds 60] [--websockets 1000] [--seed 1]

Starts the real process (`--limits off`), lets these work on it at once for so long, and prints one JSON line:

    hammers    pipelined requests on keep-alive connections, as wrk sends them
    traders    two accounts that trade and keep a journal of what they were answered
    abusers    no HTTP, huge bodies and headers, bad signatures, wrong content types, half requests, resets, slow bytes,
               broken frames, malformed JSON
    listeners  WebSocket clients, two of which never read

Afterwards: the process lives and printed nothing; no answer was a 5xx; open sockets and tasks are back to where they
were; memory does not grow with time; per asset the totals never changed; and the venue's orders, fills and balances are
those of the journals. Exits 1 with the reasons where one of these does not hold.
"""

import asyncio
import contextlib
import hashlib
import hmac
import json
import os
import random
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from statistics import fmean
from typing import Any

import aiohttp
from abusers import HOST, UPGRADE, Seen, abuse, request

from lake.command import parser, run

PATHS = (
    "/api/v3/ping", "/api/v3/time", "/api/v3/ticker/price", "/api/v3/ticker/bookTicker?symbol=ETHUSDT",
    "/api/v3/depth?symbol=BTCUSDT&limit=10", "/api/v3/klines?symbol=BTCUSDT&interval=1m&limit=20",
    "/api/v3/trades?symbol=XRPUSDT&limit=10", "/api/v3/avgPrice?symbol=ADAUSDT", "/api/v3/klines?symbol=NOPE",
)  # fmt: skip
PIPELINE, HAMMERS, ABUSERS, DEAF = 16, 4, 4, 2
ORDERS_PER_SECOND = 20
QUOTE = Decimal(100_000)
MOST_SLOPE_MB = 30.0
"""Growth of the resident memory per minute over the second half, histories and orders included."""
Reply = tuple[int, bytes]


class Connection:
    """A keep-alive connection that counts statuses."""

    def __init__(self, port: int, seen: Seen) -> None:
        self._port, self._seen = port, seen
        self._reader: asyncio.StreamReader | None = None

    async def ask(self, *requests: bytes) -> list[Reply]:
        """Send requests together; read their answers in order."""
        if self._reader is None:
            self._reader, self._writer = await asyncio.open_connection(HOST, self._port)
        self._writer.write(b"".join(requests))
        await self._writer.drain()
        return [await self._read(self._reader) for _ in requests]

    async def _read(self, reader: asyncio.StreamReader) -> Reply:
        head = await reader.readuntil(b"\r\n\r\n")
        status = int(head[9:12])
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n", 1)[0] or 0)
        self._seen.statuses[str(status)] += 1
        return status, await reader.readexactly(length)

    def close(self) -> None:
        if self._reader is not None:
            self._writer.transport.abort()


def signed(keys: dict[str, str], verb: str, path: str, **parameters: Any) -> bytes:
    query = "&".join(f"{k}={v}" for k, v in parameters.items() | {("timestamp", time.time_ns() // 1_000_000)})
    signature = hmac.new(keys["api_secret"].encode(), query.encode(), hashlib.sha256).hexdigest()
    return request(verb, f"{path}?{query}&signature={signature}", f"X-MBX-APIKEY: {keys['api_key']}\r\n")


# -- the load -----------------------------------------------------------------------------------------------------


async def hammer(port: int, seen: Seen, rng: random.Random) -> None:
    connection = Connection(port, seen)
    try:
        while True:
            await connection.ask(*(request("GET", rng.choice(PATHS)) for _ in range(PIPELINE)))
    finally:
        connection.close()


async def trade(port: int, seen: Seen, rng: random.Random, keys: dict[str, str], number: int) -> None:
    """Account 0 takes, account 1 also rests and cancels; every answer goes into the journal."""
    connection = Connection(port, seen)
    try:
        while True:
            await asyncio.sleep(rng.expovariate(ORDERS_PER_SECOND / 2))
            side, quantity = rng.choice(("BUY", "SELL")), f"0.0{rng.randint(1, 20):02}"
            order = {"symbol": "BTCUSDT", "side": side, "quantity": quantity}
            if number and rng.random() < 0.5:
                _, body = (await connection.ask(request("GET", "/api/v3/ticker/price?symbol=BTCUSDT")))[0]
                price = Decimal(json.loads(body)["price"]) * Decimal(rng.choice(("0.999", "1.001")))
                order |= {"type": "LIMIT", "timeInForce": "GTC", "price": f"{price:.2f}"}
            else:
                order |= {"type": "MARKET"}
            status, body = (await connection.ask(signed(keys, "POST", "/api/v3/order", **order)))[0]
            if status == 200:
                seen.journal[number].append(json.loads(body))
            if number and rng.random() < 0.1:
                await connection.ask(signed(keys, "DELETE", "/api/v3/openOrders", symbol="BTCUSDT"))
    finally:
        connection.close()


async def listen(session: aiohttp.ClientSession, port: int, streams: str, seen: Seen) -> None:
    async with session.ws_connect(f"ws://{HOST}:{port}/ws/{streams}") as web_socket:
        async for _ in web_socket:
            seen.frames += 1


async def never_read(port: int) -> None:
    """Subscribe to everything and read nothing."""
    symbols = ("btcusdt", "ethusdt", "solusdt", "bnbusdt", "xrpusdt", "adausdt")
    names = "/".join(f"{s}@{k}" for s in symbols for k in ("trade", "depth@100ms", "bookTicker"))
    deaf, loop = socket.socket(), asyncio.get_running_loop()
    deaf.setblocking(False)  # a full backlog must not hold up the others, who empty it
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
    try:
        await loop.sock_connect(deaf, (HOST, port))
        await loop.sock_sendall(deaf, UPGRADE % f"/ws/{names}".encode())
        await asyncio.Event().wait()
    finally:
        deaf.close()


# -- the verdict --------------------------------------------------------------------------------------------------


async def forever(work: Callable[[], Awaitable[None]]) -> None:
    """Again whenever a connection ends."""
    while True:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, aiohttp.ClientError):
            await work()
        await asyncio.sleep(0.05)


async def stats(admin: str) -> dict[str, Any]:
    async with aiohttp.ClientSession() as session, session.get(f"{admin}/stats") as reply:
        return dict(await reply.json())


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - only the count


def rss_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def slope(samples: list[tuple[float, float]]) -> float:
    """Least-squares growth a minute."""
    x, y = [at for at, _ in samples], [value for _, value in samples]
    mean_x, mean_y = fmean(x), fmean(y)
    spread = sum((a - mean_x) ** 2 for a in x)
    return 60 * sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / spread if spread else 0.0


async def attack(port: int, pid: int, accounts: list[dict[str, str]], seconds: float, sockets: int, seed: int) -> Seen:
    """Everything at once; every connection is closed at the end."""
    seen, half_open, rng = Seen(), list[Any](), random.Random(seed)
    rngs = [random.Random(rng.random()) for _ in range(HAMMERS + ABUSERS + 2)]
    streams = [f"{s}usdt@{k}" for s in ("btc", "eth", "sol") for k in ("kline_1m", "kline_5m", "kline_1h")]
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        works: list[Callable[[], Awaitable[None]]] = [
            *(lambda r=r: hammer(port, seen, r) for r in rngs[:HAMMERS]),
            *(lambda r=r: abuse(port, seen, r, accounts[2], half_open) for r in rngs[HAMMERS:-2]),
            *(lambda n=n: trade(port, seen, rngs[-1 - n], accounts[n], n) for n in range(2)),
            *(
                lambda n=n: listen(session, port, "btcusdt@trade" if n < 20 else streams[n % 9], seen)
                for n in range(sockets)
            ),
            *(lambda: never_read(port) for _ in range(DEAF)),
        ]
        tasks = [asyncio.create_task(forever(work)) for work in works]
        started = time.monotonic()
        while (elapsed := time.monotonic() - started) < seconds:
            await asyncio.sleep(0.25)
            seen.rss_mb.append((elapsed, rss_mb(pid)))
        left = set(tasks)
        while left:  # a task loses its cancellation where the wait it sits in ends at the same moment
            for task in left:
                task.cancel()
            _, left = await asyncio.wait(left, timeout=1)
    for writer in half_open:
        writer.transport.abort()
    return seen


async def check_journal(port: int, seen: Seen, keys: dict[str, str], number: int) -> list[str]:
    """What the venue says of an account against what the account was answered."""
    connection, wrong = Connection(port, Seen()), []
    orders = await _pages(connection, keys, "/api/v3/allOrders", "orderId", "orderId")
    fills = await _pages(connection, keys, "/api/v3/myTrades", "fromId", "id")
    _, body = (await connection.ask(signed(keys, "GET", "/api/v3/account")))[0]
    connection.close()
    filled: Counter[int] = Counter()
    base, quote = Decimal(0), QUOTE
    for fill in fills:
        sign = 1 if fill["isBuyer"] else -1
        filled[fill["orderId"]] += Decimal(fill["qty"])  # type: ignore[assignment]
        base += sign * Decimal(fill["qty"]) - (Decimal(fill["commission"]) if sign > 0 else 0)
        quote -= sign * Decimal(fill["quoteQty"]) + (Decimal(fill["commission"]) if sign < 0 else 0)
    known = {order["orderId"]: order for order in orders}
    for order in orders:
        if Decimal(order["executedQty"]) != filled[order["orderId"]]:
            wrong.append(f"order {order['orderId']}: its fills do not make {order['executedQty']}")
    answered = {fill["tradeId"] for order in seen.journal[number] for fill in order["fills"]}
    if not answered <= {fill["id"] for fill in fills}:
        wrong.append(f"account {number}: fills that were answered are not in myTrades")
    if not {order["orderId"] for order in seen.journal[number]} <= set(known):
        wrong.append(f"account {number}: orders that were answered are not in allOrders")
    if number == 0 and len(answered) != len(fills) and len(known) == len(seen.journal[number]):
        wrong.append(f"account {number}: {len(fills)} fills, {len(answered)} answered")
    balances = {row["asset"]: Decimal(row["free"]) + Decimal(row["locked"]) for row in json.loads(body)["balances"]}
    if (balances["BTC"], balances["USDT"]) != (base, quote):
        wrong.append(f"account {number}: balances {balances['BTC']}, {balances['USDT']}; fills make {base}, {quote}")
    return wrong


async def _pages(connection: Connection, keys: dict[str, str], path: str, by: str, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    while True:
        start = rows[-1][name] + 1 if rows else 0
        asked = signed(keys, "GET", path, symbol="BTCUSDT", limit=1000, **{by: start})
        _, body = (await connection.ask(asked))[0]
        page = json.loads(body)
        rows += page
        if len(page) < 1000:
            return rows


@contextlib.asynccontextmanager
async def exchange(seed: int) -> AsyncIterator[tuple[asyncio.subprocess.Process, dict[str, Any]]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "market.server", "--days", "2", "--speed", "60", "--accounts", "3", "--limits", "off",
        "--seed", str(seed), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        yield process, json.loads(await process.stdout.readline())
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), 15)
        if process.returncode is None:
            process.kill()


async def measure(seconds: float, sockets: int, seed: int) -> dict[str, Any]:
    """Run it all; `wrong` lists what did not hold."""
    async with exchange(seed) as (process, ready):
        port, pid, admin = int(ready["rest"].rpartition(":")[2]), process.pid, ready["admin"]
        warm = await attack(port, pid, ready["accounts"][2:] * 3, min(2.0, seconds / 5), sockets, seed + 1)
        before, files = await _settled(admin, pid)
        seen = await attack(port, pid, ready["accounts"], seconds, sockets, seed)
        wrong = ["the process ended"] if process.returncode is not None else []
        after, files_after = await _settled(admin, pid, files, before["tasks"])
        for number in range(2):
            wrong += await check_journal(port, seen, ready["accounts"][number], number)
        process.send_signal(signal.SIGTERM)
        _, errors = await asyncio.wait_for(process.communicate(), 30)
    growth = slope(seen.rss_mb[len(seen.rss_mb) // 2 :])
    fives = {status: n for status, n in (seen.statuses + warm.statuses).items() if status.startswith("5")}
    wrong += [f"answers {fives}"] * bool(fives) + [f"it printed {errors[-700:]!r}"] * bool(errors)
    wrong += [f"exit code {process.returncode}"] * (process.returncode != 0)
    wrong += [f"open files {files} before, {files_after} after"] * (files_after > files)
    wrong += [f"tasks {before['tasks']} before, {after['tasks']} after"] * (after["tasks"] > before["tasks"])
    wrong += ["totals changed"] * (before["totals"] != after["totals"])
    wrong += [f"a balance of {after['least_balance']}"] * (after["least_balance"] < 0)
    wrong += [f"memory grows by {growth:.0f} MB a minute"] * (seconds >= 30 and growth > MOST_SLOPE_MB)
    return {
        "bench": "load", "seconds": seconds, "websockets": sockets, "requests": sum(seen.statuses.values()),
        "requests_per_second": round(sum(seen.statuses.values()) / seconds), "frames": seen.frames,
        "statuses": dict(sorted(seen.statuses.items())), "abuses": sum(seen.abuses.values()),
        "kinds_of_abuse": len(seen.abuses), "orders": sum(map(len, seen.journal.values())),
        "rss_mb": [round(seen.rss_mb[0][1]), round(seen.rss_mb[-1][1])], "rss_slope_mb_per_minute": round(growth, 1),
        "open_files": [files, files_after], "tasks": [before["tasks"], after["tasks"]], "wrong": wrong,
    }  # fmt: skip


async def _settled(admin: str, pid: int, files: int = 0, tasks: int = 0) -> tuple[dict[str, Any], int]:
    """Statistics and open files once the connections are gone, waiting for up to ten seconds."""
    for _ in range(50):
        await asyncio.sleep(0.2)
        now = await stats(admin)
        if not now["websockets"] and (not files or (open_files(pid) <= files and now["tasks"] <= tasks)):
            break
    now = await stats(admin)
    await asyncio.sleep(0.5)  # until the connection that asked is gone
    return now, open_files(pid)


def main() -> int:
    arguments = parser("bench.load", __doc__)
    arguments.add_argument("--seconds", type=float, default=60.0)
    arguments.add_argument("--websockets", type=int, default=1000)
    arguments.add_argument("--seed", type=int, default=1)
    options = arguments.parse_args()
    verdict = asyncio.run(measure(options.seconds, options.websockets, options.seed))
    print(json.dumps(verdict), flush=True)
    return 1 if verdict["wrong"] else 0


if __name__ == "__main__":
    run(main)
