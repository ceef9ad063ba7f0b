"""Adversities: bars change as they say and nowhere else; a live venue shows them and loses no unit of money."""

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import aiohttp
import numpy as np
import pytest
from served_exchange import serving

from lake.errors import UsageError
from lake.intervals import MINUTE, SECOND
from market import adversity
from market.adversity import parse
from market.adversity_bars import history_bars, perturb
from market.adversity_events import (
    EVENTS,
    Adversity,
    Depeg,
    ExchangeOutage,
    FalseNews,
    FeedFreeze,
    FlashCrash,
    FundingShock,
    LiquidityWithdrawal,
    MicroSpikes,
    Spoofing,
    VolatilityShock,
)
from market.adversity_live import apply, running
from market.bars import Bars
from market.book import BUY, SELL
from market.errors import Refused
from market.execution import CLOSE, HIGH, LOW, OPEN, VOLUME
from market.orders import NewOrder
from market.scenario import Scenario, simulate_history
from market.venue import Venue, build_venue

BTC = 0
AT = 100
"""The bar in which events start here."""


def past() -> Bars:
    return history_bars(simulate_history(Scenario(3, days=2, preset="regimes")))


def perpetuals(bars: Bars) -> Bars:
    funding = np.zeros(bars.values.shape[:2])
    funding[::480] = 1e-4
    return Bars(tuple(f"{n}:USDT" for n in bars.instruments), bars.open_time, bars.values, bars.timeframe, funding)


@pytest.mark.parametrize("name", EVENTS)
def test_no_event_touches_the_bars_before_it_or_makes_impossible_ones(name: str) -> None:
    bars = perpetuals(past())
    event = parse({"name": name, "start_minutes": AT, "seed": 4})
    after = perturb(bars, event).bars
    assert np.array_equal(after.values[:AT], bars.values[:AT])
    held = after.values[~np.isnan(after.values[:, :, CLOSE])]
    assert (held[:, LOW] > 0).all() and (held[:, VOLUME] >= 0).all()
    assert (held[:, LOW] <= held[:, [OPEN, CLOSE]].min(axis=1) * (1 + 1e-12)).all()
    assert (held[:, HIGH] >= held[:, [OPEN, CLOSE]].max(axis=1) * (1 - 1e-12)).all()
    again = perturb(bars, event)
    assert np.array_equal(after.values, again.bars.values, equal_nan=True)
    (happened,) = again.happened
    assert happened.what == name and happened.start == bars.open_time[AT]
    assert happened.end - happened.start == int(event.seconds * SECOND)


def changed(event: Adversity) -> tuple[Bars, Bars]:
    bars = past()
    return bars, perturb(bars, event).bars


def test_a_flash_crash_falls_and_mostly_comes_back() -> None:
    before, after = changed(FlashCrash(start_minutes=AT, depth=0.2, fall_minutes=3, recovery_minutes=15))
    ratio = after.values / before.values
    assert ratio[AT : AT + 5, BTC, LOW].min() == pytest.approx(0.8, abs=0.002)
    assert ratio[-1, BTC, CLOSE] == pytest.approx(0.8**0.15, abs=0.002)  # 85 % of the fall, in logs, came back
    assert ratio[AT : AT + 18, BTC, VOLUME] == pytest.approx(6) and ratio[AT + 30, BTC, VOLUME] == 1


def test_micro_spikes_leave_opens_closes_and_volumes_alone() -> None:
    before, after = changed(MicroSpikes(start_minutes=AT, count=6, size=0.05, seed=2))
    assert np.array_equal(after.values[:, :, [OPEN, CLOSE, VOLUME]], before.values[:, :, [OPEN, CLOSE, VOLUME]])
    spikes = (after.values[:, BTC, HIGH] > before.values[:, BTC, HIGH] * 1.03) | (
        after.values[:, BTC, LOW] < before.values[:, BTC, LOW] * 0.97
    )
    assert 4 <= spikes.sum() <= 6 and not spikes[:AT].any()


def test_a_volatility_shock_enlarges_moves_and_then_leaves_them() -> None:
    before, after = changed(VolatilityShock(start_minutes=AT, factor=5, minutes=120, half_life_minutes=1000))
    moves = [np.diff(np.log(bars.values[:, BTC, CLOSE])) for bars in (before, after)]
    inside, outside = slice(AT, AT + 110), slice(AT + 200, None)
    assert np.abs(moves[1][inside]).mean() / np.abs(moves[0][inside]).mean() == pytest.approx(4.85, abs=0.2)
    assert moves[1][outside] == pytest.approx(moves[0][outside], abs=1e-9)


