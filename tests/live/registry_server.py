"""A registry that speaks the four answers of MLflow's REST API that live uses, over real sockets."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from aiohttp import web


class FakeRegistry:
    """Versions are folders; `alias` is the version served as champion, `down` answers 503."""

    def __init__(self) -> None:
        self.versions: dict[int, tuple[Path, str]] = {}
        self.sources: dict[int, str] = {}
        self.alias: int | None = None
        self.down = False
        self.downloads = 0
        self.url = ""

    def add(self, version: int, folder: Path, sha256: str) -> None:
        self.versions[version] = (folder, sha256)
        self.sources[version] = f"mlflow-artifacts:/1/run{version}/artifacts/bundle"

    async def champion(self, request: web.Request) -> web.Response:
        if self.down:
            return web.Response(status=503, text="<html>")
        if self.alias is None:
            return web.json_response({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no alias"}, status=404)
        tags = [{"key": "manifest_sha256", "value": self.versions[self.alias][1]}]
        found = {"name": "bitacora", "version": str(self.alias), "source": self.sources[self.alias], "tags": tags}
        return web.json_response({"model_version": found})

    async def artifact(self, request: web.Request) -> web.StreamResponse:
        if self.down:
            return web.Response(status=503)
        self.downloads += 1
        version = int(request.match_info["run"].removeprefix("run"))
        path = self.versions[version][0] / request.match_info["name"]
        return web.FileResponse(path) if path.exists() else web.Response(status=404)


@asynccontextmanager
async def serving() -> AsyncIterator[FakeRegistry]:
    registry = FakeRegistry()
    app = web.Application()
    app.router.add_get("/api/2.0/mlflow/registered-models/alias", registry.champion)
    app.router.add_get("/api/2.0/mlflow-artifacts/artifacts/1/{run}/artifacts/bundle/{name}", registry.artifact)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    registry.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield registry
    finally:
        await runner.cleanup()


@contextmanager
def serving_in_thread() -> Iterator[FakeRegistry]:
    """The same for a test that runs processes and no event loop."""
    ready, done = threading.Event(), threading.Event()
    held: list[FakeRegistry] = []

    async def run() -> None:
        async with serving() as registry:
            held.append(registry)
            ready.set()
            await asyncio.to_thread(done.wait)

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    ready.wait()
    try:
        yield held[0]
    finally:
        done.set()
        thread.join()
