"""Which model: a registry version pinned by its manifest's digest, and where its files are."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Version:
    model_name: str
    model_version: int
    manifest_sha256: str


@dataclass(frozen=True, slots=True)
class Champion:
    """A version and the folder of its bundle among the registry's artifacts."""

    version: Version
    path: str
