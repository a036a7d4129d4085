"""One attempt of one step, told in the task's log and kept as evidence: who, what, what was seen, how it ended.

A domain error ends the task with its message and no traceback; anything else is left to Airflow, traceback and all.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowException, AirflowFailException
from kafka_migration.evidence import steps

from airflow_kafka_migration.evidence import evidence_root
from airflow_kafka_migration.names import purpose_of
from airflow_kafka_migration.runs import open_run
from kafka_migration.errors import ClusterError, FindingsFailed, MigrationError, OffsetsRefused
from kafka_migration.passes import when

if TYPE_CHECKING:
    from airflow.sdk import Context

    from kafka_migration.report import StepReport
    from kafka_migration.run import Run

LOG = logging.getLogger("kafka_migration")
_LONGEST_SUMMARY = 1000


def carry_out(context: Context, plan: str, work: Callable[[Run], StepReport]) -> str:
    """Open the run, do the work, log and keep its report; the summary comes back, for approvals to show.

    A deferral passes through and leaves no evidence: the attempt has not ended.
    """
    attempt = _Attempt(context, plan)
    attempt.begin()
    try:
        run = open_run(context, plan, LOG)
        attempt.root = evidence_root(run.plan)
        report = work(run)
    except MigrationError as error:
        LOG.error("%s", error)
        attempt.keep_failure(str(error), _findings(error))
        headline = str(error).partition("\n")[0]
        if isinstance(error, ClusterError) and not isinstance(error, OffsetsRefused):
            raise AirflowException(headline) from None  # tried again, if the task has attempts left
        raise AirflowFailException(headline) from None
    except Exception as error:
        attempt.keep_failure(f"{type(error).__name__}: {error}", [])
        raise
    attempt.keep("done", report=report.to_json())
    for line in report.lines():
        LOG.info("%s", line)
    attempt.end()
    return report.summary[:_LONGEST_SUMMARY]


class _Attempt:
    def __init__(self, context: Context, plan: str) -> None:
        self.root = evidence_root()
        self._plan = plan
        self._ti = context["ti"]
        self._dag_run = context["dag_run"]
        self._params = context["params"]

    def begin(self) -> None:
        reason = f", reason: {self._params['reason']}" if self._params.get("reason") else ""
        LOG.info(
            "%s of plan %s (%s), run %s, attempt %d, triggered by %s%s%s",
            self._ti.task_id,
            self._plan,
            purpose_of(self._ti.dag_id),
            self._ti.run_id,
            self._ti.try_number,
            self._dag_run.triggering_user_name or "Airflow",
            reason,
            ", DRY RUN: nothing is changed" if self._params.get("dry_run") else "",
        )

    def end(self) -> None:
        LOG.info("%s ended after %.1f s", self._ti.task_id, self._seconds())

    def keep_failure(self, error: str, findings: list[dict[str, str]]) -> None:
        """Evidence of a failure; what failed is what the task ends with, even if the evidence cannot be written."""
        try:
            self.keep("failed", error=error, report={"findings": findings})
        except Exception:
            LOG.exception("The evidence of this failure could not be written to %s", self.root)

    def keep(self, status: str, *, report: Mapping[str, Any], error: str | None = None) -> None:
        payload = {
            "step": self._ti.task_id,
            "attempt": self._ti.try_number,
            "status": status,
            "dry_run": bool(self._params.get("dry_run")),
            "triggered_by": self._dag_run.triggering_user_name,
            "reason": self._params.get("reason"),
            "started": when(self._ti.start_date.timestamp()),
            "ended": when(),
            "seconds": round(self._seconds(), 1),
            "error": error,
            "report": report,
        }
        purpose = purpose_of(self._ti.dag_id)
        steps.write(self.root, self._plan, purpose, self._ti.run_id, self._ti.task_id, self._ti.try_number, payload)

    def _seconds(self) -> float:
        return (datetime.now(UTC) - self._ti.start_date).total_seconds()


def _findings(error: MigrationError) -> list[dict[str, str]]:
    return [finding.to_json() for finding in error.findings] if isinstance(error, FindingsFailed) else []
