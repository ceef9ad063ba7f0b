"""The gate: may this version become champion? Every check says what it expected and what it found.

Pure: bundles and a panel in, a verdict out; no registry, no Airflow, no Spark. A difference of strategies counts only
when the lower bound of its block-bootstrap interval is above zero, so luck and noise are refused, and so is a
candidate that does nothing.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from feature_store.service import services
from lake.bundle import Manifest, verify_bundle
from lake.errors import BitacoraError, BundleRejected
from lake.intervals import DAY
from market.policy import PolicyParameters
from training import bundle, evaluate, onnx_model
from training.evaluate import Track
from training.gate_rules import RULES, Rules, interval
from training.labels import COST_BPS_PER_SIDE
from training.onnx_model import OnnxModel
from training.panel import Ints, Panel, complete_windows, windows
from training.walk_forward import predict

PROBE_ROWS = 256


@dataclass(frozen=True, slots=True)
class Contender:
    """A bundle on disk and the digest the registry pinned it with."""

    label: str
    """For people: `bitacora version 3`."""
    folder: Path
    manifest_sha256: str


@dataclass(frozen=True, slots=True)
class Check:
    """One question the gate asked."""

    name: str
    passed: bool
    expected: str
    found: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """All checks; passed when every one passed."""

    candidate: str
    champion: str | None
    checks: list[Check]

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    @property
    def failures(self) -> str:
        """The failed checks in one line."""
        return "; ".join(f"{c.name}: expected {c.expected}, found {c.found}" for c in self.checks if not c.passed)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"passed": self.passed} | asdict(self)


def judge(
    candidate: Contender, champion: Contender | None, data: Callable[[Manifest], Panel], rules: Rules = RULES,
    leaks: Callable[[Manifest], list[str]] | None = None,
) -> Verdict:  # fmt: skip
    """Ask everything that can be asked; integrity comes first, and nothing of a broken bundle is read.

    Args:
        candidate: the version that wants to become champion.
        champion: the one there is, judged on the candidate's days.
        data: the panel the candidate was trained on: rows to probe the graph with, prices to trade the champion on.
        rules: see gate_rules.
        leaks: stored features that the bars closed by their time do not give; None where no lake is at hand.
    """
    rival = champion.label if champion else None
    try:
        manifest = verify_bundle(candidate.folder, candidate.manifest_sha256)
    except BundleRejected as error:
        broken = Check("bundle integrity", False, "every digest as registered", str(error))
        return Verdict(candidate.label, rival, [broken])
    checks = [Check("bundle integrity", True, "every digest as registered", candidate.manifest_sha256)]
    checks += [_service(manifest), _policy(manifest), _cost(manifest)]
    try:
        panel = data(manifest)
        checks.append(_graph(candidate, manifest, panel))
        if leaks is not None:
            checks.append(_known_then(leaks(manifest)))
        checks += _comparisons(candidate, champion, panel, rules)
    except BitacoraError as error:
        checks.append(Check("evidence", False, "readable data and daily returns", str(error)))
    return Verdict(candidate.label, rival, checks)


def _comparisons(candidate: Contender, champion: Contender | None, panel: Panel, rules: Rules) -> list[Check]:
    tracks = bundle.read_tracks(candidate.folder)
    mine = tracks["candidate"]
    checks = [
        _days(mine.days, rules),
        _difference("beats flat", mine, tracks["flat"], rules),
        _difference("beats buy-and-hold", mine, tracks["buy_and_hold"], rules),
    ]
    if champion is not None:
        rival = champion_track(champion, panel, tracks["market"])
        checks.append(_difference(f"beats the champion ({champion.label})", mine, rival, rules))
    return checks


def champion_track(champion: Contender, panel: Panel, market: Track) -> Track:
    """What the champion would have earned on each of the market's days.

    Where the champion's own walk-forward covers the same day of the same market, that record counts: its registered
    model has been trained on those days since. On all other days the registered model itself is traded.

    Raises:
        BundleRejected: the champion's bundle is broken.
    """
    manifest = verify_bundle(champion.folder, champion.manifest_sha256)
    recorded = bundle.read_tracks(champion.folder)
    same = _same_market(recorded["market"], market)
    record = recorded["candidate"].on(same)
    if len(record.days) == len(market.days):
        return record
    replayed = _replay(onnx_model.load(champion.folder), manifest, panel, market.days)
    at = np.isin(market.days, record.days)
    returns = replayed.returns.copy()
    returns[at] = record.returns
    return Track(market.days, returns, replayed.turnover, replayed.exposure)


def _same_market(recorded: Track, market: Track) -> Ints:
    """Days on which both saw the same market move."""
    days, a, b = np.intersect1d(recorded.days, market.days, return_indices=True)
    return np.asarray(days[np.abs(recorded.returns[a] - market.returns[b]) < 1e-9], dtype=np.int64)


def _replay(model: OnnxModel, manifest: Manifest, panel: Panel, days: Ints) -> Track:
    """Trade a bundle's model over whole days of the panel."""
    step = int(panel.open_times[1] - panel.open_times[0])
    start, stop = (int(t - panel.open_times[0]) // step for t in (days[0], days[-1] + DAY))
    predictions = np.full(panel.labels.shape, np.nan)
    predictions[:, start:stop] = predict(panel, model, start, stop, manifest.window)
    which = np.zeros(len(panel.open_times), dtype=np.int64)
    policy = PolicyParameters.from_dict(manifest.policy)
    return evaluate.simulate(panel, predictions, [policy], which, start, stop).on(days)


def _service(manifest: Manifest) -> Check:
    service = services().get(manifest.feature_service)
    expected = f"{service.name} {service.content_hash}" if service else f"one of {', '.join(services())}"
    found = f"{manifest.feature_service} {manifest.feature_service_hash}"
    fits = service is not None and expected == found and list(service.feature_names) == manifest.features
    if expected == found and not fits:
        found += " with other columns"
    return Check("feature service", fits, expected, found)


def _policy(manifest: Manifest) -> Check:
    try:
        found, fits = str(PolicyParameters.from_dict(manifest.policy).to_dict()), True
    except BitacoraError as error:
        found, fits = str(error), False
    return Check("policy parameters", fits, "parameters market.policy accepts", found)


def _cost(manifest: Manifest) -> Check:
    found = manifest.cost_bps_per_side
    fits = found >= COST_BPS_PER_SIDE
    return Check("costs", fits, f"at least {COST_BPS_PER_SIDE:g} bps per side", f"{found:g} bps per side")


def _graph(candidate: Contender, manifest: Manifest, panel: Panel) -> Check:
    """Load the graph, compare its signature, run it on real rows: finite, alone as in a batch, not without meaning."""
    shape = f"[batch, {manifest.window}, {len(manifest.features)}]"
    expected = f"features double {shape} → finite prediction float [batch, 1]"
    try:
        model = onnx_model.load(candidate.folder)
        problem = onnx_model.signature_problem(model, manifest) or _probe(model, manifest, panel)
    except BundleRejected as error:
        problem = str(error)
    return Check("graph signature", not problem, expected, problem or "as expected, on real rows")


def _probe(model: OnnxModel, manifest: Manifest, panel: Panel) -> str:
    if manifest.features != list(panel.feature_names):
        return f"features {manifest.features}, the data has {list(panel.feature_names)}"
    rows = np.flatnonzero(complete_windows(panel, manifest.window)[0])
    chosen = rows[np.linspace(0, len(rows) - 1, min(PROBE_ROWS, len(rows)), dtype=np.int64)] if len(rows) else rows
    if not len(chosen):
        return "no complete row of features to probe it with"
    features = windows(panel, 0, chosen, manifest.window)
    together = model.predict(features)
    if not np.isfinite(together).all():
        return f"{int((~np.isfinite(together)).sum())} of {len(chosen)} predictions are not finite"
    alone = np.concatenate([model.predict(features[i : i + 1]) for i in range(0, len(chosen), 16)])
    worst = float(np.abs(alone - together[::16]).max())
    return "" if worst <= 1e-6 else f"a row alone differs by {worst:.2g} from the same row in a batch"


def _known_then(leaks: list[str]) -> Check:
    """Whether random cut-offs rebuild the features it was trained on from the bars closed by then."""
    found = f"{len(leaks)} columns that differ: {leaks[0]}" if leaks else "all as stored"
    return Check("features known at their time", not leaks, "rebuilt from truncated bars, bit for bit", found)


def _days(days: Ints, rules: Rules) -> Check:
    return Check("out-of-sample days", len(days) >= rules.min_days, f"at least {rules.min_days}", str(len(days)))


def _difference(name: str, candidate: Track, rival: Track, rules: Rules) -> Check:
    expected = f"lower bound of the {rules.level:.0%} interval above 0 bps a day on {len(candidate.days)} days"
    if not np.array_equal(candidate.days, rival.days):
        return Check(name, False, expected, f"only {len(np.intersect1d(candidate.days, rival.days))} common days")
    low, middle, high = interval(candidate.returns - rival.returns, rules)
    return Check(name, low > 0.0, expected, f"{low * 1e4:.2f} … {middle * 1e4:.2f} … {high * 1e4:.2f} bps a day")
