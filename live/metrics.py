"""/metrics for Prometheus and /health, on loopback. Counters hear the journal; gauges are read when scraped."""

import time
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from lake.instruments import Instrument
from lake.journal import Record
from live.account import Account
from live.orders import ZERO
from live.risk import Gateway

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5)


class Metrics:
    """Everything an operator watches. `prices`, `last_event` and `model_version` are filled in by the signal path."""

    def __init__(self, account: Account, gateway: Gateway, traded: dict[str, Instrument]) -> None:
        self._account, self._gateway, self._traded = account, gateway, traded
        self.registry = CollectorRegistry()
        self.prices: dict[str, Decimal] = {}
        self.last_event: dict[str, float] = {}
        self.market_data: Mapping[str, int] = {}
        self.model_version: Callable[[], int] = lambda: 0
        self.decisions = self._counter("decisions", "Closed bars decided on.", "reason")
        self.orders = self._counter("orders", "Order states journalled.", "status")
        self.fills = self._counter("fills", "Fills booked.", "instrument")
        self.frames = self._counter("frames", "Raw bar messages journalled.", "stream")
        self.models = self._counter("models", "Model versions loaded or refused.", "action")
        self.latency = Histogram(
            "bitacora_live_decision_seconds", "From a closed bar's frame to its journalled decision.",
            buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self.registry.register(_Gauges(self._gauges))
        account.observers.append(self._hear)

    def text(self) -> bytes:
        return generate_latest(self.registry)

    def equity(self) -> Decimal | None:
        """Expected balances at the last seen prices, in the quote currency; None while a price is missing."""
        balances = self._account.ledger.expected_balances()
        total = ZERO
        for traded in self._traded.values():
            held = balances.get(traded.base, ZERO)
            if held and traded.id not in self.prices:
                return None
            total += held * self.prices.get(traded.id, ZERO)
        return total + sum((balances.get(q, ZERO) for q in {i.quote for i in self._traded.values()}), ZERO)

    def _counter(self, name: str, text: str, label: str) -> Counter:
        return Counter(f"bitacora_live_{name}", text, [label], registry=self.registry)

    def _hear(self, record: Record) -> None:
        match record["kind"]:
            case "decision":
                self.decisions.labels(record["reason"]).inc()
            case "intent":
                self.orders.labels("intent").inc()
            case "order":
                self.orders.labels(record["status"]).inc()
            case "fill":
                self.fills.labels(record["instrument"]).inc()
            case "frame":
                self.frames.labels(record["stream"]).inc()
            case "model":
                self.models.labels(record["action"]).inc()

    def _gauges(self) -> Iterator[GaugeMetricFamily]:
        ledger, now = self._account.ledger, time.monotonic()
        positions = {name: float(ledger.positions.get(name, ZERO)) for name in self._traded}
        ages = {name: now - at for name, at in self.last_event.items()}
        refusals = {code: float(count) for code, count in self._gateway.refusals.items()}
        yield _labelled("position", "Position by our fills, base units.", "instrument", positions)
        yield _labelled("feed_age_seconds", "Wall time since the last market event.", "instrument", ages)
        market_data = {what: float(count) for what, count in self.market_data.items()}
        yield _labelled("market_data", "Books and trades lost, restored, coalesced, dropped.", "what", market_data)
        yield _labelled("refused_orders", "Orders the gateway refused.", "code", refusals)
        yield _gauge("ready", "1 while new orders may be sent.", not (self._gateway.not_ready or self._gateway.halted))
        yield _gauge("model_version", "Registry version in use; 0 for none.", self.model_version())
        yield _gauge("unsettled_orders", "Orders of which something is still expected.", len(ledger.unsettled()))
        yield _gauge("faults", "Contradictions in the books; any stops new orders.", len(ledger.faults))
        yield _gauge("journal_records", "Records in the journal.", self._account.journal.next_seq)
        yield _gauge("market_time_seconds", "Market clock.", self._account.clock.now / 1e6)
        equity = self.equity()
        if equity is not None:
            yield _gauge("equity", "Balances at the last prices, quote currency.", float(equity))


class _Gauges(Collector):
    def __init__(self, read: Callable[[], Iterator[GaugeMetricFamily]]) -> None:
        self._read = read

    def collect(self) -> Iterator[GaugeMetricFamily]:
        return self._read()


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"bitacora_live_{name}", text, value=value)


def _labelled(name: str, text: str, label: str, values: dict[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"bitacora_live_{name}", text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


async def serve(metrics: Metrics, gateway: Gateway, port: int) -> tuple[web.AppRunner, int]:
    """Serve on loopback; returns the runner to clean up and the port."""

    async def text(request: web.Request) -> web.Response:
        return web.Response(body=metrics.text(), content_type="text/plain", charset="utf-8")

    async def health(request: web.Request) -> web.Response:
        blocked = gateway.halted or ", ".join(sorted(gateway.not_ready))
        return web.json_response({"ready": not blocked, "why": blocked}, status=503 if blocked else 200)

    app = web.Application()
    app.add_routes([web.get("/metrics", text), web.get("/health", health)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    return runner, int(runner.addresses[0][1])
