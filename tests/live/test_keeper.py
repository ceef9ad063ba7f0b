"""A model is verified before it is parsed, swapped whole, kept on disk; a bad one is refused and the old one stays."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest

from feature_store.service import DEFAULT
from lake.errors import BundleRejected, Unavailable
from lake.journal import read_journal
from live.account import Account
from live.keeper import ModelKeeper, read_current
from live.model import load_model
from live.model_version import Version
from live.registry import Registry
from tests.live.bundles import POLICY, momentum_graph, write_bundle
from tests.live.fakes import open_account, start
from tests.live.registry_server import FakeRegistry, serving


class Setting:
    """A registry, an account, and a keeper between them."""

    def __init__(self, folder: Path, registry: FakeRegistry, session: aiohttp.ClientSession) -> None:
        self.folder, self.registry, self.session = folder, registry, session
        self.account: Account = start(open_account(folder / "journal"))
        (folder / "models").mkdir()
        self.keeper = self.new_keeper()

    def new_keeper(self) -> ModelKeeper:
        remote = Registry(self.session, self.registry.url, "bitacora", "champion")
        return ModelKeeper(self.folder / "models", self.account, remote)

    def register(self, version: int, graph: bytes | None = None, **changes: Any) -> str:
        digest = write_bundle(self.folder / f"v{version}", graph, **changes)
        self.registry.add(version, self.folder / f"v{version}", digest)
        return digest

    def records(self) -> list[tuple[str, int]]:
        records, _ = read_journal(self.folder / "journal" / "journal.log")
        return [(r["action"], r["model_version"]) for r in records if r["kind"] == "model"]


@pytest.fixture
async def setting(tmp_path: Path) -> AsyncIterator[Setting]:
    async with serving() as registry, aiohttp.ClientSession() as session:
        yield Setting(tmp_path, registry, session)


async def test_no_alias_means_no_model(setting: Setting) -> None:
    await setting.keeper.poll()
    assert setting.keeper.current is None


async def test_a_champion_is_fetched_verified_and_predicts(setting: Setting) -> None:
    setting.register(1)
    setting.registry.alias = 1
    await setting.keeper.poll()
    model = setting.keeper.current
    assert model is not None
    rows = np.zeros((3, len(DEFAULT.feature_names)))
    rows[-1, 0] = 0.002
    assert model.predict(model.select(rows)) == pytest.approx(2.0)
    assert setting.records() == [("load", 1)]


async def test_the_alias_swaps_and_a_rollback_needs_no_download(setting: Setting) -> None:
    setting.register(1)
    setting.register(2, momentum_graph(gain=-1000))
    for alias in (1, 2):
        setting.registry.alias = alias
        await setting.keeper.poll()
    downloads = setting.registry.downloads
    setting.registry.alias = 1
    await setting.keeper.poll()
    assert setting.keeper.current is not None
    assert setting.keeper.current.version.model_version == 1
    assert setting.registry.downloads == downloads
    assert setting.records() == [("load", 1), ("load", 2), ("load", 1)]


async def test_the_last_model_serves_while_the_registry_is_down_even_over_a_restart(setting: Setting) -> None:
    setting.register(3)
    setting.registry.alias = 3
    await setting.keeper.poll()
    setting.registry.down = True
    with pytest.raises(Unavailable):
        await setting.keeper.poll()
    again = setting.new_keeper()
    await again.restore()
    assert again.current is not None
    assert again.current.version == setting.keeper.current.version  # type: ignore[union-attr]


async def test_a_model_damaged_on_disk_is_refused_at_start_and_fetched_again(setting: Setting) -> None:
    digest = setting.register(1)
    setting.registry.alias = 1
    await setting.keeper.poll()
    (setting.folder / "models" / digest / "model.onnx").write_bytes(b"damaged")
    again = setting.new_keeper()
    await again.restore()
    assert again.current is None
    fresh = setting.new_keeper()
    await fresh.poll()
    assert fresh.current is not None


@pytest.mark.parametrize(
    ("changes", "graph", "message"),
    [
        ({"feature_service_hash": "0" * 64}, None, "trained on other features"),
        ({"timeframe": "1m"}, None, "5m bars"),
        ({"features": ["log_return_1", "astrology_7"]}, None, "astrology_7"),
        ({"features": []}, None, "columns of"),
        ({"window": 0}, None, "window 0"),
        ({"window": 4096}, None, "window 4096"),
        ({"window": 3}, None, "signature"),
        ({"policy": POLICY | {"full_weight_return": 0.0}}, None, "full_weight_return"),
        ({"policy": {"leverage": 10.0}}, None, "policy"),
        ({"cost_bps_per_side": -5.0}, None, "cost"),
        ({"format": 2}, None, "format"),
        ({}, b"not a graph", "does not load"),
        ({}, b"\x80\x04\x95cbuiltins\neval\n", "does not load"),
        ({}, momentum_graph(width=3), "signature"),
        ({}, momentum_graph(output="weights_out"), "signature"),
    ],
)
async def test_a_version_that_fails_a_check_is_refused_once_and_the_old_one_stays(
    setting: Setting, changes: dict[str, Any], graph: bytes | None, message: str
) -> None:
    setting.register(1)
    setting.registry.alias = 1
    await setting.keeper.poll()
    setting.register(2, graph, **changes)
    setting.registry.alias = 2
    with pytest.raises(BundleRejected, match=message):
        await setting.keeper.poll()
    await setting.keeper.poll()
    assert setting.keeper.current is not None
    assert setting.keeper.current.version.model_version == 1
    assert setting.records() == [("load", 1), ("refuse", 2)]
    assert read_current(setting.folder / "models") == setting.keeper.current.version


async def test_files_that_differ_from_the_manifest_never_reach_the_model_loader(setting: Setting) -> None:
    setting.register(1)
    (setting.folder / "v1" / "model.onnx").write_bytes(momentum_graph(gain=5))
    setting.registry.alias = 1
    with pytest.raises(BundleRejected, match="SHA-256"):
        await setting.keeper.poll()
    assert setting.keeper.current is None


async def test_a_manifest_that_differs_from_the_registered_digest_is_refused(setting: Setting) -> None:
    setting.register(1)
    setting.registry.versions[1] = (setting.folder / "v1", "0" * 64)
    setting.registry.alias = 1
    with pytest.raises(BundleRejected, match="expected SHA-256"):
        await setting.keeper.poll()


@pytest.mark.parametrize(
    "source",
    ["/etc", "file:///etc", "s3://bucket/x", "mlflow-artifacts:/1/../../etc", "mlflow-artifacts:", "models:/m-1"],
)
async def test_a_source_that_is_none_of_the_registrys_artifacts_is_refused(setting: Setting, source: str) -> None:
    setting.register(1)
    setting.registry.sources[1] = source
    setting.registry.alias = 1
    with pytest.raises(BundleRejected, match="source"):
        await setting.keeper.poll()


async def test_a_missing_file_is_no_verdict_and_is_asked_for_again(setting: Setting) -> None:
    setting.register(1)
    card = setting.folder / "v1" / "model_card.md"
    text = card.read_text()
    card.unlink()
    setting.registry.alias = 1
    with pytest.raises(Unavailable):
        await setting.keeper.poll()
    card.write_text(text)
    await setting.keeper.poll()
    assert setting.keeper.current is not None


def test_a_whole_bundle_in_anothers_place_is_refused(tmp_path: Path) -> None:
    pinned = Version("bitacora", 1, write_bundle(tmp_path / "a"))
    write_bundle(tmp_path / "b", momentum_graph(gain=-1))
    with pytest.raises(BundleRejected, match="expected SHA-256"):
        load_model(tmp_path / "b", pinned)


def test_a_bundle_with_an_unlisted_file_or_a_link_is_refused(tmp_path: Path) -> None:
    digest = write_bundle(tmp_path / "b")
    version = Version("bitacora", 1, digest)
    load_model(tmp_path / "b", version)
    (tmp_path / "b" / "extra.json").write_text("{}")
    with pytest.raises(BundleRejected, match="expected files"):
        load_model(tmp_path / "b", version)
    (tmp_path / "b" / "extra.json").unlink()
    (tmp_path / "b" / "model_card.md").rename(tmp_path / "card.md")
    (tmp_path / "b" / "model_card.md").symlink_to(tmp_path / "card.md")
    with pytest.raises(BundleRejected, match="plain file"):
        load_model(tmp_path / "b", version)
