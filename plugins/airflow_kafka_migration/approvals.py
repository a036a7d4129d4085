"""Approvals: Airflow's own human-in-the-loop tasks, worded and judged as a migration needs them.

Rejected or not answered in time means failed, so that nothing after it runs. A dry run asks nobody and goes on. Who was
asked, who answered what and when is kept with the plan, for the evidence.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator

from airflow_kafka_migration.failures import StepRefused, retries
from airflow_kafka_migration.names import is_dry, purpose_of
from airflow_kafka_migration.notifiers import approval_notifiers
from airflow_kafka_migration.state import LOCKS, AssetRecords, TaskMemory, plan_asset

if TYPE_CHECKING:
    from airflow.sdk import Context

    from kafka_migration.plan.model import Plan

_ANSWER = "answer"


class PlanApproval(ApprovalOperator):
    """Asks a person whether to go on.

    :param plan: the plan's name
    :param subject: the question, one line
    :param question: the import path (`module:name`) of a function that tells, for a `Run` and `args`, what is true now
        and what will be done (Markdown), or None when nothing is left to be done
    :param args: the function's own arguments (JSON)
    :param heading: the side that the step moves services to: `target`, or on the way back `source`
    :param approvers: Airflow user names that may answer; none: everybody who may act on the DAG
    :param response_timeout: how long to wait for an answer; None: for ever
    """

    ui_color = "#fce8e6"

    def __init__(
        self,
        *,
        plan: str,
        subject: str,
        question: str,
        args: Mapping[str, Any] | None = None,
        heading: str = "target",
        approvers: tuple[str, ...] = (),
        response_timeout: timedelta | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            subject=subject,
            assigned_users=[{"id": name, "name": name} for name in approvers] or None,
            response_timeout=response_timeout,
            fail_on_reject=True,
            inlets=[plan_asset(plan), LOCKS],
            **{**retries(), **kwargs},
        )
        self.plan = plan
        self.question = question
        self.args = dict(args or {})
        self.heading = heading

    def execute(self, context: Context) -> None:
        kept = TaskMemory(context).recall(_ANSWER)
        if kept is not None:
            # Airflow can fail a task that is answered before it has heard from the executor that the task was parked
            # (apache/airflow 72716, 71580). Nobody is asked twice for that: the answer was kept before the task failed.
            self.log.info("The answer was given already, to an attempt that Airflow then lost.")
            self._take(context, kept["answer"], kept["answered_by"])
            return
        from kafka_migration.passes import when

        told = self._told(context)
        if told is None:
            self.log.info("Nobody is asked: what this approval is for has been done already.")
            return
        # Airflow keeps showing the first text of a task that was cleared and asks again: so the text says its time.
        self.body = f"As of {when()}; after a clear, the task's log has the newest.\n\n{told}"
        if is_dry(context):
            self.log.info("Dry run: nobody is asked. A real run would ask: %s\n\n%s", self.subject, self.body)
            return
        self._keep(context, {"asked_at": time.time()})
        self.log.info("Asking %s: %s\n\n%s", self._whom(), self.subject, self.body)
        super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> None:
        if "error" in event:
            self._keep(context, {"answer": "", "answered_by": ""})
            raise self._refused("Nobody answered in time" if event["error_type"] == "timeout" else str(event["error"]))
        user = event.get("responded_by_user") or {}
        who = user.get("name") or user.get("id") or "somebody whom Airflow does not name"
        answer = event["chosen_options"][0]
        TaskMemory(context).remember(_ANSWER, {"answer": answer, "answered_by": who})
        self._keep(context, {"answer": answer, "answered_by": who, "at": _seconds(event["responded_at"])})
        self._take(context, answer, who)

    def _take(self, context: Context, answer: str, who: str) -> None:
        if answer != self.APPROVE:
            raise self._refused(f"Rejected by {who}")
        self.log.info("Approved by %s", who)

    def _told(self, context: Context) -> str | None:
        from airflow_kafka_migration.audit import LOG, failure_of
        from airflow_kafka_migration.runs import open_run
        from kafka_migration.errors import MigrationError

        try:
            told: str | None = resolve_name(self.question)(
                open_run(context, self.plan, LOG, heading=self.heading), **self.args
            )
            return told
        except MigrationError as error:
            raise failure_of(error) from None

    def _keep(self, context: Context, answer: Mapping[str, Any]) -> None:
        records = AssetRecords(context, plan_asset(self.plan))
        key = approval_key(context["ti"].dag_id, context["ti"].run_id, self.task_id)
        before = {} if "asked_at" in answer else records.get(key) or {}
        records.set(key, {**before, **answer})

    def _whom(self) -> str:
        return ", ".join(user["id"] for user in self.assigned_users or ()) or "whoever may act on this DAG"

    def _refused(self, why: str) -> StepRefused:
        message = f"{why}: {self.subject} Nothing after this task runs. Clear this task to ask again."
        self.log.error(message)
        return StepRefused(message)


def approval(
    plan: Plan, task_id: str, subject: str, question: str, args: Mapping[str, Any], heading: str = "target"
) -> PlanApproval:
    """The task that asks; the plan says who may answer, Airflow's configuration who hears of it."""
    return PlanApproval(
        task_id=task_id,
        plan=plan.plan,
        subject=f"{plan.plan}: {subject}",
        question=question,
        args=args,
        heading=heading,
        approvers=plan.approvers,
        notifiers=approval_notifiers(),
    )


def approval_key(dag_id: str, run_id: str, task_id: str) -> str:
    """Where the plan's records hold `asked_at`, `answer`, `answered_by` and `at` of an approval."""
    return f"run/{purpose_of(dag_id)}/{run_id}/approval/{task_id}"


def _seconds(at: datetime | str) -> float:
    return (datetime.fromisoformat(at) if isinstance(at, str) else at).timestamp()
