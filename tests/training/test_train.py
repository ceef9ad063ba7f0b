"""One run from a small lake, registry in SQLite: what a laptop does without any server."""

import json
from pathlib import Path

import pytest
from training_lake import build_lake

from lake.bundle import verify_bundle
from lake.retention import leases
from lake.settings import HomeSettings
from lake.storage import Lake
from training import train
from training.errors import NotEnoughHistory
from training.settings import TrainingSettings

SMALL = ["--first-train-days", "8", "--fold-days", "4", "--min-test-days", "8", "--set", "min_leaf_rows=100"]


@pytest.mark.slow
def test_a_run_without_a_server_lands_under_the_home(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAKE_URI", str(tmp_path / "lake"))
    build_lake(tmp_path / "lake", seed=32, instruments=2, days=21)
    pair = ["--instruments", "binance:BTC/USDT,binance:ETH/USDT"]
    with pytest.raises(NotEnoughHistory, match="Ingest more history"):
        train.main(["--model", "gbm", *pair])
    assert train.main(["--model", "gbm", *pair, *SMALL]) == 0
    printed = capsys.readouterr()
    summary = json.loads(printed.out.splitlines()[-1])
    assert printed.out.splitlines()[0].split()[-1] == summary["run_id"]
    assert summary["table"] == "features_5m_v1" and summary["version"] == 0 and summary["model_version"] == 1
    assert "train gbm: fold 1 (0 of" in printed.err
    held = leases(Lake(str(tmp_path / "lake"))).select("table", "version", "model_name", "model_version").rows()
    assert held == [(name, number, "bitacora", 1) for name, number in sorted(summary["table_versions"].items())]

    from training.registry import CHALLENGER, CHAMPION, Registry

    registry = Registry(TrainingSettings(), HomeSettings())
    assert (home / "mlflow" / "mlflow.db").exists() and registry.find(CHAMPION) is None
    version = registry.version(CHALLENGER)
    manifest = verify_bundle(registry.download(version, tmp_path / "bundle"), summary["manifest_sha256"])
    assert manifest.run_id == summary["run_id"] and manifest.seed == 0 and len(manifest.features) == 18
