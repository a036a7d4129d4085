"""The last word of a verification: whether the source could be given up, by all that its steps have found."""

from __future__ import annotations

from collections.abc import Iterable

from kafka_migration.evidence.words import moment
from kafka_migration.findings import Finding, Status
from kafka_migration.passes import some
from kafka_migration.report import StepReport
from kafka_migration.run import Run
from kafka_migration.steps.common import recorded_points
from kafka_migration.steps.verifying import nothing_yet


def decommission(run: Run, found: Iterable[Finding], whole: bool) -> StepReport:
    """`found`: of all steps. `whole`: whether each of them has come to its end."""
    if nothing_yet(run) is not None or run.plan.keeps_mirror:  # a mirror is kept so that there are two
        return StepReport("the steps have looked at everything")
    told = _judge(run, [f.id for f in found if f.stops], whole)
    return StepReport(told.seen, findings=[told])


def _judge(run: Run, against: list[str], whole: bool) -> Finding:
    why = [f"of {some(against)}"] if against else [] if whole else ["not every step has come to its end"]
    if run.level in ("offsets", "sample"):
        why.append(f"level {run.level} has not looked at every message")
    if why:
        return Finding(
            "decommission/source",
            Status.WARN,
            f"not shown to be safe to decommission the source, because {' and because '.join(why)}",
            "nothing is written to the source, nobody reads it, and every message was looked at on the target",
            "see what is named; the source may still hold what the target lacks",
        )
    frozen = [points[-1].at for points in recorded_points(run.graph, run.current).values()]
    since = f"nothing was written to the source since {moment(max(frozen))}" if frozen else "nothing was written there"
    return Finding("decommission/source", Status.PASS, f"safe to decommission the source: {since}, and nobody reads it")
