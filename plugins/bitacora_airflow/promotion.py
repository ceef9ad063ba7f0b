"""The gate's verdict as a task, and the move of the alias as another. The gate itself is `training.promote`."""

from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowSkipException

from bitacora_airflow import summary as summaries
from bitacora_airflow.approval import AUTO, promotion_policy
from bitacora_airflow.job import Job

MODULE = "training.promote"


def checks_table(summary: summaries.Summary) -> str:
    """The verdict's checks as a Markdown table, for the person who approves."""
    lines = ["| | check | found | expected |", "| --- | --- | --- | --- |"]
    for check in summary.get("checks", []):
        outcome = "passed" if check["passed"] else "**failed**"
        lines.append(f"| {outcome} | {check['name']} | {check['found']} | {check['expected']} |")
    return "\n".join(lines)


class Judge(Job):
    """Run every check of the gate; a refusal skips what follows and leaves the run green.

    Returns (as XCom): the verdict, the version judged, and `report`, a Markdown table of the checks.
    """

    def __init__(self, *, version: str, model_name: str = "bitacora", **kwargs: Any) -> None:
        options = {"--model": model_name, "--version": version}
        super().__init__(module=MODULE, options=options, arguments=["--judge-only"], **kwargs)

    def settle(self, code: int, summary: summaries.Summary | None) -> None:
        if summary is not None and summary.get("passed") is False:
            failed = ", ".join(check["name"] for check in summary.get("checks", []) if not check["passed"])
            raise AirflowSkipException(f"refused: version {summary.get('version')} failed {failed}")
        super().settle(code, summary)

    def execute(self, context: Context) -> summaries.Summary | None:
        summary = super().execute(context)
        return None if summary is None else summary | {"report": checks_table(summary)}


class Promote(Job):
    """Move the alias, with the approver's name or the policy's, and audit it."""

    template_fields = (*Job.template_fields, "who", "why")

    def __init__(self, *, version: str, who: str, why: str, model_name: str = "bitacora", **kwargs: Any) -> None:
        super().__init__(module=MODULE, options={"--model": model_name, "--version": version}, **kwargs)
        self.who = who
        self.why = why

    def execute(self, context: Context) -> summaries.Summary | None:
        if self.who:
            self.options = self.options | {"--approve": self.who, "--why": self.why}
        elif promotion_policy() == AUTO:
            self.arguments = [*self.arguments, "--auto"]
        return super().execute(context)  # neither: training.promote refuses to run without an approver
