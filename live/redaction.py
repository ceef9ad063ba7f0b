"""Logging that cannot print the account's key or secret, whatever a message, an argument or a traceback holds."""

import logging
import sys
from urllib.parse import quote_plus

from live.settings import LiveSettings


class RedactingFormatter(logging.Formatter):
    """Replaces each secret in the finished text, also in its URL-encoded form."""

    def __init__(self, secrets: list[str]) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._secrets = sorted({form for s in secrets if s for form in (s, quote_plus(s))}, key=len, reverse=True)

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        for secret in self._secrets:
            text = text.replace(secret, "[redacted]")
        return text


def set_up_logging(settings: LiveSettings) -> None:
    """Everything to standard error, redacted."""
    handler = logging.StreamHandler(sys.stderr)
    secrets = [settings.api_key.get_secret_value(), settings.api_secret.get_secret_value()]
    handler.setFormatter(RedactingFormatter(secrets))
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)
