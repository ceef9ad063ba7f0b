"""Composition of the signal path. Imported in a thread once the order path is ready: kernels and ONNX take seconds."""

from typing import TYPE_CHECKING

import numpy as np

from feature_store.scan import Stream
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
    keeper = ModelKeeper(models, DEFAULT, node.account, registry)
    path = SignalPath(
        node.account, node.gateway, node.venue, keeper, DEFAULT, node.traded,
        settings.capital_per_instrument, settings.max_order_notional,
    )  # fmt: skip
    path.on_decision = lambda reason, seconds: node.metrics.latency.observe(seconds)
    node.metrics.prices, node.metrics.last_event = feed.prices, feed.last_event
    node.metrics.model_version = lambda: keeper.current.version.model_version if keeper.current else 0
    return feed, keeper, path


def warm_up() -> None:
    """Compile or load the kernels before the first bar needs them."""
    bar_us = DEFAULT.periods.bar_us
    times = np.arange(2, dtype=np.int64) * bar_us
    Stream(DEFAULT).seed(times, np.ones((2, 5)))
