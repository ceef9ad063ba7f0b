"""The folders under BITACORA_HOME, and whose state they hold.

lake/ mlflow/ airflow/ live/    what the platform keeps
run/ logs/ locks/ report/       what a run leaves: process records, output, the report
home.json                       who made this state (`demo` or `up`) against which venue
earlier/<time>/                 embedded state that `up` or `demo` moved out of the way
"""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import orjson

from lake.errors import Misconfigured
from lake.settings import HomeSettings, read_settings

REPOSITORY = Path(__file__).resolve().parent.parent
EMBEDDED = "embedded"
_STATE = ("lake", "mlflow", "airflow", "live", "locks", "staging", "venue")
_TRACES = ("run", "logs", "report", "spark")


@dataclass(frozen=True, slots=True)
class Home:
    """BITACORA_HOME as an absolute path, with the folders in it."""

    root: Path

    @classmethod
    def read(cls) -> "Home":
        return cls(read_settings(HomeSettings).home.resolve())

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def airflow(self) -> Path:
        return self.root / "airflow"

    @property
    def mlflow(self) -> Path:
        return self.root / "mlflow"

    @property
    def live(self) -> Path:
        return self.root / "live"

    @property
    def report(self) -> Path:
        return self.root / "report" / "index.html"

    @property
    def venue_snapshot(self) -> Path:
        """The account as the venue told it last, kept for when the venue is gone."""
        return self.root / "venue" / "account.json"

    @property
    def marker(self) -> Path:
        return self.root / "home.json"

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"


def made_by(home: Home) -> str:
    """Who made the state: demo, up, nobody (there is none) or unknown (no marker, or another venue's)."""
    if not any((home.root / name).exists() for name in _STATE):
        return "nobody"
    try:
        marker = orjson.loads(home.marker.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return "unknown"
    return str(marker.get("made_by")) if marker.get("venue") == EMBEDDED else "unknown"


def fresh(home: Home, maker: str) -> str:
    """Make room for a new world of the embedded exchange, whose past always starts over.

    A demo's state is removed; state that `up` made is moved to `earlier/<time>/`. Anything else is left alone.

    Returns: what was done, in words; empty when there was nothing.

    Raises:
        Misconfigured: there is state that neither made, or that belongs to a real venue.
    """
    maker_before = made_by(home)
    if maker_before == "unknown":
        raise Misconfigured(
            f"{home.root} holds state that is not from the embedded exchange; it is left as it is. "
            "Choose another folder: BITACORA_HOME=var/demo."
        )
    done = ""
    if maker_before == "demo":
        done = f"removed the former demo's state in {home.root}"
        for name in (*_STATE, *_TRACES):
            shutil.rmtree(home.root / name, ignore_errors=True)
    elif maker_before == "up":
        earlier = home.root / "earlier" / time.strftime("%Y%m%d-%H%M%S")
        earlier.mkdir(parents=True)
        for name in (*_STATE, *_TRACES):
            if (home.root / name).exists():
                (home.root / name).rename(earlier / name)
        done = f"moved the former platform's state to {earlier}"
    for folder in (home.run, home.logs, home.airflow, home.mlflow, home.live, home.report.parent):
        folder.mkdir(parents=True, exist_ok=True)
    home.marker.write_bytes(orjson.dumps({"made_by": maker, "venue": EMBEDDED}))
    return done
