"""The verdict over a whole run: what its tasks came to, what they left on record, and what they found.

It fails closed: a step that should have run and did not, or that Airflow calls a success although it left no record
(somebody marked it by hand), makes the run a FAIL. It reads nothing; the states and records are given.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kafka_migration.evidence.model import Approval, StepRecord
from kafka_migration.findings import Finding, Status, verdict

SUCCESS, FAILED, UPSTREAM_FAILED = "success", "failed", "upstream_failed"  # as Airflow calls them


@dataclass(frozen=True)
class Judgement:
    """`because`: why it is not PASS, one line a cause; empty for PASS."""

    verdict: Status
    because: tuple[str, ...]


def judge_run(
    steps: Mapping[str, str | None], approvals: Sequence[Approval], records: Sequence[StepRecord]
) -> Judgement:
    """`steps`: Airflow's state of every step that should have run. `records`: the last attempt of each."""
    if not steps:
        return Judgement(Status.FAIL, ("no step of the run is known",))
    by_task: dict[str, list[StepRecord]] = defaultdict(list)
    for record in records:
        by_task[record.task_id].append(record)
    causes = [cause for task, state in steps.items() for cause in _step(task, state, by_task[task])]
    causes += [
        (Status.FAIL, f"approval {a.task}: {_refusal(a)}")
        for a in approvals
        if a.state not in (SUCCESS, UPSTREAM_FAILED)
    ]
    findings = [finding for record in records for finding in findings_of(record)]
    causes += [(f.status, f"{f.status} {f.id}: {f.seen}") for f in findings if f.stops]
    behind = [task for task, state in steps.items() if state == UPSTREAM_FAILED]
    behind += [a.task for a in approvals if a.state == UPSTREAM_FAILED]
    if behind and not causes:
        causes = [(Status.FAIL, "steps did not run although nothing before them is known to have failed")]
    if not causes:
        return Judgement(Status.PASS, ())
    worst = Status.FAIL if any(status is Status.FAIL for status, _ in causes) else verdict(findings)
    lines = [line for status, line in sorted(causes, key=lambda cause: cause[0] is not Status.FAIL)]
    if behind:
        lines.append(f"not run because of that: {', '.join(behind)}")
    return Judgement(worst, tuple(lines))


def findings_of(record: StepRecord) -> list[Finding]:
    """The findings of a step as the rest of the domain knows them."""
    return [Finding.from_json(entry.model_dump()) for entry in record.report.findings]


def _step(task: str, state: str | None, records: Sequence[StepRecord]) -> list[tuple[Status, str]]:
    """What is wrong with one step. A step that only its INCONCLUSIVE findings stopped is no failure by itself."""
    if state == SUCCESS:
        if not records:
            return [(Status.FAIL, f"{task}: called a success, but it left no record (marked by hand?)")]
        return [
            (Status.FAIL, f"{task}: called a success, but its own record says {r.state}")
            for r in records
            if r.state != SUCCESS
        ]
    if state == UPSTREAM_FAILED:
        return []
    if state != FAILED:
        return [(Status.FAIL, f"{task}: should have run; its state is {state or 'none'}")]
    failed = [r for r in records if r.state == FAILED]
    if not failed:
        return [(Status.FAIL, f"{task}: failed without leaving a word; its log may say why")]
    return [
        (Status.FAIL, f"{task}: {r.error or 'failed'}")
        for r in failed
        if verdict(findings_of(r)) is not Status.INCONCLUSIVE
    ]


def _refusal(approval: Approval) -> str:
    if approval.answered_by or approval.answer:
        return f"{approval.answer or 'rejected'} by {approval.answered_by or 'somebody'}"
    if approval.asked_at is not None:
        return "not answered in time"
    return f"not asked; its state is {approval.state or 'none'}"
