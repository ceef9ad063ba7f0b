"""`python -m market.backtest` over trades and order books, as a user meets it."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

ROOT = Path(__file__).resolve().parents[2]
MAKER = ROOT / "docs/examples/market_maker.py"


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "market.backtest", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two minutes of a wandering book: a snapshot, a diff every 100 ms, a trade every 50 ms."""
    rng = np.random.default_rng(1)
    path, middle, at, update = tmp_path_factory.mktemp("l2") / "capture.jsonl.gz", 10_000, 1_700_000_000_000, 100
    levels = [[f"{(middle - k) / 100:.2f}", "1.0"] for k in range(1, 40)]
    asks = [[f"{(middle + k) / 100:.2f}", "1.0"] for k in range(1, 40)]
    messages: list[dict[str, object]] = [{"lastUpdateId": update, "bids": levels, "asks": asks}]
    for number in range(2_400):
        at += 50
        price = middle + int(rng.integers(-3, 4))
        trade = {"e": "trade", "E": at, "T": at, "t": number, "p": f"{price / 100:.2f}", "q": "0.3"}
        messages.append(trade | {"m": bool(price < middle)})
        if number % 2:
            middle += int(rng.integers(-1, 2))
            bids = [[f"{(middle - k) / 100:.2f}", f"{rng.integers(1, 20) / 10}"] for k in range(1, 4)]
            bids += [[f"{(middle + k) / 100:.2f}", "0"] for k in range(4)]
            offers = [[f"{(middle + k) / 100:.2f}", f"{rng.integers(1, 20) / 10}"] for k in range(1, 4)]
            offers += [[f"{(middle - k) / 100:.2f}", "0"] for k in range(4)]
            diff = {"e": "depthUpdate", "E": at, "U": update + 1, "u": update + 1, "b": bids, "a": offers}
            messages.append(diff)
            update += 1
    with gzip.open(path, "wt") as out:
        for number, message in enumerate(messages):
            out.write(f"{1_700_000_000_000_000_000 + number} {json.dumps(message)}\n")
    return path


OPTIONS = ("--shorts", "--leverage", "5", "--maker-fee-bps", "-0.5", "--set", "lots=5", "--set", "most=30")


def test_an_order_book_is_backtested_and_criticised(capture: Path, tmp_path: Path) -> None:
    fills = tmp_path / "fills.csv"
    done = run(
        MAKER, "--l2", f"test:BTC/USD:USD={capture}", "--latency", "feed=1ms,entry=lognormal:5ms:0.3,ack=5ms",
        "--queue", "power:2", *OPTIONS, "--draws", 20, "--json", "--fills", fills, "--html", tmp_path / "r.html",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert printed["instruments"] == ["test:BTC/USD:USD"]
    assert printed["level_changes"] > 10_000 and printed["trades"] == 2_400
    measures = printed["measures"]
    assert measures["fills"] == len(pl.read_csv(fills)) > 100 and measures["maker_share"] == 1.0
    assert measures["entry_latency_ms"] == pytest.approx(5.2, rel=0.1) and measures["feed_latency_ms"] == 1.0
    assert "correlation_btc" in measures and printed["measured_on"].endswith(" s")
    assert measures["fees"] < 0 and printed["intervals_90"]["sharpe"]
    assert printed["conditions"]["queue"] == "power:2"
    names = [variant["name"] for variant in printed["critique"]["variants"]]
    assert names == ["costs ×0", "costs ×0.5", "as run", "costs ×2", "50 ms later"]
    assert len(printed["critique"]["capacity"]) == 9
    assert "50 ms later" in (tmp_path / "r.html").read_text()


def test_trades_alone_and_event_by_event(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    count = 400
    frame = pl.DataFrame(
        {
            "timestamp": 1_700_000_000_000 + np.sort(rng.integers(0, 60_000, count)),
            "price": 100 + np.round(np.cumsum(rng.normal(0, 0.02, count)), 2),
            "amount": np.round(rng.uniform(0.1, 2, count), 1),
            "side": rng.choice(["buy", "sell"], count),
        }
    )
    frame.write_csv(tmp_path / "trades.csv")
    strategy = tmp_path / "follow.py"
    strategy.write_text(
        "from dataclasses import dataclass\n"
        "from market.strategy import Strategy, Target\n"
        "@dataclass\nclass Follow(Strategy):\n    weight: float = 0.5\n"
        "    def on_trade(self, trade, account):\n"
        "        yield Target(trade.instrument, self.weight if trade.side == 'buy' else 0.0)\n"
    )
    data = ("--trades", f"test:A/USD={tmp_path / 'trades.csv'}", "--draws", 0, "--json", "--no-critique")
    done = run(strategy, *data, "--fee-bps", 4, "--impact", 0.5, "--permanent", 0.3)
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert printed["conditions"]["maker_fee_bps"] == printed["conditions"]["taker_fee_bps"] == 4
    assert printed["measures"]["fills"] > 100 and printed["measures"]["maker_share"] == 0.0
    dearer = json.loads(run(strategy, *data, "--fee-bps", 4, "--impact", 5, "--permanent", 0.3).stdout)
    assert dearer["measures"]["slippage"] > printed["measures"]["slippage"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--l2", "x.gz", "--bars", "b.csv"], "one of --bars"),
        ([], "one of --bars"),
        (["--l2", "x.gz", "--stop-loss", "0.1"], "--stop-loss"),
        (["--bars", "b.csv", "--queue", "log"], "--queue"),
        (["--l2", "x.gz", "--latency", "soon"], "duration"),
        (["--l2", "x.gz", "--queue", "fifo"], "risk_averse"),
        (["--trades", "a.csv,b.csv"], "one file of trades"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from lake.errors import UsageError
    from market import backtest

    (tmp_path / "b.csv").write_text("ts,open,high,low,close,volume\n0,1,1,1,1,1\n60,1,1,1,1,1\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["backtest", str(MAKER), *arguments])
    with pytest.raises(UsageError, match=message):
        backtest.main()


def test_a_missing_file_has_an_exit_code() -> None:
    done = run(MAKER, "--l2", "absent.gz")
    assert (done.returncode, "absent.gz" in done.stderr, "Traceback" in done.stderr) == (65, True, False)
