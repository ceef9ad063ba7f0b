"""`bitacora up` and `down`: the platform running against the embedded exchange, and nothing of it left afterwards."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from bitacora import processes, venue
from bitacora.airflow_api import AirflowApi
from bitacora.home import Home, fresh
from bitacora.services import airflow, exchange, live, mlflow
from bitacora.services.exchange import Exchange
from lake.errors import BitacoraError, TryAgain, Unavailable

_TABLES = ("raw_bars_v1", "raw_frames_v1", "raw_answers_v1", "promotions_v1", "gaps_v1", "anomalies_v1")
POOLS = dict.fromkeys(("spark", "training", *_TABLES), 1)
"""As the DAGs name them (plugins/bitacora_airflow/defaults.py; a test holds the two equal)."""
DAG_IDS = ("ingest", "bars", "features", "train", "promote")
LIVE_STOP_SECONDS = 75.0
PORTS = {"exchange": 8100, "exchange-admin": 8101, "mlflow": 5000, "airflow": 8080}
"""Taken where they are free; else any."""


@dataclass(slots=True)
class Control:
    """What runs the DAGs: Airflow and the model registry."""

    airflow: AirflowApi
    mlflow_url: str


def start_control(home: Home, venue_rest: Callable[[], str], policy: str, ports: dict[str, int]) -> Control:
    """Start MLflow and Airflow beside each other and wait for both; `venue_rest` is asked after the database is made.

    Raises:
        Unavailable: one did not come up; the message carries the end of its log.
    """
    registry, registry_url = mlflow.start(home, ports.get("mlflow", 0))
    port = processes.free_port(ports.get("airflow", 0))
    airflow.migrate(home, port)
    jobs = {"VENUE_REST": venue_rest(), "TRAINING_TRACKING_URI": registry_url, "PROMOTION_POLICY": policy}
    started = airflow.start(home, port, jobs)
    client = airflow.wait(home, started)
    mlflow.wait(registry)
    return Control(client, registry_url)


def open_gates(control: Control) -> None:
    """Create the pools, wait until every DAG is parsed, and let `ingest` run.

    Raises:
        Unavailable: a DAG does not import; the message carries the traceback.
    """
    for name, slots in POOLS.items():
        control.airflow.set_pool(name, slots, "see plugins/bitacora_airflow/defaults.py")
    wait_for_dags(control.airflow)
    control.airflow.pause("ingest", False)


def wait_for_dags(client: AirflowApi, seconds: float = 60.0) -> None:
    """Wait until the dag-processor has stored all five DAGs."""
    deadline = time.monotonic() + seconds
    while set(DAG_IDS) - set(client.dags()):
        if errors := client.import_errors():
            raise Unavailable("\n".join(f"{name} does not import:\n{trace}" for name, trace in errors.items()))
        if time.monotonic() > deadline:
            raise Unavailable(f"Airflow did not parse {sorted(set(DAG_IDS) - set(client.dags()))} in {seconds:.0f} s")
        time.sleep(0.3)


def refuse_running(home: Home) -> None:
    """Raises:
    TryAgain: something of this home is running.
    """
    alive = [s.name for s in processes.services(home) if s.process()]
    if alive:
        raise TryAgain(f"{home.root} is in use: {', '.join(alive)} running. `bitacora down` stops them.")


def start(seed: int, speed: float, policy: str) -> None:
    """Start everything and print where it is."""
    home = Home.read()
    refuse_running(home)
    if done := fresh(home, "up"):
        print(done)
    try:
        print("starting the embedded exchange, MLflow and Airflow (about half a minute)", flush=True)
        with ThreadPoolExecutor() as pool:
            market = pool.submit(exchange.start, home, seed, speed, (PORTS["exchange"], PORTS["exchange-admin"]))
            control = start_control(home, lambda: market.result().rest, policy, PORTS)
            opened = market.result()
        open_gates(control)
        trading = live.start(home, opened, control.mlflow_url)
        live.wait(home, trading)
        _report(home)
    except BaseException:
        stop_all(home)
        raise
    print(addresses(home, opened, control))


def _report(home: Home) -> None:
    from bitacora.report import page

    page.write(home)


def addresses(home: Home, opened: Exchange, control: Control) -> str:
    """Where everything is, for people."""
    return "\n".join((
        f"Airflow    {control.airflow.url}   user {airflow.USER}, password {airflow.password(home)}",
        f"MLflow     {control.mlflow_url}",
        f"exchange   {opened.rest}   (WebSocket {opened.ws}, controls {opened.admin})",
        f"live       {live.metrics_url(home)}",
        f"report     {home.report}   (`bitacora report` writes it anew)",
        f"data docs  {home.root}/data_docs/index.html   (`bitacora lake docs` writes them)",
        f"logs       {home.logs}",
        "stop with `make down` or `bitacora down`",
    ))  # fmt: skip


def stop() -> None:
    """Stop everything of this home and say what was stopped."""
    home = Home.read()
    stopped = stop_all(home)
    print(f"stopped {', '.join(stopped)}" if stopped else f"nothing was running in {home.root}")


def stop_live(home: Home) -> bool:
    """SIGTERM, so that it cancels every order and waits for the outcomes; returns whether it went by itself."""
    service = processes.load(home, live.NAME)
    return service is None or processes.stop(home, service, LIVE_STOP_SECONDS)


def stop_all(home: Home) -> list[str]:
    """Live first, the exchange last; what the venue says is kept before it goes. Returns the names, in order.

    Raises:
        Unavailable: something could not be stopped; all others were.
    """
    found = {service.name: service for service in processes.services(home)}
    problems: list[str] = []
    stopped: list[str] = []

    def end(name: str) -> None:
        try:
            grace = LIVE_STOP_SECONDS if name == live.NAME else 10.0
            processes.stop(home, found[name], grace)
            stopped.append(name)
        except BitacoraError as error:
            problems.append(str(error))

    if live.NAME in found:
        end(live.NAME)
    if exchange.NAME in found and (opened := exchange.running(home)):
        try:
            opened.pause()
            venue.keep_snapshot(home)
        except BitacoraError as error:
            problems.append(f"no snapshot of the account: {error}")
    with ThreadPoolExecutor() as pool:
        list(pool.map(end, [name for name in found if name not in (live.NAME, exchange.NAME)]))
    if exchange.NAME in found:
        end(exchange.NAME)
    if problems:
        raise Unavailable("; ".join(problems))
    return stopped
