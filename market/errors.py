"""Errors of the embedded exchange.

BitacoraError
└── Refused       the venue's own answer: a Binance code and message; the request had no effect
    └── Limited   too many requests: wait before the next one
"""

from lake.errors import BitacoraError


class Refused(BitacoraError):
    """A request the exchange answers with a Binance error; `status` is the HTTP status that goes with it."""

    def __init__(self, code: int, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.status = code, message, status


class Limited(Refused):
    """A rate limit is exceeded (429) or the address banned (418); `retry_after` seconds until it is not, if told."""

    def __init__(self, code: int, message: str, status: int, retry_after: int | None = None) -> None:
        super().__init__(code, message, status)
        self.retry_after = retry_after


INSUFFICIENT_BALANCE = "Account has insufficient balance for requested action."


def missing(name: str) -> Refused:
    return Refused(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def illegal(name: str, legal: str) -> Refused:
    return Refused(-1100, f"Illegal characters found in parameter '{name}'; legal range is '{legal}'.")


def filter_failure(name: str) -> Refused:
    return Refused(-1013, f"Filter failure: {name}")
