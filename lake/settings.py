"""Settings every deployable shares: where things live. Others keep their own class beside their own main.

Read once in `main` and passed down. An unknown `BITACORA_`/`LAKE_` name is refused, so that a typo cannot be
mistaken for a setting (see `refuse_unknown`).
"""

import os
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from lake.errors import Misconfigured


class HomeSettings(BaseSettings):
    """Where everything that runs lives."""

    model_config = SettingsConfigDict(env_prefix="BITACORA_", frozen=True, extra="ignore")

    home: Path = Path("var")
    """State, logs, staging and, by default, the lake."""
    data: Path | None = None
    """Folder of the shared real data that some tests read."""
    require: str = ""
    """Comma-separated test needs whose absence fails instead of skipping: spark, s3, browser."""


class LakeSettings(BaseSettings):
    """Where the lake is and how to reach it. Credentials come from the standard AWS_* variables alone."""

    model_config = SettingsConfigDict(env_prefix="LAKE_", frozen=True, extra="ignore")

    uri: str = ""
    """A folder, or s3a://bucket/prefix; empty means BITACORA_HOME/lake."""

    def root(self, home: HomeSettings) -> str:
        """The lake's root without a trailing slash; an absolute path or an s3a:// address."""
        if not self.uri:
            return str((home.home / "lake").resolve())
        if "://" not in self.uri:
            return str(Path(self.uri).resolve())
        scheme = self.uri.split("://", 1)[0]
        if scheme == "file":
            return self.uri.removeprefix("file://").rstrip("/")
        if scheme == "hdfs":
            raise Misconfigured(
                f"LAKE_URI={self.uri!r}: hdfs:// is refused: readers without a JVM (live, training, the CLI) cannot "
                "open it, and bronze could not be committed there. Use a folder (HDFS mounted is one) or s3a://."
            )
        if scheme not in ("s3a", "s3"):
            raise Misconfigured(
                f"LAKE_URI={self.uri!r}: expected a folder, file://, s3:// or s3a://, found scheme {scheme!r}."
            )
        return "s3a://" + self.uri.split("://", 1)[1].rstrip("/")


S = TypeVar("S", bound=BaseSettings)

_SHARED = (HomeSettings, LakeSettings)


def _prefix(settings: type[BaseSettings]) -> str:
    return settings.model_config.get("env_prefix", "")


def refuse_unknown(*classes: type[BaseSettings]) -> None:
    """Refuse environment names that carry one of our prefixes and are no setting.

    Raises:
        Misconfigured: lists the unknown names and the ones that exist.
    """
    everything: tuple[type[BaseSettings], ...] = (*_SHARED, *classes)
    known = {f"{_prefix(c)}{field}".upper() for c in everything for field in c.model_fields}
    prefixes = tuple(_prefix(c).upper() for c in everything)
    unknown = sorted(name for name in os.environ if name.startswith(prefixes) and name not in known)
    if unknown:
        raise Misconfigured(f"unknown setting {', '.join(unknown)}: known are {', '.join(sorted(known))}.")


def read_settings(settings: type[S]) -> S:
    """Read one settings class from the environment.

    Raises:
        Misconfigured: a value does not fit; names the variable, never its value.
    """
    try:
        return settings()
    except ValidationError as error:
        prefix = _prefix(settings)
        problems = "; ".join(
            f"{prefix}{'__'.join(map(str, e['loc']))}".upper() + f": {e['msg']}" for e in error.errors()
        )
        raise Misconfigured(f"{settings.__name__}: {problems}") from None
