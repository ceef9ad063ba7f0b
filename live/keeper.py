"""Keeps one verified model ready: from disk at start, from the registry whenever the alias moves.

    live/models/<manifest_sha256>/   verified bundles, kept so that a rollback needs no download
    live/models/current.json         the version in use, replaced atomically

A version that fails any check is refused once, in the journal and the log, and the one in use stays.
"""

import asyncio
import contextlib
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import orjson

from lake.errors import BundleRejected, Unavailable
from live.account import Account
from live.model import Model, load_model
from live.model_version import Champion, Version
from live.registry import Registry

log = logging.getLogger("live.keeper")
CURRENT_FILE = "current.json"
KEPT = 5
"""Bundles kept on disk."""


class ModelKeeper:
    """`current` is swapped by one assignment: a decision sees the old model or the new one, never a mixture."""

    def __init__(self, folder: Path, account: Account, registry: Registry | None) -> None:
        self._folder, self._account, self._registry = folder, account, registry
        self.current: Model | None = None
        self.on_swap: Callable[[Model], None] = lambda model: None
        self._refused: set[Version] = set()
        self._last_problem = ""

    async def restore(self) -> None:
        """Load the version last in use; without one, or if it fails its checks, there is no model yet."""
        version = read_current(self._folder)
        if version is not None:
            with contextlib.suppress(BundleRejected):
                await self._load(version)

    async def run(self, every: float) -> None:
        """Poll for ever; an unreachable registry changes nothing."""
        if self._registry is None:
            return
        while True:
            try:
                await self.poll()
                self._last_problem = ""
            except (BundleRejected, Unavailable) as error:
                if str(error) != self._last_problem:
                    log.warning("model stays: %s", error)
                self._last_problem = str(error)
            await asyncio.sleep(every)

    async def poll(self) -> None:
        """Ask who is champion and load it if it is another version.

        Raises:
            Unavailable: the registry or a file of it did not answer.
            BundleRejected: the version is refused; the one in use stays.
        """
        assert self._registry is not None
        champion = await self._registry.champion()
        if champion is None or champion.version in self._refused:
            return
        if self.current is not None and champion.version == self.current.version:
            return
        if not (self._folder / champion.version.manifest_sha256).is_dir():
            await self._fetch(champion)
        await self._load(champion.version)

    async def _fetch(self, champion: Champion) -> None:
        assert self._registry is not None
        staging = self._folder / f"staging-{champion.version.manifest_sha256[:12]}"
        try:
            await self._registry.download(champion, staging)
            staging.replace(self._folder / champion.version.manifest_sha256)
        except BundleRejected as error:
            self._refuse(champion.version, str(error))
            raise
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    async def _load(self, version: Version) -> None:
        folder = self._folder / version.manifest_sha256
        try:
            model = await asyncio.to_thread(load_model, folder, version)
        except BundleRejected as error:
            shutil.rmtree(folder, ignore_errors=True)
            self._refuse(version, str(error))
            raise
        self._journal(version, "load", "alias" if self.current else "first")
        write_current(self._folder, version)
        self.current = model
        self.on_swap(model)
        self._drop_old()
        log.info("model %s version %d in use (%.12s)", *asdict(version).values())

    def _refuse(self, version: Version, why: str) -> None:
        self._refused.add(version)
        self._journal(version, "refuse", why)
        log.error("model %s version %d refused: %s", version.model_name, version.model_version, why)

    def _journal(self, version: Version, action: str, why: str) -> None:
        self._account.write("model", self._account.clock.now, **asdict(version), action=action, why=why)

    def _drop_old(self) -> None:
        bundles = [p for p in self._folder.iterdir() if p.is_dir() and len(p.name) == 64]
        bundles.sort(key=lambda p: p.stat().st_mtime, reverse=True)
        for path in bundles[KEPT:]:
            if self.current is None or path.name != self.current.version.manifest_sha256:
                shutil.rmtree(path, ignore_errors=True)


def read_current(folder: Path) -> Version | None:
    """The version last in use; None where there is none or the file is damaged."""
    try:
        fields = orjson.loads((folder / CURRENT_FILE).read_bytes())
        return Version(str(fields["model_name"]), int(fields["model_version"]), str(fields["manifest_sha256"]))
    except FileNotFoundError:
        return None
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        log.warning("%s is damaged (%r): waiting for the registry", CURRENT_FILE, error)
        return None


def write_current(folder: Path, version: Version) -> None:
    """Replace the note atomically."""
    staging = folder / f"{CURRENT_FILE}.new"
    with staging.open("wb") as stream:
        stream.write(orjson.dumps(asdict(version)))
        stream.flush()
        os.fsync(stream.fileno())
    staging.replace(folder / CURRENT_FILE)
