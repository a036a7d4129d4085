"""Follows one DAG run to its end: answers its approvals, and hands each look at it to a view.

Acts on the run only by answering approvals. Tells nothing about what the run did; that is the evidence's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from demo.rest import AirflowClient, LogLine, TaskRow
from demo.view import RunPicture, View

APPROVE = "Approve"
REJECT = "Reject"

Policy = Callable[[str], str]
"""The answer to an approval, by the id of its task."""

Watch = Callable[[Sequence[TaskRow]], None]
"""What is called with each look at a run's tasks."""

_LOOK_EVERY = 0.6
_LOGS_EVERY = 1.0
_NEVER = datetime.max.replace(tzinfo=UTC)
_WITH_LOG = {"running", "deferred", "up_for_retry"}
# Airflow fails a task whose answer comes before its worker has reported the pause (seen up to 1.5 s later with
# this demo's settings, on a busy machine). No person is that quick.
_ANSWER_AFTER = 3.0
_TOLD = {APPROVE: "approved", REJECT: "rejected"}


def approve_all(task_id: str) -> str:
    return APPROVE


def nobody_watches(rows: Sequence[TaskRow]) -> None:
    """Nothing befalls a run."""


def approve_only(*task_ids: str) -> Policy:
    """All other approvals are rejected."""
    return lambda task_id: APPROVE if task_id in task_ids else REJECT


class RunTookTooLong(Exception):
    """The run had not ended within the time that a demo may take."""


@dataclass(frozen=True)
class Failure:
    """A task that failed, with the last error lines of its log."""

    task: TaskRow
    errors: list[str]


class Run:
    """One triggered run of one DAG."""

    def __init__(self, client: AirflowClient, dag_id: str, run_id: str) -> None:
        self._client = client
        self._order = {task: index for index, task in enumerate(client.task_order(dag_id))}
        self._lines: dict[str, str] = {}
        self._lines_read = 0.0
        self._waiting_since: dict[tuple[str, int], float] = {}
        self.dag_id = dag_id
        self.run_id = run_id
        self.rejected: set[str] = set()

    def follow(
        self,
        view: View,
        *,
        timeout: float,
        check: Callable[[], None],
        answers: Policy = approve_all,
        watch: Watch = nobody_watches,
    ) -> str:
        """Until the run has ended; its state. With each look `check` is called, which may raise, and `watch`."""
        deadline = time.monotonic() + timeout
        while True:
            check()
            state = self._client.run_state(self.dag_id, self.run_id)
            rows = self.tasks()
            watch(rows)
            self._answer_approvals(rows, answers, view)
            self._read_lines(rows)
            view.show(RunPicture(self.dag_id, state, rows, self._lines, datetime.now(UTC)))
            if state in ("success", "failed"):
                return state
            if time.monotonic() > deadline:
                raise RunTookTooLong(f"{self.dag_id} was still {state} after {timeout:.0f} s.")
            time.sleep(_LOOK_EVERY)

    def tasks(self) -> list[TaskRow]:
        """In the order in which they started; those that have not come last, in the order of the graph."""
        rows = self._client.tasks(self.dag_id, self.run_id)
        return sorted(rows, key=lambda row: (row.started or _NEVER, self._order.get(row.task_id, 0), row.map_index))

    def failures(self) -> list[Failure]:
        return [
            Failure(row, [line.text for line in self._own_lines(row) if line.level in ("error", "critical")][-3:])
            for row in self.tasks()
            if row.state == "failed"
        ]

    def _answer_approvals(self, rows: Sequence[TaskRow], answers: Policy, view: View) -> None:
        now = time.monotonic()
        waiting = {(row.task_id, row.map_index) for row in rows if row.state == "awaiting_input"}
        self._waiting_since = {task: self._waiting_since.get(task, now) for task in waiting}
        due = {task for task, since in self._waiting_since.items() if now - since >= _ANSWER_AFTER}
        if not due:
            return
        for approval in self._client.pending_approvals(self.dag_id, self.run_id):
            answer = answers(approval.task_id)
            if (approval.task_id, approval.map_index) in due and answer in approval.options:
                self._client.answer(self.dag_id, self.run_id, approval, answer)
                if answer == REJECT:
                    self.rejected.add(approval.task_id)
                view.say(f"{approval.task_id}: “{approval.subject}” {_TOLD.get(answer, answer)} by the demo")

    def _read_lines(self, rows: Sequence[TaskRow]) -> None:
        if time.monotonic() - self._lines_read < _LOGS_EVERY:
            return
        self._lines_read = time.monotonic()
        self._lines = {
            row.name: own[-1].text.splitlines()[0]
            for row in rows
            if row.state in _WITH_LOG and (own := [line for line in self._own_lines(row) if line.text.strip()])
        }

    def _own_lines(self, row: TaskRow) -> list[LogLine]:
        lines = self._client.log(self.dag_id, self.run_id, row)
        return [line for line in lines if not _is_housekeeping(line)]


def _is_housekeeping(line: LogLine) -> bool:
    """Whether Airflow itself wrote it, as it does before and after every task's own lines."""
    airflows = line.logger in ("", "task", "supervisor", "py.warnings") or line.logger.startswith(
        ("airflow.dag_processing.", "airflow.sdk.")
    )
    return airflows and line.level not in ("error", "critical")
