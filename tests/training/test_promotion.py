"""From the lake to the champion through a real MLflow server, and out again the way live reads it."""

import hashlib
import json
import shutil
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest
from mlflow_server import mlflow_server
from training_lake import build_lake

from lake.bundle import verify_bundle
from lake.errors import BitacoraError, Unavailable
from lake.storage import Lake
from lake.tables.trading import PROMOTIONS
from training import promote, train
from training.errors import NoSuchVersion, PromotionRefused

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@dataclass(frozen=True)
class Platform:
    """A lake and a registry that the tests of this module share, in the order they stand in."""

    folder: Path
    lake: Lake
    url: str


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    folder = tmp_path_factory.mktemp("platform")
    with mlflow_server(folder / "mlflow") as url:
        yield Platform(folder, build_lake(folder / "lake", seed=31), url)


@pytest.fixture(autouse=True)
def settings(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKE_URI", platform.lake.root)
    monkeypatch.setenv("TRAINING_TRACKING_URI", platform.url)


INSTRUMENTS = "binance:BTC/USDT,binance:ETH/USDT,binance:SOL/USDT"


def run_train(capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, Any]:
    assert train.main(["--model", "gbm", "--instruments", INSTRUMENTS, *more]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def run_promote(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[dict[str, Any], BitacoraError | None]:
    error = None
    try:
        assert promote.main(list(arguments)) == 0
    except PromotionRefused as refusal:
        error = refusal
    return json.loads(capsys.readouterr().out.splitlines()[-1]), error


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read()


def champion(platform: Platform) -> dict[str, Any]:
    """What live asks the registry, word for word."""
    query = urllib.parse.urlencode({"name": "bitacora", "alias": "champion"})
    return orjson.loads(get(f"{platform.url}/api/2.0/mlflow/registered-models/alias?{query}"))["model_version"]


def audit(platform: Platform) -> pl.DataFrame:
    return platform.lake.scan(PROMOTIONS).sort("event_time").collect()


def test_a_trained_version_is_promoted_and_read_as_live_reads_it(
    platform: Platform, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = run_train(capsys)
    assert trained["model_version"] == 1 and trained["out_of_sample_days"] >= 120
    assert set(trained["table_versions"]) == {"bars_5m_v1", "features_5m_v1"}

    outcome, error = run_promote(capsys, "--model", "bitacora", "--version", "challenger", "--auto")
    assert error is None and outcome["outcome"] == "promoted"
    assert all(check["passed"] for check in outcome["verdict"]["checks"])

    version = champion(platform)
    assert version["version"] == "1"
    tags = {tag["key"]: tag["value"] for tag in version["tags"]}
    assert tags["delta.features_5m_v1.version"] == "0" and tags["gate"] == "passed"
    source = urllib.parse.urlsplit(version["source"])
    assert source.scheme == "mlflow-artifacts"
    base = f"{platform.url}/api/2.0/mlflow-artifacts/artifacts{source.path}"
    manifest = get(f"{base}/manifest.json")
    assert hashlib.sha256(manifest).hexdigest() == tags["manifest_sha256"] == trained["manifest_sha256"]
    staging = platform.folder / "staging"
    staging.mkdir()
    (staging / "manifest.json").write_bytes(manifest)
    for name in orjson.loads(manifest)["files"]:
        (staging / name).write_bytes(get(f"{base}/{name}"))
    read = verify_bundle(staging, tags["manifest_sha256"])
    assert read.run_id == trained["run_id"] and read.table_versions == trained["table_versions"]


def test_the_audit_row_says_who_when_why_from_and_to(platform: Platform) -> None:
    row = audit(platform).row(-1, named=True)
    assert (row["action"], row["from_version"], row["to_version"]) == ("promote", None, 1)
    assert row["approved_by"] == "policy:auto" and row["why"] == "the gate passed"
    assert orjson.loads(row["verdict"])["passed"] is True
    tags = {tag["key"]: tag["value"] for tag in champion(platform)["tags"]}
    assert row["manifest_sha256"] == tags["manifest_sha256"]


def test_promoting_the_champion_again_changes_nothing(platform: Platform, capsys: pytest.CaptureFixture[str]) -> None:
    before = audit(platform).height
    outcome, error = run_promote(capsys, "--version", "1", "--auto")
    assert error is None and outcome["outcome"] == "unchanged" and audit(platform).height == before


def test_the_same_data_and_seed_give_the_same_predictions_and_do_not_beat_their_own_champion(
    platform: Platform, capsys: pytest.CaptureFixture[str]
) -> None:
    again = run_train(capsys)
    first = get_bundle(platform, 1)
    second = get_bundle(platform, again["model_version"])
    assert (first / "model.onnx").read_bytes() == (second / "model.onnx").read_bytes()
    assert (first / "equity.csv").read_bytes() == (second / "equity.csv").read_bytes()

    outcome, error = run_promote(capsys, "--version", "challenger", "--approve", "ana", "--why", "newer")
    assert isinstance(error, PromotionRefused) and error.exit_code == 65
    failed = [check["name"] for check in outcome["verdict"]["checks"] if not check["passed"]]
    assert failed == ["beats the champion (bitacora version 1)"]
    row = audit(platform).row(-1, named=True)
    assert (row["action"], row["from_version"], row["to_version"], row["approved_by"]) == ("refuse", 1, 2, "ana")
    assert champion(platform)["version"] == "1"


def get_bundle(platform: Platform, number: int) -> Path:
    from lake.settings import HomeSettings
    from training.registry import Registry
    from training.settings import TrainingSettings

    registry = Registry(TrainingSettings(), HomeSettings())
    into = platform.folder / f"bundle-{number}"
    shutil.rmtree(into, ignore_errors=True)
    return registry.download(registry.version(str(number)), into)


def test_a_person_may_reject_and_the_reason_is_kept(platform: Platform, capsys: pytest.CaptureFixture[str]) -> None:
    outcome, error = run_promote(capsys, "--version", "2", "--reject", "ana", "--why", "drawdown too deep")
    assert error is not None and outcome["outcome"] == "rejected"
    row = audit(platform).row(-1, named=True)
    assert (row["action"], row["why"]) == ("reject", "drawdown too deep")


def test_a_corrupted_bundle_is_refused_before_anything_of_it_is_read(
    platform: Platform, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = next((platform.folder / "mlflow" / "artifacts").glob(f"*/{_run_id(platform, 2)}/artifacts/bundle"))
    graph = stored / "model.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"\x00")
    outcome, error = run_promote(capsys, "--version", "2", "--approve", "ana", "--why", "looks fine")
    assert error is not None
    (check,) = outcome["verdict"]["checks"]
    assert check["name"] == "bundle integrity" and "model.onnx" in check["found"]
    assert champion(platform)["version"] == "1"


def _run_id(platform: Platform, number: int) -> str:
    query = urllib.parse.urlencode({"name": "bitacora", "version": number})
    body = get(f"{platform.url}/api/2.0/mlflow/model-versions/get?{query}")
    return str(orjson.loads(body)["model_version"]["run_id"])


def test_rolling_back_without_an_earlier_champion_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(NoSuchVersion, match="nothing to roll back to"):
        promote.main(["--rollback", "--by", "ana", "--why", "drill"])


def test_one_command_rolls_back_to_a_named_version_and_back_to_the_one_before(
    platform: Platform, capsys: pytest.CaptureFixture[str]
) -> None:
    run_train(capsys, "--seed", "5")  # version 3
    outcome, _ = run_promote(capsys, "--rollback", "--version", "3", "--by", "ana", "--why", "drill")
    assert outcome["outcome"] == "rolled back" and champion(platform)["version"] == "3"
    outcome, _ = run_promote(capsys, "--rollback", "--by", "ana", "--why", "drill is over")
    assert outcome["from_version"] == 3 and champion(platform)["version"] == "1"
    assert audit(platform)["action"].to_list()[-2:] == ["rollback", "rollback"]


def test_judging_alone_records_nothing(platform: Platform, capsys: pytest.CaptureFixture[str]) -> None:
    before = audit(platform).height
    outcome, error = run_promote(capsys, "--version", "3", "--judge-only")
    assert outcome["outcome"] == "unfit" and error is not None and audit(platform).height == before


def test_a_run_carries_what_it_takes_to_judge_and_repeat_it(platform: Platform) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(platform.url)
    run = client.get_run(_run_id(platform, 1))
    assert run.info.status == "FINISHED"
    for tag in ("git_commit", "seed", "feature_service_hash", "dataset_hash", "delta.bars_5m_v1.version"):
        assert run.data.tags[tag]
    assert run.data.params["learning_rate"] and run.data.params["walk_forward.first_train_days"] == "55"
    assert run.data.metrics["candidate.sharpe"] and run.data.metrics["vs_flat.low_bps"] > 0
    folds = client.get_metric_history(run.info.run_id, "fold.correlation")
    assert [metric.step for metric in folds] == [1, 2, 3, 4, 5]
    files = {f.path for f in client.list_artifacts(run.info.run_id, "bundle")} | {
        f.path for f in client.list_artifacts(run.info.run_id)
    }
    assert {"bundle/model.onnx", "bundle/equity.csv", "bundle/importance.csv", "bundle/metrics.json"} <= files
    assert "equity.png" in files


def test_an_unknown_version_and_a_dead_registry_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NoSuchVersion, match="no version '99'"):
        promote.main(["--version", "99", "--auto"])
    monkeypatch.setenv("TRAINING_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(Unavailable, match="does not answer") as caught:
        promote.main(["--version", "1", "--auto"])
    assert caught.value.exit_code == 69
