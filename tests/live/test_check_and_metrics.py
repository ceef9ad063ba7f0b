"""`--check` says whether live would start; /metrics and /health say how it does. Neither writes or tells a secret."""

import os
from decimal import Decimal
from pathlib import Path

import aiohttp
import pytest

from live.journal import JOURNAL_FILE
from live.keeper import write_current
from live.metrics import Metrics, serve
from live.model_version import Version
from live.node import main
from live.orders import Side
from tests.live.bundles import write_bundle
from tests.live.fakes import BTC, PRICE, TRADED, FakeVenue, market_order, open_account, open_gateway, start
from tests.live.test_settings import GOOD


def _journal(home: Path) -> Path:
    account = start(open_account(home / "live" / "journal"))
    account.intend(market_order(Side.BUY, "0.01"), 1)
    account.journal.close()
    return home / "live" / "journal" / JOURNAL_FILE


def test_the_check_passes_on_an_empty_home_and_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == os.EX_OK
    printed = capsys.readouterr().out
    assert "LIVE_MAX_ORDER_NOTIONAL" in printed
    assert printed.endswith("OK\n")


def test_the_check_reads_settings_journal_and_bundle_and_writes_nothing(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    path = _journal(home)
    path.write_bytes(path.read_bytes() + b"torn")
    before = path.read_bytes()
    digest = write_bundle(home / "live" / "models" / "staging")
    (home / "live" / "models" / "staging").rename(home / "live" / "models" / digest)
    write_current(home / "live" / "models", Version("bitacora", 4, digest))
    assert main(["--check"]) == os.EX_OK
    printed = capsys.readouterr().out
    assert "1 orders unsettled, a torn tail of 4 bytes" in printed
    assert "version 4 verified" in printed
    assert "canary" not in printed
    assert path.read_bytes() == before


def test_the_check_fails_on_a_damaged_journal_or_bundle(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = _journal(home)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"USDT", b"USDX", 1))
    assert main(["--check"]) == os.EX_DATAERR
    path.write_bytes(data)
    digest = write_bundle(home / "live" / "models" / "staging")
    (home / "live" / "models" / "staging").rename(home / "live" / "models" / digest)
    write_current(home / "live" / "models", Version("bitacora", 4, digest))
    (home / "live" / "models" / digest / "model.onnx").write_bytes(b"damaged")
    assert main(["--check"]) == os.EX_DATAERR
    assert "model.onnx: expected SHA-256" in capsys.readouterr().err


async def test_metrics_count_orders_and_value_the_account_exactly(tmp_path: Path) -> None:
    account = start(open_account(tmp_path))
    gateway = open_gateway(account, FakeVenue())
    metrics = Metrics(account, gateway, TRADED)
    await gateway.submit(market_order(Side.BUY, "0.02"), PRICE[BTC])
    await gateway.submit(market_order(Side.BUY, "5"), PRICE[BTC])
    assert metrics.equity() is None
    metrics.prices[BTC] = Decimal(41_000)
    fee = Decimal("0.02") * Decimal("0.0005")
    assert metrics.equity() == Decimal(100_000) - 800 + (Decimal("0.02") - fee) * 41_000
    runner, port = await serve(metrics, gateway, 0)
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{port}/metrics") as answer:
            text = await answer.text()
        async with session.get(f"http://127.0.0.1:{port}/health") as answer:
            healthy = answer.status
        gateway.halt("test")
        async with session.get(f"http://127.0.0.1:{port}/health") as answer:
            halted = answer.status, await answer.json()
    await runner.cleanup()
    assert 'bitacora_live_orders_total{status="filled"} 1.0' in text
    assert 'bitacora_live_refused_orders{code="max_order"} 1.0' in text
    assert f'bitacora_live_position{{instrument="{BTC}"}} 0.01999' in text
    assert healthy == 200
    assert halted == (503, {"ready": False, "why": "test"})
