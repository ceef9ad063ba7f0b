"""Live's settings, read once in `main` from LIVE_* and passed down.

Limits have no default: a limit that is absent is a mistake, never "no limit". A real venue needs two switches in two
places: LIVE_ALLOW_REAL_VENUE=true, and a file BITACORA_HOME/live/REAL_VENUE that holds the REST host's name.
"""

import ipaddress
from decimal import Decimal
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from lake.instruments import INSTRUMENTS, instrument
from live.errors import RealVenueRefused

REAL_VENUE_FILE = "REAL_VENUE"
Amount = Annotated[Decimal, Field(gt=0, allow_inf_nan=False)]


class LiveSettings(BaseSettings):
    """Everything `python -m live.node` can be told. Amounts are in the quote currency (USDT)."""

    model_config = SettingsConfigDict(env_prefix="LIVE_", frozen=True, extra="ignore", hide_input_in_errors=True)

    rest_url: str
    """The venue's REST address, e.g. http://127.0.0.1:8100 or https://api.binance.com."""
    ws_url: str
    """The venue's market stream address, without a path, e.g. ws://127.0.0.1:8100 or wss://stream.binance.com:9443."""
    ws_api_url: str = ""
    """The venue's WebSocket API for user events; empty means ws_url plus /ws-api/v3, as at the embedded exchange."""
    api_key: SecretStr
    api_secret: SecretStr
    capital_per_instrument: Amount
    """What weight 1 means for each instrument."""
    max_order_notional: Amount
    """Hard limit of one order."""
    max_position_notional: Amount
    """Hard limit of one instrument's position, everything in flight included."""
    instruments: Annotated[tuple[str, ...], NoDecode] = tuple(INSTRUMENTS)
    """Comma-separated instrument ids; default all."""
    registry_url: str = ""
    """The model registry's REST address; empty means only the bundle already on disk."""
    model_name: str = "bitacora"
    model_alias: str = "champion"
    registry_poll_seconds: Annotated[float, Field(gt=0, le=5)] = 1.0
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = 0
    """Port of /metrics and /health on loopback; 0 picks a free one, told in the ready line."""
    recv_window_ms: Annotated[int, Field(ge=1000, le=60_000)] = 5_000
    """How long after its timestamp the venue may still accept an order."""
    lockstep: bool = False
    """Acknowledge every stop of an exchange that runs with --speed lockstep; only with a strategy."""
    log_level: str = "INFO"
    allow_real_venue: bool = False
    """First of two switches for an address that is not loopback."""

    @field_validator("instruments", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _consistent(self) -> "LiveSettings":
        if self.capital_per_instrument > self.max_position_notional:
            raise ValueError("LIVE_CAPITAL_PER_INSTRUMENT is above LIVE_MAX_POSITION_NOTIONAL: lower it")
        for name in self.instruments:
            instrument(name)
        if not self.instruments:
            raise ValueError("LIVE_INSTRUMENTS names no instrument")
        return self

    @property
    def user_stream_url(self) -> str:
        return self.ws_api_url or self.ws_url.rstrip("/") + "/ws-api/v3"

    def refuse_real_venue(self, home: Path) -> None:
        """Pass for loopback addresses; for any other both switches must be set and the transport encrypted.

        Raises:
            RealVenueRefused: says which switch is missing.
        """
        addresses = [self.rest_url, self.ws_url, self.user_stream_url]
        real = [address for address in addresses if not is_loopback(address)]
        if not real:
            return
        host = urlsplit(self.rest_url).hostname or ""
        if not self.allow_real_venue:
            raise RealVenueRefused(f"{host} is no loopback address: to trade there, set LIVE_ALLOW_REAL_VENUE=true.")
        switch = home / "live" / REAL_VENUE_FILE
        if not switch.is_file() or switch.read_text().strip() != host:
            raise RealVenueRefused(f"to trade at {host}, write exactly that name into {switch}.")
        plain = [address for address in real if urlsplit(address).scheme not in ("https", "wss")]
        if plain:
            raise RealVenueRefused(f"{', '.join(plain)}: a real venue is reached by https and wss only.")


def is_loopback(address: str) -> bool:
    """Whether an address is this machine by its text alone; names other than localhost are not resolved."""
    host = urlsplit(address).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
