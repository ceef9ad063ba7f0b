"""The stored rows one order's chain runs through, read once for all orders.

order → decision → prediction → model version → training run → feature service → table versions → raw messages
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from bitacora.registry import ModelVersion, Registry
from feature_store.inputs import reference_ids
from feature_store.service import DEFAULT, FeatureService, services
from lake.bundle import Manifest
from lake.errors import BitacoraError, NothingStored
from lake.intervals import Interval, to_us
from lake.storage import Lake
from lake.table import Table
from lake.tables import table
from lake.tables.bars import RAW_BARS
from lake.tables.features import SERVICE_TABLES
from lake.tables.trading import DECISION_EVENTS, DECISIONS, FILLS, ORDERS

LIVE_STREAMS = ("ws:kline_5m", "rest:klines_5m")
"""What live read: closed-bar frames, and the rows it fetched for its history and for gaps."""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Model:
    """A registered version with its run and its verified bundle."""

    version: ModelVersion
    run: Row
    folder: Path
    manifest: Manifest


@dataclass(slots=True)
class Books:
    """Gold and bronze of one lake, and the registry, as far as the chains of some orders need them."""

    lake: Lake
    registry: Registry
    _models: dict[tuple[str, int], Model | str] = field(default_factory=dict)
    _versions: dict[tuple[str, int], str] = field(default_factory=dict)

    def orders(self, order_id: str | None) -> list[Row]:
        """All orders, or the one of that venue's or client's id, oldest first.

        Raises:
            NothingStored: there is none.
        """
        rows = self.lake.scan(ORDERS).sort("event_time", "client_order_id")
        if order_id is not None:
            rows = rows.filter((pl.col("order_id") == order_id) | (pl.col("client_order_id") == order_id))
        found = rows.collect().to_dicts()
        if not found:
            what = f"order {order_id}" if order_id else "any order"
            raise NothingStored(
                f"{ORDERS.name} does not hold {what}. Land live's journal: python -m jobs.ingest_journal."
            )
        return found

    def decisions(self, orders: list[Row]) -> dict[str, Row]:
        wanted = [order["decision_id"] for order in orders]
        rows = self.lake.scan(DECISIONS).filter(pl.col("decision_id").is_in(wanted)).collect().to_dicts()
        return {row["decision_id"]: row for row in rows}

    def events(self, decisions: Iterable[str]) -> dict[str, Row]:
        """The books, trades and times behind decisions, by decision id."""
        wanted = list(decisions)
        try:
            rows = self.lake.scan(DECISION_EVENTS).filter(pl.col("decision_id").is_in(wanted)).collect().to_dicts()
        except NothingStored:
            rows = []
        return {row["decision_id"]: row for row in rows}

    def fills(self, orders: list[Row]) -> dict[str, list[Row]]:
        """Fills by client order id."""
        found: dict[str, list[Row]] = {}
        try:
            rows = self.lake.scan(FILLS).sort("event_time").collect().to_dicts()
        except NothingStored:
            rows = []
        for row in rows:
            found.setdefault(row["client_order_id"], []).append(row)
        return found

    def model(self, name: str, version: int) -> Model | str:
        """The version with everything behind it, or in words what is missing."""
        key = (name, version)
        if key not in self._models:
            try:
                found = self.registry.version(name, version)
                folder, manifest = self.registry.bundle(found)
                self._models[key] = Model(found, self.registry.run(found.run_id), folder, manifest)
            except BitacoraError as error:
                self._models[key] = str(error)
        return self._models[key]

    def missing_version(self, name: str, version: int) -> str:
        """Why a table version cannot be read; empty if it can."""
        key = (name, version)
        if key not in self._versions:
            try:
                self.lake.delta(table(name), version)
                self._versions[key] = ""
            except Exception as error:  # delta-rs raises its own and OS errors; either way it cannot be read
                self._versions[key] = f"{name} version {version}: {error}"
        return self._versions[key]

    def gold_features(self, decisions: list[Row]) -> set[tuple[str, datetime]]:
        """Instrument and open time of the decided bars that gold holds features for."""
        times = [row["open_time"] for row in decisions]
        try:
            scans = [self.lake.scan(table).filter(pl.col("open_time").is_in(times)) for table in self._golds(decisions)]
            return {row for scan in scans for row in scan.select("instrument", "open_time").collect().iter_rows()}
        except NothingStored:
            return set()

    @staticmethod
    def _golds(decisions: list[Row]) -> list[Table]:
        """The gold tables of the services that decided; of one that is not installed, the default's."""
        services = Services().by_hash
        names = {services.get(row["service_hash"], DEFAULT).name for row in decisions}
        return [SERVICE_TABLES[name] for name in sorted(names) if name in SERVICE_TABLES]

    def raw_bars(self, decisions: list[Row]) -> pl.DataFrame:
        """Bronze rows of live's streams that any of the decisions' features can depend on, oldest first."""
        if not decisions:
            return pl.DataFrame(schema={"instrument": pl.String})
        times = [to_us(row["open_time"]) for row in decisions]
        period, services = DEFAULT.periods, Services().by_hash
        names = {row["instrument"] for row in decisions}
        for row in decisions:
            used = services.get(row["service_hash"])
            names |= set(reference_ids(used.extras, row["instrument"]).values()) if used else set()
        window = Interval(min(period.scan_start(t) for t in times), max(times) + period.bar_us)
        rows = self.lake.scan(RAW_BARS, window).filter(
            pl.col("stream").is_in(LIVE_STREAMS), pl.col("instrument").is_in(names)
        )
        wanted = ("stream", "instrument", "event_time", "payload", "payload_hash", "received_time")
        return rows.select(wanted).sort("instrument", "event_time", "received_time").collect()


@dataclass(frozen=True)
class Services:
    """The feature services installed here, by content hash."""

    @cached_property
    def by_hash(self) -> dict[str, FeatureService]:
        return {service.content_hash: service for service in services().values()}
