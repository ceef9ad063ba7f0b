"""Commands: help that teaches, usage errors with 64, settings that are refused when they do not exist."""

import os
import subprocess
import sys

import pytest

from lake.errors import Misconfigured, UnknownInstrument, UsageError
from training import promote, train


@pytest.mark.parametrize("module", ["training.train", "training.promote", "training.real_history"])
def test_help_teaches_by_example(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0 and f"python -m {module}" in done.stdout and "  python -m" in done.stdout


def test_help_does_not_wait_for_mlflow_torch_or_lightgbm() -> None:
    code = "import sys, training.train, training.promote; print({'mlflow','torch','lightgbm'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--version", "1"],
        ["--auto", "--rollback"],
        ["--approve", "ana"],
        ["--approve", "ana", "--why", "  "],
        ["--reject", "", "--why", "because"],
    ],
)
def test_a_promotion_without_a_decision_or_a_reason_is_a_usage_error(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        promote.main(arguments)
    assert stop.value.code == os.EX_USAGE


def test_training_an_unknown_model_or_instrument_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="unknown model"):
        train.main(["--model", "oracle"])
    with pytest.raises(UnknownInstrument, match="binance:DOGE/USDT"):
        train.main(["--model", "gbm", "--instruments", "binance:DOGE/USDT"])
    with pytest.raises(SystemExit) as stop:
        train.main([])
    assert stop.value.code == os.EX_USAGE


def test_an_unknown_setting_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINING_TRACKING_URL", "http://127.0.0.1:1")
    with pytest.raises(Misconfigured, match="TRAINING_TRACKING_URL"):
        train.main(["--model", "gbm"])


def test_an_error_is_one_line_and_its_exit_code() -> None:
    command = [sys.executable, "-m", "training.train", "--model", "gbm"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 69, done.stderr
    assert done.stderr.startswith("error: bars_5m_v1: nothing stored in") and done.stderr.count("\n") == 1
