"""What every DAG shares, once: owner, retries, catch-up, pools."""

from datetime import timedelta
from typing import Any

SPARK_POOL = "spark"
"""One slot: one Spark driver at a time, so every table Spark writes has one writer."""

POOLS = {
    SPARK_POOL: (1, "one Spark driver, the only writer of its tables"),
    "raw_bars_v1": (1, "lease on the bronze table: one appender"),
    "raw_frames_v1": (1, "one fetch of market data at a time: exchanges count our requests together"),
    "raw_answers_v1": (1, "one conversation with sources at a time, and one appender"),
    "gaps_v1": (1, "one search for holes at a time"),
    "anomalies_v1": (1, "one search for odd rows at a time"),
    "training": (1, "one training run, or one GPU"),
    "promotions_v1": (1, "lease on the audit: one move of the champion at a time"),
}
"""Name to slots and description. A pool of one slot is the lease on a table; `bitacora up` creates them."""

DEFAULTS: dict[str, Any] = {
    "owner": "data",
    # Only exit code 75 reaches a retry: every other failure is raised as AirflowFailException.
    "retries": 3,
    "retry_delay": timedelta(seconds=15),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(minutes=10),
    "depends_on_past": False,
}

DAG_DEFAULTS: dict[str, Any] = {
    "default_args": DEFAULTS,
    "catchup": False,
    "max_active_runs": 1,
    "is_paused_upon_creation": False,
}
"""Every DAG but `ingest` runs as soon as an asset says so; `ingest` keeps Airflow's own default (paused)."""
