"""`bitacora lineage`: the chain behind an order, link by link; a link that does not resolve is a problem.

    order → decision → prediction → model version → training run → feature service → table versions → raw messages
    order → decision → strategy → the book, trade or time it decided on

`--verify` computes features and prediction again from the raw messages and compares them with the decision's.
"""

import hashlib
import os
from typing import Any

import numpy as np

from bitacora import show
from bitacora.chain import Books, Model, Row, Services
from bitacora.home import Home
from bitacora.recompute import Graphs, Recomputed, recompute
from bitacora.registry import open_registry
from bitacora.skew import TOLERANCE, skew_of
from lake.bundle import MODEL_FILE
from lake.errors import BitacoraError, UsageError
from lake.intervals import format_time, to_us
from lake.settings import HomeSettings, LakeSettings, read_settings
from lake.storage import Lake

PREDICTION_TOLERANCE = 1e-9
EVENTS = ("book", "trade", "time")
"""Reasons of a strategy's decisions that no closed bar led to."""
STRATEGY = ("strategy", *EVENTS)
"""Reasons of decisions made by a strategy file: the chain ends there, and there is no prediction to recompute."""


class Tracer:
    """Traces orders through the books; what several orders share is read and computed once."""

    def __init__(self, books: Books, orders: list[Row]) -> None:
        self.books, self.orders = books, orders
        self.decisions = books.decisions(orders)
        self.fills = books.fills(orders)
        self.events = books.events(self.decisions)
        self.raw = books.raw_bars([row for row in self.decisions.values() if row["reason"] not in EVENTS])
        self.gold = books.gold_features(list(self.decisions.values()))
        self.services = Services().by_hash
        self.graphs = Graphs()
        self._recomputed: dict[tuple[str, str], Recomputed | str] = {}

    def trace(self, order: Row, verify: bool) -> dict[str, Any]:
        """One order's chain: its links, what is wrong with them, and with `verify` what was recomputed."""
        chain: dict[str, Any] = {"order": self._order(order)}
        problems: list[str] = []
        decision = self.decisions.get(order["decision_id"])
        if decision is None:
            problems.append(f"decision {order['decision_id']} is not stored")
        else:
            self._follow(chain, problems, decision)
            if verify and decision["reason"] not in STRATEGY:
                chain["verified"] = self._verify(problems, decision)
        return {"order_id": order["order_id"], "client_order_id": order["client_order_id"], "ok": not problems,
                "links": chain, "problems": problems}  # fmt: skip

    def _order(self, order: Row) -> dict[str, Any]:
        names = ("instrument", "side", "order_type", "quantity", "filled_quantity", "status")
        trades = [fill["trade_id"] for fill in self.fills.get(order["client_order_id"], [])]
        return {name: order[name] for name in names} | {"time": _time(order["event_time"]), "trade_ids": trades}

    def _follow(self, chain: dict[str, Any], problems: list[str], decision: Row) -> None:
        chain["decision"] = {
            "decision_id": decision["decision_id"], "bar": _time(decision["open_time"]), "reason": decision["reason"],
            "target_weight": decision["target_weight"],
        }  # fmt: skip
        chain["prediction"] = decision["prediction"]
        model = None if decision["reason"] in STRATEGY else self._model(decision)
        if model is None:
            chain["strategy"] = {"name": decision["model_name"], "file_sha256": decision["manifest_sha256"]}
        elif isinstance(model, str):
            problems.append(model)
        else:
            self._follow_model(chain, problems, decision, model)
        if decision["reason"] in EVENTS:
            self._follow_event(chain, problems, decision)
            return
        hashes = self._frames(decision)
        chain["raw_messages"] = {"closing_frame": decision["frame_hash"], "bars_behind_it": self._bars_behind(decision)}
        if decision["frame_hash"] not in hashes:
            problems.append(f"raw message {decision['frame_hash']} is not in bronze")

    def _follow_event(self, chain: dict[str, Any], problems: list[str], decision: Row) -> None:
        """The book, trade or time behind the decision, as it was shown, by its hash."""
        event = self.events.get(decision["decision_id"])
        if event is None:
            problems.append(f"the {decision['reason']} behind decision {decision['decision_id']} is not stored")
            return
        chain["event"] = {
            "kind": event["kind"], "instrument": event["instrument"], "id": event["event_id"],
            "market_time": _time(event["event_time"]), "received": _time(event["received_time"]),
            "payload_hash": event["payload_hash"],
        }  # fmt: skip
        found = hashlib.sha256(event["payload"].encode()).hexdigest()
        if found != decision["frame_hash"]:
            problems.append(f"the event's payload has SHA-256 {found}, decided on {decision['frame_hash']}")

    def _follow_model(self, chain: dict[str, Any], problems: list[str], decision: Row, model: Model) -> None:
        manifest = model.manifest
        chain["model_version"] = {
            "name": model.version.name, "version": model.version.version,
            "manifest_sha256": model.version.manifest_sha256,
        }  # fmt: skip
        chain["training_run"] = {
            "run_id": model.version.run_id, "status": model.run["status"], "git_commit": manifest.git_commit,
            "seed": manifest.seed,
        }  # fmt: skip
        held = (decision["instrument"], decision["open_time"]) in self.gold
        chain["features"] = {
            "service": manifest.feature_service, "service_hash": manifest.feature_service_hash, "in_gold": held,
        }  # fmt: skip
        chain["table_versions"] = manifest.table_versions
        if model.version.manifest_sha256 != decision["manifest_sha256"]:
            problems.append(f"decision used bundle {decision['manifest_sha256']}, the registry pins another")
        if manifest.run_id != model.version.run_id:
            problems.append(f"the bundle names run {manifest.run_id}, the registry {model.version.run_id}")
        if manifest.feature_service_hash != decision["service_hash"]:
            problems.append(f"decision used feature service {decision['service_hash']}, the bundle another")
        if not held:
            problems.append(f"gold has no features for the bar {_time(decision['open_time'])}")
        missing = (self.books.missing_version(name, version) for name, version in manifest.table_versions.items())
        problems.extend(text for text in missing if text)

    def _model(self, decision: Row) -> Model | str:
        if decision["model_version"] is None:
            return f"decision {decision['decision_id']} was made without a model"
        return self.books.model(decision["model_name"], decision["model_version"])

    def _verify(self, problems: list[str], decision: Row) -> dict[str, Any]:
        """Compute the decision's vector and prediction again; differences are added to the problems."""
        model, again = self._model(decision), self._again(decision)
        if isinstance(model, str) or isinstance(again, str):
            problems.extend(text for text in (again,) if isinstance(text, str))
            return {"ok": False}
        rows = again.rows(to_us(decision["open_time"]), model.manifest.window)
        if rows is None or len(rows) < model.manifest.window:
            problems.append(f"bronze lacks bars behind {_time(decision['open_time'])}")
            return {"ok": False}
        columns = [self.services[decision["service_hash"]].feature_names.index(n) for n in model.manifest.features]
        selected = rows[:, columns]
        live = np.array(decision["features"], dtype=np.float64)
        distance = float(skew_of(live, selected[-1]).max()) if live.shape == selected[-1].shape else float("inf")
        prediction = self.graphs.predict(model.folder / MODEL_FILE, selected)
        difference = abs(prediction - decision["prediction"]) if decision["prediction"] is not None else float("inf")
        if not distance <= TOLERANCE:
            problems.append(f"features differ from those recomputed from bronze by {distance}")
        if not difference <= PREDICTION_TOLERANCE * max(1.0, abs(prediction)):
            problems.append(f"prediction {decision['prediction']} differs from the recomputed {prediction}")
        return {"features": distance, "prediction": difference, "recomputed_prediction": prediction}

    def _again(self, decision: Row) -> Recomputed | str:
        key = (decision["instrument"], decision["service_hash"])
        if key not in self._recomputed:
            service = self.services.get(decision["service_hash"])
            chosen = [d["frame_hash"] for d in self.decisions.values() if d["instrument"] == decision["instrument"]]
            try:
                self._recomputed[key] = (
                    recompute(service, self.raw, decision["instrument"], chosen)
                    if service
                    else f"feature service {decision['service_hash']} is not installed here"
                )
            except BitacoraError as error:
                self._recomputed[key] = str(error)
        return self._recomputed[key]

    def _frames(self, decision: Row) -> set[str]:
        """Hashes of the raw rows of the decided bar."""
        mine = (self.raw["instrument"] == decision["instrument"]) & (self.raw["event_time"] == decision["open_time"])
        return set(self.raw.filter(mine)["payload_hash"])

    def _bars_behind(self, decision: Row) -> int:
        """How many bars in bronze the decision's features were computed from."""
        service = self.services.get(decision["service_hash"])
        if service is None:
            return 0
        start = service.periods.scan_start(to_us(decision["open_time"]))
        times = self.raw.filter(self.raw["instrument"] == decision["instrument"])["event_time"].dt.epoch("us").unique()
        return int(((times >= start) & (times <= to_us(decision["open_time"]))).sum())


