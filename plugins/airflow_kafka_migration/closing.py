"""The end of every run: the evidence, which is written whatever happened, and the gate, whose state is the verdict.

Only the gate of a run that passed says so to others: it marks the pass as finished and emits the plan's asset event.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, TriggerRule

from airflow_kafka_migration.approvals import approval_key
from airflow_kafka_migration.failures import NotPassed, StepFailed, StepRefused, retries
from airflow_kafka_migration.links import EvidenceLink
from airflow_kafka_migration.names import is_dry, purpose_of
from airflow_kafka_migration.state import LOCKS, AssetRecords, plan_asset
from kafka_migration.purposes import LOCKING, MIRROR, VERIFY

if TYPE_CHECKING:
    from airflow.sdk import Context

    from kafka_migration.evidence.model import Approval, StepRecord
    from kafka_migration.findings import Finding
    from kafka_migration.passes import CutoverPoint
    from kafka_migration.plan.load import LoadedPlan
    from kafka_migration.report import StepReport
    from kafka_migration.run import Run


class EvidenceOperator(BaseOperator):
    """Looks once more, and puts what the steps left behind into one place.

    :param plan: the plan's name
    :param judged: the tasks that must have succeeded, in the plan's order
    :param asked: the approvals
    :param heading: the side that the run moves services to: `target`, or in a rollback `source`
    """

    ui_color = "#e6f4ea"
    operator_extra_links = (EvidenceLink(),)

    def __init__(
        self, *, plan: str, judged: Sequence[str], asked: Sequence[str], heading: str = "target", **kwargs: Any
    ) -> None:
        super().__init__(inlets=[plan_asset(plan), LOCKS], trigger_rule=TriggerRule.ALL_DONE, **{**retries(), **kwargs})
        self.plan = plan
        self.judged = list(judged)
        self.asked = list(asked)
        self.heading = heading

    def execute(self, context: Context) -> None:
        from airflow_kafka_migration.audit import carry_out
        from kafka_migration.steps.closing import closing_look
        from kafka_migration.steps.decommission import decommission
        from kafka_migration.steps.watching import last_word

        states = self._states(context)
        moved = all(states.get(task) == "success" for task in self.judged)

        def look(run: Run) -> StepReport:
            from kafka_migration.report import StepReport

            if run.purpose == VERIFY:
                return decommission(run, self._found(context, run), moved)
            if run.purpose == MIRROR:
                return last_word(run, self._problems(context, run), moved)
            # After a failure services stand where the failure left them: that is said by the failed step, not here.
            return closing_look(run) if moved else StepReport("the run did not come to its end")

        ended = "success"
        try:
            carry_out(context, self.plan, look, heading=self.heading, as_started=True)
        except StepFailed:
            ended = "failed"  # its record says why; the evidence of all the others is written all the same
        verdict = self._publish(context, {**states, self.task_id: ended})
        if verdict != "PASS":
            # Failed, so that whoever clears the failed tasks of a run clears this one with them: a gate that is run
            # again must not judge by what was true before.
            raise StepRefused(f"The evidence is written; its verdict is {verdict}. The gate says why.")

    def _found(self, context: Context, run: Run) -> list[Finding]:
        """All that the steps of this run have found."""
        from kafka_migration.evidence.verdict import findings_of

        return [f for record in self._records(context, run) for f in findings_of(record)]

    def _problems(self, context: Context, run: Run) -> list[str]:
        """What its steps have failed of."""
        return [f"{record.task_id}: {record.error}" for record in self._records(context, run) if record.error]

    def _records(self, context: Context, run: Run) -> list[StepRecord]:
        """What the steps of this run have left."""
        from airflow_kafka_migration.evidence import evidence_root
        from kafka_migration.evidence.bundle import Bundle

        ti = context["ti"]
        bundle = Bundle(evidence_root(run.plan), self.plan, purpose_of(ti.dag_id), ti.run_id)
        return [record for record in bundle.steps() if record.task_id != self.task_id]

    def _publish(self, context: Context, states: Mapping[str, str | None]) -> str:
        from airflow_kafka_migration.audit import LOG, failure_of
        from airflow_kafka_migration.evidence import evidence_root
        from airflow_kafka_migration.hooks import secrets_met
        from airflow_kafka_migration.runs import started_plan
        from airflow_kafka_migration.signing import signing_key
        from kafka_migration.errors import MigrationError
        from kafka_migration.evidence.assemble import Facts
        from kafka_migration.evidence.bundle import Bundle
        from kafka_migration.evidence.publish import publish

        ti, dag_run = context["ti"], context["dag_run"]
        loaded = started_plan(context, self.plan)
        records = AssetRecords(context, plan_asset(self.plan))
        try:
            key = signing_key(loaded.plan)
        except MigrationError as error:
            raise failure_of(error) from None
        bundle = Bundle(evidence_root(loaded.plan), self.plan, purpose_of(ti.dag_id), ti.run_id, secrets_met())
        evidence = publish(
            bundle,
            Facts(
                plan=loaded,
                started_at=dag_run.start_date.timestamp() if dag_run.start_date else ti.start_date.timestamp(),
                ended_at=time.time(),
                triggered_by=dag_run.triggering_user_name or "Airflow",
                reason=str(context["params"].get("reason") or ""),
                dry_run=is_dry(context),
                steps={task: states.get(task) for task in (*self.judged, self.task_id)},
                approvals=tuple(_approval(records, ti.dag_id, ti.run_id, task, states) for task in self.asked),
                points=_points(loaded, records, purpose_of(ti.dag_id)),
            ),
            key,
        )
        for label, text in evidence.summary.items():
            LOG.info("%-22s %s", label, text)
        return str(evidence.verdict)

    def _states(self, context: Context) -> dict[str, str | None]:
        ti = context["ti"]
        told = ti.get_task_states(ti.dag_id, run_ids=[ti.run_id]).get(ti.run_id, {})
        states = {task: str(state) for task, state in told.items()}
        return {task: _of_all(task, states) for task in self.judged} | states


def _of_all(task: str, states: Mapping[str, str]) -> str | None:
    """The state of a task that was carried out in shares: success where all were. Airflow numbers them."""
    # "removed" are those of an earlier attempt that had more shares.
    numbered = {name: state for name, state in states.items() if re.fullmatch(rf"{re.escape(task)}_\d+", name)}
    shares = [state for state in numbered.values() if state != "removed"]
    return next((state for state in shares if state != "success"), "success" if shares else None)


class GateOperator(BaseOperator):
    """Succeeds when the verdict of this run's evidence is PASS, and fails otherwise.

    :param plan: the plan's name
    :param heading: the side that the run moves services to: `target`, or in a rollback `source`
    :param announces: whether a PASS emits the plan's asset event, as the end of a migration and of a rollback does
    """

    ui_color = "#e6f4ea"
    operator_extra_links = (EvidenceLink(),)

    def __init__(self, *, plan: str, heading: str = "target", announces: bool = True, **kwargs: Any) -> None:
        super().__init__(
            inlets=[plan_asset(plan), LOCKS],
            outlets=[plan_asset(plan)] if announces else [],
            trigger_rule=TriggerRule.ALL_DONE,
            **{**retries(), **kwargs},
        )
        self.plan = plan
        self.heading = heading
        self.announces = announces

    def execute(self, context: Context) -> str:
        from airflow_kafka_migration.audit import LOG
        from airflow_kafka_migration.evidence import evidence_root
        from airflow_kafka_migration.runs import forget_plan, open_run, started_plan
        from kafka_migration.errors import MigrationError
        from kafka_migration.evidence.bundle import EVIDENCE_JSON, Bundle
        from kafka_migration.steps.closing import finish

        ti = context["ti"]
        records = AssetRecords(context, plan_asset(self.plan))
        try:
            plan = started_plan(context, self.plan).plan
            bundle = Bundle(evidence_root(plan), self.plan, purpose_of(ti.dag_id), ti.run_id)
            evidence = json.loads((bundle.folder / EVIDENCE_JSON).read_text(encoding="utf-8"))
        except (OSError, MigrationError) as error:
            LOG.error("There is no evidence to judge by: %s", error)
            raise StepRefused("no evidence, no PASS") from None
        verdict = evidence["verdict"]
        LOG.info("verdict %s", verdict)
        for cause in evidence["because"]:
            LOG.error("%s", cause)
        LOG.info("evidence: %s", bundle)
        records.set(
            f"verdict/{purpose_of(ti.dag_id)}",
            {"run_id": ti.run_id, "verdict": verdict, "at": time.time(), "dry_run": is_dry(context)},
        )
        if verdict != "PASS":
            raise NotPassed(verdict, evidence["because"])
        finish(open_run(context, self.plan, LOG, heading=self.heading, as_started=True))
        if purpose_of(ti.dag_id) not in LOCKING:
            forget_plan(context, self.plan)
        if self.announces and not is_dry(context):
            context["outlet_events"][plan_asset(self.plan)].extra = {"run_id": ti.run_id, "verdict": verdict}
        return str(verdict)


def _points(loaded: LoadedPlan, records: AssetRecords, purpose: str) -> dict[str, list[CutoverPoint]]:
    """The cutover points of the pass; of a rollback those of the way back too."""
    from kafka_migration.passes import WayBack, current_pass, last_pass
    from kafka_migration.purposes import FAILBACK, ROLLBACK
    from kafka_migration.steps.common import recorded_points

    if purpose not in (ROLLBACK, FAILBACK):
        return recorded_points(loaded.graph, current_pass(records))
    there = last_pass(records)
    back = WayBack(records, there.number, loaded.plan, loaded.graph.stages)
    return recorded_points(loaded.graph, there) | {
        f"{stage} (way back)": points for stage, points in recorded_points(loaded.graph, back).items()
    }


def _approval(records: AssetRecords, dag_id: str, run_id: str, task: str, states: Mapping[str, str | None]) -> Approval:
    from kafka_migration.evidence.model import Approval

    kept = records.get(approval_key(dag_id, run_id, task)) or {}
    return Approval(task=task, state=states.get(task) or "", **kept)
