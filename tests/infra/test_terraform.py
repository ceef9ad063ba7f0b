"""The AWS configuration is formatted, valid, and keeps its promises under a mocked provider, offline."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

TERRAFORM = Path(__file__).resolve().parents[2] / "infra" / "terraform"


def terraform(folder: Path, *arguments: str) -> str:
    environment = os.environ | {"TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1", "AWS_EC2_METADATA_DISABLED": "true"}
    environment.pop("TF_CLI_CONFIG_FILE", None)
    result = subprocess.run(
        ["terraform", f"-chdir={folder}", *arguments], capture_output=True, text=True, env=environment, check=False
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return result.stdout


@pytest.fixture(scope="module")
def configuration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("terraform") is None:
        pytest.skip("no `terraform` on PATH")
    mirror = os.environ.get("TF_PLUGIN_DIR")
    if not mirror:
        pytest.skip("TF_PLUGIN_DIR names no provider mirror; `terraform init` would need the public registry")
    folder = tmp_path_factory.mktemp("infra") / "terraform"
    shutil.copytree(TERRAFORM, folder, ignore=shutil.ignore_patterns(".terraform*"))
    terraform(folder, "init", "-backend=false", "-input=false", "-no-color", f"-plugin-dir={mirror}")
    return folder


def test_configuration_is_formatted_and_valid(configuration: Path) -> None:
    terraform(configuration, "fmt", "-check", "-recursive")
    assert "Success" in terraform(configuration, "validate", "-no-color")


def test_promises_hold_under_a_mocked_provider(configuration: Path) -> None:
    assert "3 passed, 0 failed" in terraform(configuration, "test", "-no-color")
