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


def load(cache: Path) -> str:
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache)}
    done = subprocess.run([sys.executable, "-c", LOAD], check=False, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_next_process_loads_the_machine_code_and_nothing_heavy(tmp_path: Path) -> None:
    assert load(tmp_path) == "[0, []]", "nothing there yet: it compiles"
    written = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "bitacora").glob("scan_*.py")}
    assert len(written) == 1
    assert load(tmp_path) == "[1, []]", "the second process compiles nothing"
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "bitacora").glob("scan_*.py")} == written


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
