"""What a venue's reply to a submitted order proves: yes, no, or nothing. Pure; the table is in the tests.

    yes      2xx with the venue's order id
    no       400 with a code that says the order never reached the book; 401/403 with a venue body; 429, 418
    unknown  everything else: silence, TCP and TLS errors, 3xx, 404, 409, 5xx, a proxy's page, a 2xx that does not
             parse, and every code not listed. An unknown order is charged to risk and never sent again.

-2011 and -2013 answer a cancel or a query: to a submit they prove nothing.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson

_NEVER_PLACED = frozenset({-1013, -1021, -1022, -2010, -2014, -2015, *range(-1199, -1099)})
NOT_FOUND = frozenset({-2013, -2011})
TIMESTAMP_REFUSED = -1021


class Outcome(StrEnum):
    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Reply:
    """A classified reply; `body` is the venue's JSON where it parsed, `code` its error code where it gave one."""

    outcome: Outcome
    status: int | None = None
    code: int | None = None
    text: str = ""
    body: Any = None

    @property
    def is_not_found(self) -> bool:
        """A venue-coded "no such order": one vote, never a proof."""
        return self.status == 400 and self.code in NOT_FOUND

    def __str__(self) -> str:
        return f"HTTP {self.status} {self.code or ''} {self.text}".replace("HTTP None", "no reply").strip()


def classify_submit(status: int | None, payload: bytes | None, client_order_id: str) -> Reply:
    """Classify the reply to POST /api/v3/order. `status` None: nothing (complete) came back."""
    reply = _read(status, payload)
    if status is None:
        return reply
    if 200 <= status < 300:
        return _with(reply, Outcome.YES if _names_order(reply.body, client_order_id) else Outcome.UNKNOWN)
    if status in (418, 429):
        return _with(reply, Outcome.NO)
    if status == 400 and reply.code in _NEVER_PLACED:
        return _with(reply, Outcome.NO)
    if status in (401, 403) and reply.code is not None:
        return _with(reply, Outcome.NO)
    return reply


def classify_query(status: int | None, payload: bytes | None) -> Reply:
    """Classify the reply to a read or a cancel: yes with a JSON body, no with a venue's code, else unknown."""
    reply = _read(status, payload)
    if status is not None and 200 <= status < 300 and reply.body is not None:
        return _with(reply, Outcome.YES)
    if status is not None and 400 <= status < 500 and reply.code is not None:
        return _with(reply, Outcome.NO)
    return reply


def _names_order(body: Any, client_order_id: str) -> bool:
    if not isinstance(body, dict) or body.get("clientOrderId", client_order_id) != client_order_id:
        return False
    order_id = body.get("orderId")
    return isinstance(order_id, int) and not isinstance(order_id, bool) and order_id >= 0


def _read(status: int | None, payload: bytes | None) -> Reply:
    try:
        body = None if status is None or payload is None else orjson.loads(payload)
    except orjson.JSONDecodeError:
        body = None
    code = body.get("code") if isinstance(body, dict) else None
    if not isinstance(body, dict) or not isinstance(code, int) or isinstance(code, bool) or code >= 0:
        return Reply(Outcome.UNKNOWN, status, None, "", body)
    return Reply(Outcome.UNKNOWN, status, code, str(body.get("msg", ""))[:200], body)


def _with(reply: Reply, outcome: Outcome) -> Reply:
    return Reply(outcome, reply.status, reply.code, reply.text, reply.body)
