"""Airflow's REST API, the few calls the command line needs."""

import time
from dataclasses import dataclass, field
from typing import Any

from bitacora import web


@dataclass(slots=True)
class AirflowApi:
    """A logged-in client; the token is fetched at the first call and again when it has expired."""

    url: str
    user: str
    password: str
    _token: str = field(default="", repr=False)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """One call below /api/v2.

        Raises:
            Unavailable: no answer, or an error.
        """
        if not self._token:
            self._log_in()
        try:
            return self._send(method, path, body)
        except web.HttpRefused as error:
            if error.status != 401:
                raise
            self._log_in()
            return self._send(method, path, body)

    def healthy(self, component: str) -> bool:
        health = web.json_of("GET", f"{self.url}/api/v2/monitor/health")
        return bool(health.get(component, {}).get("status") == "healthy")

    def dags(self) -> dict[str, dict[str, Any]]:
        """Parsed DAGs by id."""
        return {dag["dag_id"]: dag for dag in self.call("GET", "/dags?limit=100&exclude_stale=true")["dags"]}

    def import_errors(self) -> dict[str, str]:
        errors = self.call("GET", "/importErrors")["import_errors"]
        return {error["filename"]: error["stack_trace"] for error in errors}

    def pause(self, dag_id: str, paused: bool) -> None:
        self.call("PATCH", f"/dags/{dag_id}", {"is_paused": paused})

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """Runs of a DAG, oldest first."""
        runs: list[dict[str, Any]] = self.call("GET", f"/dags/{dag_id}/dagRuns?order_by=run_after&limit=100")[
            "dag_runs"
        ]
        return runs

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances")[
            "task_instances"
        ]
        return found

    def asset_events(self) -> list[dict[str, Any]]:
        """Every asset event, newest first; `extra` carries the Delta version.

        Airflow 3.3 answers 500 for the moment in which a run that an event made is queued and has no start yet.
        """
        for wait in (0.5, 1.0, 2.0, 4.0, 8.0, 16.0):
            try:
                return self._asset_events()
            except web.HttpRefused as error:
                if error.status != 500:
                    raise
                time.sleep(wait)
        return self._asset_events()

    def _asset_events(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.call("GET", "/assets/events?limit=100&order_by=-timestamp")["asset_events"]
        return found

    def set_pool(self, name: str, slots: int, description: str) -> None:
        body = {"slots": slots, "description": description, "include_deferred": False}
        try:
            self.call("POST", "/pools", body | {"name": name})
        except web.HttpRefused as error:
            if error.status != 409:
                raise
            self.call("PATCH", f"/pools/{name}", body | {"pool": name})

    def _log_in(self) -> None:
        answer = web.json_of("POST", f"{self.url}/auth/token", {"username": self.user, "password": self.password})
        self._token = answer["access_token"]

    def _send(self, method: str, path: str, body: Any) -> Any:
        return web.json_of(method, f"{self.url}/api/v2{path}", body, {"Authorization": f"Bearer {self._token}"})
