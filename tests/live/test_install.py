"""What live needs: its own extra and nothing else; the order path less still."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ORDER_PATH = ("journal", "orders", "replies", "risk", "venue", "user_stream", "reconcile", "account", "shutdown")
HEAVY = ("numpy", "pandas", "numba", "mlflow", "torch", "ccxt", "onnxruntime", "polars", "pyarrow", "pydantic")
NOT_IN_LIVE = ("pyspark", "airflow", "torch", "mlflow", "pandas", "ccxt", "polars", "deltalake", "lightgbm")


def test_the_order_path_imports_nothing_heavy_and_in_a_blink() -> None:
    imports = ", ".join(f"live.{name}" for name in ORDER_PATH)
    code = (
        f"import resource, json, sys; import {imports}, market.policy; "
        "u = resource.getrusage(resource.RUSAGE_SELF); "
        f"print(json.dumps([u.ru_utime + u.ru_stime, [m for m in {HEAVY!r} if m in sys.modules]]))"
    )
    seconds = []
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
        used, heavy = json.loads(done.stdout)
        assert heavy == []
        seconds.append(used)
    # Processor time, interpreter start included: wall time on a shared machine measures the neighbours.
    assert min(seconds) <= 0.6, seconds


def test_the_node_is_ready_before_it_imports_kernels_and_onnx() -> None:
    code = "import sys, live.node; print([m for m in ('numpy', 'numba', 'onnxruntime') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_an_empty_environment_with_the_live_extra_passes_the_check(tmp_path: Path) -> None:
    uv = ROOT / ".venv" / "bin" / "uv"
    if not uv.exists():
        pytest.skip("no .venv/bin/uv: run make setup")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("LIVE_", "VIRTUAL_ENV", "PYTHON"))}
    source = tmp_path / "source"
    source.mkdir()
    for name in ("lake", "market", "feature_store", "live", "pyproject.toml", "README.md"):
        if (ROOT / name).exists():
            (source / name).symlink_to(ROOT / name)
    venv = tmp_path / "venv"
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, venv], check=True, env=environment)
    install = [uv, "pip", "install", "-q", "--python", venv / "bin" / "python", f"{source}[live]"]
    subprocess.run(install, check=True, env=environment)
    python = str(venv / "bin" / "python")
    code = f"import importlib.util as u; print([m for m in {NOT_IN_LIVE!r} if u.find_spec(m)])"
    found = subprocess.run([python, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
    checked = subprocess.run(
        [python, "-m", "live.node", "--check"], cwd=tmp_path, capture_output=True, text=True, check=False,
        env=environment | {"BITACORA_HOME": str(tmp_path / "home")},
    )  # fmt: skip
    assert (checked.returncode, checked.stdout.splitlines()[-1:]) == (0, ["OK"]), checked.stdout + checked.stderr
