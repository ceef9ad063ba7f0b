"""The concept's card, held: the folders, the ten packages and who uses them, and README's tree against the disk."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CARD_FOLDERS = ("dags", "jobs", "plugins", "feature_store", "training", "live", "infra/terraform", "tests")
CARD_PACKAGES = {
    "apache-airflow": "airflow",
    "pyspark": "pyspark",
    "delta-spark": "delta",
    "boto3": "boto3",
    "dask": "dask",
    "transformers": "transformers",
    "pytorch-lightning": "lightning",
    "mlflow": "mlflow",
    "great-expectations": "great_expectations",
    "ccxt": "ccxt",
}
SOURCE_FOLDERS = ("lake", "market", "feature_store", "jobs", "training", "live", "bitacora", "dags", "plugins")


def sources() -> list[Path]:
    return [path for folder in SOURCE_FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]


@pytest.mark.parametrize("folder", CARD_FOLDERS)
def test_each_folder_of_the_card_holds_tracked_files(folder: str) -> None:
    tracked = subprocess.run(["git", "ls-files", folder], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert tracked.strip(), f"{folder} is empty"


@pytest.mark.parametrize(("package", "module"), CARD_PACKAGES.items())
def test_each_package_of_the_card_is_locked_with_hashes(package: str, module: str) -> None:
    lock = (ROOT / "requirements.txt").read_text()
    assert re.search(rf"^{re.escape(package)}(\[.*\])?==\S+ \\\n\s+--hash=sha256:[0-9a-f]{{64}}", lock, re.MULTILINE)


@pytest.mark.parametrize(("package", "module"), CARD_PACKAGES.items())
def test_each_package_of_the_card_is_used_or_pending_with_a_date(package: str, module: str) -> None:
    imported = re.compile(rf"^\s*(import|from) {module}\b", re.MULTILINE)
    used = [path for path in sources() if imported.search(path.read_text())]
    pending = re.search(
        rf"^\| {package} \| \d{{4}}-\d\d-\d\d \| \S", (ROOT / "docs/decisions/pending.md").read_text(), re.MULTILINE
    )
    assert bool(used) != bool(pending), f"{package}: used by {used}, pending: {bool(pending)}; exactly one must hold"


def test_every_direct_dependency_is_pinned_with_its_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    project = tomllib.loads(text)["project"]
    extras = [line for group in project["optional-dependencies"].values() for line in group]
    for requirement in project["dependencies"] + extras:
        if not requirement.startswith("bitacora["):
            assert "==" in requirement, f"{requirement} is not pinned"


def test_the_lock_names_no_host() -> None:
    assert "://" not in (ROOT / "requirements.txt").read_text()


def test_every_module_says_what_it_is() -> None:
    silent = [str(p.relative_to(ROOT)) for p in sources() if p.stat().st_size and not p.read_text().startswith('"""')]
    assert not silent, f"no docstring: {silent}"


def test_readme_tree_names_each_top_level_folder_and_nothing_else() -> None:
    readme = (ROOT / "README.md").read_text()
    block = re.search(r"<!-- tree -->\n```\n(.*?)```", readme, re.DOTALL)
    assert block, "README.md has no <!-- tree --> block"
    named = set(re.findall(r"^([\w.]+/?\w*)/?\s", block.group(1), re.MULTILINE))
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    folders = {name.split("/")[0] for name in files if "/" in name and not name.startswith(".")}
    assert {name.strip("/") for name in named} >= folders
    for name in named:
        assert (ROOT / name).exists(), f"README's tree names {name}, which is not there"


def test_documents_link_to_files_that_exist() -> None:
    for document in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.relative_to(ROOT)} links to missing {target}"
