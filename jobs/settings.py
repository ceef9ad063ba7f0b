"""Settings of the jobs. They hold no trading key: a job never trades."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class VenueSettings(BaseSettings):
    """Which venue to ingest from."""

    model_config = SettingsConfigDict(env_prefix="VENUE_", frozen=True, extra="ignore")

    name: str = "binance"
    """The ccxt id that `jobs.ingest_bars` asks unless told by --venue."""
    rest: str = ""
    """Base URL that replaces the venue's own, e.g. the embedded exchange's; empty: the venue itself."""
    ws: str = ""
    """The same for WebSockets; empty: made from `rest`, or the venue itself."""
    requests_per_second: float = Field(default=0.0, ge=0.0)
    """Pace; 0 keeps ccxt's own for the venue."""
