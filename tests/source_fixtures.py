"""Every source on loopback, and the rule that no test of sources ever reaches another host."""

import ipaddress
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from lake.intervals import parse_time
from lake.sources.registry import sources
from lake.sources.server import World, serve

NOW = parse_time("2024-03-10T06:00Z")
"""The server's clock at the start."""


def keys() -> dict[str, str]:
    """A key for every source that takes one."""
    return {name: f"s3cret-{name}-k/ey" for name, source in sources().items() if source.key}


class SourceServer:
    """Starts servers whose address is SOURCES_URL, one at a time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    @contextmanager
    def __call__(self, now: int = NOW, **behaviour: Any) -> Iterator[World]:
        world = World(now, keys=keys(), **behaviour)
        with serve(world) as url:
            self._monkeypatch.setenv("SOURCES_URL", url)
            for name, key in keys().items():
                self._monkeypatch.setenv(f"SOURCES_{name.upper()}_KEY", key)
            yield world


@pytest.fixture
def source_server(loopback_only: None, monkeypatch: pytest.MonkeyPatch) -> SourceServer:
    """`with source_server(fail=0.05, seed=1) as world: …`: clients of every source ask it, with keys that fit."""
    return SourceServer(monkeypatch)


@pytest.fixture
def loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail on any connection, and any look-up of a name, that leaves this machine."""
    connect, look_up = socket.socket.connect, socket.getaddrinfo

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX:
            _refuse(str(address[0]))
        connect(self, address)

    def guarded_look_up(host: Any, *rest: Any, **more: Any) -> Any:
        _refuse(host.decode() if isinstance(host, bytes) else str(host))
        return look_up(host, *rest, **more)

    monkeypatch.setattr(socket.socket, "connect", guarded)
    monkeypatch.setattr(socket, "getaddrinfo", guarded_look_up)


def _refuse(host: str) -> None:
    try:
        inside = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        inside = False
    if not inside:
        pytest.fail(f"a test tried to reach {host!r}, which is not this machine")
