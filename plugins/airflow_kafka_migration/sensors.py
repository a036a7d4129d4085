"""The operator that waits for a `WaitStep`: looks in the worker for a moment, then leaves the watching to a trigger.

A wait never fails a run by itself: it ends in what was waited for, in what makes it impossible, or in its time-out,
which counts from the task's first attempt.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import TaskDeferred

from airflow_kafka_migration.failures import retries
from airflow_kafka_migration.state import LOCKS, plan_asset

if TYPE_CHECKING:
    from airflow.sdk import Context

    from kafka_migration.report import StepReport
    from kafka_migration.run import Run
    from kafka_migration.waiting import Look, WaitStep


class WaitOperator(BaseOperator):
    """Waits until a `WaitStep` is done, and settles it.

    :param plan: the plan's name
    :param step: the import path (`module:name`) of a `kafka_migration.waiting.WaitStep`
    :param args: the step's own arguments (JSON)
    :param heading: the side that the step moves services to: `target`, or on the way back `source`
    :param patience: seconds for which the worker goes on looking before it gives its slot back
    :param poll: seconds between two looks
    """

    ui_color = "#fef7e0"

    def __init__(
        self,
        *,
        plan: str,
        step: str,
        args: Mapping[str, Any] | None = None,
        heading: str = "target",
        patience: float = 0.0,
        poll: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(inlets=[plan_asset(plan), LOCKS], **{**retries(), **kwargs})
        self.plan = plan
        self.step = step
        self.args = dict(args or {})
        self.heading = heading
        self.patience = patience
        self.poll = poll

    def execute(self, context: Context) -> None:
        from airflow_kafka_migration.audit import carry_out

        carry_out(context, self.plan, lambda run: self._wait(context, run, None, {}), heading=self.heading)

    def resume(self, context: Context, event: Mapping[str, Any]) -> None:
        """What the trigger saw may be old by now, so that it only says when to look again, not what is true."""
        from airflow_kafka_migration.audit import carry_out

        brief = None if event["status"] == "again" else event["brief"]
        carry_out(
            context,
            self.plan,
            lambda run: self._wait(context, run, brief, event["memory"]),
            heading=self.heading,
            again=True,
        )

    def _wait(self, context: Context, run: Run, brief: dict[str, Any] | None, memory: Mapping[str, Any]) -> StepReport:
        from airflow_kafka_migration.hooks import connections_of
        from airflow_kafka_migration.progress import Progress
        from airflow_kafka_migration.runs import take_lock
        from airflow_kafka_migration.state import TaskMemory
        from airflow_kafka_migration.triggers import WaitTrigger
        from kafka_migration.errors import MigrationError
        from kafka_migration.waiting import Outcome

        take_lock(context, run)
        step: WaitStep = resolve_name(self.step)
        if brief is None:
            brief = step.prepare(run, self.args)
        deadline = TaskMemory(context).first_started() + step.timeout(run)
        enough = time.time() + self.patience
        progress = Progress(run.log.info)
        while True:
            look = self._look(step, run, brief, memory)
            progress.tell(look.lines)
            if look.outcome is Outcome.DONE:
                return step.settle(run, brief, look)
            try:
                self._stop_if_over(step, look, deadline)
            except MigrationError as error:
                error.report = step.seen(brief, look)
                raise
            if run.dry_run:
                return _would_wait(step, look)
            if look.outcome is Outcome.AGAIN:
                run.log.info("%s", look.why)
                brief = step.prepare(run, self.args)
            memory = look.memory
            now = time.time()
            if now >= enough:
                break
            time.sleep(max(0.0, min(self.poll, enough - now, deadline - now)))
        raise TaskDeferred(
            trigger=WaitTrigger(
                step=self.step,
                connections=connections_of(run.plan),
                heading=self.heading,
                brief=brief,
                memory=dict(memory),
                deadline=deadline,
                poll=self.poll,
                plan=self.plan,
            ),
            method_name="resume",
        )

    def _look(self, step: WaitStep, run: Run, brief: Mapping[str, Any], memory: Mapping[str, Any]) -> Look:
        from airflow_kafka_migration.metrics import emit
        from kafka_migration.errors import ClusterError, MirrorUnreachable
        from kafka_migration.waiting import not_answered

        try:
            look = step.look(run.clusters, brief, memory, time.time())
            emit(self.plan, look.numbers)
            return look
        except (ClusterError, MirrorUnreachable) as error:
            if run.dry_run:
                raise
            return not_answered(error, memory)

    def _stop_if_over(self, step: WaitStep, look: Look, deadline: float) -> None:
        from kafka_migration.errors import MigrationError, WaitTimedOut
        from kafka_migration.waiting import Outcome

        if look.outcome is Outcome.FAILED:
            raise MigrationError(look.why)
        if time.time() >= deadline:
            lines = "\n".join(f"  {line}" for line in look.lines)
            raise WaitTimedOut(
                f"{self.task_id}: what was waited for ({step.name}) has not come in time. Nothing was changed by this"
                f" step. At the last look:\n{lines}\n"
                "Clear this task to wait again for as long, once the cause is gone."
            )


def _would_wait(step: WaitStep, look: Look) -> StepReport:
    from kafka_migration.report import StepReport

    return StepReport(summary=f"dry run: would wait here ({step.name})", notes=list(look.lines))
