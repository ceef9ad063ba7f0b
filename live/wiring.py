"""Composition of the signal path. Imported in a thread once the order path is ready: kernels and ONNX take seconds."""

from typing import TYPE_CHECKING

from feature_store.service import DEFAULT
from live.feed import Feed
from live.keeper import ModelKeeper
from live.registry import Registry
from live.signals import SignalPath

if TYPE_CHECKING:
    from live.node import Node


def wire(node: "Node") -> tuple[Feed, ModelKeeper, SignalPath]:
    """Build feed, model keeper and signal path on a node's order path, and show them in its metrics."""
    settings = node.settings
    feed = Feed(node.session, settings.ws_url, node.traded, node.clock)
    registry = None
    if settings.registry_url:
        registry = Registry(node.session, settings.registry_url, settings.model_name, settings.model_alias)
    models = node.home / "live" / "models"
    models.mkdir(parents=True, exist_ok=True)
    keeper = ModelKeeper(models, node.account, registry)
    path = SignalPath(
        node.account, node.gateway, node.venue, keeper, DEFAULT, node.traded,
        settings.capital_per_instrument, settings.max_order_notional,
    )  # fmt: skip
    path.on_references, path.heard = feed.watch, lambda: feed.market_time
    path.on_decision = lambda reason, seconds: node.metrics.latency.observe(seconds)
    node.metrics.prices, node.metrics.last_event = feed.prices, feed.last_event
    node.metrics.model_version = lambda: keeper.current.version.model_version if keeper.current else 0
    return feed, keeper, path
