"""The model registry, read only: over MLflow's REST while a server runs, else from the database and files it left."""

import contextlib
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, urlencode

from bitacora import processes, web
from bitacora.home import Home
from lake.bundle import MANIFEST_FILE, Manifest, parse_manifest, verify_bundle
from lake.errors import BitacoraError, NothingStored, Unavailable

_API = "/api/2.0/mlflow"
_SCHEME = "mlflow-artifacts:/"


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A registered version: where it comes from and the digest that pins its bundle."""

    name: str
    version: int
    run_id: str
    source: str
    tags: dict[str, str]

    @property
    def manifest_sha256(self) -> str | None:
        return self.tags.get("manifest_sha256")


class Registry(Protocol):
    """What reading a chain needs."""

    def version(self, name: str, version: int) -> ModelVersion: ...
    def by_alias(self, name: str, alias: str) -> ModelVersion: ...
    def run(self, run_id: str) -> dict[str, Any]:
        """Status, params and tags of a run."""

    def bundle(self, found: ModelVersion) -> tuple[Path, Manifest]:
        """The verified bundle on disk."""


def open_registry(home: Home) -> Registry:
    """The server of this home if it runs, TRAINING_TRACKING_URI if it is one, else the database of this home.

    Raises:
        Unavailable: there is none of these.
    """
    server = processes.load(home, "mlflow")
    url = server.urls["url"] if server and server.process() else os.environ.get("TRAINING_TRACKING_URI", "")
    if url.startswith("http"):
        return RestRegistry(url.rstrip("/"), home)
    database = home.mlflow / "mlflow.db"
    if not database.is_file():
        raise Unavailable(f"no model registry: no MLflow server runs and {database} is missing. Run `bitacora up`.")
    return FileRegistry(database, home)


def _local_bundle(home: Home, found: ModelVersion) -> Path:
    return home.mlflow / "artifacts" / found.source.removeprefix(_SCHEME).lstrip("/")


def _verified(folder: Path, found: ModelVersion) -> tuple[Path, Manifest]:
    if not folder.is_dir():
        raise NothingStored(f"{found.name} version {found.version}: its bundle {found.source} is not there.")
    return folder, verify_bundle(folder, found.manifest_sha256)


@dataclass(frozen=True, slots=True)
class RestRegistry:
    """MLflow's REST API."""

    url: str
    home: Home

    def version(self, name: str, version: int) -> ModelVersion:
        return self._version("model-versions/get", {"name": name, "version": version})

    def by_alias(self, name: str, alias: str) -> ModelVersion:
        return self._version("registered-models/alias", {"name": name, "alias": alias})

    def run(self, run_id: str) -> dict[str, Any]:
        found = web.json_of("GET", f"{self.url}{_API}/runs/get?{urlencode({'run_id': run_id})}")["run"]
        pairs = {part: {p["key"]: p["value"] for p in found["data"].get(part, [])} for part in ("params", "tags")}
        return {"run_id": run_id, "status": found["info"]["status"], **pairs}

    def bundle(self, found: ModelVersion) -> tuple[Path, Manifest]:
        local = _local_bundle(self.home, found)
        return _verified(local if local.is_dir() else self._fetched(found), found)

    def _fetched(self, found: ModelVersion) -> Path:
        folder = self.home.root / "staging" / "bundles" / f"{found.name}-{found.version}"
        folder.mkdir(parents=True, exist_ok=True)
        path = quote(found.source.removeprefix(_SCHEME).lstrip("/"))
        base = f"{self.url}/api/2.0/mlflow-artifacts/artifacts/{path}"
        manifest = web.request("GET", f"{base}/{MANIFEST_FILE}")
        for name in parse_manifest(manifest, found.manifest_sha256).files:
            (folder / name).write_bytes(web.request("GET", f"{base}/{quote(name)}", timeout=60))
        (folder / MANIFEST_FILE).write_bytes(manifest)
        return folder

    def _version(self, path: str, query: dict[str, Any]) -> ModelVersion:
        try:
            found = web.json_of("GET", f"{self.url}{_API}/{path}?{urlencode(query)}")["model_version"]
        except web.HttpRefused as error:
            raise NothingStored(f"the registry knows no {query}: {error}") from None
        tags = {tag["key"]: tag["value"] for tag in found.get("tags", [])}
        return ModelVersion(found["name"], int(found["version"]), found["run_id"], found["source"], tags)


@dataclass(frozen=True, slots=True)
class FileRegistry:
    """MLflow's own database, opened read-only, for when no server runs (tables of MLflow 3.17)."""

    database: Path
    home: Home

    def version(self, name: str, version: int) -> ModelVersion:
        where = (name, version)
        rows = self._rows("SELECT run_id, source FROM model_versions WHERE name = ? AND version = ?", where)
        if not rows:
            raise NothingStored(f"the registry knows no version {version} of {name}.")
        tags = self._rows("SELECT key, value FROM model_version_tags WHERE name = ? AND version = ?", where)
        run_id, source = rows[0]
        return ModelVersion(name, version, run_id, source, dict(tags))

    def by_alias(self, name: str, alias: str) -> ModelVersion:
        found = self._rows("SELECT version FROM registered_model_aliases WHERE name = ? AND alias = ?", (name, alias))
        if not found:
            raise NothingStored(f"the registry knows no {alias} of {name}.")
        return self.version(name, int(found[0][0]))

    def run(self, run_id: str) -> dict[str, Any]:
        rows = self._rows("SELECT status FROM runs WHERE run_uuid = ?", (run_id,))
        if not rows:
            raise NothingStored(f"the registry knows no run {run_id}.")
        pairs = {
            part: dict(self._rows(f"SELECT key, value FROM {part} WHERE run_uuid = ?", (run_id,)))
            for part in ("params", "tags")
        }
        return {"run_id": run_id, "status": rows[0][0], **pairs}

    def bundle(self, found: ModelVersion) -> tuple[Path, Manifest]:
        return _verified(_local_bundle(self.home, found), found)

    def _rows(self, query: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        try:
            with contextlib.closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as connection:
                return connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise Unavailable(f"{self.database}: cannot read the registry: {error}. Run `bitacora up`.") from None


def known(registry: Registry, name: str, version: int) -> ModelVersion | str:
    """The version, or in words why not."""
    try:
        return registry.version(name, version)
    except BitacoraError as error:
        return str(error)
