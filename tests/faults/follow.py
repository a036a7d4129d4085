"""Follows a run as a person would: answers what is asked, and clears what has failed. Counts both."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime

from demo.rest import AirflowClient, TaskRow
from demo.waiting import wait_until

_ANSWER_AFTER = 3.0  # as a person: Airflow can lose an answer that comes before it knows that the task waits
_LOOK_EVERY = 0.5
_ENDED = ("success", "failed")


class Followed:
    """One run of one DAG that is brought to its end. Approvals of tasks whose names end with `rejects` are rejected."""

    def __init__(self, client: AirflowClient, dag_id: str, run_id: str, *, rejects: str | None = None) -> None:
        self._client = client
        self._dag_id = dag_id
        self._run_id = run_id
        self._rejects = rejects
        self._asked: dict[str, float] = {}
        self._looked = 0.0
        self.clears = 0

    def trigger(self) -> None:
        self._client.trigger(self._dag_id, self._run_id, {})

    def to_its_end(self, *, timeout: float, clears: int, meanwhile: Callable[[], None]) -> str:
        """The run's state in the end; it is cleared that often where it fails. `meanwhile` is called all the time."""

        def over() -> bool:
            meanwhile()
            if time.monotonic() - self._looked < _LOOK_EVERY:
                return False
            self._looked = time.monotonic()
            self._answer()
            state = self._client.run_state(self._dag_id, self._run_id)
            if state == "failed" and self.clears < clears:
                self._clear()
                return False
            return state in _ENDED

        wait_until(over, timeout=timeout, what=f"run {self._run_id} of {self._dag_id} to end")
        return self._client.run_state(self._dag_id, self._run_id)

    def tasks(self) -> dict[str, TaskRow]:
        return {row.task_id: row for row in self._client.tasks(self._dag_id, self._run_id)}

    def ended(self, task: str) -> datetime | None:
        """When the task succeeded."""
        row = self.tasks().get(task)
        return row.ended if row is not None and row.state == "success" else None

    def retries(self) -> int:
        """Attempts of tasks beyond the first, those after a clear included."""
        return sum(max(0, row.try_number - 1) for row in self.tasks().values())

    def why(self) -> str:
        """The last error of each task that failed."""
        told = []
        for task, row in self.tasks().items():
            if row.state == "failed":
                errors = [one.text for one in self._client.log(self._dag_id, self._run_id, row) if one.level == "error"]
                told.append(f"{task}: {errors[-1] if errors else 'nothing in its log'}")
        return "\n".join(told)

    def _answer(self) -> None:
        now = time.monotonic()
        waiting = {task for task, row in self.tasks().items() if row.state == "awaiting_input"}
        self._asked = {task: self._asked.get(task, now) for task in waiting}
        due = {task for task, since in self._asked.items() if now - since > _ANSWER_AFTER}
        for approval in self._client.pending_approvals(self._dag_id, self._run_id) if due else ():
            if approval.task_id in due:
                rejected = self._rejects is not None and approval.task_id.endswith(self._rejects)
                self._client.answer(self._dag_id, self._run_id, approval, "Reject" if rejected else "Approve")

    def _clear(self) -> None:
        self.clears += 1
        body = {"dry_run": False, "dag_run_id": self._run_id, "reset_dag_runs": True, "only_failed": True}
        self._client._call(
            "POST", f"/dags/{self._dag_id}/clearTaskInstances", json={**body, "include_downstream": True}
        )