def test_liquidity_withdrawal_thins_volume_and_widens_bars() -> None:
    before, after = changed(LiquidityWithdrawal(start_minutes=AT, minutes=60, left=0.1, spread=20))
    window = slice(AT, AT + 60)
    assert after.values[window, BTC, VOLUME] == pytest.approx(0.1 * before.values[window, BTC, VOLUME])
    ranges = [np.log(bars.values[window, BTC, HIGH] / bars.values[window, BTC, LOW]) for bars in (before, after)]
    assert (ranges[1] - ranges[0] > 15e-4).all()
    assert np.array_equal(after.values[AT + 60 :], before.values[AT + 60 :])


def test_a_frozen_feed_repeats_the_last_close_and_then_jumps_to_the_truth() -> None:
    before, after = changed(FeedFreeze(start_minutes=AT, minutes=10))
    window = after.values[AT : AT + 10, BTC]
    assert (window[:, OPEN : CLOSE + 1] == before.values[AT - 1, BTC, CLOSE]).all() and (window[:, VOLUME] == 0).all()
    assert np.array_equal(after.values[AT + 10 :], before.values[AT + 10 :])


def test_an_outage_leaves_no_bars() -> None:
    before, after = changed(ExchangeOutage(start_minutes=AT, minutes=30))
    assert np.isnan(after.values[AT : AT + 30]).all()
    assert np.array_equal(after.values[AT + 30 :], before.values[AT + 30 :])


def test_a_depeg_lifts_everything_quoted_in_the_coin_by_what_the_coin_loses() -> None:
    before, after = changed(Depeg(start_minutes=AT, depth=0.1, fall_minutes=30, recovery_minutes=600, recovered=1))
    ratio = after.values[:, :, CLOSE] / before.values[:, :, CLOSE]
    assert ratio[AT + 29] == pytest.approx(np.full(6, 1 / 0.9), rel=0.002)
    assert ratio[-1] == pytest.approx(np.ones(6), rel=0.01)


def test_false_news_jumps_holds_and_reverts_to_the_same_path() -> None:
    before, after = changed(FalseNews(start_minutes=AT, jump=0.1, hold_minutes=5, revert_minutes=5, up=False))
    ratio = after.values[:, BTC] / before.values[:, BTC]
    assert ratio[AT, CLOSE] == pytest.approx(0.9) and ratio[AT + 4, CLOSE] == pytest.approx(0.9)
    assert np.array_equal(after.values[AT + 11 :, BTC, :VOLUME], before.values[AT + 11 :, BTC, :VOLUME])


def test_a_spoof_pushes_a_little_and_lets_go() -> None:
    before, after = changed(Spoofing(start_minutes=AT, minutes=20, push_bps=30))
    shift = np.log(after.values[:, BTC, CLOSE] / before.values[:, BTC, CLOSE]) * 1e4
    assert np.abs(shift).max() == pytest.approx(30, abs=0.5)
    assert np.abs(shift[AT + 21 :]).max() < 1e-6


def test_a_funding_shock_hits_perpetuals_and_their_funding_alone() -> None:
    bars = perpetuals(past())
    event = FundingShock(start_minutes=AT, rate=0.004, hours=16)
    after = perturb(bars, event).bars
    assert after.funding is not None and bars.funding is not None
    assert after.funding[480, BTC] > 0.003 and (after.funding[bars.funding == 0] == 0).all()
    with pytest.raises(UsageError, match="hits none"):
        perturb(past(), event)


def test_only_the_named_instruments_are_hit() -> None:
    before, after = changed(FlashCrash(start_minutes=AT, instruments=("binance:ETH/USDT",)))
    same = [np.array_equal(before.values[:, k], after.values[:, k]) for k in range(6)]
    assert same == [True, False, True, True, True, True]


@pytest.mark.parametrize(
    "document",
    [
        {"name": "rain"},
        {"name": "depeg", "depht": 1},
        {"name": "depeg", "depth": "much"},
        {"name": "depeg", "depth": -1},
    ],
)
def test_what_is_no_event_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="adversity"):
        parse(document)


def test_an_event_after_the_last_bar_is_refused() -> None:
    with pytest.raises(UsageError, match="after the last bar"):
        perturb(past(), FlashCrash(start_minutes=10_000))


# -- live -----------------------------------------------------------------------------------------------------------


