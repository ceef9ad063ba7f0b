"""The model registry over plain REST (MLflow's), without its client: who is champion, and the bundle's files."""

import logging
import shutil
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp
import orjson

from lake.bundle import MANIFEST_FILE, MAX_FILE_BYTES, parse_manifest
from lake.errors import BundleRejected, Unavailable
from live.model_version import Champion, Version

log = logging.getLogger("live.registry")
_MAX_MANIFEST_BYTES = 1 << 20
_NO_SUCH = (b"RESOURCE_DOES_NOT_EXIST", b"INVALID_PARAMETER_VALUE")
"""What MLflow answers for an unknown model, and for an unknown alias of a known one."""


class Registry:
    """Read-only. Every failure to reach it is `Unavailable`; what it says is checked, never trusted."""

    def __init__(self, session: aiohttp.ClientSession, url: str, model_name: str, alias: str) -> None:
        self._session, self._url = session, url.rstrip("/")
        self._name, self._alias = model_name, alias

    async def champion(self) -> Champion | None:
        """The version the alias points at; None while there is none.

        Raises:
            Unavailable: no usable answer.
            BundleRejected: the version carries no digest, or its source is none of the registry's own artifacts.
        """
        path = f"/api/2.0/mlflow/registered-models/alias?name={quote(self._name)}&alias={quote(self._alias)}"
        status, body = await self._get(path, _MAX_MANIFEST_BYTES)
        if status in (400, 404) and any(code in body for code in _NO_SUCH):
            return None
        if status != 200:
            raise Unavailable(f"registry: HTTP {status} for the alias {self._alias} of {self._name}.")
        try:
            found = orjson.loads(body)["model_version"]
            tags = {tag["key"]: tag["value"] for tag in found.get("tags", ())}
            number, source = int(found["version"]), str(found["source"])
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise Unavailable(f"registry: an answer that does not parse: {error!r}.") from None
        return _champion(self._name, number, source, tags)

    async def download(self, champion: Champion, staging: Path) -> None:
        """Fetch the manifest, check its digest, then fetch exactly the files it lists.

        Raises:
            Unavailable: a file did not come.
            BundleRejected: the manifest does not fit the digest, or a file is too large.
        """
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        body = await self._artifact(champion, MANIFEST_FILE, _MAX_MANIFEST_BYTES)
        manifest = parse_manifest(body, champion.version.manifest_sha256)
        (staging / MANIFEST_FILE).write_bytes(body)
        for name in manifest.files:
            (staging / name).write_bytes(await self._artifact(champion, name, MAX_FILE_BYTES))

    async def _artifact(self, champion: Champion, name: str, limit: int) -> bytes:
        path = f"/api/2.0/mlflow-artifacts/artifacts/{quote(champion.path)}/{quote(name)}"
        status, body = await self._get(path, limit)
        if status != 200:
            raise Unavailable(f"registry: HTTP {status} for {name} of version {champion.version.model_version}.")
        return body

    async def _get(self, path: str, limit: int) -> tuple[int, bytes]:
        timeout = aiohttp.ClientTimeout(total=60, sock_connect=2, sock_read=5)
        try:
            async with self._session.get(self._url + path, timeout=timeout, allow_redirects=False) as response:
                body = bytearray()
                async for chunk in response.content.iter_chunked(1 << 16):
                    body += chunk
                    if len(body) > limit:
                        raise BundleRejected(f"registry: an answer of more than {limit} bytes.")
                return response.status, bytes(body)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"registry {self._url}: {type(error).__name__}.") from None


def _champion(name: str, number: int, source: str, tags: dict[str, Any]) -> Champion:
    version = Version(name, number, str(tags.get("manifest_sha256", "")))
    if len(version.manifest_sha256) != 64:
        raise BundleRejected(f"version {number} carries no tag manifest_sha256: it was not registered by the gate.")
    parts = urlsplit(source)
    path = PurePosixPath(parts.path.lstrip("/"))
    if parts.scheme != "mlflow-artifacts" or ".." in path.parts or not path.parts:
        raise BundleRejected(f"version {number}: source {source!r} is none of the registry's own artifacts.")
    return Champion(version, str(path))
