"""Machine code is dropped when any source with compiled functions changed, and kept otherwise."""

from pathlib import Path

from market.kernel import forget_stale


def package(folder: Path) -> Path:
    (folder / "__pycache__").mkdir(parents=True)
    (folder / "inner.py").write_text("@kernel\ndef inner(): ...\n")
    (folder / "outer.py").write_text("@njit(cache=True)\ndef outer(): ...\n")
    (folder / "words.py").write_text("WORDS = 1\n")
    return folder


def compiled(folder: Path) -> Path:
    code = folder / "__pycache__" / "outer.outer-2.py311.1.nbc"
    code.write_bytes(b"machine code")
    return code


def test_a_change_in_another_file_drops_the_machine_code(tmp_path: Path) -> None:
    folder = package(tmp_path / "market")
    assert forget_stale(folder)
    code = compiled(folder)
    assert not forget_stale(folder) and code.exists()
    (folder / "words.py").write_text("WORDS = 2\n")
    assert not forget_stale(folder) and code.exists(), "nothing compiled in that file"
    (folder / "inner.py").write_text("@kernel\ndef inner(): return 1\n")
    assert forget_stale(folder)
    assert not code.exists()
    assert not forget_stale(folder)


def test_a_folder_that_cannot_be_written_is_left_alone(tmp_path: Path) -> None:
    folder = package(tmp_path / "market")
    (folder / "__pycache__").rmdir()
    (folder / "__pycache__").write_text("in the way")
    assert not forget_stale(folder)
