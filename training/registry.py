"""MLflow: where runs are logged and versions are registered. The only module that imports it.

A version's source is its run's artifact folder `bundle/`, its tag `manifest_sha256` pins the content, its aliases say
what it is: `challenger` (the newest), `champion` (what live trades). Nothing is ever pickled; `mlflow.*.load_model` is
never called.
"""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lake.errors import BundleRejected, Unavailable
from lake.settings import HomeSettings
from training.errors import NoSuchVersion
from training.settings import TrainingSettings

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
# a dead server is told within seconds, not minutes
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")

CHAMPION, CHALLENGER = "champion", "challenger"
BUNDLE = "bundle"


@dataclass(frozen=True, slots=True)
class Version:
    """One registered version."""

    name: str
    number: int
    run_id: str
    manifest_sha256: str
    tags: dict[str, str]

    def __str__(self) -> str:
        return f"{self.name} version {self.number}"


class Registry:
    """Runs and versions under one tracking address."""

    def __init__(self, settings: TrainingSettings, home: HomeSettings) -> None:
        from mlflow import MlflowClient

        self.uri = settings.tracking(home)
        self.name = settings.registered_model
        self._experiment = settings.experiment
        self._artifacts = (home.home / "mlflow" / "artifacts").resolve()
        if self.uri.startswith("sqlite:///"):
            Path(self.uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        with _reachable(self.uri):
            self._client: Any = MlflowClient(self.uri)

    @contextmanager
    def run(self, name: str, tags: dict[str, str], parameters: dict[str, Any]) -> Iterator[str]:
        """Open a run, yield its id, close it as FINISHED, or FAILED if the block raises."""
        from mlflow.entities import Param

        with _reachable(self.uri):
            run = self._client.create_run(self._experiment_id(), run_name=name, tags=tags)
            run_id: str = run.info.run_id
            self._client.log_batch(run_id, params=[Param(key, str(value)) for key, value in parameters.items()])
        try:
            yield run_id
        except BaseException:
            self._client.set_terminated(run_id, "FAILED")
            raise
        self._client.set_terminated(run_id, "FINISHED")

    def log_metrics(self, run_id: str, rows: list[tuple[str, float, int]]) -> None:
        """Log (name, value, step) rows."""
        from mlflow.entities import Metric

        with _reachable(self.uri):
            self._client.log_batch(run_id, metrics=[Metric(key, value, 0, step) for key, value, step in rows])

    def log_folder(self, run_id: str, folder: Path, under: str = "") -> None:
        """Upload a folder's files."""
        with _reachable(self.uri):
            self._client.log_artifacts(run_id, str(folder), under or None)

    def register(self, run_id: str, bundle: Path, manifest_sha256: str, tags: dict[str, str]) -> Version:
        """Upload the bundle, create a version of it and make it the challenger."""
        from mlflow.exceptions import MlflowException

        self.log_folder(run_id, bundle, BUNDLE)
        with _reachable(self.uri):
            try:
                self._client.get_registered_model(self.name)
            except MlflowException:
                self._client.create_registered_model(self.name)
            source = f"{self._client.get_run(run_id).info.artifact_uri}/{BUNDLE}"
            made = self._client.create_model_version(
                self.name, source, run_id, tags=tags | {"manifest_sha256": manifest_sha256}
            )
            self._client.set_registered_model_alias(self.name, CHALLENGER, made.version)
        return self.version(str(made.version))

    def version(self, which: str) -> Version:
        """Look a version up by number or alias.

        Raises:
            NoSuchVersion: there is none.
        """
        found = self.find(which)
        if found is None:
            raise NoSuchVersion(f"{self.name}: no version {which!r} at {self.uri}. Train one: python -m training.train")
        return found

    def find(self, which: str) -> Version | None:
        """Like `version`; None where there is none."""
        from mlflow.exceptions import MlflowException

        with _reachable(self.uri):
            try:
                if which.isdigit():
                    made = self._client.get_model_version(self.name, which)
                else:
                    made = self._client.get_model_version_by_alias(self.name, which)
            except MlflowException as error:
                if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                    return None
                raise
        tags = dict(made.tags)
        return Version(self.name, int(made.version), made.run_id, tags.get("manifest_sha256", ""), tags)

    def download(self, version: Version, into: Path) -> Path:
        """Fetch a version's bundle; verify it before use.

        Raises:
            BundleRejected: the artifacts are gone.
        """
        from mlflow.exceptions import MlflowException

        into.mkdir(parents=True, exist_ok=True)
        with _reachable(self.uri):
            try:
                return Path(self._client.download_artifacts(version.run_id, BUNDLE, str(into)))
            except (MlflowException, OSError) as error:
                raise BundleRejected(f"{version}: cannot fetch its bundle: {error}. Train it again.") from None

    def tag(self, version: Version, tags: dict[str, str]) -> None:
        """Set tags of a version; MLflow keeps 5,000 characters of each."""
        with _reachable(self.uri):
            for key, value in tags.items():
                self._client.set_model_version_tag(self.name, str(version.number), key, value[:5000])

    def set_champion(self, version: Version) -> None:
        """Move the alias that live follows."""
        with _reachable(self.uri):
            self._client.set_registered_model_alias(self.name, CHAMPION, str(version.number))

    def _experiment_id(self) -> str:
        known = self._client.get_experiment_by_name(self._experiment)
        if known is not None:
            return str(known.experiment_id)
        # a server decides where its artifacts live; a bare database needs to be told
        location = None if self.uri.startswith("http") else self._artifacts.as_uri()
        return str(self._client.create_experiment(self._experiment, location))


@contextmanager
def _reachable(uri: str) -> Iterator[None]:
    """Tell a dead server as what it is.

    Raises:
        Unavailable: no answer.
    """
    import requests
    from mlflow.exceptions import MlflowException

    hint = "Start it, or set TRAINING_TRACKING_URI."
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MLflow warns about its own dependencies
            yield
    except MlflowException as error:
        if "API request to" not in str(error) and "Max retries" not in str(error):
            raise
        raise Unavailable(f"MLflow at {uri} does not answer: {str(error)[:300]}. {hint}") from None
    except requests.RequestException as error:
        raise Unavailable(f"MLflow at {uri} does not answer: {error}. {hint}") from None
