"""The MLflow server: runs and registry in SQLite, artifacts in a folder, served over REST on loopback."""

import sys

from bitacora import processes, web
from bitacora.home import Home
from bitacora.services import environment

NAME = "mlflow"


def start(home: Home, port: int = 0) -> tuple[processes.Service, str]:
    """Start it without waiting; see `wait`."""
    port = processes.free_port(port)
    url = f"http://127.0.0.1:{port}"
    home.mlflow.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{home.mlflow / 'mlflow.db'}",
        "--artifacts-destination", str(home.mlflow / "artifacts"), "--serve-artifacts",
    ]  # fmt: skip
    return processes.start(home, NAME, command, environment.base(home), [port], {"url": url}), url


def wait(service: processes.Service, seconds: float = 60.0) -> None:
    """Wait until it answers.

    Raises:
        Unavailable: it ended or did not get ready.
    """
    url = service.urls["url"]
    processes.wait_ready(service, lambda: web.answers(f"{url}/health"), seconds)
