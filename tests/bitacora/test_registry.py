"""The registry is read the same from MLflow's REST API as from the database it leaves behind."""

import subprocess
import sys
from pathlib import Path

import pytest
from small_world import write_bundle

from bitacora.home import Home
from bitacora.registry import open_registry
from bitacora.up import stop_all
from lake.errors import BundleRejected, NothingStored, Unavailable

_REGISTER = """
import sys
from pathlib import Path
import mlflow
from mlflow import MlflowClient
url, bundle, digest = sys.argv[1:]
mlflow.set_tracking_uri(url)
client = MlflowClient()
run = client.create_run(client.create_experiment("bitacora"), tags={"seed": "1"})
client.log_param(run.info.run_id, "model", "gbm")
client.log_artifacts(run.info.run_id, bundle, "bundle")
client.set_terminated(run.info.run_id)
client.create_registered_model("bitacora")
source = f"{run.info.artifact_uri}/bundle"
version = client.create_model_version("bitacora", source, run.info.run_id, tags={"manifest_sha256": digest})
client.set_registered_model_alias("bitacora", "champion", version.version)
"""


@pytest.mark.slow
def test_rest_and_database_tell_the_same(tmp_path: Path) -> None:
    from bitacora.services import mlflow

    home = Home(tmp_path / "var")
    digest = write_bundle(tmp_path / "bundle")
    service, url = mlflow.start(home)
    try:
        mlflow.wait(service)
        command = [sys.executable, "-c", _REGISTER, url, str(tmp_path / "bundle"), digest]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        rest = open_registry(home)
        over_rest = rest.by_alias("bitacora", "champion")
        run_over_rest = rest.run(over_rest.run_id)
        with pytest.raises(NothingStored):
            rest.version("bitacora", 2)
    finally:
        stop_all(home)
    database = open_registry(home)
    assert type(database) is not type(rest)
    assert database.version("bitacora", 1) == over_rest
    assert database.by_alias("bitacora", "champion").manifest_sha256 == digest
    assert database.run(over_rest.run_id)["status"] == run_over_rest["status"] == "FINISHED"
    assert database.run(over_rest.run_id)["params"] == run_over_rest["params"] == {"model": "gbm"}
    folder, manifest = database.bundle(over_rest)
    assert manifest.model_name == "bitacora"
    with pytest.raises(NothingStored):
        database.version("bitacora", 2)
    (folder / "model.onnx").write_bytes(b"altered")
    with pytest.raises(BundleRejected):
        database.bundle(over_rest)


def test_no_registry_is_unavailable(home: Path) -> None:
    with pytest.raises(Unavailable, match="no model registry"):
        open_registry(Home(home))
