"""Clients that misbehave, for `bench/load.py`: each way once per call, chosen by the generator that is passed."""

import asyncio
import contextlib
import random
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp

HOST = "127.0.0.1"
MOST_HALF_OPEN = 100


@dataclass
class Seen:
    """What the load met."""

    statuses: Counter[str] = field(default_factory=Counter)
    frames: int = 0
    abuses: Counter[str] = field(default_factory=Counter)
    rss_mb: list[tuple[float, float]] = field(default_factory=list)
    journal: dict[int, list[dict[str, Any]]] = field(default_factory=lambda: {0: [], 1: []})


def request(verb: str, target: str, headers: str = "", body: bytes = b"") -> bytes:
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    return f"{verb} {target} HTTP/1.1\r\nHost: x\r\n{headers}{length}\r\n".encode() + body


UPGRADE = (
    b"GET %s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
FORM = "Content-Type: application/x-www-form-urlencoded\r\n"
WHOLE: dict[str, Callable[[random.Random], bytes]] = {
    "no http": lambda rng: rng.randbytes(rng.randint(1, 4000)),
    "tls": lambda rng: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + rng.randbytes(500),
    "huge body": lambda rng: request("POST", "/api/v3/order", FORM, b"a=" + b"x" * 4_000_000),
    "many headers": lambda rng: request("GET", "/api/v3/ping", "".join(f"X-{n}: {n}\r\n" for n in range(500))),
    "long header": lambda rng: request("GET", "/api/v3/ping", f"X: {'y' * 100_000}\r\n"),
    "long line": lambda rng: request("GET", f"/api/v3/klines?symbol={'B' * 100_000}"),
    "bad signature": lambda rng: request(
        "POST", f"/api/v3/order?symbol=BTCUSDT&side=BUY&timestamp={time.time_ns() // 10**6}&signature={rng.random()}",
        "X-MBX-APIKEY: {key}\r\n",
    ),
    "json body": lambda rng: request("POST", "/api/v3/order", "Content-Type: application/json\r\n", b'{"symbol":['),
    "wrong charset": lambda rng: request("POST", "/api/v3/order", "Content-Type: text/plain; charset=no\r\n", b"a=b"),
    "no utf-8": lambda rng: request("POST", "/api/v3/order", FORM, b"symbol=\xff\xfe\x00"),
    "multipart": lambda rng: request("POST", "/api/v3/order", "Content-Type: multipart/form-data\r\n", b"--x\r\n\r\n"),
    "bad chunks": lambda rng: b"POST /api/v3/order HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
    "two lengths": lambda rng: b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
    "odd path": lambda rng: request("GET", "/api/v3/%00%ff%2e%2e/%ed%a0%80?symbol=%ed%a0%80&=&&%%%"),
    "odd verb": lambda rng: request(rng.choice(("BREW", "PATCH", "TRACE", "CONNECT", "OPTIONS")), "/api/v3/order"),
    "bad frames": lambda rng: UPGRADE % b"/ws" + rng.randbytes(200),
    "bad stream": lambda rng: UPGRADE % b"/ws/%ed%a0%80@trade",
    "zip bomb": lambda rng: request("POST", "/api/v3/order", FORM + "Content-Encoding: gzip\r\n", rng.randbytes(99)),
}  # fmt: skip
TALK = (
    "", "{", "[]", "null", "7", '"x"', "[" * 50_000, '{"method":' * 2_000, '{"method":"SUBSCRIBE","params":"x"}',
    '{"method":"SUBSCRIBE","params":[{}],"id":{"a":[]}}', '{"id":1e999}', '{"method":{},"params":{}}', "\ud7ff\x00",
)  # fmt: skip


async def abuse_once(port: int, seen: Seen, rng: random.Random, keys: dict[str, str], half_open: list[Any]) -> None:
    kind = rng.choice([*WHOLE, "half open", "slow", "reset", "talk", "early end"])
    seen.abuses[kind] += 1
    if kind == "talk":
        await _talk_nonsense(port, rng)
        return
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        if kind == "half open" and len(half_open) < MOST_HALF_OPEN:
            writer.write(b"GET /api/v3/ti")
            half_open.append(writer)
        elif kind == "slow":
            for byte in request("GET", "/api/v3/ping")[: rng.randint(5, 25)]:
                writer.write(bytes([byte]))
                await asyncio.sleep(0.02)
        elif kind == "reset":
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.write(request("POST", "/api/v3/order", FORM, b"symbol=BTCUSDT"))
        elif kind == "early end":
            writer.write(request("POST", "/api/v3/order", FORM, b"x" * 500)[:-200])
        elif kind in WHOLE:
            writer.write(WHOLE[kind](rng).replace(b"{key}", keys["api_key"].encode()))
            await writer.drain()
            async with asyncio.timeout(2):
                answer = await reader.read(4096)
            seen.statuses[answer[9:12].decode() if answer.startswith(b"HTTP/1.1 ") else "closed"] += 1
    finally:
        if writer not in half_open:
            writer.transport.abort()


async def _talk_nonsense(port: int, rng: random.Random) -> None:
    path = rng.choice(("/ws", "/stream", "/ws-api/v3"))
    async with aiohttp.ClientSession() as session, session.ws_connect(f"http://{HOST}:{port}{path}") as web_socket:
        for _ in range(4):
            if rng.random() < 0.2:
                await web_socket.send_bytes(rng.randbytes(100))
            else:
                await web_socket.send_str(rng.choice(TALK))
        with contextlib.suppress(TimeoutError):
            await web_socket.receive(timeout=0.2)


async def abuse(port: int, seen: Seen, rng: random.Random, keys: dict[str, str], half_open: list[Any]) -> None:
    while True:
        with contextlib.suppress(OSError, TimeoutError, aiohttp.ClientError, asyncio.IncompleteReadError):
            await abuse_once(port, seen, rng, keys, half_open)
        await asyncio.sleep(0.005)
