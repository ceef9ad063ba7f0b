"""The command line: quick help, sysexits, one line per error, and commands that read what is there."""

import json
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from small_world import fill

from bitacora import doctor
from bitacora.cli import main
from bitacora.journal_export import exported
from bitacora.up import POOLS
from lake.errors import Misconfigured
from lake.journal import encode


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as done:
        main(list(words))
    out, err = capsys.readouterr()
    return int(done.value.code or 0), out, err


@pytest.mark.parametrize("words", [("nope",), ("lineage", "--nope"), ("lineage",), ("demo", "--seed", "x")])
def test_a_wrong_command_line_exits_64(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, *words)[0] == 64


def test_an_error_is_one_line_and_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "reconcile", "--json")
    assert (code, out) == (69, "")
    assert err.startswith("error: ") and err.count("\n") == 1


def test_down_with_nothing_running_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "down")
    assert code == 0
    assert "nothing was running" in out


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['bitacora', '--help']\n"
        "from bitacora.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "heavy = {'polars', 'deltalake', 'numpy', 'pandas', 'mlflow', 'plotly', 'onnxruntime', 'airflow', 'psutil'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def journal(home: Path) -> None:
    records = [
        {"kind": "start", "balances": {"USDT": "1"}},
        {"kind": "intent", "client_order_id": "bj-10", "side": "buy", "quantity": "0.1", "price": None},
        {"kind": "order", "client_order_id": "bj-10", "order_id": "77", "status": "filled", "filled_quantity": "0.1"},
        {"kind": "fill", **{k: v for k, v in fill().items() if not k.endswith("time")}},
    ]
    path = home / "live" / "journal" / "journal.log"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"".join(encode({"seq": n, "event_time": n, **r}) for n, r in enumerate(records)) + b"torn")


def test_the_journal_is_exported_one_object_per_line(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal(home)
    code, out, _ = run(capsys, "journal", "export", "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [line["kind"] for line in lines] == ["intent", "order", "fill"]
    assert {line["order_id"] for line in lines} == {"77"}
    assert {k: lines[2][k] for k in ("trade_id", "price", "quantity", "fee", "fee_asset")} == {
        "trade_id": "5", "price": "30000.10", "quantity": "0.1", "fee": "0.00005", "fee_asset": "BTC",
    }  # fmt: skip


def test_an_intent_without_a_proven_order_has_no_order_id() -> None:
    records = [{"kind": "intent", "client_order_id": "b-1"}, {"kind": "cancel", "client_order_id": "b-1"}]
    assert [line["order_id"] for line in exported(records)] == [None, None]


def test_a_damaged_journal_exits_65(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal(home)
    path = home / "live" / "journal" / "journal.log"
    data = bytearray(path.read_bytes())
    data[60] ^= 1
    path.write_bytes(data)
    assert run(capsys, "journal", "export")[0] == 65


def test_the_doctor_says_how_to_fix_what_is_missing(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(home))
    code, out, _ = run(capsys, "doctor", "--json")
    java = next(finding for finding in orjson.loads(out) if finding["name"] == "java")
    assert code == 78
    assert not java["ok"] and "JDK 17" in java["fix"]
    with pytest.raises(Misconfigured, match="JDK 17"):
        doctor.require(("java",))


def test_the_report_is_written_before_there_is_anything_to_show(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "report")
    assert code == 0
    page = Path(out.strip()).read_text()
    assert "Live has not traded yet" in page
    assert 'src="http' not in page


def test_the_pools_are_those_the_dags_name() -> None:
    source = (Path(__file__).resolve().parents[2] / "plugins/bitacora_airflow/defaults.py").read_text()
    scope: dict[str, object] = {}
    exec(compile(source, "defaults.py", "exec"), scope)
    declared = scope["POOLS"]
    assert isinstance(declared, dict)
    assert {name: slots for name, (slots, _) in declared.items()} == POOLS
