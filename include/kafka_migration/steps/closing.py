"""Steps at the end: a last look at both clusters, and the mark that a pass has finished."""

from __future__ import annotations

from kafka_migration.errors import MigrationError
from kafka_migration.findings import Finding, Status
from kafka_migration.purposes import DRILL, FAILBACK, FAILOVER, LOCKING
from kafka_migration.report import StepReport
from kafka_migration.run import Run
from kafka_migration.services.controller import State
from kafka_migration.sides import Side
from kafka_migration.steps.common import FLOW, observations_table, observe_all, recorded_points
from kafka_migration.steps.consumption import consumption
from kafka_migration.stragglers import find_stragglers


def closing_look(run: Run) -> StepReport:
    """Nothing came behind the cutover points, and every service runs where it was moved. Findings, never an error."""
    if run.dry_run:
        return StepReport("a dry run: nothing was changed")
    if run.purpose == DRILL:
        return StepReport("a drill: every service is where it was, and no group that anybody uses was touched")
    current = run.current
    stages = list(recorded_points(run.graph, current))
    findings: list[Finding] = []
    try:
        # What comes behind on a source that is lost cannot be seen; where it returns it is what a failback deals with.
        # With both ways what comes behind is copied like all else, and read.
        late = [] if run.purpose == FAILOVER or run.plan.prefixed else find_stragglers(run, current, stages)
        findings += [
            Finding(
                f"straggler/{s.partition}",
                Status.FAIL if s.first is not None else Status.INCONCLUSIVE,
                str(s),
                "nothing past the cutover point",
                f"some service or person still writes to the {run.leaving}; no group will read these messages"
                if s.first is not None
                else f"somebody still writes to the {run.leaving}; once it has ended, clear this task and look again",
            )
            for s in late
        ] or [Finding("straggler/none", Status.PASS, _nothing_behind(run, len(stages)))]
        seen = observe_all(run.instances(s.name for s in run.plan.services))
        read = consumption(run)
    except MigrationError as error:
        return StepReport(
            "the last look failed",
            findings=[
                *findings,
                Finding("closing-look/all", Status.INCONCLUSIVE, str(error), "both clusters and all services seen"),
            ],
        )
    instances = run.instances(s.name for s in run.plan.services)
    arrived = {run.arriving(s.name) for s in run.plan.services}
    astray = {
        name: o
        for name, o in seen.items()
        if o.state is not State.UNSEEN
        and (o.state, o.side) != (State.RUNNING, run.heading)
        and (o.state is not State.STOPPED or instances[name] in arrived)
    }
    findings += [
        Finding(
            f"service-on-{run.heading}/{name}",
            Status.FAIL,
            str(o),
            f"running on the {run.heading}" if instances[name] in arrived else "closed",
            "run its switch again, or roll back",
        )
        for name, o in sorted(astray.items())
    ]
    if not astray:
        there = f"{len(run.plan.services)} services run on the {run.heading}"
        findings.append(Finding(f"service-on-{run.heading}/all", Status.PASS, there))
    return StepReport(
        "last look at both clusters", tables=[observations_table("Services", seen), read], findings=findings
    )


def finish(run: Run) -> None:
    """Mark the pass as finished by this run. Called only for a verdict of PASS; what only looks finishes nothing."""
    if run.purpose not in LOCKING:
        return
    current = run.current
    if not run.dry_run and not current.finished:
        current.finish(run.purpose, run.run_id, run.now())
    if not run.dry_run and run.returning:
        # By it the next migration knows that it begins anew.
        run.headed(Side.TARGET).current.finish(run.purpose, run.run_id, run.now())
    if not run.dry_run and run.purpose == FAILBACK:
        run.records.set(FLOW, None)  # the mirror to the target may be started again


def _nothing_behind(run: Run, stages: int) -> str:
    if run.purpose == FAILOVER:
        return "what the source took behind the cutover points is found by a failback"
    if run.plan.prefixed:
        return "what comes behind the cutover points is copied, and read as its copies"
    return f"nothing came behind the cutover points of {stages} stages"