def _time(moment: Any) -> str:
    return format_time(to_us(moment))


def trace(order_id: str | None, verify: bool) -> list[dict[str, Any]]:
    """The chains of one order, or of every order, from the lake and registry the settings name.

    Raises:
        NothingStored: no such order.
    """
    home = Home.read()
    books = Books(Lake(read_settings(LakeSettings).root(read_settings(HomeSettings))), open_registry(home))
    orders = books.orders(order_id)
    tracer = Tracer(books, orders)
    return [tracer.trace(order, verify) for order in orders]


def command(order_id: str, every: bool, verify: bool, as_json: bool) -> int:
    """Print chains; 0 if every link held, 65 if not."""
    if every == bool(order_id):
        raise UsageError("name one order id, or --all. `bitacora journal export --json` lists them.")
    chains = trace(order_id or None, verify)
    if as_json:
        show.print_json(chains if every else chains[0])
    else:
        print("\n\n".join(text(chain) for chain in chains))
        print(f"\n{sum(c['ok'] for c in chains)} of {len(chains)} chains hold{' (recomputed)' if verify else ''}")
    return os.EX_OK if all(chain["ok"] for chain in chains) else os.EX_DATAERR


def text(chain: dict[str, Any]) -> str:
    """One chain as an indented list."""
    lines = [f"order {chain['order_id'] or '(never confirmed)'}  {chain['client_order_id']}"]
    for depth, (name, link) in enumerate(chain["links"].items()):
        shown = " ".join(f"{k}={v}" for k, v in link.items()) if isinstance(link, dict) else link
        lines.append(f"{'  ' * depth}└ {name.replace('_', ' ')}: {shown}")
    return "\n".join([*lines, *(f"  problem: {problem}" for problem in chain["problems"])])
