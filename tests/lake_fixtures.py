"""Fixtures around the lake: one Spark session for the whole run, a lake in a folder, jobs run in process, S3."""

import argparse
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lake.settings import HomeSettings
from lake.storage import Lake
from tests.s3_server import BUCKET, S3Server, s3_server


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The one Spark session of the run: a JVM takes ten seconds to start."""
    from lake.spark import spark_session

    before = os.environ.get("BITACORA_HOME")
    os.environ["BITACORA_HOME"] = str(tmp_path_factory.mktemp("spark"))
    session = spark_session(Lake("/"), "tests")
    if before is None:
        del os.environ["BITACORA_HOME"]
    else:
        os.environ["BITACORA_HOME"] = before
    yield session
    session.stop()
    logging.getLogger("py4j").setLevel(logging.WARNING)  # it speaks once more when the interpreter ends


@pytest.fixture
def lake(home: Path) -> Lake:
    """An empty lake in the test's own home."""
    return Lake(str(home / "lake"))


RunJob = Callable[..., dict[str, Any]]


@pytest.fixture
def run_job(home: Path, lake: Lake) -> RunJob:
    """Run a job in process: `run_job("build_bars", start=…)` gives its summary."""
    import importlib

    def call(name: str, in_lake: Lake | None = None, **arguments: Any) -> dict[str, Any]:
        from jobs.command import Job

        asked = argparse.Namespace(**({"start": None, "end": None, "instruments": None} | arguments))
        module = importlib.import_module(f"jobs.{name}")
        summary: dict[str, Any] = module.run(Job(name, HomeSettings(home=home), in_lake or lake, asked))
        return summary

    return call


@pytest.fixture(scope="session")
def s3_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def s3(s3_endpoint: S3Server, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Lake:
    """An empty lake on a real S3 server; the standard AWS_* variables point there."""
    for name, value in s3_endpoint.environment.items():
        monkeypatch.setenv(name, value)
    return Lake(f"s3a://{BUCKET}/{request.node.name}")
