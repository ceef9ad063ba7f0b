"""What a reply proves, case by case. A wrong "no" doubles an order; a wrong "yes" loses one."""

import pytest

from live.replies import Outcome, classify_query, classify_submit

ID = "b00000000-7"
YES, NO, UNKNOWN = Outcome.YES, Outcome.NO, Outcome.UNKNOWN


def _error(code: object) -> bytes:
    return b'{"code":%s,"msg":"no"}' % str(code).encode()


SUBMITS: list[tuple[int | None, bytes | None, Outcome]] = [
    # definitive yes: the venue's order id
    (200, b'{"orderId":28,"clientOrderId":"b00000000-7","status":"FILLED"}', YES),
    (200, b'{"orderId":28}', YES),
    (201, b'{"orderId":0,"status":"NEW"}', YES),
    # definitive no: never reached the book
    *((400, _error(code), NO) for code in (-1013, -1021, -1022, -2010, -2014, -2015)),
    *((400, _error(code), NO) for code in (-1100, -1102, -1111, -1121, -1130, -1199)),
    (401, _error(-2015), NO),
    (403, _error(-2015), NO),
    (429, _error(-1003), NO),
    (429, b"", NO),
    (418, b"<html>banned</html>", NO),
    # unknown: codes that say so
    *((400, _error(code), UNKNOWN) for code in (-1000, -1001, -1006, -1007, -1008, -1003, -1015, -1200, -1099)),
    # answers to a cancel or a query prove nothing about a submit
    (400, _error(-2011), UNKNOWN),
    (400, _error(-2013), UNKNOWN),
    (400, _error(-9999), UNKNOWN),
    # unknown: not the venue's words
    (400, b"<html>bad request</html>", UNKNOWN),
    (400, b"", UNKNOWN),
    (400, b'{"code":"-2010","msg":"text"}', UNKNOWN),
    (400, b'{"code":true}', UNKNOWN),
    (400, b'{"code":0}', UNKNOWN),
    (400, b"[-2010]", UNKNOWN),
    (401, b"<html>proxy wants a password</html>", UNKNOWN),
    (403, b"<html>WAF</html>", UNKNOWN),
    (403, b'{"message":"Forbidden"}', UNKNOWN),
    # unknown: silence and everything on the way
    (None, None, UNKNOWN),
    *((status, _error(-2010), UNKNOWN) for status in (500, 502, 503, 504, 520, 404, 405, 408, 409, 413)),
    (301, b"", UNKNOWN),
    (307, b"", UNKNOWN),
    (409, _error(-2021), UNKNOWN),
    (503, _error(-1008), UNKNOWN),
    # unknown: a yes that cannot be read
    (200, b"", UNKNOWN),
    (200, b'{"orderId":28,"clientOr', UNKNOWN),
    (200, b"null", UNKNOWN),
    (200, b"[]", UNKNOWN),
    (200, b"{}", UNKNOWN),
    (200, b'{"orderId":null}', UNKNOWN),
    (200, b'{"orderId":true}', UNKNOWN),
    (200, b'{"orderId":"28"}', UNKNOWN),
    (200, b'{"orderId":-1}', UNKNOWN),
    (200, b'{"orderId":28,"clientOrderId":"somebody-else"}', UNKNOWN),
    (200, _error(-2010), UNKNOWN),
]


def test_the_table_holds_at_least_sixty_replies() -> None:
    assert len(SUBMITS) >= 60


@pytest.mark.parametrize(("status", "body", "outcome"), SUBMITS)
def test_a_reply_to_a_submit_proves_what_it_proves(status: int | None, body: bytes | None, outcome: Outcome) -> None:
    assert classify_submit(status, body, ID).outcome is outcome


@pytest.mark.parametrize(
    ("status", "body", "outcome", "votes"),
    [
        (200, b'{"orderId":1}', YES, False),
        (200, b"[]", YES, False),
        (400, _error(-2013), NO, True),
        (400, _error(-2011), NO, True),
        (400, _error(-1121), NO, False),
        (404, b"not found", UNKNOWN, False),
        (404, _error(-2013), NO, False),
        (500, _error(-2013), UNKNOWN, False),
        (400, b"no such order", UNKNOWN, False),
        (None, None, UNKNOWN, False),
        (200, b"{", UNKNOWN, False),
    ],
)
def test_only_the_venues_own_words_count_as_not_found(
    status: int | None, body: bytes | None, outcome: Outcome, votes: bool
) -> None:
    reply = classify_query(status, body)
    assert (reply.outcome, reply.is_not_found) == (outcome, votes)


def test_a_reply_prints_its_status_code_and_words_only() -> None:
    assert str(classify_submit(400, _error(-2010), ID)) == "HTTP 400 -2010 no"
    assert str(classify_submit(None, None, ID)) == "no reply"
