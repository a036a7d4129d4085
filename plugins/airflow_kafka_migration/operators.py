"""The operator that carries out one acting step of a plan. It knows no step: it is given the import path of one."""

from __future__ import annotations

from collections.abc import Mapping
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_kafka_migration.failures import retries
from airflow_kafka_migration.state import LOCKS, plan_asset

if TYPE_CHECKING:
    from airflow.sdk import Context

    from kafka_migration.report import StepReport
    from kafka_migration.run import ActStep, Run


def of_plan(plan: str) -> dict[str, Any]:
    """What every task of a plan is given. One that is mapped is told in `partial`: there is no operator of it yet."""
    # As inlets they give access to the plan's state without emitting an event when the task ends.
    return {"inlets": [plan_asset(plan), LOCKS], **retries()}


class StepOperator(BaseOperator):
    """One step of a plan.

    :param plan: the plan's name
    :param step: the import path (`module:name`) of a `kafka_migration.run.ActStep`
    :param args: the step's own arguments (JSON)
    :param heading: the side that the step moves services to: `target`, or on the way back `source`
    """

    ui_color = "#e8f0fe"

    def __init__(
        self,
        *,
        plan: str,
        step: str,
        args: Mapping[str, Any] | None = None,
        heading: str = "target",
        **kwargs: Any,
    ) -> None:
        super().__init__(**{**of_plan(plan), **kwargs})
        self.plan = plan
        self.step = step
        self.args = dict(args or {})
        self.heading = heading

    def execute(self, context: Context) -> Any:
        from airflow_kafka_migration.audit import carry_out

        carry_out(context, self.plan, lambda run: self._act(context, run), heading=self.heading)

    def _act(self, context: Context, run: Run) -> StepReport:
        from airflow_kafka_migration.runs import take_lock
        from kafka_migration.errors import ClusterError

        step: ActStep = resolve_name(self.step)
        try:
            take_lock(context, run)
        except ClusterError:
            if self.upstream_task_ids:
                raise
            # The first step changes nothing and tells better what is wrong with a cluster.
            report = step(run, **self.args)
            take_lock(context, run)
            return report
        return step(run, **self.args)


class DividingOperator(StepOperator):
    """A step that divides work: what it returns are the arguments of the tasks that carry out the shares."""

    def execute(self, context: Context) -> list[dict[str, Any]]:
        self._shares: list[dict[str, Any]] = []
        super().execute(context)
        return [{"share": share} for share in self._shares]

    def _act(self, context: Context, run: Run) -> StepReport:
        report = super()._act(context, run)
        self._shares = report.data["shares"]
        return report
