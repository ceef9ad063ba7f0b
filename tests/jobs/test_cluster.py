"""The same job on a standalone cluster of two worker processes: the same content as in one process."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lake.intervals import DAY, HOUR
from lake.storage import Lake
from lake.tables import BARS_1M, BARS_5M
from tests.lake.raw_bars import BTC, ETH, SPAN, START, random_minutes, store
from tests.lake_fixtures import RunJob
from tests.standalone_cluster import standalone_cluster

pytestmark = [pytest.mark.spark, pytest.mark.slow]


def test_two_workers_build_what_one_process_builds(spark: Any, lake: Lake, run_job: RunJob, tmp_path: Path) -> None:
    rows = random_minutes(24 * 60, [BTC, ETH], START + 2 * DAY + 12 * HOUR)  # over the end of January
    elsewhere = Lake(str(tmp_path / "cluster" / "lake"))
    for where in (lake, elsewhere):
        store(where, rows)
    run_job("build_bars")
    (tmp_path / "spark").mkdir()
    with standalone_cluster(tmp_path / "spark") as cluster:
        settings = {"LAKE_URI": elsewhere.root, "BITACORA_HOME": str(tmp_path / "cluster"), **cluster.environment}
        command = [sys.executable, "-m", "jobs.build_bars"]
        environment = os.environ | settings
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)
        assert ended.returncode == 0, ended.stderr
        tasks = cluster.tasks()
    summary = json.loads(ended.stdout.splitlines()[-1])
    assert summary["tables"]["bars_1m_v1"]["inserted"] == len(rows)
    assert min(tasks) > 0, f"each worker ran tasks: {tasks}"
    for table in (BARS_1M, BARS_5M):
        assert elsewhere.content_hash(table, SPAN) == lake.content_hash(table, SPAN)
