"""Can what copies do so exactly, there and back? Asked of plans that name a mirror."""

from __future__ import annotations

from collections.abc import Iterable

from kafka_migration.errors import MirrorError
from kafka_migration.findings import Finding, Status
from kafka_migration.mirror import canary
from kafka_migration.mirror.runner import MirrorRunner
from kafka_migration.run import Run
from kafka_migration.sides import Side


def check_mirrors(run: Run) -> list[Finding]:
    """What each mirror of the plan finds wrong with what runs it; that there is none for the way back."""
    if not run.plan.copied_back:
        return []
    found = [finding for side, mirror in run.mirrors.items() for finding in _checked(side, mirror)]
    if Side.SOURCE not in run.mirrors:
        found.append(
            Finding(
                "mirror-back/none",
                Status.WARN,
                "the plan names no mirror that copies to the source",
                "mirror.back",
                "once a service has gone to the target, a rollback cannot bring home what was produced there",
            )
        )
    if topic := canary.topic_of(run.plan):
        found += canary.check(run.clusters, topic)
    return found


def _checked(side: Side, mirror: MirrorRunner) -> Iterable[Finding]:
    try:
        for finding in mirror.check():
            check, _, what = finding.id.partition("/")
            named = finding.id if side is Side.TARGET else f"{check}/{what}-back"
            yield Finding(named, finding.status, finding.seen, finding.expected, finding.advice)
    except MirrorError as error:
        yield Finding(
            "mirror-worker/answer" if side is Side.TARGET else "mirror-worker/answer-back",
            Status.FAIL,
            str(error),
            "that it can be looked at",
            "nothing is copied before it does",
        )
