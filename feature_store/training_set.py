"""Training sets that can be rebuilt: the labels, the recipe of the join, and the hash of what it gave.

A folder holds `labels.parquet`, `rows.parquet` (labels and features) and `recipe.json`: service and its content hash,
the Delta version of every table that was read, lookback, and the content hash of the rows. `rebuild` reads the same
versions again and compares; a table whose old versions were vacuumed away is told as such.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import polars as pl
from deltalake.exceptions import DeltaError

from feature_store.errors import FileRefused, HashMismatch, JoinRefused, NotReproduced
from feature_store.offline import point_in_time_join
from feature_store.service import FeatureService, service
from feature_store.stored import Versions, known_rows, table_of
from lake.errors import NothingStored
from lake.intervals import Interval, to_us
from lake.storage import Lake

LABELS, ROWS, RECIPE = "labels.parquet", "rows.parquet", "recipe.json"
_TIME = pl.Datetime("us", "UTC")


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that decides a training set, beside its labels."""

    service: str
    service_hash: str
    table_versions: dict[str, int]
    lookback_us: int
    labels_hash: str
    content_hash: str
    rows: int


def join_stored(
    lake: Lake, labels: pl.DataFrame, of: FeatureService, lookback_us: int, versions: Versions
) -> pl.DataFrame:
    """The point-in-time join with a service's stored rows, corrections as they were known, at pinned versions.

    Raises:
        JoinRefused: as `point_in_time_join`; no label at all.
        HashMismatch: gold holds rows of other code.
    """
    if "decision_time" not in labels.columns or labels["decision_time"].dtype != _TIME or not labels.height:
        raise JoinRefused("labels: expected rows with a decision_time in UTC microseconds, found none.")
    first, last = (to_us(at) for at in (labels["decision_time"].min(), labels["decision_time"].max()))  # type: ignore[arg-type]  # datetimes, by the type above
    known = known_rows(lake, of, versions, Interval(first - lookback_us, last + 1))
    return point_in_time_join(labels, known, of.feature_names, lookback_us)


def save(lake: Lake, labels: pl.DataFrame, of: FeatureService, lookback_us: int, folder: Path) -> Recipe:
    """Join, and keep labels, rows and recipe in a new folder; the recipe comes last.

    Raises:
        FileRefused: the folder holds a training set already.
        JoinRefused, HashMismatch, NothingStored: as `join_stored`.
    """
    if (folder / RECIPE).exists():
        raise FileRefused(f"{folder}: expected a folder without a {RECIPE}: training sets are never overwritten.")
    labels = with_times(labels)
    table = table_of(of)
    versions = Versions.newest(lake, table)
    rows = join_stored(lake, labels, of, lookback_us, versions)
    named = versions.named(table)
    recipe = Recipe(of.name, of.content_hash, named, lookback_us, content_hash(labels), content_hash(rows), rows.height)
    folder.mkdir(parents=True, exist_ok=True)
    labels.write_parquet(folder / LABELS)
    rows.write_parquet(folder / ROWS)
    part = folder / f".{RECIPE}.part"
    part.write_text(json.dumps(asdict(recipe), indent=2) + "\n")
    part.replace(folder / RECIPE)
    return recipe


def rebuild(lake: Lake, folder: Path) -> tuple[Recipe, pl.DataFrame]:
    """Join again what the recipe says and compare with what it gave.

    Raises:
        FileRefused: no recipe or labels there, or they do not read.
        HashMismatch: the installed service computes other values than the recipe's.
        NotReproduced: labels or rows differ from those that were saved.
        NothingStored: a version that it reads is gone.
    """
    recipe = read_recipe(folder)
    try:
        labels = pl.read_parquet(folder / LABELS)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise FileRefused(f"{folder / LABELS}: cannot read it: {error}") from None
    of = service(recipe.service)
    if of.content_hash != recipe.service_hash:
        raise HashMismatch(
            f"{folder}: made by {of.name} {recipe.service_hash[:12]}, installed is {of.content_hash[:12]}. "
            "Check out the code that made it."
        )
    _require(folder, "labels", recipe.labels_hash, content_hash(labels))
    try:
        rows = join_stored(lake, labels, of, recipe.lookback_us, Versions.of(table_of(of), recipe.table_versions))
    except (DeltaError, OSError, pl.exceptions.PolarsError) as error:
        named = ", ".join(f"{name} v{version}" for name, version in recipe.table_versions.items())
        raise NothingStored(f"{folder}: {named} cannot be read any more: {error}. Was the table vacuumed?") from None
    _require(folder, "rows", recipe.content_hash, content_hash(rows))
    return recipe, rows


def read_recipe(folder: Path) -> Recipe:
    """Raises:
    FileRefused: there is none, or it does not read.
    """
    try:
        return Recipe(**json.loads((folder / RECIPE).read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise FileRefused(f"{folder / RECIPE}: expected the recipe of a training set: {error}") from None


def with_times(labels: pl.DataFrame) -> pl.DataFrame:
    """Labels with `decision_time` as UTC microseconds: ISO 8601 text (UTC) and other units are converted."""
    if "decision_time" not in labels.columns:
        return labels
    times = labels["decision_time"]
    if times.dtype == pl.String:
        parsed = times.str.to_datetime(time_unit="us", time_zone="UTC", strict=True)
    elif isinstance(times.dtype, pl.Datetime):
        parsed = (
            times.dt.replace_time_zone("UTC") if times.dtype.time_zone is None else times.dt.convert_time_zone("UTC")
        )
    else:
        parsed = times.cast(pl.Int64)
    return labels.with_columns(parsed.cast(_TIME).alias("decision_time"))


def content_hash(frame: pl.DataFrame) -> str:
    """SHA-256, hex, over names, types, nulls and values, to the bit, in the order of rows and columns."""
    digest = hashlib.sha256(repr([(name, str(kind)) for name, kind in frame.schema.items()]).encode())
    for column in frame.get_columns():
        digest.update(np.packbits(column.is_null().to_numpy()).tobytes())
        if column.dtype.is_numeric() or column.dtype.is_temporal() or column.dtype == pl.Boolean:
            digest.update(column.to_physical().fill_null(0).to_numpy().tobytes())
        else:
            texts = column.cast(pl.String).fill_null("")
            digest.update(texts.str.len_bytes().to_numpy().tobytes())
            digest.update("".join(texts.to_list()).encode())
    return digest.hexdigest()


def _require(folder: Path, what: str, expected: str, found: str) -> None:
    if expected != found:
        raise NotReproduced(
            f"{folder}: expected {what} of hash {expected[:12]}, found {found[:12]}. The {what} were changed since."
        )
