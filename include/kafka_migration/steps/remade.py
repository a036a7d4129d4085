"""Topics that were deleted and made anew under the eyes of a mirror.

MirrorMaker appends what the new topic holds to the copies of the old one, its tasks go on RUNNING and nothing fails
(measured, 4.3.1). Offsets of the one say nothing of the other, on either side: so each leg remembers the ids of its
topics, and whatever rests on its offsets looks at them first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kafka_migration.clusters.client import Clusters
from kafka_migration.findings import Finding, Status
from kafka_migration.mirror.legs import Leg
from kafka_migration.report import StepReport
from kafka_migration.run import Run
from kafka_migration.sides import Side
from kafka_migration.steps.common import stop_with
from kafka_migration.topics.ids import topic_ids

ANEW = (
    "roll back, delete {what} on the target and the mirror's connector with its offsets, and begin with a plan of"
    " another name: how far copying has come is recorded under the plan's name"
)
"""How to copy all of it again."""

Ids = Mapping[str, Mapping[str, str]]
"""By side, the id of each topic there."""


def ids_now(clusters: Clusters, topics: Iterable[str]) -> dict[str, dict[str, str]]:
    """The ids of these topics on both sides. Raises `ClusterError`."""
    names = sorted(set(topics))
    return {side.value: topic_ids(clusters.of(side), names) for side in Side}


_KEPT = (
    "exclude {what} in the plan: it is then copied no more, and the others go on. To copy the new one: under a plan of"
    " another name, with an empty topic on the target"
)


def look(clusters: Clusters, known: Ids, kept: bool = False) -> list[Finding]:
    """A FAIL for each topic that is another one than when copying began, or is not there; changes nothing.

    `kept`: of a mirror that is kept, which nobody can roll back.
    """
    now = ids_now(clusters, {topic for ids in known.values() for topic in ids})
    return [
        Finding(
            f"mirror-topic/{topic}",
            Status.FAIL,
            f"on the {side}, topic {topic} " + (f"has the id {found}" if found else "is not there"),
            f"the topic of which copying began, of id {before}: it was deleted"
            + (" and made anew since, and what was copied of both may be mixed" if found else " since"),
            (_KEPT if kept else ANEW).format(what=f"topic {topic}"),
        )
        for side, ids in known.items()
        for topic, before in sorted(ids.items())
        if (found := now[side].get(topic)) != before
    ]


def told(others: Iterable[Finding]) -> str:
    """The same for the end of a wait."""
    return "\n".join(f"{f.id}: {f.seen} (expected {f.expected})\n  {f.advice}" for f in others)


def refuse(run: Run, leg: Leg, doing: str) -> None:
    """Raise `FindingsFailed` where a topic of the leg is not the one that copying began with."""
    stop_with(StepReport(findings=look(run.clusters, leg.ids, run.plan.keeps_mirror)), doing)
