"""The gate's verdict as a task, and the move of the alias as another. The gate itself is `training.promote`."""

from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowSkipException

from bitacora_airflow import summary as summaries
from bitacora_airflow.job import Job

MODULE = "training.promote"
QUIET = {
    "unfit": "the gate refused it",
    "refused": "the gate refused it",
    "rejected": "rejected",
    "unchanged": "nothing to do",
}
"""Outcomes that are the desk's normal work, not an incident: the task is skipped and the run stays green."""


def checks_table(verdict: dict[str, Any]) -> str:
    """The verdict's checks as a Markdown table, for the person who approves."""
    lines = ["| | check | found | expected |", "| --- | --- | --- | --- |"]
    for check in verdict["checks"]:
        outcome = "passed" if check["passed"] else "**failed**"
        lines.append(f"| {outcome} | {check['name']} | {check['found']} | {check['expected']} |")
    return "\n".join(lines)


class Desk(Job):
    """A call of `training.promote`; an outcome of `QUIET` skips what follows."""

    def __init__(self, *, version: str, model_name: str = "bitacora", **kwargs: Any) -> None:
        super().__init__(module=MODULE, options={"--model": model_name, "--version": version}, **kwargs)

    def settle(self, code: int, summary: summaries.Summary | None) -> None:
        outcome = summary.get("outcome") if summary else None
        if summary is not None and outcome in QUIET:
            what = f"{summary['model_name']} version {summary['model_version']}"
            raise AirflowSkipException(f"{what}: {QUIET[outcome]}: {summary['why']}")
        super().settle(code, summary)


class Judge(Desk):
    """Run every check of the gate.

    Returns (as XCom): the summary, and `report`, a Markdown table of the checks.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(arguments=["--judge-only"], **kwargs)

    def execute(self, context: Context) -> summaries.Summary | None:
        summary = super().execute(context)
        return None if summary is None else summary | {"report": checks_table(summary["verdict"])}


class Promote(Desk):
    """Do what was answered, `approve`, `reject` or `auto`, in the answerer's name; the gate judges once more."""

    template_fields = (*Job.template_fields, "answer", "who", "why")

    def __init__(self, *, answer: str, who: str, why: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.answer = answer
        self.who = who
        self.why = why

    def execute(self, context: Context) -> summaries.Summary | None:
        if self.answer == "auto":
            self.arguments = [*self.arguments, "--auto"]
        else:
            self.options = self.options | {f"--{self.answer}": self.who, "--why": self.why}
        return super().execute(context)
