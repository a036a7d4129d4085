"""How the demo answers approvals: as its policy says, once each, and only those that Airflow has parked for a while."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from demo import follow
from demo.follow import Policy, Run, approve_all, approve_only
from demo.rest import LogLine, PendingApproval, TaskRow
from demo.view import RunPicture


@dataclass
class Airflow:
    """A run that waits for answers, and has ended when all have come."""

    waiting: list[str]
    options: tuple[str, ...] = ("Approve", "Reject")
    answered: dict[str, str] = field(default_factory=dict)

    def task_order(self, dag_id: str) -> list[str]:
        return self.waiting

    def run_state(self, dag_id: str, run_id: str) -> str:
        if len(self.answered) < len(self.waiting):
            return "running"
        return "failed" if "Reject" in self.answered.values() else "success"

    def tasks(self, dag_id: str, run_id: str) -> list[TaskRow]:
        states = {task: self._state(task) for task in self.waiting}
        return [TaskRow(task, -1, task, state, 1, None, None) for task, state in states.items()]

    def pending_approvals(self, dag_id: str, run_id: str) -> list[PendingApproval]:
        left = [task for task in self.waiting if task not in self.answered]
        return [PendingApproval(task, -1, f"May {task}?", self.options) for task in left]

    def answer(self, dag_id: str, run_id: str, approval: PendingApproval, option: str) -> None:
        assert approval.task_id not in self.answered
        self.answered[approval.task_id] = option

    def log(self, dag_id: str, run_id: str, row: TaskRow) -> list[LogLine]:
        return []

    def _state(self, task: str) -> str:
        return {None: "awaiting_input", "Approve": "success", "Reject": "failed"}[self.answered.get(task)]


class Said:
    """A view that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def show(self, picture: RunPicture) -> None: ...

    def say(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "_ANSWER_AFTER", 0.0)
    monkeypatch.setattr(follow, "_LOOK_EVERY", 0.0)


TASKS = ["approve_producers", "billing.approve", "audit.approve"]


@pytest.mark.parametrize(
    ("policy", "state", "rejected"),
    [
        (approve_all, "success", set()),
        (approve_only("approve_producers"), "failed", {"billing.approve", "audit.approve"}),
    ],
)
def test_each_approval_gets_the_answer_of_the_policy(policy: Policy, state: str, rejected: set[str]) -> None:
    airflow, said = Airflow(TASKS), Said()
    run = Run(airflow, "orders.migrate", "first")  # type: ignore[arg-type]

    assert run.follow(said, timeout=5, check=lambda: None, answers=policy) == state  # type: ignore[arg-type]

    assert airflow.answered == {task: policy(task) for task in TASKS}
    assert run.rejected == rejected
    assert "approve_producers: “May approve_producers?” approved by the demo" in said.lines
    assert [line for line in said.lines if line.endswith("rejected by the demo")] == [
        f"{task}: “May {task}?” rejected by the demo" for task in TASKS if task in rejected
    ]


def test_question_of_another_kind_is_left_to_a_person() -> None:
    airflow = Airflow(["by_hand_ledger"], options=("Done",))
    run = Run(airflow, "orders.migrate", "first")  # type: ignore[arg-type]

    with pytest.raises(follow.RunTookTooLong):
        run.follow(Said(), timeout=0.05, check=lambda: None)  # type: ignore[arg-type]

    assert airflow.answered == {}
