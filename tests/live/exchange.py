"""The real embedded exchange as a process, an independent look at its books, and live nodes as processes."""

import hashlib
import hmac
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from lake.journal import Record, read_journal

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Exchange:
    """Addresses and test accounts of a running exchange."""

    rest: str
    ws: str
    admin: str
    accounts: list[dict[str, str]]

    def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        data = json.dumps(body or {}).encode()
        request = urllib.request.Request(self.admin + path, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read() or b"null")

    def get(self, account: int, path: str, **parameters: Any) -> Any:
        """A signed GET, with nothing shared with live's own client."""
        keys = self.accounts[account]
        query = urlencode({**parameters, "timestamp": int(time.time() * 1000)})
        signature = hmac.new(keys["api_secret"].encode(), query.encode(), hashlib.sha256).hexdigest()
        url = f"{self.rest}{path}?{query}&signature={signature}"
        request = urllib.request.Request(url, headers={"X-MBX-APIKEY": keys["api_key"]})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read())

    def orders(self, account: int, symbol: str) -> list[dict[str, Any]]:
        return self._all(account, "/api/v3/allOrders", symbol, "orderId", "orderId")

    def trades(self, account: int, symbol: str) -> list[dict[str, Any]]:
        return self._all(account, "/api/v3/myTrades", symbol, "fromId", "id")

    def balances(self, account: int) -> dict[str, Decimal]:
        rows = self.get(account, "/api/v3/account")["balances"]
        totals = {row["asset"]: Decimal(row["free"]) + Decimal(row["locked"]) for row in rows}
        return {asset: total for asset, total in totals.items() if total}

    def _all(self, account: int, path: str, symbol: str, parameter: str, key: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        start = 0
        while True:
            page = self.get(account, path, symbol=symbol, limit=1000, **{parameter: start})
            rows += page
            if len(page) < 1000:
                return rows
            start = page[-1][key] + 1


@contextmanager
def exchange(speed: float, accounts: int = 8, seed: int = 3, days: int = 30) -> Iterator[Exchange]:
    """Start `python -m market.server` on free ports; stop it at the end."""
    command = [
        sys.executable, "-m", "market.server", "--speed", str(speed), "--accounts", str(accounts), "--seed", str(seed),
        "--days", str(days), "--limits", "off",  # restarts and market time run faster than a wall minute's budget
    ]  # fmt: skip
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = json.loads(process.stdout.readline())
            yield Exchange(line["rest"], line["ws"], line["admin"], line["accounts"])
        finally:
            process.terminate()
            process.wait(20)


class Node:
    """A live process on one account and home; its output is kept for the search for secrets."""

    def __init__(self, venue: Exchange, account: int, home: Path, registry_url: str = "", **settings: str) -> None:
        self.venue, self.account, self.home = venue, account, home
        keys = venue.accounts[account]
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(("LIVE_", "BITACORA_"))} | {
            "BITACORA_HOME": str(home), "LIVE_REST_URL": venue.rest, "LIVE_WS_URL": venue.ws,
            "LIVE_API_KEY": keys["api_key"], "LIVE_API_SECRET": keys["api_secret"], "LIVE_REGISTRY_URL": registry_url,
            "LIVE_CAPITAL_PER_INSTRUMENT": "10000", "LIVE_MAX_ORDER_NOTIONAL": "11000",
            "LIVE_MAX_POSITION_NOTIONAL": "12000", "LIVE_LOG_LEVEL": "DEBUG", **settings,
        }  # fmt: skip
        self.process: subprocess.Popen[str] | None = None
        self.log: list[str] = []

    def start(self, *arguments: str, wait: bool = True, wrapper: tuple[str, ...] = ()) -> dict[str, Any]:
        """Start; returns the ready line (empty if it ended before)."""
        command = [*wrapper, sys.executable, "-m", "live.node", *arguments]
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        threading.Thread(target=self._drain, args=(self.process,), daemon=True).start()
        if not wait:
            return {}
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.log.append(line)
        return dict(json.loads(line)) if line else {}

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self, timeout: float = 60) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def records(self, *kinds: str) -> list[Record]:
        path = self.home / "live" / "journal" / "journal.log"
        records = read_journal(path)[0] if path.exists() else []
        return [r for r in records if not kinds or r["kind"] in kinds]

    def wait_for(self, kind: str, count: int = 1, timeout: float = 90, **fields: Any) -> list[Record]:
        """Wait until the journal holds so many records of a kind with these fields."""
        deadline = time.monotonic() + timeout
        while True:
            found = [r for r in self.records(kind) if all(r.get(k) == v for k, v in fields.items())]
            if len(found) >= count:
                return found
            assert time.monotonic() < deadline, f"{len(found)} of {count} {kind} {fields}: {''.join(self.log)[-3000:]}"
            assert self.process is not None and self.process.poll() is None, "".join(self.log)[-3000:]
            time.sleep(0.1)

    def kill_in_flight(self, timeout: float = 20) -> bool:
        """Kill as soon as a new intent stands in the journal; False if none came and it was killed all the same."""
        path = self.home / "live" / "journal" / "journal.log"
        deadline = time.monotonic() + timeout
        with path.open("rb") as stream:
            stream.seek(0, os.SEEK_END)
            while time.monotonic() < deadline:
                if b'"kind":"intent"' in stream.read():
                    self.kill()
                    return True
                time.sleep(0.0005)
        self.kill()
        return False

    def _drain(self, process: "subprocess.Popen[str]") -> None:
        assert process.stderr is not None
        for line in process.stderr:
            self.log.append(line)


