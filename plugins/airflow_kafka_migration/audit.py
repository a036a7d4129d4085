"""One attempt of one step, told in the task's log and kept as evidence: who, what, what was seen, how it ended.

A domain error ends the task with its message and no traceback; anything else is left to Airflow, traceback and all.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from airflow_kafka_migration.evidence import evidence_root
from airflow_kafka_migration.failures import StepFailed, StepRefused
from airflow_kafka_migration.hooks import secrets_met, without_secrets
from airflow_kafka_migration.names import is_dry, purpose_of
from airflow_kafka_migration.runs import open_run
from kafka_migration.errors import (
    ClusterError,
    ControllerUnavailable,
    EvidenceError,
    MigrationError,
    MirrorUnreachable,
    OffsetsRefused,
)
from kafka_migration.evidence.bundle import Bundle

if TYPE_CHECKING:
    from airflow.sdk import Context

    from kafka_migration.report import StepReport
    from kafka_migration.run import Run

LOG = logging.getLogger("kafka_migration")


def carry_out(
    context: Context,
    plan: str,
    work: Callable[[Run], StepReport],
    *,
    heading: str = "target",
    again: bool = False,
    as_started: bool = False,
) -> str:
    """Open the run, do the work, log its report and keep it; its summary comes back.

    A deferral passes through and leaves no evidence, since the attempt has not ended; `again` says that it goes on.
    """
    attempt = _Attempt(context, plan)
    attempt.begin(again)
    try:
        run = open_run(context, plan, LOG, heading=heading, as_started=as_started)
        attempt.root = evidence_root(run.plan)
        report = work(run)
        for line in report.lines():
            LOG.info("%s", line)
        attempt.keep("success", report=report.to_json())
    except MigrationError as error:
        if error.report is not None:
            for line in error.report.lines():
                LOG.info("%s", line)
        attempt.keep_failure(str(error), error.report)
        raise failure_of(error) from None
    except Exception as error:
        attempt.keep_failure(f"{type(error).__name__}: {error}", None)
        raise
    attempt.end()
    return report.summary


def failure_of(error: MigrationError) -> StepFailed:
    """Log a domain error and make of it what ends the task.

    What a cluster or a storage could not do, or a controller that did not answer, is tried again.
    """
    LOG.error("%s", error)
    may_pass = isinstance(error, ClusterError | ControllerUnavailable | MirrorUnreachable | EvidenceError)
    may_pass = may_pass and not isinstance(error, OffsetsRefused)
    return (StepFailed if may_pass else StepRefused)(str(error))


class _Attempt:
    def __init__(self, context: Context, plan: str) -> None:
        self.root = evidence_root()
        self._plan = plan
        self._ti = context["ti"]
        self._triggered_by = context["dag_run"].triggering_user_name or "Airflow"
        self._reason = context["params"].get("reason")
        self._dry_run = is_dry(context)

    def begin(self, again: bool) -> None:
        if again:
            LOG.info("%s looks again", self._ti.task_id)
            return
        LOG.info(
            "%s of plan %s (%s), run %s, attempt %d, triggered by %s%s%s",
            self._ti.task_id,
            self._plan,
            purpose_of(self._ti.dag_id),
            self._ti.run_id,
            self._ti.try_number,
            self._triggered_by,
            f", reason: {self._reason}" if self._reason else "",
            ", DRY RUN: nothing is changed" if self._dry_run else "",
        )

    def end(self) -> None:
        LOG.info("%s ended after %.1f s", self._ti.task_id, time.time() - self._ti.start_date.timestamp())

    def keep_failure(self, error: str, report: StepReport | None) -> None:
        """Evidence of a failure; what failed is what the task ends with, even if the evidence cannot be written."""
        try:
            self.keep("failed", error=without_secrets(error), report=report.to_json() if report else {})
        except Exception:
            LOG.exception("The evidence of this failure could not be written to %s", self.root)

    def keep(self, state: str, *, report: Mapping[str, Any], error: str | None = None) -> None:
        bundle = Bundle(self.root, self._plan, purpose_of(self._ti.dag_id), self._ti.run_id, secrets_met())
        bundle.write_step(
            self._ti.task_id,
            self._ti.try_number,
            {
                "schema_version": 1,
                "task_id": self._ti.task_id,
                "attempt": self._ti.try_number,
                "map_index": -1 if self._ti.map_index is None else self._ti.map_index,
                "state": state,
                "started_at": self._ti.start_date.timestamp(),
                "ended_at": time.time(),
                "error": error,
                "report": report,
            },
        )
