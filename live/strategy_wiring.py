"""Composition of a strategy file's path. Imported in a thread once the order path is ready: numpy takes seconds."""

from typing import TYPE_CHECKING

from live.feed import Feed
from live.market_data import MarketData
from live.strategy_path import StrategyPath
from market.runner import Runner
from market.strategy import apply_settings
from market.strategy_file import file_digest, load_strategy

if TYPE_CHECKING:
    from live.node import Node


def wire(node: "Node", source: str, settings: dict[str, str]) -> tuple[Feed, StrategyPath]:
    """Build feed and strategy path on a node's order path, and show them in its metrics.

    Raises:
        UsageError: the file or a parameter.
    """
    strategy = apply_settings(load_strategy(source), settings)
    lockstep, capital = node.settings.lockstep, node.settings.capital_per_instrument * len(node.traded)
    runner = Runner(strategy, list(node.traded.values()), capital)
    market = None
    if runner.wants_books or runner.wants_trades:
        levels = strategy.book_levels if runner.wants_books else 0
        market = MarketData(node.traded, node.venue, node.clock, levels, runner.wants_trades, lockstep)
        node.metrics.market_data = market.counts
    feed = Feed(node.session, node.settings.ws_url, node.traded, node.clock, lockstep, market)
    user_stream = node.reached if lockstep else None
    path = StrategyPath(node.account, node.gateway, node.venue, runner, feed, file_digest(source), user_stream, market)
    path.decisions.on_decision = lambda reason, seconds: node.metrics.latency.observe(seconds)
    node.metrics.prices, node.metrics.last_event = feed.prices, feed.last_event
    return feed, path
