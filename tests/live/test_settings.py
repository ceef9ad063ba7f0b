"""No permissive default, no silent typo, no real venue by accident, no secret in a message."""

import os
from decimal import Decimal
from pathlib import Path

import pytest

from live.errors import RealVenueRefused
from live.node import main
from live.settings import LiveSettings, is_loopback

GOOD = {
    "LIVE_REST_URL": "http://127.0.0.1:9", "LIVE_WS_URL": "ws://127.0.0.1:9", "LIVE_API_KEY": "canary-key-1234567890",
    "LIVE_API_SECRET": "canary-secret-1234567890", "LIVE_CAPITAL_PER_INSTRUMENT": "100",
    "LIVE_MAX_ORDER_NOTIONAL": "50", "LIVE_MAX_POSITION_NOTIONAL": "200",
}  # fmt: skip


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LIVE_MAX_ORDER_NOTIONAL", None),
        ("LIVE_MAX_POSITION_NOTIONAL", None),
        ("LIVE_CAPITAL_PER_INSTRUMENT", None),
        ("LIVE_API_SECRET", None),
        ("LIVE_REST_URL", None),
        ("LIVE_MAX_ORDER_NOTIONAL", "0"),
        ("LIVE_MAX_ORDER_NOTIONAL", "-5"),
        ("LIVE_MAX_ORDER_NOTIONAL", "Infinity"),
        ("LIVE_MAX_POSITION_NOTIONAL", "NaN"),
        ("LIVE_MAX_POSITION_NOTIONAL", "lots"),
        ("LIVE_MAX_POSITION_NOTIONAL", "99"),
        ("LIVE_MAX_ORDR_NOTIONAL", "5"),
        ("LIVE_REGISTRY_POLL_SECONDS", "60"),
        ("LIVE_RECV_WINDOW_MS", "900000"),
        ("LIVE_METRICS_PORT", "70000"),
        ("LIVE_ALLOW_REAL_VENUE", "perhaps"),
        ("LIVE_INSTRUMENTS", ","),
    ],
)
def test_a_missing_unknown_or_senseless_setting_refuses_to_start(
    settings: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str | None
) -> None:
    if value is None:
        settings.delenv(name)
    else:
        settings.setenv(name, value)
    assert main([]) == os.EX_CONFIG
    printed = capsys.readouterr().err
    assert printed.startswith("error: ")
    assert name in printed
    assert "canary" not in printed


def test_an_unknown_instrument_is_a_usage_error(
    settings: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.setenv("LIVE_INSTRUMENTS", "binance:DOGE/MOON")
    assert main([]) == os.EX_USAGE
    assert "binance:DOGE/MOON" in capsys.readouterr().err


def test_an_unknown_argument_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--yolo"])
    assert ended.value.code == os.EX_USAGE


def test_a_real_venue_needs_both_switches_and_encryption(settings: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings.setenv("LIVE_REST_URL", "https://api.binance.com")
    settings.setenv("LIVE_WS_URL", "wss://stream.binance.com:9443")
    settings.setenv("LIVE_WS_API_URL", "wss://ws-api.binance.com:443/ws-api/v3")
    switch = tmp_path / "live" / "REAL_VENUE"
    switch.parent.mkdir()
    with pytest.raises(RealVenueRefused, match="LIVE_ALLOW_REAL_VENUE"):
        LiveSettings().refuse_real_venue(tmp_path)
    settings.setenv("LIVE_ALLOW_REAL_VENUE", "true")
    with pytest.raises(RealVenueRefused, match="REAL_VENUE"):
        LiveSettings().refuse_real_venue(tmp_path)
    switch.write_text("api.binance.us\n")
    with pytest.raises(RealVenueRefused, match="exactly that name"):
        LiveSettings().refuse_real_venue(tmp_path)
    switch.write_text("api.binance.com\n")
    LiveSettings().refuse_real_venue(tmp_path)
    settings.setenv("LIVE_WS_URL", "ws://stream.binance.com:9443")
    with pytest.raises(RealVenueRefused, match="wss only"):
        LiveSettings().refuse_real_venue(tmp_path)


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        ("http://127.0.0.1:8000", True),
        ("http://127.9.9.9", True),
        ("ws://[::1]:8000", True),
        ("http://localhost:1", True),
        ("http://localhost.evil.com", False),
        ("http://127.0.0.1.evil.com", False),
        ("http://127.0.0.1@evil.com", False),
        ("http://evil.com#127.0.0.1", False),
        ("http://10.0.0.1", False),
        ("http://0.0.0.0", False),
        ("http://[::ffff:8.8.8.8]", False),
        ("api.binance.com", False),
        ("", False),
    ],
)
def test_loopback_is_judged_by_the_host_alone(address: str, loopback: bool) -> None:
    assert is_loopback(address) is loopback


def test_secrets_do_not_show_in_any_text_form_of_the_settings(settings: pytest.MonkeyPatch) -> None:
    read = LiveSettings()
    assert "canary" not in f"{read!r} {read} {read.model_dump()} {read.model_dump_json()}"
    assert read.max_order_notional == Decimal(50)
