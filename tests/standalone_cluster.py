"""A Spark standalone cluster on loopback: one master and worker processes of one core each, as `start-all.sh` runs."""

import importlib.util
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
MASTER, WORKER = "org.apache.spark.deploy.master.Master", "org.apache.spark.deploy.worker.Worker"


@dataclass(frozen=True, slots=True)
class Cluster:
    """Its address as `SPARK_MASTER` wants it, and the work folders of its workers."""

    address: str
    work: tuple[Path, ...]

    @property
    def environment(self) -> dict[str, str]:
        """What a driver on this machine needs to use it; executors get the memory they were started for."""
        return {"SPARK_MASTER": self.address, "SPARK_LOCAL_IP": "127.0.0.1"}

    def tasks(self) -> list[int]:
        """Tasks that each worker's executors have run so far, from their logs."""
        return [
            sum(log.read_text(errors="replace").count("Running task ") for log in folder.glob("app-*/*/stderr"))
            for folder in self.work
        ]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _process(arguments: list[str], log: Path, ready: str) -> Iterator[None]:
    """A daemon of Spark's, up once its log says `ready`; terminated at the end."""
    specification = importlib.util.find_spec("pyspark")
    assert specification is not None and specification.origin is not None
    home = Path(specification.origin).parent
    loopback = {"SPARK_HOME": str(home), "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_DAEMON_MEMORY": "256m"}
    environment = os.environ | loopback | {"PYTHONPATH": str(REPOSITORY)}
    command = [str(home / "bin" / "spark-class"), *arguments]
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 60
        while ready not in log.read_text(errors="replace"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{arguments[0]} did not start: {log.read_text()[-2000:]}")
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(timeout=20)


@contextmanager
def standalone_cluster(folder: Path, workers: int = 2) -> Iterator[Cluster]:
    """Run a master and its workers; their logs and work lie in `folder`."""
    address = f"spark://127.0.0.1:{(port := _free_port())}"
    work = tuple(folder / f"worker{n}" for n in range(workers))
    with ExitStack() as running:
        master = [MASTER, "--host", "127.0.0.1", "--port", str(port), "--webui-port", "0"]
        running.enter_context(_process(master, folder / "master.log", "New state: ALIVE"))
        for place in work:
            options = ["--host", "127.0.0.1", "--webui-port", "0", "--cores", "1", "--memory", "1g"]
            command = [WORKER, *options, "--work-dir", str(place), address]
            running.enter_context(_process(command, folder / f"{place.name}.log", "Successfully registered"))
        yield Cluster(address, work)
