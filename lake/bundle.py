"""A model bundle: the only form in which a model reaches live. A folder, hash-pinned, without any pickle.

    model.onnx        input `features` float64 [batch, window, features], output `prediction` float32 [batch, 1]:
                      the expected net return over the horizon, as a fraction. Preprocessing is inside the graph.
    model_card.md     what it is, how it was trained, on what, how well
    metrics.json      what the evaluation code printed
    manifest.json     everything below, with the SHA-256 of every other file

The digest of `manifest.json` pins the whole bundle; the registry carries it as the tag `manifest_sha256`.
"""

import hashlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from lake.errors import BundleRejected

FORMAT = 1
MODEL_FILE = "model.onnx"
MANIFEST_FILE = "manifest.json"
MAX_FILE_BYTES = 256 * 1024 * 1024
_SUFFIXES = {".onnx", ".json", ".md", ".png", ".csv"}


@dataclass(frozen=True, slots=True)
class Manifest:
    """What live and the gate need to know of a version, and the digest of each file beside it."""

    model_name: str
    run_id: str
    git_commit: str
    seed: int
    created_time: str
    timeframe: str
    horizon_bars: int
    window: int
    """Consecutive feature rows the graph reads; 1 for trees."""
    feature_service: str
    feature_service_hash: str
    features: list[str]
    """Input columns in the graph's order."""
    table_versions: dict[str, int]
    cost_bps_per_side: float
    policy: dict[str, float]
    """Parameters of market.policy, chosen on training data only."""
    files: dict[str, str] = field(default_factory=dict)
    """File name to SHA-256, hex."""
    format: int = FORMAT


def sha256_file(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_manifest(folder: Path, manifest: Manifest) -> str:
    """Hash every file of the folder, write the manifest, and return its digest."""
    files = {p.name: sha256_file(p) for p in sorted(folder.iterdir()) if p.name != MANIFEST_FILE}
    body = orjson.dumps(asdict(manifest) | {"files": files}, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)
    (folder / MANIFEST_FILE).write_bytes(body)
    return hashlib.sha256(body).hexdigest()


def parse_manifest(body: bytes, expected_sha256: str | None) -> Manifest:
    """Check the digest before a byte is parsed, then the shape.

    Raises:
        BundleRejected: digest, JSON, fields, file names or format do not fit.
    """
    found = hashlib.sha256(body).hexdigest()
    if expected_sha256 is not None and found != expected_sha256:
        raise BundleRejected(f"{MANIFEST_FILE}: expected SHA-256 {expected_sha256}, found {found}. Do not use it.")
    try:
        fields: dict[str, Any] = orjson.loads(body)
        manifest = Manifest(**fields)
    except (orjson.JSONDecodeError, TypeError) as error:
        raise BundleRejected(f"{MANIFEST_FILE} is not a manifest: {error}. Train the version again.") from None
    if manifest.format != FORMAT:
        raise BundleRejected(f"{MANIFEST_FILE}: expected format {FORMAT}, found {manifest.format}.")
    if MODEL_FILE not in manifest.files:
        raise BundleRejected(f"{MANIFEST_FILE} lists no {MODEL_FILE}.")
    for name in manifest.files:
        if Path(name).name != name or name.startswith(".") or Path(name).suffix not in _SUFFIXES:
            raise BundleRejected(f"{MANIFEST_FILE}: {name!r} is no file name a bundle may hold.")
    return manifest


def verify_bundle(folder: Path, expected_sha256: str | None = None) -> Manifest:
    """Verify every file against the manifest, and that there is no file it does not list.

    Raises:
        BundleRejected: names the file, the digest expected and the one found.
    """
    try:
        body = (folder / MANIFEST_FILE).read_bytes()
    except OSError as error:
        raise BundleRejected(f"{folder.name}: cannot read {MANIFEST_FILE}: {error.strerror}.") from None
    manifest = parse_manifest(body, expected_sha256)
    present = {p.name for p in folder.iterdir()} - {MANIFEST_FILE}
    if present != set(manifest.files):
        raise BundleRejected(
            f"{folder.name}: expected files {sorted(manifest.files)}, found {sorted(present)}. Fetch it again."
        )
    for name, digest in manifest.files.items():
        path = folder / name
        if path.is_symlink() or not path.is_file() or path.stat().st_size > MAX_FILE_BYTES:
            raise BundleRejected(f"{folder.name}/{name}: expected a plain file of at most {MAX_FILE_BYTES} bytes.")
        found = sha256_file(path)
        if found != digest:
            raise BundleRejected(f"{folder.name}/{name}: expected SHA-256 {digest}, found {found}. Fetch it again.")
    return manifest
