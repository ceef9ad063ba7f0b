"""The gate on simulated markets: it lets structure through and refuses noise. No Airflow, Spark or lake."""

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from simulated_markets import simulated_panel

from training import bundle, models, walk_forward
from training.bundle import Provenance
from training.gate import Contender, Verdict, judge
from training.splits import WalkForward


def verdict_of(job: tuple[int, int]) -> Verdict:
    """Train and judge one simulated market: (seed, structure)."""
    seed, structure = job
    module, plan = models.model("gbm"), WalkForward()
    config = module.Config()
    panel, _ = simulated_panel(seed, structure)
    experiment = walk_forward.run(panel, module, config, seed, 1, plan)
    with TemporaryDirectory() as scratch:
        folder = Path(scratch) / "bundle"
        made = Provenance("bitacora", f"run-{seed}", "test", seed)
        sha256 = bundle.write_bundle(folder, panel, experiment, module, config, plan, made)
        return judge(Contender(f"seed {seed}", folder, sha256), None, lambda _: panel)


@pytest.mark.slow
@pytest.mark.timeout(600)  # about a minute on two idle cores
def test_the_gate_passes_structure_and_refuses_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # two processes on two cores: more threads would only spin
    jobs = [(seed, 1) for seed in range(1, 11)] + [(seed, 0) for seed in range(1, 21)]
    began = time.monotonic()
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        verdicts = dict(zip(jobs, pool.map(verdict_of, jobs), strict=True))
    passed = [job for job, verdict in verdicts.items() if verdict.passed]
    report = "\n".join(f"{job}: {verdict.failures}" for job, verdict in verdicts.items() if not verdict.passed)
    print(f"{len(jobs)} markets in {time.monotonic() - began:.0f} s")
    assert sum(1 for _, structure in passed if structure) >= 8, report
    assert sum(1 for _, structure in passed if not structure) <= 1, passed
    # refused for what it is, noise, and for nothing else
    failed = {c.name for (_, s), v in verdicts.items() if not s for c in v.checks if not c.passed}
    assert failed <= {"beats flat", "beats buy-and-hold"}, report
