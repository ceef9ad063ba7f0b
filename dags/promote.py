"""
### promote: the gate judges, a person (or the policy) approves, the alias moves

**Reads** the challenger's bundle and its out-of-sample results. **Writes** the alias `champion` and one append-only
row of `promotions_v1`: who, when, why, from which version to which. A refusal is audited too.

**judge** runs every check of the gate and prints the verdict; a challenger that does not pass is refused and the rest
is skipped: that is the gate's normal work, not an incident. **approve** waits for your answer under *Required
actions* (unless `PROMOTION_POLICY=auto`); "Reject" skips the promotion. **promote** judges again and moves the alias;
live swaps within 5 s.

**Roll back:** `python -m training.promote --model bitacora --rollback`.
**When it fails.** 65: bundle or feature hash do not fit; train again. 69: the registry does not answer.
"""

from airflow.sdk import DAG, Param
from bitacora_airflow.approval import WHY, Approval
from bitacora_airflow.assets import CHALLENGER, CHAMPION, model_asset
from bitacora_airflow.defaults import DAG_DEFAULTS
from bitacora_airflow.promotion import Judge, Promote

with DAG(
    "promote",
    schedule=[model_asset(CHALLENGER)],
    doc_md=__doc__,
    tags=["tier-1", "models"],
    params={"version": Param(CHALLENGER, type="string", description="A version, or challenger for the newest")},
    **DAG_DEFAULTS,
):
    judge = Judge(task_id="judge", version="{{ params.version }}", owner="ml")
    approve = Approval(
        task_id="approve",
        subject="Promote bitacora version {{ ti.xcom_pull('judge')['model_version'] }} to champion?",
        body="{{ ti.xcom_pull('judge')['report'] }}",
        params={"why": WHY},
        owner="ops",
    )
    promote = Promote(
        task_id="promote",
        version="{{ ti.xcom_pull('judge')['model_version'] }}",
        answer="{{ ti.xcom_pull('approve')['answer'] }}",
        who="{{ ti.xcom_pull('approve')['who'] }}",
        why="{{ ti.xcom_pull('approve')['why'] }}",
        outlets=[model_asset(CHAMPION)],
        pool="promotions_v1",
        owner="ops",
    )
    judge >> approve >> promote
