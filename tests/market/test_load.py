"""A few seconds of load and abuse on the real process: nothing crashes, leaks or fills wrongly."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench" / "load.py"


@pytest.mark.slow
def test_five_seconds_of_load_abuse_and_a_thousand_sockets() -> None:
    command = [sys.executable, str(BENCH), "--seconds", "5", "--websockets", "1000"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert ended.stdout, ended.stderr
    verdict = json.loads(ended.stdout)
    print(verdict)
    assert verdict["wrong"] == []
    assert ended.returncode == 0, ended.stderr
    assert verdict["requests"] > 0
    assert verdict["frames"] > 0
    assert verdict["kinds_of_abuse"] >= 5, "of 23; a starved machine gets to fewer"
