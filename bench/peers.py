"""Run a peer in its own environment, and put both sides' rates into one line."""

import json
import statistics
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PYTHON = ROOT / ".tools/peers/bin/python"
FEAST = ROOT / ".tools/peers_feast/bin/python"
PATIENCE_S = 1_800


def run_peer(script: str, *arguments: object, python: Path = PYTHON) -> dict[str, Any]:
    """What a peer's script printed as JSON; {"missing": reason} where the environment or the script fails."""
    if not python.exists():
        return {"missing": f"no {python.parents[1].relative_to(ROOT)}: `make peers` installs it"}
    command = [str(python), str(ROOT / "bench" / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    if done.returncode:
        return {"missing": (done.stderr.strip().splitlines() or ["no output"])[-1]}
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


def spread(rates: list[float]) -> dict[str, float]:
    """Minimum, median and maximum, in millions a second."""
    numbers = {"min": min(rates), "median": statistics.median(rates), "max": max(rates)}
    return {name: float(f"{value:.3g}") for name, value in numbers.items()}


def compared(ours: list[float], peer: dict[str, Any]) -> dict[str, Any]:
    """Both spreads and the ratio of each of our runs to the peer's median."""
    if "missing" in peer:
        return {"ours": spread(ours), "peer": peer}
    theirs = statistics.median(peer["rates"])
    return {
        "ours": spread(ours),
        "peer": spread(peer["rates"]) | {name: value for name, value in peer.items() if name != "rates"},
        "ratio": spread([rate / theirs for rate in ours]),
    }
