"""Feast's point-in-time join over files; run by bench/join_feast.py in the peers' Python.

argv: a folder with labels.parquet and t0.parquet…, the tables' count, runs, the lookback in seconds. Writes the joined
rows as feast.parquet beside them and prints one JSON line with the seconds of each run.
"""

import json
import os
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

os.environ["FEAST_USAGE"] = "False"
os.environ["FEAST_TELEMETRY"] = "False"

import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.types import Float64


def main() -> None:
    folder, tables, runs = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    lookback = timedelta(seconds=int(sys.argv[4]))
    with tempfile.TemporaryDirectory() as home:
        config = RepoConfig(
            project="bench",
            provider="local",
            registry=f"{home}/registry.db",
            offline_store={"type": "file"},
            online_store={"type": "sqlite", "path": f"{home}/online.db"},
            entity_key_serialization_version=3,
        )
        store = FeatureStore(config=config)
        entity = Entity(name="instrument", join_keys=["instrument"], value_type=ValueType.STRING)
        views = [
            FeatureView(
                name=f"t{i}",
                entities=[entity],
                ttl=lookback,
                schema=[Field(name=f"t{i}_{j}", dtype=Float64) for j in range(2)],
                source=FileSource(path=str(folder / f"t{i}.parquet"), timestamp_field="available_time"),
            )
            for i in range(tables)
        ]
        store.apply([entity, *views])
        labels = pd.read_parquet(folder / "labels.parquet")
        wanted = [f"t{i}:t{i}_{j}" for i in range(tables) for j in range(2)]
        seconds, joined = [], labels
        for run in range(runs + 1):
            began = time.perf_counter()
            joined = store.get_historical_features(entity_df=labels, features=wanted).to_df()
            if run:  # the first one imports and warms up
                seconds.append(time.perf_counter() - began)
        joined.to_parquet(folder / "feast.parquet")
    print(json.dumps({"seconds": seconds, "rows": len(joined)}))


if __name__ == "__main__":
    main()