class Watched:
    """A venue with agents, and what it shows of BTC per half second of market time."""

    def __init__(self) -> None:
        self.venue: Venue = build_venue(Scenario(3, days=1), 1.0, True, 1, Decimal(5), Decimal(100_000))
        self.exchange = self.venue.exchange
        self.exchange.advance(self.exchange.time + MINUTE)
        self.totals = self.exchange.totals()
        self.mid, self.spread, self.depth = (np.empty(0) for _ in range(3))

    def live(self, seconds: float) -> "Watched":
        """Let time pass and replace the record."""
        rows = []
        for _ in range(int(2 * seconds)):
            self.exchange.advance(self.exchange.time + SECOND // 2)
            bids, asks = self.exchange.depth(BTC, BUY, 20), self.exchange.depth(BTC, SELL, 20)
            bid, ask = (float(side[0, 0]) if len(side) else np.nan for side in (bids, asks))
            rows.append(((bid + ask) / 2, (ask / bid - 1) * 1e4, int(bids[:, 1].sum() + asks[:, 1].sum())))
        self.mid, self.spread, self.depth = np.array(rows, np.float64).T
        assert self.exchange.totals() == self.totals
        assert self.exchange.least_balance() >= 0
        return self


def test_a_live_flash_crash_trades_down_and_back() -> None:
    watched = Watched()
    first = watched.live(10).mid[-1]
    calm = watched.depth.mean()
    told = apply(watched.venue, FlashCrash(depth=0.1, fall_minutes=1, recovery_minutes=2, recovered=1))
    assert told["start"] == watched.exchange.time and told["seconds"] == 180
    assert running(watched.venue)[0]["name"] == "flash_crash"
    watched.live(180)
    assert np.nanmin(watched.mid) / first == pytest.approx(0.9, abs=0.01)  # a side may be swept empty
    assert watched.depth[10:].mean() < 0.4 * calm
    bar_low = int(watched.exchange.candles.bars[BTC, -4:, 2].min())
    assert bar_low < 0.92 * first  # it traded there
    watched.live(30)
    assert watched.mid[-1] / first == pytest.approx(1, abs=0.02)
    assert running(watched.venue) == []


def test_live_false_news_and_depeg_move_the_price_and_give_it_back() -> None:
    watched = Watched()
    first = watched.live(5).mid[-1]
    apply(watched.venue, FalseNews(jump=0.05, hold_minutes=0.5, revert_minutes=0.5))
    watched.live(25)
    assert watched.mid[4:].min() / first > 1.04
    watched.live(40)
    assert watched.mid[-1] / first == pytest.approx(1, abs=0.01)
    apply(watched.venue, Depeg(depth=0.1, fall_minutes=0.5, recovery_minutes=1, recovered=1))
    watched.live(30)
    assert watched.mid[-2] / first == pytest.approx(1 / 0.9, rel=0.02)


def test_a_live_withdrawal_leaves_a_thin_book_and_a_wide_spread() -> None:
    watched = Watched()
    depth, spread = watched.live(10).depth.mean(), watched.spread.mean()
    apply(watched.venue, LiquidityWithdrawal(minutes=0.5, left=0.05, spread=10))
    watched.live(25)
    assert watched.depth.mean() < 0.15 * depth and watched.spread.mean() > 6 * spread
    watched.live(20)
    assert watched.depth[-10:].mean() > 0.6 * depth


def test_a_live_volatility_shock_makes_larger_steps() -> None:
    watched = Watched()
    calm = np.diff(np.log(watched.live(60).mid)).std()
    apply(watched.venue, VolatilityShock(factor=6, minutes=1, half_life_minutes=100))
    wild = np.diff(np.log(watched.live(58).mid)).std()
    assert wild > 3 * calm


def test_live_spikes_print_far_away_and_the_price_stays() -> None:
    watched = Watched()
    first = watched.live(5).mid[-1]
    watched.exchange.outbox.trades.clear()
    apply(watched.venue, MicroSpikes(count=4, size=0.03, minutes=1, instruments=("binance:BTC/USDT",), seed=3))
    watched.live(70)
    prices = np.array([row[3] for row in watched.exchange.outbox.trades if row[0] == BTC])
    assert np.abs(prices / first - 1).max() > 0.02
    assert watched.mid[-1] / first == pytest.approx(1, abs=0.01)


def test_a_live_spoof_shows_a_wall_that_never_trades_much() -> None:
    watched = Watched()
    normal = watched.live(10)
    side = Spoofing().side
    usual = int(normal.exchange.depth(BTC, side, 20)[:, 1].sum())
    apply(watched.venue, Spoofing(minutes=0.5, trades=400))
    watched.live(20)
    wall, other = (int(watched.exchange.depth(BTC, s, 20)[:, 1].sum()) for s in (side, 1 - side))
    assert wall > 3 * usual and wall > 3 * other
    watched.live(15)
    assert int(watched.exchange.depth(BTC, side, 20)[:, 1].sum()) < 2 * usual


async def test_a_live_outage_stops_matching_and_comes_back() -> None:
    watched = Watched()
    told = apply(watched.venue, ExchangeOutage(minutes=1))
    watched.live(5)
    trades = len(watched.exchange.outbox.trades)
    watched.live(40)
    assert len(watched.exchange.outbox.trades) == trades
    assert watched.venue.faults.is_down
    order = NewOrder(BTC, BUY, "MARKET", Decimal("0.01"))
    with pytest.raises(Refused):
        watched.exchange.submit(watched.exchange.accounts[0], order)
    watched.live(30)
    assert watched.exchange.time > told["end"] and len(watched.exchange.outbox.trades) > trades
    assert not watched.venue.faults.is_down
    assert watched.exchange.submit(watched.exchange.accounts[0], order).status == "FILLED"


async def test_a_live_freeze_mutes_the_streams_and_not_the_market() -> None:
    watched = Watched()
    apply(watched.venue, FeedFreeze(minutes=0.5))
    trades = len(watched.exchange.outbox.trades)
    watched.live(20)
    assert any(fault.mute and fault.stream == "*" for fault in watched.venue.faults.knobs.streams)
    assert len(watched.exchange.outbox.trades) > trades
    watched.live(15)
    assert watched.venue.faults.knobs.streams == ()


def test_a_live_funding_shock_parts_perpetuals_from_the_index_and_not_spot() -> None:
    usual, struck = (
        build_venue(Scenario(3, days=1), 1.0, True, 1, Decimal(5), Decimal(100_000), with_derivatives=True)
        for _ in range(2)
    )
    told = apply(struck, FundingShock(rate=0.02, hours=0.1))
    assert told["instruments"] and all(":USDT" in name for name in told["instruments"])
    middles = []
    for venue in (usual, struck):
        venue.exchange.advance(venue.exchange.time + 180 * SECOND)
        names = [each.id for each in venue.exchange.instruments]
        rows = []
        for name in ("binance:BTC/USDT", "binance:BTC/USDT:USDT"):
            i = names.index(name)
            bid, ask = (int(venue.exchange.depth(i, side, 1)[0, 0]) for side in (BUY, SELL))
            rows.append((bid + ask) / 2 * float(venue.exchange.instruments[i].price_tick))
        middles.append(rows)
    (spot, perpetual), (spot_struck, perpetual_struck) = middles
    assert spot_struck == spot
    assert perpetual_struck / perpetual > 1.005
    before = build_venue(Scenario(3, days=1), 1.0, True, 1, Decimal(5), Decimal(100_000), with_derivatives=True)
    assert struck.exchange.totals() == before.exchange.totals()


def test_a_venue_without_agents_or_perpetuals_refuses() -> None:
    empty = build_venue(Scenario(3, days=1), 1.0, False, 1, Decimal(5), Decimal(100_000))
    with pytest.raises(UsageError, match="agents"):
        apply(empty, FlashCrash())
    with pytest.raises(UsageError, match="funding_shock"):
        apply(Watched().venue, FundingShock())


def test_the_command_lists_and_shows(tmp_path: Path) -> None:
    run = [sys.executable, "-m", "market.adversity"]
    listed = json.loads(subprocess.run([*run, "list"], capture_output=True, text=True, check=True).stdout)
    assert [row["name"] for row in listed] == list(EVENTS) and all(row["what"] for row in listed)
    out = tmp_path / "plot.html"
    shown = subprocess.run(
        [*run, "show", "micro_spikes", "--set", "minutes=1", "--set", "size=0.04", "--out", str(out)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(shown.stdout)["largest_effect"] == 0.04
    page = out.read_text()
    assert "micro spikes" in page and "<script src" not in page
    wrong = subprocess.run([*run, "show", "rain", "--out", str(out)], check=False, capture_output=True, text=True)
    assert wrong.returncode == 64 and "flash_crash" in wrong.stderr


def test_every_event_says_what_it_is() -> None:
    assert all(adversity.described()[k]["what"] for k in range(len(EVENTS)))
    assert len(EVENTS) == 10


async def test_the_admin_port_starts_an_adversity_and_names_all() -> None:
    async with serving() as served, aiohttp.ClientSession() as session:
        known = await (await session.get(f"{served.admin}/adversity")).json()
        assert {row["name"] for row in known["events"]} == set(EVENTS) and known["running"] == []
        body = {"name": "false_news", "jump": 0.05}
        told = await (await session.post(f"{served.admin}/adversity", json=body)).json()
        assert told["name"] == "false_news" and len(told["instruments"]) == 6 and told["end"] > told["start"]
        known = await (await session.get(f"{served.admin}/adversity")).json()
        assert known["running"][0]["jump"] == 0.05
        for wrong in (b"{", b'{"name": "rain"}', b"[]"):
            assert (await session.post(f"{served.admin}/adversity", data=wrong)).status == 400
