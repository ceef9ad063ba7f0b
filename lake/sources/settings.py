"""Where a source is, and its key: SOURCES_URL for all of them, SOURCES_<NAME>_URL and SOURCES_<NAME>_KEY for one."""

import os

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from lake.errors import CredentialsRefused, Misconfigured
from lake.sources.registry import sources
from lake.sources.source import Source

_ALL = "SOURCES_URL"


class SourceSettings(BaseSettings):
    """One source's settings; the prefix is SOURCES_<NAME>_."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    url: str = ""
    """Address instead of the source's own, e.g. of `python -m lake.sources`."""
    key: SecretStr = SecretStr("")
    """The key; never written anywhere."""
    requests_per_minute: float | None = Field(default=None, ge=0)
    """Pace; 0: none; empty: the source's own, none at another address."""

    def address(self, source: Source) -> str:
        return (self.url or source.address).rstrip("/")

    def pace_seconds(self, source: Source) -> float:
        """Least time between two requests."""
        rate = self.requests_per_minute
        if rate is None:
            rate = 0.0 if self.url else source.requests_per_minute
        return 60.0 / rate if rate else 0.0


def read_source_settings(source: Source) -> SourceSettings:
    """Read one source's settings from the environment.

    Raises:
        Misconfigured: a value does not fit, or a SOURCES_ name is no setting; never shows a value.
        CredentialsRefused: the source needs a key and there is none.
    """
    refuse_unknown_names()
    prefix = _prefix(source.name)
    try:
        settings = SourceSettings(_env_prefix=prefix)  # type: ignore[call-arg]  # pydantic-settings' own argument
    except ValidationError as error:
        problems = "; ".join(
            f"{prefix}{'.'.join(map(str, e['loc']))}".upper() + f": {e['msg']}" for e in error.errors()
        )
        raise Misconfigured(f"{source.name}: {problems}") from None
    shared = os.environ.get(_ALL, "").rstrip("/")
    if shared and not settings.url:
        settings = settings.model_copy(update={"url": f"{shared}/{source.name}"})
    if source.key and source.key.needed and not settings.key.get_secret_value():
        raise CredentialsRefused(f"{source.name} needs a key and {prefix}KEY is empty: set it (see {source.docs}).")
    return settings


def refuse_unknown_names() -> None:
    """Raises:
    Misconfigured: a SOURCES_ name is no setting of any source.
    """
    known = {_ALL} | {f"{_prefix(n)}{f}".upper() for n in sources() for f in SourceSettings.model_fields}
    unknown = sorted(name for name in os.environ if name.startswith("SOURCES_") and name not in known)
    if unknown:
        names = ", ".join(sources())
        raise Misconfigured(f"unknown setting {', '.join(unknown)}: known are {_ALL} and URL, KEY of {names}.")


def _prefix(name: str) -> str:
    return f"SOURCES_{name.upper()}_"
