"""How a task ends that the domain has refused: failed, with the domain's message in its log and no traceback.

Airflow logs a traceback for every exception but `SystemExit`, of which it logs one line; retries, callbacks and states
are the same for all of them.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule


class StepFailed(SystemExit):
    """The step failed for a reason that may pass: it is tried again, while the task has attempts left."""

    def __init__(self, message: str) -> None:
        super().__init__(1)
        self.message = message

    def __str__(self) -> str:
        return self.message


class StepRefused(StepFailed):
    """The step failed for a reason that trying again does not change."""


def retries() -> dict[str, Any]:
    """An operator's arguments: infrastructure is given another chance, refusals are not."""
    return {
        "retries": 2,
        "retry_delay": timedelta(seconds=5),
        "retry_policy": ExceptionRetryPolicy(rules=[RetryRule(exception=StepRefused, action=RetryAction.FAIL)]),
    }
