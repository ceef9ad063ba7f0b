"""JSON over HTTP to our own servers, standard library alone: patient on a busy machine, errors name the URL."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from lake.errors import Unavailable

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class HttpRefused(Unavailable):
    """The server answered with an error; `status` and `body` say which."""

    def __init__(self, method: str, url: str, status: int, body: str) -> None:
        super().__init__(f"{method} {url.split('?')[0]}: HTTP {status}: {body:.300}")
        self.status = status
        self.body = body


def request(
    method: str, url: str, body: Any = None, headers: Mapping[str, str] | None = None, timeout: float = 60.0
) -> bytes:
    """One request; `body` is sent as JSON.

    Raises:
        HttpRefused: the server answered 4xx or 5xx.
        Unavailable: no answer.
    """
    data = None if body is None else json.dumps(body).encode()
    sent = {"Content-Type": "application/json"} if data else {}
    message = urllib.request.Request(url, data=data, method=method, headers={**sent, **(headers or {})})
    try:
        with _OPENER.open(message, timeout=timeout) as answer:
            content: bytes = answer.read()
            return content
    except urllib.error.HTTPError as error:
        raise HttpRefused(method, url, error.code, error.read().decode(errors="replace")) from None
    except (OSError, TimeoutError) as error:
        raise Unavailable(f"{method} {url.split('?')[0]}: no answer ({error})") from None


def json_of(
    method: str, url: str, body: Any = None, headers: Mapping[str, str] | None = None, timeout: float = 60.0
) -> Any:
    """The JSON of an answer; None where it is empty."""
    content = request(method, url, body, headers, timeout)
    return json.loads(content) if content else None


def answers(url: str) -> bool:
    """Whether the URL answers with success within a second."""
    try:
        request("GET", url, timeout=1.0)
    except Unavailable:
        return False
    return True
