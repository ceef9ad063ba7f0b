"""The embedded exchange: `python -m market.server`, ready when it has printed its one JSON line."""

import sys
from dataclasses import dataclass
from typing import Any

import orjson

from bitacora import processes, web
from bitacora.home import Home
from bitacora.services import environment

NAME = "exchange"


@dataclass(frozen=True, slots=True)
class Exchange:
    """Where the exchange answers, and the account live trades with."""

    rest: str
    ws: str
    admin: str
    api_key: str
    api_secret: str

    def clock_us(self) -> int:
        """The market clock, microseconds."""
        clock = web.json_of("GET", f"{self.admin}/clock")
        return int(clock["market_time"])

    def pause(self) -> None:
        """Stop clock, matching and agents; queries still answer."""
        web.json_of("POST", f"{self.admin}/pause", {})

    def set_speed(self, speed: float) -> None:
        web.json_of("POST", f"{self.admin}/speed", {"speed": speed})


def start(home: Home, seed: int, speed: float, ports: tuple[int, int] = (0, 0), seconds: float = 90.0) -> Exchange:
    """Start it and wait for its ready line.

    Raises:
        Unavailable: it ended or did not get ready; the message carries its last lines.
    """
    rest_port, admin_port = (processes.free_port(p) for p in ports)
    command = [
        sys.executable, "-m", "market.server", "--port", str(rest_port), "--admin-port", str(admin_port),
        "--seed", str(seed), "--speed", str(speed), "--agents", "default",
    ]  # fmt: skip
    home.log(NAME).unlink(missing_ok=True)
    service = processes.start(home, NAME, command, environment.base(home), [rest_port, admin_port])
    processes.wait_ready(service, lambda: _ready_line(home) is not None, seconds)
    ready = _ready_line(home)
    assert ready is not None
    account = ready["accounts"][0]
    exchange = Exchange(ready["rest"], ready["ws"], ready["admin"], account["api_key"], account["api_secret"])
    urls = {"rest": exchange.rest, "ws": exchange.ws, "admin": exchange.admin}
    urls |= {"api_key": exchange.api_key, "api_secret": exchange.api_secret}
    processes.save(home, processes.Service(**{**_fields(service), "urls": urls}))
    return exchange


def running(home: Home) -> Exchange | None:
    """The exchange of this home while it runs."""
    service = processes.load(home, NAME)
    if service is None or service.process() is None or "rest" not in service.urls:
        return None
    return Exchange(**service.urls)


def _ready_line(home: Home) -> dict[str, Any] | None:
    try:
        lines = home.log(NAME).read_bytes().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith(b'{"ready"'):
            ready: dict[str, Any] = orjson.loads(line)
            return ready
    return None


def _fields(service: processes.Service) -> dict[str, Any]:
    return {name: getattr(service, name) for name in service.__dataclass_fields__}
