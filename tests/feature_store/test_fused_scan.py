"""The compiled scan on disk: loaded by the next process, renamed by a changed kernel, at home where it may write."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from feature_store import fuse

LOAD = """
import json, sys
from feature_store.fuse import fused_scan
from feature_store.scan import Stream
from feature_store.service import DEFAULT
Stream(DEFAULT)
hits = fused_scan(DEFAULT.views).stats.cache_hits
heavy = sorted({"pandas", "polars", "pyarrow", "torch", "mlflow", "pyspark"} & set(sys.modules))
print(json.dumps([sum(hits.values()), heavy]))
"""


BY_PATH = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("idea", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
from feature_store.scan import Stream
from feature_store.service import FeatureService
print(Stream(FeatureService("idea", "5m", (module.IDEA,))).update(0, [2.0, 3.0, 1.0, 2.0, 1.0]).tolist())
"""

IDEA = """
from feature_store.view import CLOSE, FeatureView, Output, kernel

@kernel
def update(state, bar, out):
    state[0] += bar[CLOSE]
    out[0] = state[0]

IDEA = FeatureView("idea", 1, ("close",), 1, 1, update, (Output("idea_1", "quote", "Sum."),))
"""


def load(cache: Path, program: str = LOAD, *arguments: str) -> str:
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache)}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], check=False, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_next_process_loads_the_machine_code_and_nothing_heavy(tmp_path: Path) -> None:
    assert load(tmp_path) == "[0, []]", "nothing there yet: it compiles"
    written = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "bitacora").glob("scan_*.py")}
    assert len(written) == 1
    assert load(tmp_path) == "[1, []]", "the second process compiles nothing"
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "bitacora").glob("scan_*.py")} == written


def test_a_view_loaded_by_path_works_in_every_process(tmp_path: Path) -> None:
    path = tmp_path / "idea.py"
    path.write_text(IDEA)
    for _ in range(2):  # numba cannot load what it stored for a module without a name; it compiles again
        assert load(tmp_path, BY_PATH, str(path)) == "[2.0]"


def test_a_folder_that_cannot_be_written_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    monkeypatch.setattr(fuse, "_folders", lambda: iter([blocked / "a", open_to_all, tmp_path / "ours"]))
    assert fuse._store("scan.py", "x = 1\n") == tmp_path / "ours" / "scan.py"


def test_without_any_folder_the_error_names_the_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuse, "_folders", lambda: iter([]))
    with pytest.raises(fuse.Misconfigured, match="NUMBA_CACHE_DIR"):
        fuse._store("scan.py", "x = 1\n")
