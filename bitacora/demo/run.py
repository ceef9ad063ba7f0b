"""The stages in order. Whatever happens, everything that was started is stopped again."""

import contextlib
import fcntl
import os
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import FrameType

import orjson

from bitacora import up
from bitacora.demo import checks, follow, settle, trade
from bitacora.demo.checks import Check
from bitacora.demo.progress import Progress
from bitacora.home import Home, fresh
from bitacora.services import exchange, live
from bitacora.services.exchange import Exchange
from lake.errors import BitacoraError, TryAgain

DAG_SECONDS = {"ingest": 420.0, "bars": 420.0, "features": 300.0, "train": 420.0, "promote": 240.0}
NOTES = {
    "ingest": "venue → bronze, as received",
    "bars": "bronze → silver, checked",
    "features": "silver → gold",
    "train": "walk-forward, registered as challenger",
    "promote": "gate, approval by policy, champion",
}


def command(seed: int, live_minutes: float, speed: float) -> int:
    """Run the main job; 0 only if every check held."""
    home = Home.read()
    os.environ["BITACORA_HOME"] = str(home.root)
    for name in ("LAKE_URI", "TRAINING_TRACKING_URI", "VENUE_REST"):
        os.environ.pop(name, None)  # embedded and offline, whatever the shell is set up for
    with _alone(home):
        up.refuse_running(home)
        done = fresh(home, "demo")
        print(f"bitacora demo: seed {seed}, {live_minutes:g} minutes live at {speed:g}×, in {home.root}")
        if done:
            print(done)
        return _run(home, seed, live_minutes, speed)


