"""Log what `jobs.compare_features` measured to MLflow: psi, ks and skew of every feature, its files and picture."""

import json
import math
from pathlib import Path
from typing import Any

from lake import command
from lake.errors import BadInput, NothingStored
from lake.settings import HomeSettings, read_settings
from training.registry import Registry
from training.settings import TrainingSettings


def log_drift(registry: Registry, folder: Path) -> str:
    """Log the folder's features.json as one run; return the run's id.

    Raises:
        NothingStored: there is no such file yet.
        BadInput: it does not parse.
    """
    path = folder / "features.json"
    try:
        measured: dict[str, Any] = json.loads(path.read_text())
        service_hash, features = measured["service_hash"], measured["features"]
    except FileNotFoundError:
        raise NothingStored(f"{path}: not there yet. Run python -m jobs.compare_features.") from None
    except (ValueError, KeyError) as error:
        raise BadInput(f"{path}: expected what jobs.compare_features writes: {error}") from None
    rows = [
        (f"{measure}/{name}", float(value), 0)
        for name, values in features.items()
        for measure, value in values.items()
        if value is not None and math.isfinite(value)
    ]
    tags = {"kind": "drift", "service_hash": service_hash}
    with registry.run("drift", tags, {"service": measured["service"], "reads": measured["reads"]}) as run_id:
        registry.log_metrics(run_id, rows)
        registry.log_folder(run_id, folder, "drift")
    return run_id


def main() -> int:
    command.parser("training.drift", __doc__).parse_args()
    home = read_settings(HomeSettings)
    run_id = log_drift(Registry(read_settings(TrainingSettings), home), home.home / "metrics")
    print(json.dumps({"job": "drift", "run_id": run_id}))
    return 0


if __name__ == "__main__":
    command.run(main)
