"""The trading process against the embedded exchange: its keys and limits reach it alone."""

import sys

import orjson

from bitacora import processes
from bitacora.home import Home
from bitacora.services import environment
from bitacora.services.exchange import Exchange

NAME = "live"
LIMITS = {
    "LIVE_CAPITAL_PER_INSTRUMENT": "10000",
    "LIVE_MAX_ORDER_NOTIONAL": "10500",
    "LIVE_MAX_POSITION_NOTIONAL": "12000",
}
"""USDT; six instruments share the embedded account's 100,000."""


def start(home: Home, exchange: Exchange, registry_url: str) -> processes.Service:
    """Start it without waiting; see `wait`."""
    settings = LIMITS | {
        "LIVE_REST_URL": exchange.rest,
        "LIVE_WS_URL": exchange.ws,
        "LIVE_API_KEY": exchange.api_key,
        "LIVE_API_SECRET": exchange.api_secret,
        "LIVE_REGISTRY_URL": registry_url,
    }
    home.log(NAME).unlink(missing_ok=True)
    return processes.start(home, NAME, [sys.executable, "-m", "live.node"], environment.base(home) | settings)


def wait(home: Home, service: processes.Service, seconds: float = 60.0) -> None:
    """Wait for its ready line.

    Raises:
        Unavailable: it ended or did not get ready.
    """
    processes.wait_ready(service, lambda: metrics_url(home) is not None, seconds)


def metrics_url(home: Home) -> str | None:
    """Where /metrics is, once it is ready."""
    try:
        lines = home.log(NAME).read_bytes().splitlines()
    except OSError:
        return None
    ready = next((orjson.loads(line) for line in lines if line.startswith(b'{"ready"')), None)
    return str(ready["metrics"]) if ready else None
