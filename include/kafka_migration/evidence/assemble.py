"""One run's evidence out of what its steps left behind. It reads the bundle and writes nothing.

From the steps' `report.data` it takes what the page draws: `topics` and `partitions` (preflight), `samples` by group
with `service` (a drain), `coverage` and `content` (rows of `CoverageEntry` and `ContentEntry`), and `data_docs` (a link
relative to the bundle).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from kafka_migration.errors import EvidenceError
from kafka_migration.evidence.bundle import Bundle, latest
from kafka_migration.evidence.model import (
    Approval,
    Attempt,
    Compared,
    ContentEntry,
    CoverageEntry,
    DrainCurve,
    Evidence,
    FindingEntry,
    Pause,
    Point,
    Recovery,
    Scope,
    Standstill,
    Step,
    StepRecord,
    Watched,
)
from kafka_migration.evidence.verdict import SUCCESS, judge_run
from kafka_migration.evidence.words import counted, duration
from kafka_migration.passes import CutoverPoint
from kafka_migration.plan.load import LoadedPlan
from kafka_migration.purposes import DRILL, FAILBACK, FAILOVER, MIRROR, ROLLBACK, VERIFY


@dataclass(frozen=True)
class Facts:
    """What the steps cannot know of their run.

    `steps`: Airflow's state of every task that acts or waits and should have run, in the plan's order; the evidence
    task and the gate are not among them, and the approvals come apart. `points`: the recorded cutover points by stage.
    """

    plan: LoadedPlan
    started_at: float
    ended_at: float
    triggered_by: str
    reason: str
    dry_run: bool
    steps: Mapping[str, str | None]
    approvals: tuple[Approval, ...] = ()
    points: Mapping[str, Sequence[CutoverPoint]] = field(default_factory=dict)


def assemble(bundle: Bundle, facts: Facts) -> Evidence:
    """The evidence of the run. Raises `EvidenceError` when what the steps left cannot be read."""
    attempts = bundle.attempts()
    records = latest(attempts)
    judged = judge_run(facts.steps, facts.approvals, records)
    plan = facts.plan.plan
    findings = _findings(records, plan.acceptances)
    try:
        coverage = tuple(
            CoverageEntry.model_validate(row) for r in records for row in r.report.data.get("coverage") or ()
        )
        content = tuple(ContentEntry.model_validate(row) for r in records for row in r.report.data.get("content") or ())
        drains = tuple(curve for r in records for curve in _drains(r))
    except (ValidationError, TypeError, ValueError) as error:
        raise EvidenceError(f"{bundle}: a step's data is not what the evidence needs: {error}") from None
    points = tuple(
        Point.model_validate({"stage": stage, **point.to_json()})
        for stage, frozen in facts.points.items()
        for point in frozen
    )
    evidence = Evidence(
        plan=bundle.plan,
        description=plan.description,
        scheme=plan.scheme,
        purpose=bundle.purpose,
        run_id=bundle.run_id,
        verdict=judged.verdict.value,
        because=judged.because,
        dry_run=facts.dry_run,
        reason=facts.reason,
        triggered_by=facts.triggered_by,
        started_at=facts.started_at,
        ended_at=facts.ended_at,
        scope=_scope(facts, records),
        summary={},
        approvals=facts.approvals,
        steps=_steps(facts.steps, attempts),
        findings=findings,
        cutover_points=points,
        coverage=coverage,
        drains=drains,
        pauses=_pauses(records),
        data_docs=next((str(link) for r in records if (link := r.report.data.get("data_docs"))), None),
        compared=_together([Compared(**c) for r in records if (c := r.report.data.get("compared"))]),
        content=content,
        level=next((str(level) for r in records if (level := r.report.data.get("level"))), None),
        watched=next((Watched(**w) for r in records if (w := r.report.data.get("watched"))), None),
        recovery=_recovery(records),
        standstill=_standstill(records),
        holds=_holds(records),
        plan_digest=facts.plan.digest,
        plan_text=facts.plan.text,
    )
    return evidence.model_copy(update={"summary": _summary(evidence, str(bundle))})


def longest(drains: Sequence[DrainCurve]) -> DrainCurve | None:
    """The drain that took longest."""
    return max(drains, key=lambda d: d.ended - d.started, default=None)


def longest_pause(pauses: Sequence[Pause]) -> Pause | None:
    """The longest time that a group had nothing to read."""
    return max(pauses, key=lambda p: p.seconds, default=None)


def sides(purpose: str) -> tuple[str, str]:
    """The cluster that services left in a run of that purpose, and the one that they reached."""
    return ("target", "source") if purpose in (ROLLBACK, FAILBACK) else ("source", "target")


def proven(coverage: Sequence[CoverageEntry]) -> tuple[int, int]:
    """Visible messages that groups are shown to have read, summed over them: where they left, and where they went."""
    return (
        sum(max(0, row.origin_visible - row.origin_left) for row in coverage if row.origin_visible is not None),
        sum(row.destination_consumed for row in coverage if row.destination_consumed is not None),
    )


def _findings(records: Sequence[StepRecord], in_plan: Mapping[str, str]) -> tuple[FindingEntry, ...]:
    return tuple(
        FindingEntry(
            task=r.task_id,
            accepted_by="the plan" if f.accepted and in_plan.get(f.id) == f.accepted else "",
            **f.model_dump(),
        )
        for r in records
        for f in r.report.findings
    )


def _together(compared: Sequence[Compared]) -> Compared | None:
    """What was compared on every way."""
    if not compared:
        return None
    total = {
        name: sum(getattr(c, name) for c in compared) for name in ("messages", "partitions", "differences", "repeated")
    }
    return Compared(**total, first=next((c.first for c in compared if c.first), None))


def _drains(record: StepRecord) -> list[DrainCurve]:
    samples: Mapping[str, Any] = record.report.data.get("samples") or {}
    return [
        DrainCurve(
            service=record.report.data.get("service", ""),
            group=group,
            started=curve[0][0],
            ended=curve[-1][0],
            samples=tuple((at, left) for at, left in curve),
        )
        for group, curve in sorted(samples.items())
        if curve
    ]


def _pauses(records: Sequence[StepRecord]) -> tuple[Pause, ...]:
    """The longest pause of each group; a rollback can have two."""
    found: dict[tuple[str, str], float] = {}
    for r in records:
        for group, seconds in (r.report.data.get("pauses") or {}).items():
            key = (str(r.report.data.get("service", "")), group)
            found[key] = max(found.get(key, 0.0), float(seconds))
    return tuple(Pause(service=s, group=g, seconds=seconds) for (s, g), seconds in sorted(found.items()))


def _standstill(records: Sequence[StepRecord]) -> Standstill | None:
    """The longest time that a service which writes was stopped."""
    found = [
        Standstill(service=service, seconds=seconds)
        for r in records
        for service, seconds in (r.report.data.get("standstill") or {}).items()
    ]
    return max(found, key=lambda one: one.seconds, default=None)


def _holds(records: Sequence[StepRecord]) -> tuple[str, ...]:
    """What the last step that said something of holds has left held, and how to lift it."""
    told = [r.report.data["holds"] for r in records if "holds" in r.report.data]
    return tuple(f"{hold['topic']}: {hold['lift']}" for hold in (told[-1] if told else ()))


def _scope(facts: Facts, records: Sequence[StepRecord]) -> Scope:
    plan = facts.plan.plan
    known = {key: r.report.data[key] for r in records for key in ("topics", "partitions") if _is_number(r, key)}
    return Scope(
        topics=known.get("topics"),
        partitions=known.get("partitions"),
        groups=len(plan.groups),
        services=len(plan.services),
    )


def _is_number(record: StepRecord, key: str) -> bool:
    return isinstance(record.report.data.get(key), int)


def _steps(states: Mapping[str, str | None], attempts: Sequence[StepRecord]) -> tuple[Step, ...]:
    """Those that left a record in the order in which they began, then those that did not, in the plan's order."""
    made = [
        _step(last, [a for a in attempts if (a.task_id, a.map_index) == (last.task_id, last.map_index)])
        for last in latest(attempts)
    ]
    there = {step.task for step in made}
    return (*made, *(_without_record(task, state) for task, state in states.items() if task not in there))


