"""The journal survives what a process, a disk and an operator do to it."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lake.errors import JournalCorrupted
from lake.journal import read_journal
from live.errors import AlreadyRunning, JournalFailed
from live.journal import JOURNAL_FILE, Durable, Journal
from tests.live.fakes import RecordingFiles


def _written(folder: Path, count: int = 5) -> Path:
    journal = Journal.open(folder)
    journal.append("start", 1, journal_id=journal.id, balances={}, instruments=[], settings={})
    for number in range(count - 1):
        journal.append("ready", 2 + number, how="fresh", seconds=0.1)
    journal.close()
    return folder / JOURNAL_FILE


def test_a_second_writer_is_refused_and_admitted_after_the_first_has_gone(tmp_path: Path) -> None:
    first = Journal.open(tmp_path)
    with pytest.raises(AlreadyRunning, match="another live process") as refused:
        Journal.open(tmp_path)
    assert refused.value.exit_code == os.EX_TEMPFAIL
    first.close()
    Journal.open(tmp_path).close()


def test_the_lock_holds_between_processes(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    code = f"from live.journal import Journal; from pathlib import Path; Journal.open(Path({str(tmp_path)!r}))"
    second = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "AlreadyRunning" in second.stderr
    journal.close()


def test_sequence_and_id_continue_over_restarts(tmp_path: Path) -> None:
    path = _written(tmp_path)
    journal = Journal.open(tmp_path)
    assert journal.next_seq == 5
    assert journal.id == read_journal(path)[0][0]["journal_id"]
    assert journal.append("ready", 9, how="recovered", seconds=0.0)["seq"] == 5
    journal.close()


def test_every_prefix_of_a_journal_opens_at_its_last_whole_record(tmp_path: Path) -> None:
    data = _written(tmp_path / "whole").read_bytes()
    ends = [i + 1 for i, byte in enumerate(data) if byte == ord("\n")]
    for length in range(len(data) + 1):
        folder = tmp_path / "cut"
        folder.mkdir(exist_ok=True)
        (folder / JOURNAL_FILE).write_bytes(data[:length])
        journal = Journal.open(folder)
        whole = sum(end <= length for end in ends)
        assert journal.next_seq == whole
        journal.close()
        assert (folder / JOURNAL_FILE).stat().st_size == ([0, *ends][whole])


def test_a_flipped_bit_with_records_behind_it_is_refused(tmp_path: Path) -> None:
    path = _written(tmp_path)
    data = path.read_bytes()
    last_line = data[:-1].rfind(b"\n") + 1
    refused = 0
    for position in range(last_line):
        flipped = bytearray(data)
        flipped[position] ^= 1 << (position % 8)
        path.write_bytes(flipped)
        with pytest.raises(JournalCorrupted):
            Journal.open(tmp_path)
        refused += 1
    assert refused == last_line > 200


@pytest.mark.parametrize(("operation", "number"), [("write", errno.ENOSPC), ("fdatasync", errno.EIO)])
def test_after_a_failed_disk_operation_nothing_is_accepted(tmp_path: Path, operation: str, number: int) -> None:
    files = RecordingFiles()
    journal = Journal.open(tmp_path, files)
    files.fail[operation] = OSError(number, os.strerror(number))
    with pytest.raises(JournalFailed, match=operation):
        journal.append_durable("ready", 1, how="fresh", seconds=0.0)
    files.fail.clear()
    files.events.clear()
    for attempt in (journal.sync, lambda: journal.append("ready", 1, how="fresh", seconds=0.0)):
        with pytest.raises(JournalFailed):
            attempt()
    assert files.events == []
    journal.close()


def test_a_short_write_is_continued(tmp_path: Path) -> None:
    class Short(RecordingFiles):
        def write(self, fd: int, data: bytes) -> int:
            return super().write(fd, data[:7])

    journal = Journal.open(tmp_path, Short())
    journal.append("ready", 1, how="fresh", seconds=0.0)
    journal.close()
    assert len(read_journal(tmp_path / JOURNAL_FILE)[0]) == 1


def test_a_durable_token_cannot_be_made_up_or_spent_twice(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        Durable({}, object())
    journal = Journal.open(tmp_path)
    token = journal.append_durable("ready", 1, how="fresh", seconds=0.0)
    token.spend()
    with pytest.raises(RuntimeError, match="sent already"):
        token.spend()
    journal.close()
