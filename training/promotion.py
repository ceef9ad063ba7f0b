"""What happens at the promotion desk: fetch, judge, record, move the alias; in that order, one at a time."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from feature_store.service import service
from lake.bundle import Manifest, verify_bundle
from lake.errors import TryAgain
from lake.settings import HomeSettings
from lake.storage import Lake
from lake.tables.trading import PROMOTIONS
from training import audit
from training.dataset import find_stored_leaks, load_panel
from training.errors import NoSuchVersion
from training.gate import Contender, Verdict, judge
from training.panel import Panel
from training.registry import CHAMPION, Registry, Version


@dataclass(frozen=True, slots=True)
class Decision:
    """Who wants what, and why."""

    action: str
    """judge, promote, reject or rollback."""
    who: str
    why: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it."""

    outcome: str
    """fit or unfit (judged only), promoted, refused (by the gate), rejected (by a person), rolled back, unchanged."""
    version: Version
    champion_before: int | None
    why: str
    verdict: Verdict | None
    table_version: int | None
    """Of promotions_v1; null where nothing was recorded."""

    def summary(self) -> dict[str, Any]:
        """The command's JSON line."""
        return {
            "job": "promote",
            "table": PROMOTIONS.name,
            "version": self.table_version,
            "rows": 0 if self.table_version is None else 1,
            "outcome": self.outcome,
            "model_name": self.version.name,
            "model_version": self.version.number,
            "from_version": self.champion_before,
            "manifest_sha256": self.version.manifest_sha256,
            "why": self.why,
            "verdict": self.verdict.to_dict() if self.verdict else None,
        }


class Desk:
    """Promotes versions of one registered model."""

    def __init__(self, lake: Lake, registry: Registry) -> None:
        self._lake, self._registry = lake, registry

    def decide(self, which: str, decision: Decision) -> Outcome:
        """Judge a version and do what was decided, if the gate lets it.

        The audit row is written before the alias moves: a promotion that dies between the two leaves a row too many,
        never a champion without one. Doing it again is safe.

        Raises:
            NoSuchVersion: nothing to judge.
            TryAgain: the champion changed while this one was judged.
        """
        version, champion = self._registry.version(which), self._registry.find(CHAMPION)
        if champion and champion.number == version.number and decision.action != "reject":
            return Outcome("unchanged", version, champion.number, "already champion", None, None)
        before = champion.number if champion else None
        verdict = self._judge(version, champion)
        gate = "passed" if verdict.passed else "refused"
        self._registry.tag(version, {"gate": gate, "gate_failures": verdict.failures})
        if decision.action == "judge":
            return Outcome("fit" if verdict.passed else "unfit", version, before, verdict.failures, verdict, None)
        if decision.action == "reject":
            table = audit.record(self._lake, "reject", version, champion, decision.who, decision.why, verdict)
            return Outcome("rejected", version, before, f"{decision.who}: {decision.why}", verdict, table)
        if not verdict.passed:
            table = audit.record(self._lake, "refuse", version, champion, decision.who, verdict.failures, verdict)
            return Outcome("refused", version, before, verdict.failures, verdict, table)
        now = self._registry.find(CHAMPION)
        if (now.number if now else None) != before:
            raise TryAgain(f"champion of {version.name} changed while {version} was judged: judge it again.")
        table = audit.record(self._lake, "promote", version, champion, decision.who, decision.why, verdict)
        self._registry.tag(version, {"promoted_by": decision.who, "promoted_why": decision.why})
        self._registry.set_champion(version)
        return Outcome("promoted", version, before, decision.why, verdict, table)

    def roll_back(self, which: str | None, decision: Decision) -> Outcome:
        """Make an earlier version champion again: the one the current champion replaced, or the one named.

        Only its bundle's integrity is checked; it was judged when it was promoted.

        Raises:
            NoSuchVersion: there is no champion, or none before it.
            BundleRejected: the earlier bundle is damaged.
        """
        champion = self._registry.version(CHAMPION)
        if which is None:
            number = audit.previous_champion(self._lake, champion.name, champion.number)
            if number is None:
                raise NoSuchVersion(
                    f"{champion} replaced no other version: there is nothing to roll back to. "
                    "Name one with --version, or stop live."
                )
            which = str(number)
        version = self._registry.version(which)
        if version.number == champion.number:
            return Outcome("unchanged", version, champion.number, "already champion", None, None)
        with tempfile.TemporaryDirectory() as scratch:
            verify_bundle(self._registry.download(version, Path(scratch)), version.manifest_sha256)
        table = audit.record(self._lake, "rollback", version, champion, decision.who, decision.why, None)
        self._registry.set_champion(version)
        return Outcome("rolled back", version, champion.number, decision.why, None, table)

    def _judge(self, version: Version, champion: Version | None) -> Verdict:
        with tempfile.TemporaryDirectory() as scratch:
            rival = self._contender(champion, Path(scratch) / "champion") if champion else None
            candidate = self._contender(version, Path(scratch) / "candidate")
            return judge(
                candidate, rival, lambda manifest: self._panel(version, manifest),
                leaks=lambda manifest: self._leaks(version, manifest),
            )  # fmt: skip

    def _contender(self, version: Version, folder: Path) -> Contender:
        return Contender(str(version), self._registry.download(version, folder), version.manifest_sha256)

    def _panel(self, version: Version, manifest: Manifest) -> Panel:
        """What the version was trained on, read again at the same table versions."""
        return load_panel(
            self._lake, service(manifest.feature_service), _instruments(version), versions=manifest.table_versions
        )

    def _leaks(self, version: Version, manifest: Manifest) -> list[str]:
        used = service(manifest.feature_service)
        return find_stored_leaks(self._lake, used, _instruments(version), manifest.table_versions)


def _instruments(version: Version) -> list[str]:
    return version.tags.get("instruments", "").split(",")


@contextmanager
def one_at_a_time(home: HomeSettings) -> Iterator[None]:
    """Hold the promotion lock: an alias move has no compare-and-set.

    Raises:
        TryAgain: another promotion is running.
    """
    path = home.home / "locks" / "promote.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TryAgain(f"another promotion is running (it holds {path}); try again when it is done.") from None
        file.write(f"{os.getpid()}\n")
        yield
