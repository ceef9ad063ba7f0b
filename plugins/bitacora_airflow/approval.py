"""Between the gate's verdict and the move of the alias stands a person, or the policy the owner chose."""

import os
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator, HITLOperator
from airflow.sdk import Context, Param

AUTO, PERSON = "auto", "person"

WHY = Param("", type="string", title="Why", description="One sentence for the audit row")
"""The field of the form; hand it to an `Approval` as a parameter."""


def promotion_policy() -> str:
    """`PROMOTION_POLICY`: `auto` (the embedded demo) or `person`; anything else counts as a person."""
    return AUTO if os.environ.get("PROMOTION_POLICY") == AUTO else PERSON


class Approval(ApprovalOperator):
    """Ask a person to approve or reject; under the policy `auto` say yes at once, in the policy's name.

    Unlike its base class it skips nothing on a rejection: that too is written into the audit, by the next task.

    Returns (as XCom): `answer` (approve, reject or auto), `who` and `why`, the words of the audit row.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(defaults=self.REJECT, **kwargs)

    def execute(self, context: Context) -> dict[str, str]:
        if promotion_policy() == AUTO:
            self.log.info("PROMOTION_POLICY=auto: approved by policy")
            return {"answer": AUTO, "who": "policy:auto", "why": ""}
        return dict(super().execute(context))  # parks the task until somebody answers

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, str]:
        given = HITLOperator.execute_complete(self, context, event)
        user = given.get("responded_by_user") or {}
        why = (given.get("params_input") or {}).get("why") or "no reason given"
        answer = "approve" if given["chosen_options"] == [self.APPROVE] else "reject"
        return {"answer": answer, "who": str(user.get("name") or "unknown"), "why": str(why)}
