"""What a service is made of: its columns, its hash, its catalogue, its lookups."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from walks import every_view, walk

from feature_store.__main__ import main
from feature_store.catalogue import (
    BUDGETS_US,
    SERVICES_US,
    STREAM_US,
    all_services,
    budget_us,
    find,
    markdown,
    update_budget_us,
)
from feature_store.errors import KernelRefused, UnknownService
from feature_store.inputs import INPUTS
from feature_store.scan import compute
from feature_store.service import CHAIN_1D, DEFAULT, DEFAULT_REF, DERIVATIVES_5M, FeatureService, service, services
from feature_store.source import kernel_source
from feature_store.view import CLOSE, HIGH, LOW, FeatureView
from lake.tables.features import CHAIN_COLUMNS, DERIVATIVES_COLUMNS, FEATURE_COLUMNS, REFERENCE_COLUMNS

ROOT = Path(__file__).resolve().parents[2]

KERNEL = '''"""A kernel that lives in a file."""
from feature_store.rolling import smooth
from feature_store.view import CLOSE, kernel
LENGTH = 14
UNUSED = 1

@kernel
def update(state, bar, out):
    """Say what it is."""
    # and why
    out[0] = smooth(state, 0, LENGTH, 0.5, bar[CLOSE])
'''


def loaded(folder: Path, text: str) -> ModuleType:
    folder.mkdir(exist_ok=True)
    path = folder / "written.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location("written", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_stored_service_fills_the_columns_of_its_gold_table_in_order() -> None:
    assert DEFAULT.feature_names == FEATURE_COLUMNS
    assert DEFAULT_REF.feature_names == REFERENCE_COLUMNS
    assert DERIVATIVES_5M.feature_names == DERIVATIVES_COLUMNS
    assert CHAIN_1D.feature_names == CHAIN_COLUMNS


@every_view
def test_every_view_declares_inputs_units_and_descriptions(service: FeatureService, view: FeatureView) -> None:
    source = kernel_source(view.update)
    read = {name for name in INPUTS if f"\n{name.upper()} = " in source}
    assert set(view.inputs) == read
    assert len(view.inputs) == len(set(view.inputs)), service.name
    for output in view.outputs:
        assert output.unit, output.name
        assert output.description.endswith("."), output.name


def test_services_share_no_column_so_that_their_rows_can_be_joined() -> None:
    names = [name for one in services().values() if one is not DEFAULT_REF for name in one.feature_names]
    assert len(set(names)) == len(names)
    assert DEFAULT_REF.views[: len(DEFAULT.views)] == DEFAULT.views, "the main job's views, and more"


def test_the_catalogue_in_the_docs_is_what_the_code_says() -> None:
    text = (ROOT / "docs" / "features.md").read_text()
    for one in all_services().values():
        assert markdown(one) in text, (
            f"run `python -m feature_store list --service {one.name} --markdown` and paste it into docs/features.md"
        )


def test_the_view_written_in_the_docs_works_as_it_stands(tmp_path: Path) -> None:
    written = (ROOT / "docs" / "features.md").read_text().split("```python\n")[1].split("```")[0]
    view = loaded(tmp_path, written).CLOSE_POSITION
    times, bars = walk(600)
    longer = FeatureService("longer", "5m", (view, *DEFAULT.views))
    values = compute(longer, times, bars)
    expected = (bars[:, CLOSE] - bars[:, LOW]) / (bars[:, HIGH] - bars[:, LOW])
    np.testing.assert_array_equal(values[:, 0], expected)
    np.testing.assert_array_equal(values[:, 1:], compute(DEFAULT, times, bars))


def test_services_are_found_by_name_and_unknown_ones_named() -> None:
    assert service("default_5m") is services()["default_5m"] is DEFAULT
    with pytest.raises(UnknownService, match="'default': expected one of default_5m"):
        service("default")


def test_two_views_cannot_fill_one_column() -> None:
    with pytest.raises(ValueError, match="share a column"):
        FeatureService("twice", "5m", (DEFAULT.views[0], DEFAULT.views[0]))


def test_a_view_cannot_need_more_bars_than_a_scan_warms_up_with() -> None:
    with pytest.raises(ValueError, match="warm-up"):
        FeatureService("long", "5m", (replace(DEFAULT.views[0], warm_up=501),))


def test_the_hash_changes_with_version_order_timeframe_and_warm_up() -> None:
    first, *rest = DEFAULT.views
    changed = [
        replace(DEFAULT, views=(replace(first, version=2), *rest)),
        replace(DEFAULT, views=(*rest, first)),
        replace(DEFAULT, views=(replace(first, warm_up=482), *rest)),
        DEFAULT.at("15m"),
    ]
    assert len({DEFAULT.content_hash, *(one.content_hash for one in changed)}) == 5
    assert replace(DEFAULT, name="other").content_hash == DEFAULT.content_hash, "a name decides no value"


def test_the_source_of_a_kernel_ignores_layout_and_holds_everything_that_decides_a_value(tmp_path: Path) -> None:
    original = kernel_source(loaded(tmp_path / "a", KERNEL).update)
    same = KERNEL.replace("Say what it is.", "Other words.").replace("# and why", "# because").replace("UNUSED = 1", "")
    assert kernel_source(loaded(tmp_path / "b", same).update) == original
    for before, after in (("LENGTH = 14", "LENGTH = 15"), ("0.5", "0.25"), ("out[0] =", "out[0] +=")):
        assert kernel_source(loaded(tmp_path / "c", KERNEL.replace(before, after)).update) != original
    assert "def smooth" in original, "a called kernel is part of the source"


def test_a_kernel_that_reads_what_cannot_be_hashed_is_refused(tmp_path: Path) -> None:
    text = KERNEL.replace("UNUSED = 1", "TABLE = {1: 2}").replace("0.5", "TABLE[1]")
    with pytest.raises(KernelRefused, match="refers to TABLE"):
        kernel_source(loaded(tmp_path, text).update)


def is_tested(name: str, tests: str) -> bool:
    """Whether a column is named in the tests, whole or by the words before a place that is filled in."""
    words = name.split("_")
    begun = [f"{'_'.join(words[:i])}_{{" for i in range(1, len(words))]
    return name in tests or f'"{name.removesuffix("_1")}"' in tests or any(form in tests for form in begun)


def test_every_column_is_named_by_a_test_of_its_meaning() -> None:
    files = (ROOT / "tests" / "feature_store").glob("test_*.py")
    written = "\n".join(path.read_text() for path in files if path.name != Path(__file__).name)
    untested = [o.name for one in all_services().values() for o in one.outputs if not is_tested(o.name, written)]
    assert untested == []
    assert not is_tested("colour_of_the_moon_20", written)


def test_the_budget_of_a_view_names_one_that_there_is() -> None:
    assert set(BUDGETS_US) <= {view.name for one in all_services().values() for view in one.views}
    assert set(SERVICES_US) <= set(all_services())


def test_a_service_without_a_budget_of_its_own_is_held_to_the_sum_of_its_views() -> None:
    known = all_services()
    assert update_budget_us(known["default_ref_5m"]) == 20.0
    assert update_budget_us(known["book_1"]) == 5.0
    assert update_budget_us(known["references_5m"]) == STREAM_US + sum(map(budget_us, known["references_5m"].views))


@pytest.mark.parametrize("name", ["book_1", "default_ref_5m", "vpin", "spread"])
def test_show_tells_inputs_owner_budget_and_when_a_column_is_null(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", name]) == 0
    text = capsys.readouterr().out
    for view in all_services()[name].views if name in all_services() else [find(name)]:
        assert f"{view.name} v{view.version}, owner {view.owner}" in text
        assert view.description in text
        assert all(f"{output.name}  [{output.unit}]" in text for output in view.outputs)
    assert main(["show", name, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["budget_us"] > 0
    assert main(["show", "nothing"]) == 64
