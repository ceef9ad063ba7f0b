"""A store that fails on purpose: a proxy before the real S3 server, in a process of its own, its faults told as data.

    python -m tests.faulty_s3 UPSTREAM          prints its port; `GET /-/seen`, `POST /-/plan` steer it

The client signs for the proxy's address, and the proxy passes that `Host` on, so signatures hold. A plan is one fault
for the n-th request (from 0; null: for all) whose method and path it names. Death is told by 403 from then on: no
client tries that again and nothing more reaches the store, as if the process had been killed at that point.
"""

import contextlib
import http.client
import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from tests.s3_server import S3Server

FAULTS = {
    "killed": "killed before it was sent",
    "killed_after": "done, and killed before the answer came",
    "error": "500, nothing done",
    "lost": "done, but answered 500",
    "conflict": "409, nothing done",
    "full": "507, nothing done",
    "slow": "done late",
    "cut": "done, and the connection cut before the answer",
}
_STATUS = {"error": 500, "lost": 500, "conflict": 409, "full": 507}
_CODE = {403: "AccessDenied", 409: "ConditionalRequestConflict", 500: "InternalError", 507: "InsufficientStorage"}
Answer = tuple[int, list[tuple[str, str]], bytes]


@dataclass(frozen=True, slots=True)
class FaultyStore:
    """The proxy's address for clients, and its plan."""

    server: S3Server

    def plan(self, fault: str | None = None, at: int | None = None, method: str = "", contains: str = "") -> None:
        """Heal, count from 0 again, and let `fault` strike; none by default."""
        told = {"fault": fault, "at": at, "method": method, "contains": contains}
        asked = urllib.request.Request(f"{self.server.endpoint}/-/plan", json.dumps(told).encode())
        urllib.request.urlopen(asked, timeout=10).close()

    def seen(self) -> int:
        """Requests that matched since the last plan."""
        with urllib.request.urlopen(f"{self.server.endpoint}/-/seen", timeout=10) as reply:
            return int(reply.read())


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    upstream = ""
    plan: dict[str, Any] = {}  # noqa: RUF012 - one plan for all connections
    seen, dead = 0, False
    lock = threading.Lock()

    def handle_one_request(self) -> None:
        with contextlib.suppress(ConnectionError, TimeoutError):
            super().handle_one_request()
            return
        self.close_connection = True

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.startswith("/-/"):
            self._steer(body)
            return
        fault = self._fault()
        if fault == "slow":
            time.sleep(0.4)
        done = self._forward(body) if fault in ("", "slow", "lost", "cut", "killed_after") else None
        if fault == "cut":
            self.close_connection = True
        elif done is not None and fault in ("", "slow"):
            self._answer(*done)
        else:
            self._fail(_STATUS.get(fault, 403))

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve

    def _steer(self, body: bytes) -> None:
        kind = type(self)
        with self.lock:
            if self.command == "POST":
                kind.plan, kind.seen, kind.dead = json.loads(body), 0, False
            told = str(kind.seen).encode()
        self._answer(200, [("Content-Length", str(len(told)))], told)

    def _fault(self) -> str:
        kind = type(self)
        with self.lock:
            if kind.dead:
                return "killed"
            plan = kind.plan
            if not plan or self.command not in plan["method"] + self.command * (not plan["method"]):
                return ""
            if plan["contains"] not in self.path:
                return ""
            number, kind.seen = kind.seen, kind.seen + 1
            if plan["fault"] is None or plan["at"] not in (None, number):
                return ""
            kind.dead = plan["fault"].startswith("killed")
            return str(plan["fault"])

    def _forward(self, body: bytes) -> Answer:
        address = urlsplit(self.upstream)
        upstream = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
        try:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in ("connection", "expect"):
                    upstream.putheader(name, value)
            upstream.endheaders(body)
            reply = upstream.getresponse()
            return reply.status, reply.getheaders(), reply.read()
        finally:
            upstream.close()

    def _fail(self, status: int) -> None:
        text = f"<Error><Code>{_CODE[status]}</Code><Message>planned</Message></Error>".encode()
        self._answer(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(text)))], text)

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in ("connection", "transfer-encoding"):
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        pass


@contextmanager
def faulty_store(upstream: S3Server) -> Iterator[FaultyStore]:
    """Run the proxy; its `server.environment` points clients at it."""
    command = [sys.executable, "-m", "tests.faulty_s3", upstream.endpoint]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        yield FaultyStore(S3Server(f"http://127.0.0.1:{port}", upstream.access_key, upstream.secret_key))
    finally:
        process.terminate()
        process.communicate(timeout=10)


def main(upstream: str) -> None:
    """Serve until terminated."""
    handler = type("Handler", (_Handler,), {"upstream": upstream})
    listener = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    listener.daemon_threads = True
    print(listener.server_port, flush=True)
    listener.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1])
