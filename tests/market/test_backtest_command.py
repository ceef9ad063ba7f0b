"""`python -m market.backtest` and `market.bars` as a user meets them."""

import json
import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from lake.errors import BadInput, UsageError
from market import backtest
from market.bars import read_bars, simulated_frame
from market.strategy import apply_settings
from market.strategy_file import load_strategy

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "docs/examples/momentum.py"


@pytest.fixture(scope="module")
def bars_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bars") / "bars.parquet"
    frame = simulated_frame(1, 70, "5m")
    frame.filter(pl.col("instrument").is_in(["binance:BTC/USDT", "binance:ETH/USDT"])).write_parquet(path)
    return path


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "market.backtest", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def test_one_command_writes_everything(bars_file: Path, tmp_path: Path) -> None:
    outputs = {name: tmp_path / f"{name}.parquet" for name in ("round-trips", "fills", "equity")}
    options = [part for name, path in outputs.items() for part in (f"--{name}", path)]
    done = run(EXAMPLE, "--bars", bars_file, "--html", tmp_path / "r.html", "--json", "--draws", 100, *options)
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert printed["parameters"] == {"lookback": 288, "scale": 0.04, "steps": 4}
    assert printed["measures"]["correlation_btc"] and printed["intervals_90"]["sharpe"]
    equity = pl.read_parquet(outputs["equity"])
    assert equity["equity"][-1] == pytest.approx(10_000 + printed["measures"]["pnl"])
    trades = pl.read_parquet(outputs["round-trips"])
    assert trades["pnl"].sum() == pytest.approx(printed["measures"]["pnl"])
    assert len(pl.read_parquet(outputs["fills"])) == printed["measures"]["fills"]
    page = (tmp_path / "r.html").read_text()
    assert "What speaks against it" in page and "Plotly.newPlot" in page
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=", page)  # nothing is fetched


def test_the_example_has_twenty_lines_of_code() -> None:
    lines = [line for line in EXAMPLE.read_text().splitlines() if line.strip() and not line.startswith('"""')]
    assert len(lines) <= 20
    assert EXAMPLE.read_text().strip() in (ROOT / "docs/backtest.md").read_text()


def test_text_shows_measures_intervals_and_critique(bars_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = [str(EXAMPLE), "--bars", str(bars_file), "--draws", "50", "--set", "lookback=144", "--fee-bps", "8"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["backtest", *argv])
        assert backtest.main() == 0
    text = capsys.readouterr().out
    assert "lookback=144" in text and "Sharpe ratio" in text and "What speaks against it" in text
    assert "capital ×1000" in text


def test_bar_by_bar_gives_the_same_result(bars_file: Path) -> None:
    plain, by_event = (
        json.loads(run(EXAMPLE, "--bars", bars_file, "--json", "--draws", 0, "--no-critique", *more).stdout)
        for more in ([], ["--by-event"])
    )
    assert plain == by_event


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["absent.py"], 64, "absent.py"),
        ([EXAMPLE, "--set", "width=3"], 64, "no parameter 'width'"),
        ([EXAMPLE, "--set", "lookback=x"], 64, "expected int"),
        ([EXAMPLE, "--delay-bars", "0"], 64, "own signal"),
        ([EXAMPLE, "--fee-bps", "nan"], 64, "costs"),
        ([EXAMPLE, "--nonsense"], 64, "unrecognized"),
    ],
)
def test_a_mistake_is_one_line_and_an_exit_code(
    arguments: list[object], code: int, message: str, bars_file: Path
) -> None:
    done = run(*arguments, "--bars", bars_file)
    assert (done.returncode, message in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr


def test_bad_bars_are_refused_with_the_reason(tmp_path: Path) -> None:
    good = {
        "ts": [0, 300_000],
        "open": [1.0, 1],
        "high": [1.0, 1],
        "low": [1.0, 1],
        "close": [1.0, 1],
        "volume": [1.0, 1],
    }
    cases = [
        ({**good, "high": [1.0, 0.5]}, "1 impossible bars"),
        ({**good, "close": [1.0, -1.0]}, "1 impossible bars"),
        ({**good, "ts": [0, 0]}, "share instrument and open time"),
        ({name: values for name, values in good.items() if name != "volume"}, "volume"),
        ({name: values for name, values in good.items() if name != "ts"}, "open_time or ts"),
        ({**good, "open": ["x", "y"]}, "not numbers"),
        ({name: values[:1] for name, values in good.items()}, "two bars"),
    ]
    for columns, reason in cases:
        pl.DataFrame(columns).write_parquet(tmp_path / "b.parquet")
        with pytest.raises(BadInput, match=reason):
            read_bars([tmp_path / "b.parquet"])
    (tmp_path / "b.csv").write_text("")
    with pytest.raises(BadInput):
        read_bars([tmp_path / "b.csv"])
    with pytest.raises(UsageError, match="ending in"):
        read_bars([tmp_path / "b.xls"])


def test_bars_of_files_align_on_one_grid(tmp_path: Path) -> None:
    for name, times in (("a", [0, 300, 600]), ("b", [300, 900])):
        ones = [1.0] * len(times)
        columns = {"open": ones, "high": ones, "low": ones, "close": ones, "volume": ones}
        pl.DataFrame({"ts": times, **columns}).write_csv(tmp_path / f"{name}.csv")
    bars = read_bars([tmp_path / "a.csv", tmp_path / "b.csv"], ["x:A/Q", "x:B/Q"])
    assert bars.instruments == ("x:A/Q", "x:B/Q")
    assert (bars.open_time / 1e6).tolist() == [0, 300, 600, 900] and bars.timeframe == 300_000_000
    assert (bars.values[:, :, 3] == 1).tolist() == [[True, False], [True, True], [True, False], [False, True]]


def test_a_real_file_runs(shared_data: Path) -> None:
    path = shared_data / "ohlcv/binance_spot_BTC-USDT_5m.parquet"
    strategy = apply_settings(load_strategy(str(EXAMPLE)), {})
    run_once = backtest.runner(lambda: strategy, read_bars([path], ["binance:BTC/USDT"]))
    assert len(run_once(backtest.Conditions()).fills) > 100
