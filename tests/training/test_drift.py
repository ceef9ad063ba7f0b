"""What the comparison measured is found again in MLflow."""

import json
from pathlib import Path

import pytest

from lake.errors import BadInput, NothingStored
from lake.settings import HomeSettings
from training.drift import log_drift
from training.registry import Registry
from training.settings import TrainingSettings


def test_every_finite_measure_is_logged_and_a_missing_file_told(home: Path) -> None:
    registry = Registry(TrainingSettings(), HomeSettings(home=home))
    folder = home / "metrics"
    with pytest.raises(NothingStored, match=r"jobs\.compare_features"):
        log_drift(registry, folder)
    folder.mkdir(parents=True)
    features = {"rsi_14": {"psi": 0.3, "ks": 0.1, "skew": None}}
    measured = {"service": "default_5m", "service_hash": "a" * 64, "reads": {"features_5m_v1": 3}, "features": features}
    (folder / "features.json").write_text(json.dumps(measured))
    run = registry._client.get_run(log_drift(registry, folder))
    assert run.data.metrics == {"psi/rsi_14": 0.3, "ks/rsi_14": 0.1}
    assert run.data.tags["service_hash"] == "a" * 64
    (folder / "features.json").write_text("{}")
    with pytest.raises(BadInput, match="expected what"):
        log_drift(registry, folder)
