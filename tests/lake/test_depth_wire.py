"""Depth, quote and trade messages of Binance, from recorded lines (2024-08-08, shortened where marked)."""

import pytest

from lake.errors import BadInput
from lake.wire import binance_depth as wire

SPOT_DIFF = (
    b'1723161254036059768 {"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1723161255308,"s":"BTCUSDT",'
    b'"U":50093239203,"u":50093239207,"b":[["55653.87000000","0.00000000"]],"a":[["61838.04000000","0.32332000"]]}}\n'
)
FUTURES_DIFF = (
    b'{"e":"depthUpdate","E":1723161257460,"T":1723161257451,"s":"BTCUSD_PERP","ps":"BTCUSD","U":1007198631580,'
    b'"u":1007198631835,"pu":1007198631565,"b":[["61777.6","0"]],"a":[]}'
)
SPOT_QUOTE = (
    b'{"u":50093239212,"s":"BTCUSDT","b":"61837.63000000","B":"3.78826000","a":"61837.64000000","A":"1.54698000"}'
)
FUTURES_TRADE = (
    b'{"e":"trade","E":1723161256322,"T":1723161256321,"s":"BTCUSDT","t":5266583935,"p":"61800.30","q":"0.006",'
    b'"X":"MARKET","m":false}'
)


def test_a_capture_line_is_receive_time_and_frame() -> None:
    assert wire.message_from_capture_line(SPOT_DIFF) == (
        1723161254036059768,
        wire.DepthDiff(
            event_time=1723161255308000, first_id=50093239203, final_id=50093239207, previous_id=None,
            bids=[["55653.87000000", "0.00000000"]], asks=[["61838.04000000", "0.32332000"]],
        ),
    )  # fmt: skip


def test_a_futures_diff_names_the_one_before() -> None:
    diff = wire.message_from_payload(FUTURES_DIFF)
    assert isinstance(diff, wire.DepthDiff) and diff.previous_id == 1007198631565


def test_a_spot_quote_carries_no_time() -> None:
    assert wire.message_from_payload(SPOT_QUOTE) == wire.BestQuote(
        50093239212, None, "61837.63000000", "3.78826000", "61837.64000000", "1.54698000"
    )


def test_a_trade_is_dated_by_its_trade_time() -> None:
    assert wire.message_from_payload(FUTURES_TRADE) == wire.TradeEvent(
        5266583935, 1723161256321000, "61800.30", "0.006", buyer_is_maker=False, market=True
    )
    fund = wire.message_from_payload(FUTURES_TRADE.replace(b"MARKET", b"INSURANCE_FUND"))
    assert isinstance(fund, wire.TradeEvent) and not fund.market


def test_a_snapshot_is_known_by_its_last_update() -> None:
    snapshot = wire.message_from_payload(b'{"lastUpdateId":7,"bids":[["1.0","2"]],"asks":[]}')
    assert snapshot == wire.DepthSnapshot(7, [["1.0", "2"]], [])


ODD = [b"", b"{", b"[]", b"7", b'"x"', b'{"e":"trade"}', b'{"e":"kline"}', b'{"stream":1}', b'{"stream":1,"data":[]}']
ODD_LEVELS = [
    b'{"lastUpdateId":7,"asks":[],"bids":%s}' % rows for rows in (b"7", b"[7]", b'[["1"]]', b"[[1,2]]", b"null")
]


@pytest.mark.parametrize("bad", ODD + ODD_LEVELS)
def test_other_payloads_are_refused(bad: bytes) -> None:
    with pytest.raises(BadInput):
        wire.message_from_payload(bad)
    with pytest.raises(BadInput):
        wire.message_from_capture_line(b"x " + bad)
