"""A real S3 server on loopback: versitygw over a folder. Conditional PUTs hold, which is what commits rely on."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

BINARY = Path(__file__).resolve().parent.parent / ".tools/bin/versitygw"
BUCKET = "lake"


@dataclass(frozen=True, slots=True)
class S3Server:
    """Where it listens, and the test's own keys."""

    endpoint: str
    access_key: str = "test-access"
    secret_key: str = "test-secret-key"

    @property
    def environment(self) -> dict[str, str]:
        """The standard variables that point every client of ours at it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": "us-east-1",
        }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """Run the server over `folder` with one empty bucket, `lake`."""
    (folder / "data").mkdir(parents=True)
    port = _free_port()
    server = S3Server(f"http://127.0.0.1:{port}")
    command = [str(BINARY), "--port", f"127.0.0.1:{port}", "--region", "us-east-1"]
    command += ["posix", "--sidecar", str(folder / "meta"), str(folder / "data")]
    (folder / "meta").mkdir()
    environment = {**os.environ, "ROOT_ACCESS_KEY": server.access_key, "ROOT_SECRET_KEY": server.secret_key}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        _make_bucket(server, process, folder / "log")
        yield server
    finally:
        process.terminate()
        process.wait(timeout=10)


def _make_bucket(server: S3Server, process: "subprocess.Popen[bytes]", log: Path) -> None:
    client = boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        region_name="us-east-1",
        config=Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"}),
    )
    deadline = time.monotonic() + 30
    while True:
        try:
            client.create_bucket(Bucket=BUCKET)
            return
        except (BotoCoreError, ClientError):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"versitygw did not start: {log.read_text()[-2000:]}") from None
            time.sleep(0.1)
