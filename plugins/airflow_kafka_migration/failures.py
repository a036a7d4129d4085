"""How a task ends that the domain has refused: failed, with the domain's message in its log and no traceback.

Airflow logs a traceback for every exception but `SystemExit`, of which it logs one line; retries, callbacks and states
are the same for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
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


class NotPassed(StepRefused):
    """The run has ended, and its verdict is not PASS; `because`: why, a line each."""

    def __init__(self, verdict: str, because: Sequence[str]) -> None:
        super().__init__(f"verdict {verdict}: {'; '.join(because)[:500]}")
        self.verdict = verdict
        self.because = tuple(because)


def retries() -> dict[str, Any]:
    """An operator's arguments: infrastructure is given another chance, refusals are not."""
    return {
        "retries": 2,
        "retry_delay": timedelta(seconds=5),
        "retry_policy": ExceptionRetryPolicy(rules=[RetryRule(exception=StepRefused, action=RetryAction.FAIL)]),
    }