@contextlib.contextmanager
def _alone(home: Home) -> Iterator[None]:
    """One demo per home.

    Raises:
        TryAgain: another one is running.
    """
    home.root.mkdir(parents=True, exist_ok=True)
    with (home.root / ".demo.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TryAgain(f"another demo is running in {home.root}: wait for it, or set BITACORA_HOME.") from None
        yield


def _run(home: Home, seed: int, live_minutes: float, speed: float) -> int:
    progress = Progress()
    previous = signal.signal(signal.SIGTERM, _interrupt)
    try:
        found = _stages(home, progress, seed, live_minutes, speed)
        code = os.EX_OK if all(check.ok for check in found) else os.EX_DATAERR
    except KeyboardInterrupt:
        found, code = [], 130
        print("interrupted", file=sys.stderr)
    except BitacoraError as error:
        found, code = [Check(_broken(progress), False, "done", str(error))], error.exit_code or os.EX_SOFTWARE
    finally:
        left = _stop(home, progress)
        progress.close()
        signal.signal(signal.SIGTERM, previous)
    if left is not None:
        found, code = [*found, left], code or os.EX_UNAVAILABLE
    _write(home, progress, found)
    _tell(home, progress, found, code)
    return code


def _stop(home: Home, progress: Progress) -> Check | None:
    """Stop everything; a failed check if something could not be."""
    try:
        with progress.stage("everything stopped") as stage:
            stage.note = ", ".join(up.stop_all(home))
    except BitacoraError as error:
        return Check("everything stopped", False, "no process and no port left", str(error))
    return None


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _broken(progress: Progress) -> str:
    return next((stage.name for stage in progress.stages if stage.state == "broken"), "demo")


def _stages(home: Home, progress: Progress, seed: int, live_minutes: float, speed: float) -> list[Check]:
    with progress.stage("machine: Java, jars") as stage:
        stage.note = machine()
    with ThreadPoolExecutor() as pool:
        market, control = _start_all(home, progress, pool, seed, speed)
    client = control.airflow
    for dag_id in up.DAG_IDS:
        with progress.stage(f"DAG {dag_id}: {NOTES[dag_id]}") as stage:
            if dag_id == "promote":
                trading = live.start(home, market, control.mlflow_url)
            follow.follow(home, client, dag_id, stage, DAG_SECONDS[dag_id])
            stage.note = follow.rows_note(client.asset_events(), dag_id)
        if dag_id == "ingest":
            client.pause("ingest", True)  # so that no second chain starts before this one is judged
    with progress.stage("live: champion loaded") as stage:
        live.wait(home, trading)
        trade.wait_for_champion(home, trading, stage)
        stage.note = live.metrics_url(home) or ""
    with progress.stage(f"live: trading for {live_minutes:g} minutes") as stage:
        trade.trade(home, trading, live_minutes, stage)
    with progress.stage("live stopped, venue paused") as stage:
        stage.say("cancelling orders, waiting for every outcome")
        up.stop_live(home)
        market.pause()
        stage.note = trade.tally(trade.counts(home))
    return _settle(home, progress, control, market)


def _start_all(
    home: Home, progress: Progress, pool: ThreadPoolExecutor, seed: int, speed: float
) -> tuple[Exchange, up.Control]:
    """Start exchange, MLflow and Airflow beside each other."""
    market: Future[Exchange] = pool.submit(exchange.start, home, seed, speed)
    with progress.stage("MLflow and Airflow") as stage:
        stage.say("database, server, scheduler, dag-processor")
        control = up.start_control(home, lambda: market.result().rest, "auto", {})
        stage.note = control.airflow.url
    with progress.stage("embedded exchange") as stage:
        opened = market.result()
        stage.note = opened.rest
    with progress.stage("DAGs parsed, ingest released") as stage:
        up.open_gates(control)
    return opened, control


def _settle(home: Home, progress: Progress, control: up.Control, market: Exchange) -> list[Check]:
    settings = {"VENUE_REST": market.rest, "TRAINING_TRACKING_URI": control.mlflow_url}
    with progress.stage("Airflow's runs and events") as stage:
        found = [*checks.airflow_checks(control.airflow), checks.champion_check(home)]
        stage.note = "; ".join(check.found for check in found)
    for module, note in (
        ("jobs.ingest_journal", "journal → bronze and gold"),
        ("jobs.build_bars", "bars built again from bronze"),
        ("jobs.build_features", "features built again"),
    ):
        with progress.stage(f"{module}: {note}") as stage:
            stage.note = settle.rows(settle.run_job(home, module, settings))
    with progress.stage("filled orders, books, skew, lineage") as stage:
        stage.say("comparing venue, journal and gold; recomputing every decision behind an order")
        found += checks.trading_checks(home)
        stage.note = f"{sum(check.ok for check in found)} of {len(found)} checks hold"
    _write(home, progress, found)
    with progress.stage("report") as stage:
        from bitacora.report import page

        stage.note = str(page.write(home))
    return found


def machine() -> str:
    """Refuse a machine that cannot run the job, before anything is started.

    Raises:
        Misconfigured: Java or a jar is missing; says how to get it.
    """
    from bitacora import doctor

    doctor.require(("java", "jars"))
    return "fine"


def _write(home: Home, progress: Progress, found: list[Check]) -> None:
    """What the report shows of this run."""
    body = {"stages": progress.timings(), "checks": [checks.describe(check) for check in found]}
    path = stages_file(home)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(orjson.dumps(body, option=orjson.OPT_INDENT_2))


def stages_file(home: Home) -> Path:
    return home.report.parent / "stages.json"


def _tell(home: Home, progress: Progress, found: list[Check], code: int) -> None:
    print()
    for check in found:
        print(
            f"{'✓' if check.ok else '✗'} {check.name}: {check.found}"
            + ("" if check.ok else f"\n    expected: {check.expected}")
        )
    total = sum(stage["seconds"] for stage in progress.timings())
    if code == os.EX_OK:
        print(f"\nthe whole chain held, in {total / 60:.1f} minutes. Report: {home.report}")
    else:
        print(f"\nthe chain did not hold. Logs: {home.logs}", file=sys.stderr)
