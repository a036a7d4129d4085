"""Can what copies do so exactly, there and back? Asked of plans that name a mirror."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import replace

from kafka_migration.clusters.identity import identify
from kafka_migration.errors import MirrorError
from kafka_migration.findings import Finding, Status
from kafka_migration.mirror import canary
from kafka_migration.mirror.others import Between, loops
from kafka_migration.mirror.runner import MirrorRunner
from kafka_migration.run import Run
from kafka_migration.sides import Addresses, Side


def check_mirrors(run: Run) -> list[Finding]:
    """What each mirror of the plan finds wrong with what runs it; that there is none for the way back."""
    if not run.plan.copied_back:
        return []
    ends = {Side.TARGET: "", Side.SOURCE: "-back"}
    looping = list(_loops(run)) if run.plan.copies else []
    named = {finding.id.removeprefix("mirror-loop/") for finding in looping}
    spoilt = {f"mirror-other/{name}{end}" for name in named for end in ends.values()}  # said once is enough
    found = [finding for side, mirror in run.mirrors.items() for finding in checked(mirror, ends[side])]
    found = [*looping, *(finding for finding in found if finding.id not in spoilt)]
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
        found += canary.check(run.clusters, topic, run.mirrors[Side.TARGET].copy_of(topic))
    return found


def _loops(run: Run) -> Iterable[Finding]:
    """Connectors, on either Connect cluster of the plan, that would bring back what is copied."""
    clusters, plan = run.clusters, run.plan
    known = {side: identify(clusters.of(side)).addresses | {clusters.of(side).bootstrap_servers} for side in Side}
    between = Between(
        sorted({topic for service in plan.services for topic in (*service.produces, *service.reads)}),
        [side.other for side in plan.ways],
        {mirror.name for mirror in run.mirrors.values()},
        Addresses(*(",".join(sorted(known[side])) for side in (Side.SOURCE, Side.TARGET))),
    )
    for side, connect in clusters.workers.items():
        with contextlib.suppress(MirrorError):  # that it does not answer is told by the mirror that it runs
            yield from loops(between, side, connect)


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
