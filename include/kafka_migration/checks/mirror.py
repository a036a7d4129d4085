"""Can what copies do so exactly, there and back? Asked of plans that name a mirror."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

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
    ends = {Side.TARGET: "", Side.SOURCE: "-back"}
    found = [finding for side, mirror in run.mirrors.items() for finding in checked(mirror, ends[side])]
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


def checked(mirror: MirrorRunner, end: str) -> Iterable[Finding]:
    """What the mirror finds wrong with what runs it; `end`: what the ids of these findings end with."""
    try:
        for finding in mirror.check():
            yield replace(finding, id=f"{finding.id}{end}")
    except MirrorError as error:
        yield Finding(
            f"mirror-worker/answer{end}",
            Status.FAIL,
            str(error),
            "that it can be looked at",
            "nothing is copied before it does",
        )