def _step(last: StepRecord, attempts: Sequence[StepRecord]) -> Step:
    began = min(a.started_at for a in attempts)
    return Step(
        task=last.task_id,
        map_index=last.map_index,
        state=last.state,
        started_at=began,
        ended_at=last.ended_at,
        duration=None if last.ended_at is None else last.ended_at - began,
        summary=last.report.summary,
        error=last.error,
        attempts=tuple(
            Attempt(attempt=a.attempt, state=a.state, started_at=a.started_at, ended_at=a.ended_at, error=a.error)
            for a in sorted(attempts, key=lambda a: a.attempt)
        ),
        changes=last.report.changes,
        tables=last.report.tables,
        notes=last.report.notes,
    )


def _without_record(task: str, state: str | None) -> Step:
    return Step(
        task=task,
        state="no record" if state == SUCCESS else (state or "none"),
        started_at=None,
        ended_at=None,
        duration=None,
        summary="",
        error=None,
        attempts=(),
        changes=(),
        tables=(),
        notes=(),
    )


def _proved(evidence: Evidence, where: str, messages: int) -> dict[str, str]:
    """What was shown of messages: where they are copied that they are equal, else that they were read."""
    compared = evidence.compared
    equal = _equal(compared) if compared else "none: the comparison was not reached"
    if evidence.copied:
        still = evidence.standstill
        return {
            "messages compared": equal,
            "longest standstill": f"{duration(still.seconds)} ({still.service}), in which nothing could be written"
            if still
            else "not measured",
        }
    slowest = longest(evidence.drains)
    return {
        "messages proven": f"{messages:,} summed over the groups ({where})"
        if evidence.coverage
        else "none: coverage was not reached",
        **({"stored messages compared": equal} if compared else {}),
        "longest drain": f"{duration(slowest.ended - slowest.started)} ({slowest.group})" if slowest else "none",
    }


