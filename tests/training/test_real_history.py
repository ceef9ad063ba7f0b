"""The procedure on real bars: it runs, and gives a verdict either way."""

import json
from pathlib import Path

import polars as pl
import pytest

from lake.errors import BadInput
from training import real_history


@pytest.mark.slow
def test_real_history_gets_a_verdict_with_its_intervals(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "results.md"
    assert real_history.main(["--data", str(shared_data / "ohlcv"), "--out", str(page)]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(summary["passed"]) == {"gbm"}
    text = page.read_text()
    assert "192 out-of-sample days, 2024-02-27 to 2024-09-05" in text
    assert "| beats flat |" in text and "| beats buy-and-hold |" in text and "bps a day" in text


def test_a_missing_or_other_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="BTC-USDT"):
        real_history.main(["--data", str(tmp_path)])
    pl.DataFrame({"time": [1]}).write_parquet(tmp_path / real_history.FILES["binance:BTC/USDT"])
    with pytest.raises(BadInput, match="expected parquet with columns ts, open"):
        real_history.main(["--data", str(tmp_path)])
