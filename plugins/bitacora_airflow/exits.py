"""A job's exit code, and what Airflow does next: only 75 (try again) is retried."""

import os

from airflow.sdk.exceptions import AirflowException, AirflowFailException

MEANINGS = {
    os.EX_USAGE: "usage: the command line is wrong",
    os.EX_DATAERR: "bad data: a contract is broken; the job's own line above names it",
    os.EX_UNAVAILABLE: "unavailable: a service is down or nothing is stored yet",
    os.EX_TEMPFAIL: "try again: transient",
    os.EX_CONFIG: "configuration: a setting, a key or the machine is wrong",
}


def raise_for(code: int, what: str) -> None:
    """Turn an exit code into the exception that makes Airflow retry or stop.

    Raises:
        AirflowException: 75, so the task's retries apply.
        AirflowFailException: anything else but 0, a signal included: no retry can help.
    """
    if code == 0:
        return
    meaning = MEANINGS.get(code, f"killed by signal {-code}" if code < 0 else "an error inside the job")
    message = f"{what}: exit code {code} ({meaning})"
    if code == os.EX_TEMPFAIL:
        raise AirflowException(message)
    raise AirflowFailException(message)
