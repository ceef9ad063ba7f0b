"""What every test may use: a clean home, the rule for skips, and the shared servers' fixtures."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest_plugins = ["tests.lake_fixtures", "tests.source_fixtures"]

os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

ROOT = Path(__file__).resolve().parent.parent
REQUIRED = {name for name in os.environ.get("BITACORA_REQUIRE", "").split(",") if name}

_NEEDS = {
    "spark": lambda: None if shutil.which("java") else "no `java` on PATH: Spark needs a JDK 17",
    "s3": lambda: (
        None if (ROOT / ".tools/bin/versitygw").exists() else "no .tools/bin/versitygw: run `make tools` (needs Go)"
    ),
    "browser": lambda: None if shutil.which("chromium") else "no `chromium` on PATH (Debian: apt-get install chromium)",
}


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose need is absent, with the reason; fail it where BITACORA_REQUIRE names the need."""
    for name, lacking in _NEEDS.items():
        if item.get_closest_marker(name) and (reason := lacking()):
            if name in REQUIRED:
                pytest.fail(f"BITACORA_REQUIRE={name}: {reason}", pytrace=False)
            pytest.skip(reason)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real market data; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("BITACORA_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "ohlcv").is_dir():
        pytest.skip("no real data: put it at ../shared/data or set BITACORA_DATA")
    return folder


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Every test gets its own BITACORA_HOME, and none of the developer's settings."""
    for name in list(os.environ):
        if name.startswith(("LAKE_", "VENUE_", "SOURCES_", "TRAINING_", "ONLINE_", "LIVE_", "AWS_")):
            monkeypatch.delenv(name)
    folder = tmp_path / "home"
    monkeypatch.setenv("BITACORA_HOME", str(folder))
    yield folder


def pytest_terminal_summary(terminalreporter: Any, exitstatus: int, config: pytest.Config) -> None:
    """After `make nightly`: the verdict as JSON, with what each test counted by `record_property`."""
    if config.option.markexpr != "nightly":
        return
    stats = terminalreporter.stats
    ran = [report for kind in ("passed", "failed") for report in stats.get(kind, []) if report.when == "call"]
    git = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    verdict = {
        "passed": exitstatus == 0,
        "commit": git.stdout.strip() or None,
        "counts": {kind: len(stats.get(kind, [])) for kind in ("passed", "failed", "error", "skipped")},
        "tests": {
            report.nodeid: {"outcome": report.outcome, "seconds": round(report.duration, 1)}
            | dict(report.user_properties)
            for report in ran
        },
    }
    path = ROOT / "var" / "nightly.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(verdict, indent=1))
    terminalreporter.write_line(f"verdict: {path}")