def _equal(compared: Compared) -> str:
    if compared.differences > compared.repeated:
        return f"{compared.differences:,} differ"
    again = f"; {compared.repeated:,} are there more than once" if compared.repeated else ""
    return f"{compared.messages:,} of {compared.partitions} partitions, copied and equal{again}"


def _kept(watched: Watched | None) -> dict[str, str]:
    """How a mirror that is kept was."""
    if watched is None:
        return {"behind": "not watched"}
    slowest = "" if watched.slowest is None else f", at most {duration(watched.slowest)}"
    return {
        "behind": f"{counted(watched.behind, 'offset')}, at most {counted(watched.worst, 'offset')}",
        "latency": "not measured" if watched.latency is None else f"{duration(watched.latency)}{slowest}",
        "tasks restarted": str(watched.restarted),
    }


def _recovery(records: Sequence[StepRecord]) -> Recovery | None:
    """What steps tell of messages that are read again, of a tail, of a drill; None where none tells anything."""
    told = {key: r.report.data[key] for r in records for key in ("announced", "tail", "drill") if key in r.report.data}
    if not told:
        return None
    return Recovery(announced=told.get("announced") or {}, tail=told.get("tail"), drill=told.get("drill"))


def _recovered(recovery: Recovery | None) -> dict[str, str]:
    if recovery is None:
        return {}
    found = {}
    if recovery.drill is not None:
        found["recovery time"] = f"{duration(recovery.drill.recovery_seconds)}, without the services' own starts"
        found["recovery point"] = f"{counted(recovery.drill.unmirrored, 'message')} not mirrored"
        found["would be read again"] = counted(sum(recovery.drill.again.values()), "message")
    if recovery.tail is not None:
        then = (
            "copied since"
            if recovery.tail.apart
            else "copied to the target"
            if recovery.tail.copied
            else "kept on the source, read by no group"
        )
        tail = counted(recovery.tail.messages, "message")
        found["not mirrored"] = f"{tail}, {then}" if recovery.tail.messages else "nothing"
    if recovery.announced:
        most = counted(sum(recovery.announced.values()), "message")
        found["read again at most"] = f"{most}, summed over {counted(len(recovery.announced), 'group')}"
    return found