def assert_books_agree(node: Node) -> int:
    """The venue's orders, trades and balances against the journal's bytes, without live's ledger. Returns fills.

    One venue order per intent, none the journal does not know, one fill record per trade and nothing else, and
    start + fills - fees = balances to the last digit.
    """
    records = node.records()
    journal_id = next(r["journal_id"] for r in records if r["kind"] == "start")
    balances = {a: Decimal(t) for a, t in next(r["balances"] for r in records if r["kind"] == "start").items()}
    intents = {r["client_order_id"]: r for r in records if r["kind"] == "intent"}
    fills = {(r["instrument"], r["trade_id"]): r for r in records if r["kind"] == "fill"}
    assert len(fills) == sum(r["kind"] == "fill" for r in records), "a fill was journalled twice"
    seen: set[tuple[str, str]] = set()
    for instrument in next(r["instruments"] for r in records if r["kind"] == "start"):
        symbol = instrument.split(":")[1].replace("/", "")
        orders = node.venue.orders(node.account, symbol)
        names = [row["clientOrderId"] for row in orders]
        assert len(names) == len(set(names)), "an order was doubled"
        assert set(names) <= set(intents), "the venue holds an order without an intent"
        assert all(name.startswith(f"b{journal_id}-") for name in names)
        for row in orders:
            assert Decimal(row["origQty"]) == Decimal(intents[row["clientOrderId"]]["quantity"])
        by_id = {row["orderId"]: row["clientOrderId"] for row in orders}
        for trade in node.venue.trades(node.account, symbol):
            fill = fills[(instrument, str(trade["id"]))]
            seen.add((instrument, str(trade["id"])))
            assert fill["client_order_id"] == by_id[trade["orderId"]]
            assert (fill["side"] == "buy") == trade["isBuyer"]
            assert Decimal(fill["price"]) == Decimal(trade["price"])
            assert Decimal(fill["quantity"]) == Decimal(trade["qty"])
            assert Decimal(fill["fee"]) == Decimal(trade["commission"])
            assert fill["fee_asset"] == trade["commissionAsset"]
            _add(balances, instrument, trade)
    assert seen == set(fills), "the journal holds a fill the venue does not"
    assert {a: b for a, b in balances.items() if b} == node.venue.balances(node.account)
    return len(fills)


def _add(balances: dict[str, Decimal], instrument: str, trade: dict[str, Any]) -> None:
    base, quote = instrument.split(":")[1].split("/")
    sign = 1 if trade["isBuyer"] else -1
    quantity, price = Decimal(trade["qty"]), Decimal(trade["price"])
    fee = Decimal(trade["commission"])
    for asset, amount in (
        (base, sign * quantity),
        (quote, -sign * quantity * price),
        (trade["commissionAsset"], -fee),
    ):
        balances[asset] = balances.get(asset, Decimal(0)) + amount
