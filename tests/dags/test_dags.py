"""The DAG files: they parse, say what they are, and only start work by command line."""

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

CHAIN = ["ingest", "bars", "features", "train", "promote"]
"""The main job."""
PAUSED = {"market_data", "materialize", "sources", "maintenance", "texts", "quality", "services"}
"""What a person switches on: it asks the world outside."""
HEAVY = {
    "pandas",
    "polars",
    "pyspark",
    "mlflow",
    "torch",
    "lightgbm",
    "deltalake",
    "ccxt",
    "great_expectations",
    "numba",
}
OURS = {"jobs", "training", "live", "market", "feature_store", "bitacora"}

_FACTS = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(sys.argv[1])
print(json.dumps({
    "errors": bag.import_errors,
    "modules": sorted({name.split(".")[0] for name in sys.modules}),
    "dags": {
        dag.dag_id: {
            "doc": dag.doc_md, "tags": sorted(dag.tags), "max_active_runs": dag.max_active_runs,
            "catchup": dag.catchup, "schedule": type(dag.timetable).__name__, "params": sorted(dag.params),
            "paused": dag.is_paused_upon_creation,
            "triggers": sorted(asset.name for asset in dag.timetable.asset_condition.objects)
            if getattr(dag.timetable, "asset_condition", None) else [],
            "tasks": {
                task.task_id: {"owner": task.owner, "retries": task.retries, "pool": task.pool,
                               "type": type(task).__name__, "outlets": [o.name for o in task.outlets],
                               "module": getattr(task, "module", None),
                               "after": sorted(task.upstream_task_ids)}
                for task in dag.tasks
            },
        } for dag in bag.dags.values()
    },
}))
"""


@pytest.fixture(scope="module")
def facts() -> dict[str, Any]:
    """Parse the folder in a process of its own, so that what it imports can be seen."""
    command = [sys.executable, "-c", _FACTS, str(REPOSITORY / "dags")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_every_dag_file_parses(facts: dict[str, Any]) -> None:
    assert facts["errors"] == {}
    assert set(facts["dags"]) == {*CHAIN, *PAUSED}


def test_every_dag_is_its_own_runbook_and_names_its_tier(facts: dict[str, Any]) -> None:
    for name, dag in facts["dags"].items():
        assert dag["doc"].strip().startswith(f"### {name}:"), name
        assert "When it fails" in dag["doc"], name
        assert any(tag.startswith("tier-") for tag in dag["tags"]), name


def test_every_task_has_an_owner_of_ours(facts: dict[str, Any]) -> None:
    owners = {task["owner"] for dag in facts["dags"].values() for task in dag["tasks"].values()}
    assert owners <= {"data", "ml", "ops"}


def test_runs_never_overlap_and_the_past_is_never_caught_up(facts: dict[str, Any]) -> None:
    for dag in facts["dags"].values():
        assert dag["max_active_runs"] == 1
        assert dag["catchup"] is False


def test_each_table_has_one_asset_and_the_dags_form_one_chain(facts: dict[str, Any]) -> None:
    makes = {name: {o for t in dag["tasks"].values() for o in t["outlets"]} for name, dag in facts["dags"].items()}
    made = [table for tables in makes.values() for table in tables - {"raw_answers_v1"}]  # numbers' and texts' sources
    assert len(made) == len(set(made)), "a table is made by one DAG"
    assert {name: makes[name] for name in CHAIN} == {
        "ingest": {"raw_bars_v1"},
        "bars": {"bars_1m_v1", "bars_5m_v1"},
        "features": {"features_5m_v1"},
        "train": {"model/bitacora@challenger"},
        "promote": {"model/bitacora@champion"},
    }
    for before, after in itertools.pairwise(CHAIN):
        assert set(facts["dags"][after]["triggers"]) <= makes[before]
        assert facts["dags"][after]["triggers"]
        assert facts["dags"][after]["paused"] is False
    assert all(facts["dags"][name]["paused"] is True for name in PAUSED)
    assert facts["dags"]["ingest"]["schedule"] == "CronTriggerTimetable"
    assert facts["dags"]["ingest"]["params"] == ["end", "instruments", "start"]


def test_every_task_holds_a_pool_that_the_platform_creates(facts: dict[str, Any]) -> None:
    from bitacora_airflow.defaults import POOLS

    used = {t["pool"] for dag in facts["dags"].values() for t in dag["tasks"].values()} - {"default_pool"}
    assert used == set(POOLS)
    writers = {t["pool"] for dag in facts["dags"].values() for t in dag["tasks"].values() if t["outlets"]}
    assert "default_pool" not in writers
    assert all(slots == 1 for slots, _ in POOLS.values())


def test_every_stored_service_is_built_by_one_task(facts: dict[str, Any]) -> None:
    from lake.tables.features import SERVICE_TABLES

    tasks = [t for dag in facts["dags"].values() for t in dag["tasks"].values() if t["module"] == "jobs.build_features"]
    assert sorted(o for t in tasks for o in t["outlets"]) == sorted(table.name for table in SERVICE_TABLES.values())
    services = facts["dags"]["services"]
    assert set(services["tasks"]) == {f"build_{name}" for name in SERVICE_TABLES if name != "default_5m"}
    assert services["triggers"] == ["features_5m_v1", "observations_v1"]
    assert all(task["after"] == [] and task["pool"] == "spark" for task in services["tasks"].values())


def test_spark_work_goes_through_spark_submit(facts: dict[str, Any]) -> None:
    kinds = {t["module"]: t["type"] for dag in facts["dags"].values() for t in dag["tasks"].values()}
    assert kinds["jobs.build_bars"] == kinds["jobs.build_features"] == "SparkJob"
    assert kinds["jobs.ingest_bars"] == "Job"


@pytest.mark.parametrize(
    ("dag", "check", "before", "behind"),
    [
        ("market_data", "check_option_quotes", {"build_market"}, {"build_option_surface"}),
        ("sources", "check_observations", {"build_observations"}, set()),
        ("texts", "check_texts", {"build_texts"}, {"build_text_embeddings", "build_text_scores"}),
        ("materialize", "check_features", set(), {"materialize", "build_images"}),
    ],
)
def test_what_builds_on_a_table_waits_for_its_check(
    facts: dict[str, Any], dag: str, check: str, before: set[str], behind: set[str]
) -> None:
    tasks = facts["dags"][dag]["tasks"]
    assert tasks[check]["module"] == "jobs.check_tables"
    assert set(tasks[check]["after"]) == before
    assert {name for name, task in tasks.items() if check in task["after"]} == behind


def test_parsing_imports_nothing_heavy_and_none_of_our_packages_but_lake(facts: dict[str, Any]) -> None:
    assert not HEAVY & set(facts["modules"])
    assert not OURS & set(facts["modules"])


def test_dag_files_stay_thin() -> None:
    for path in (REPOSITORY / "dags").glob("*.py"):
        code = path.read_text().split('"""')[2]
        lines = [line for line in code.splitlines() if line.strip()]
        assert len(lines) <= 45, f"{path.name}: {len(lines)} lines below the runbook"


def test_only_one_plugin_file_is_loaded_and_it_shadows_no_package() -> None:
    plugins = REPOSITORY / "plugins"
    assert [p.name for p in plugins.glob("*.py")] == ["bitacora_plugin.py"]
    ignored = (plugins / ".airflowignore").read_text()
    folders = [p.name for p in Path(plugins).iterdir() if p.is_dir() and p.name != "__pycache__"]
    assert all(f"{folder}/" in ignored for folder in folders)
