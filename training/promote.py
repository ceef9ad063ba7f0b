"""Judge a version, and let it trade if it passed and somebody approves: the alias `champion` moves, live follows.

The gate runs every time; nobody can approve what it refused. Every outcome, refusals too, is a row of promotions_v1
(who, when, why, from, to, the whole verdict). Prints the verdict, and as the last line a JSON summary.

  python -m training.promote --model bitacora --version challenger --judge-only
  python -m training.promote --model bitacora --version 3 --approve ana --why "beats v2 on every fold, drawdown fine"
  python -m training.promote --model bitacora --version 3 --reject ana --why "trades a delisted pair"
  python -m training.promote --model bitacora --version challenger --auto
  python -m training.promote --model bitacora --rollback --by ana --why "live drawdown beyond the card"

Exit codes: 0 promoted, fit, rolled back, or already champion · 64 usage · 65 refused by the gate or rejected · 69 no
such version, or MLflow does not answer · 75 another promotion is running. --auto approves whatever passes: the embedded
demo's policy, not one for real money.
"""

import argparse
import getpass
import os
import sys

import orjson

from lake.command import Parser, parser, run
from lake.settings import HomeSettings, LakeSettings, read_settings, refuse_unknown
from lake.storage import Lake
from training.errors import PromotionRefused
from training.settings import TrainingSettings

AUTO = "policy:auto"


def main(argv: list[str] | None = None) -> int:
    """Read the command line and the settings, then act."""
    line = _arguments()
    args = line.parse_args(argv)
    action, who, why = _decision(line, args)
    refuse_unknown(TrainingSettings)
    home, settings = read_settings(HomeSettings), read_settings(TrainingSettings)
    if args.model:
        settings = settings.model_copy(update={"registered_model": args.model})
    lake = Lake(read_settings(LakeSettings).root(home))
    # mlflow takes seconds to import: not for --help or a usage error
    from training.promotion import Decision, Desk, one_at_a_time
    from training.registry import CHALLENGER, Registry

    decision = Decision(action, who, why)
    with one_at_a_time(home):
        desk = Desk(lake, Registry(settings, home))
        if action == "rollback":
            outcome = desk.roll_back(args.version, decision)
        else:
            outcome = desk.decide(args.version or CHALLENGER, decision)
    for check in outcome.verdict.checks if outcome.verdict else ():
        print(f"{'pass' if check.passed else 'FAIL'}  {check.name}: expected {check.expected}, found {check.found}")
    print(orjson.dumps(outcome.summary()).decode())
    if outcome.outcome in ("refused", "rejected", "unfit"):
        raise PromotionRefused(f"{outcome.version} {outcome.outcome}: {outcome.why}")
    return os.EX_OK


def _arguments() -> Parser:
    line = parser("training.promote", __doc__)
    line.add_argument("--model", metavar="NAME", help="registered model (default: TRAINING_REGISTERED_MODEL)")
    line.add_argument("--version", metavar="N", help="version number or alias (default: challenger)")
    how = line.add_mutually_exclusive_group(required=True)
    how.add_argument("--judge-only", action="store_true", help="run the gate, change nothing")
    how.add_argument("--approve", metavar="WHO", help="promote in this person's name; needs --why")
    how.add_argument("--reject", metavar="WHO", help="record that this person says no; needs --why")
    how.add_argument("--auto", action="store_true", help="promote if the gate passes (the demo's policy)")
    how.add_argument("--rollback", action="store_true", help="back to the champion before, or to --version")
    line.add_argument("--why", metavar="TEXT", help="the reason, kept in the audit")
    line.add_argument("--by", metavar="WHO", help="with --rollback: who (default: the system's user)")
    return line


def _decision(line: Parser, args: argparse.Namespace) -> tuple[str, str, str]:
    """(action, who, why); a person's decision needs a reason."""
    person = args.approve if args.approve is not None else args.reject
    if person is not None:
        if not person.strip() or not (args.why or "").strip():
            line.error("--approve and --reject need a name and --why TEXT: the audit keeps both")
        return ("promote" if args.approve is not None else "reject"), person.strip(), args.why.strip()
    if args.rollback:
        return "rollback", args.by or getpass.getuser(), args.why or "rollback"
    if args.auto:
        return "promote", AUTO, args.why or "the gate passed"
    return "judge", getpass.getuser(), ""


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
