"""Which online store: a file by default, Redis by setting."""

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from feature_store.online import OnlineStore
from lake.errors import Misconfigured
from lake.settings import HomeSettings, read_settings


class OnlineSettings(BaseSettings):
    """Read once in `main`. Prefix `ONLINE_`."""

    model_config = SettingsConfigDict(env_prefix="ONLINE_", frozen=True, extra="ignore")

    store: SecretStr = SecretStr("")
    """redis://[user:password@]host:port/db, rediss:// or unix://; empty: SQLite under BITACORA_HOME/online."""


def open_store(home: HomeSettings, settings: OnlineSettings | None = None) -> OnlineStore:
    """Open the store that the settings name; `with` closes it.

    Raises:
        Unavailable: it does not answer, or its file cannot be written.
        Misconfigured: ONLINE_STORE names no kind of store there is.
    """
    url = (settings or read_settings(OnlineSettings)).store.get_secret_value()
    if not url:
        from feature_store.online_sqlite import SqliteBackend

        return OnlineStore(SqliteBackend(home.home / "online" / "features.db"))
    if not url.startswith(("redis://", "rediss://", "unix://")):
        raise Misconfigured("ONLINE_STORE: expected redis://, rediss:// or unix://, found another scheme.")
    from feature_store.online_redis import RedisBackend

    return OnlineStore(RedisBackend(url))
