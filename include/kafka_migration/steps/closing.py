"""Steps at the end: a last look at the source, and the mark that a pass has finished."""

from __future__ import annotations

from kafka_migration.errors import MigrationError
from kafka_migration.findings import Finding, Status
from kafka_migration.passes import current_pass
from kafka_migration.report import StepReport
from kafka_migration.run import Run
from kafka_migration.services.controller import State
from kafka_migration.sides import Side
from kafka_migration.steps.common import observations_table, observe_all, recorded_points
from kafka_migration.stragglers import find_stragglers


def closing_look(run: Run) -> StepReport:
    """Nothing came behind the cutover points, and every service runs on the target. Findings, never an error."""
    if run.dry_run:
        return StepReport("a dry run: nothing was changed")
    current = current_pass(run.records)
    stages = list(recorded_points(run.graph, current))
    findings: list[Finding] = []
    try:
        late = find_stragglers(run, current, stages)
        findings += [
            Finding(
                f"straggler/{s.partition}",
                Status.FAIL if s.first is not None else Status.INCONCLUSIVE,
                str(s),
                "nothing past the cutover point",
                "some service or person still writes to the source; no group will read these messages"
                if s.first is not None
                else "somebody still writes to the source; once it has ended, clear this task and look again",
            )
            for s in late
        ] or [Finding("straggler/none", Status.PASS, f"nothing came behind the cutover points of {len(stages)} stages")]
        seen = observe_all(run.controllers.values())
    except MigrationError as error:
        return StepReport(
            "the last look failed",
            findings=[
                *findings,
                Finding("closing-look/all", Status.INCONCLUSIVE, str(error), "both clusters and all services seen"),
            ],
        )
    astray = {
        n: o
        for n, o in seen.items()
        if o.state is not State.UNSEEN and (o.state, o.side) != (State.RUNNING, Side.TARGET)
    }
    findings += [
        Finding(
            f"service-on-target/{name}",
            Status.FAIL,
            str(o),
            "running on the target",
            "run its switch again, or roll back",
        )
        for name, o in sorted(astray.items())
    ]
    if not astray:
        findings.append(Finding("service-on-target/all", Status.PASS, f"{len(seen)} services run on the target"))
    return StepReport("last look at both clusters", tables=[observations_table("Services", seen)], findings=findings)


def finish(run: Run) -> None:
    """Mark the pass as finished by this run. Called only for a verdict of PASS."""
    current = current_pass(run.records)
    if not run.dry_run and not current.finished:
        current.finish(run.purpose, run.run_id, run.now())
