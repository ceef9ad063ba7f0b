"""`--check`: would live start here? Reads and verifies; sends nothing, writes nothing."""

import os
from pathlib import Path

from lake.journal import read_journal
from lake.settings import read_settings
from live.journal import JOURNAL_FILE
from live.orders import Ledger
from live.settings import LiveSettings


def check(home: Path) -> int:
    """Verify installation, settings, journal and the bundle on disk; print one line each.

    Without any LIVE_ variable only what is installed and stored is checked, and the line says so.

    Raises:
        BitacoraError: the first thing that would keep live from starting.
    """
    print(_installation())
    print(_settings(home))
    print(_journal(home))
    print(_bundle(home))
    print("OK")
    return os.EX_OK


def _installation() -> str:
    """Import the signal path and run the kernels once, as a start would."""
    from feature_store.service import DEFAULT
    from live.model import warm_up

    warm_up(DEFAULT)
    return "installation: kernels, ONNX runtime and venue client load"


def _settings(home: Path) -> str:
    if not any(name.startswith("LIVE_") for name in os.environ):
        required = [f"LIVE_{n}".upper() for n, field in LiveSettings.model_fields.items() if field.is_required()]
        return f"settings: none given; a start needs {', '.join(required)}"
    settings = read_settings(LiveSettings)
    settings.refuse_real_venue(home)
    return f"settings: {len(settings.instruments)} instruments at {settings.rest_url}"


def _journal(home: Path) -> str:
    path = home / "live" / "journal" / JOURNAL_FILE
    if not path.exists():
        return "journal: none yet"
    records, length = read_journal(path)
    ledger = Ledger()
    for record in records:
        ledger.apply(record)
    torn = path.stat().st_size - length
    return f"journal: {len(records)} records, {len(ledger.fills)} fills, {len(ledger.unsettled())} orders unsettled" + (
        f", a torn tail of {torn} bytes will be cut" if torn else ""
    )


def _bundle(home: Path) -> str:
    from live.keeper import read_current
    from live.model import load_model

    folder = home / "live" / "models"
    version = read_current(folder)
    if version is None:
        return "model: none on disk"
    load_model(folder / version.manifest_sha256, version)
    return f"model: {version.model_name} version {version.model_version} verified"