def _verified(evidence: Evidence, on_source: int, on_target: int) -> dict[str, str]:
    """What a verification has looked at, in messages."""
    if evidence.compared is not None:
        told = _equal(evidence.compared)
        if evidence.level == "counts":
            return {"messages counted": told.replace("copied and equal", "as many on both clusters")}
        return {"messages compared": told}
    if evidence.coverage:
        return {"messages proven": f"summed over the groups, {on_source:,} on the source, {on_target:,} on the target"}
    return {}


def _summary(evidence: Evidence, folder: str) -> dict[str, str]:
    scope = evidence.scope
    on_left, on_reached = proven(evidence.coverage)
    left, reached = sides(evidence.purpose)
    pause = longest_pause(evidence.pauses)
    accepted = [f.id for f in evidence.findings if f.accepted]
    more = len(evidence.because) - 1
    why = ""
    if evidence.because:
        why = f": {evidence.because[0].splitlines()[0]}" + (f" (and {more} more)" if more else "")
    extent = [
        counted(n, what)
        for n, what in (
            (scope.services, "service"),
            (scope.groups, "group"),
            (scope.topics, "topic"),
            (scope.partitions, "partition"),
        )
        if n is not None
    ]
    verdict = evidence.verdict + why + (" (dry run: nothing was changed)" if evidence.dry_run else "")
    if evidence.purpose == VERIFY:
        return {
            "verdict": verdict,
            "duration": duration(evidence.ended_at - evidence.started_at),
            "verified": ", ".join(extent) + (f"; level {evidence.level}" if evidence.level else ""),
            **_verified(evidence, on_left, on_reached),
            "findings accepted": ", ".join(accepted) or "none",
            "evidence": folder,
        }
    if evidence.purpose == MIRROR:
        return {
            "verdict": verdict,
            "watched for": duration(evidence.ended_at - evidence.started_at),
            "mirrored": ", ".join(extent),
            **_kept(evidence.watched),
            "findings accepted": ", ".join(accepted) or "none",
            "evidence": folder,
        }
    if evidence.purpose in (FAILOVER, DRILL):
        return {
            "verdict": verdict,
            "duration": duration(evidence.ended_at - evidence.started_at),
            "practised" if evidence.purpose == DRILL else "followed": ", ".join(extent),
            **_recovered(evidence.recovery),
            **({"longest pause": f"at most {duration(pause.seconds)} ({pause.group})"} if pause else {}),
            "findings accepted": ", ".join(accepted) or "none",
            "evidence": folder,
        }
    moved = evidence.verdict == "PASS" and not evidence.dry_run
    return {
        "verdict": verdict,
        "duration": duration(evidence.ended_at - evidence.started_at),
        "moved" if moved else "in the plan": ", ".join(extent),
        **_recovered(evidence.recovery),
        **_proved(evidence, f"{on_left:,} read on the {left}, {on_reached:,} on the {reached}", on_left + on_reached),
        "longest pause": f"at most {duration(pause.seconds)} ({pause.group})" if pause else "not measured",
        "findings accepted": ", ".join(accepted) or "none",
        "evidence": folder,
    }
