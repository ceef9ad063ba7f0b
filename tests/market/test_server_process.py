"""The exchange as a process: ready line, exit codes, a quick death, and its speed over the loopback."""

import hashlib
import json
import signal
import socket
import subprocess
import sys
import time
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest
from served_exchange import exchange_process

from lake.intervals import DAY
from market.exchange import account_key
from market.scenario import epoch_us


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "market.server", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_half_a_year_is_ready_quickly_served_fast_and_gone_at_sigterm() -> None:
    started = time.monotonic()
    with exchange_process("--seed", "7", "--speed", "60", "--accounts", "3") as (process, ready):
        took = time.monotonic() - started
        assert ready["ready"] is True
        assert ready["market_time"] == epoch_us(7) + 180 * DAY
        assert len({account["api_key"] for account in ready["accounts"]}) == 3
        host = urlsplit(ready["rest"])
        connection = HTTPConnection(host.hostname or "", host.port)
        connection.request("GET", "/api/v3/depth?symbol=BTCUSDT")
        book = json.loads(connection.getresponse().read())
        assert book["bids"] and book["asks"], "whoever is told ready meets a market"
        pages, started, first = 200, time.monotonic(), epoch_us(7) // 1000
        digest = hashlib.sha256()
        for page in range(pages):
            start = first + page * 60_000_000
            connection.request("GET", f"/api/v3/klines?symbol=BTCUSDT&interval=1m&limit=1000&startTime={start}")
            body = connection.getresponse().read()
            assert body.startswith(b"[[%d," % start)
            assert body.count(b"],") == 999
            digest.update(body)
        rate = pages / (time.monotonic() - started)
        connection.close()
        stopping = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=10)
        stopped = time.monotonic() - stopping
        assert process.returncode == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
        with socket.socket() as free:
            free.bind(("127.0.0.1", host.port))
    print(f"ready after {took:.1f} s, {rate:.0f} pages/s, stopped in {stopped:.2f} s")
    assert took < 60, "8 s on a quiet, warm machine"
    assert rate > 30, "some 300 on a quiet machine"
    assert stopped < 5


def test_keys_follow_from_the_seed() -> None:
    assert account_key(1, 0, "key") == account_key(1, 0, "key")
    assert len({account_key(s, n, what) for s in (1, 2) for n in (0, 1) for what in ("key", "secret")}) == 8


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--speed", "0"], "speed"),
        (["--speed", "fast"], "--speed"),
        (["--days", "0"], "days"),
        (["--seed", "-1"], "seed"),
        (["--accounts", "5000"], "--accounts"),
        (["--fee-bps", "0.001"], "fee"),
        (["--fee-bps", "nan"], "--fee-bps"),
        (["--agents", "many"], "--agents"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_wrong_arguments_exit_64_with_one_line(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from market.server import main

    assert main(["--days", "1", *arguments]) == 64
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert text in captured.err


def test_a_taken_port_exits_78_and_says_which() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        ended = run("--days", "1", "--port", str(port))
    assert ended.returncode == 78
    assert f"port {port}" in ended.stderr
    assert "Traceback" not in ended.stderr
