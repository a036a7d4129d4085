"""Stragglers: visible records past a frozen cutover point, and what they mean.

While no service that reads the topic is leaving the source, the point is frozen anew and both are kept. Afterwards some
group will never read them: that is an error which names the range and the groups.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kafka_migration.errors import StragglerFound
from kafka_migration.offsets import OffsetRange, TopicPartition, Which, read_offsets
from kafka_migration.passes import CutoverPoint, Pass
from kafka_migration.run import Run
from kafka_migration.visible import count_visible


@dataclass(frozen=True)
class Straggler:
    """Visible records past the point of one partition: how many, from which offset, where the partition ends now."""

    partition: TopicPartition
    point: int
    end: int
    first: int
    count: int

    def __str__(self) -> str:
        return f"{self.partition}: {self.count:,} message(s) from offset {self.first:,}, past the point {self.point:,}"


def find_stragglers(run: Run, current: Pass, stages: Iterable[str]) -> list[Straggler]:
    """Read the ends of these stages' topics again and look at what lies past their points."""
    points = current.latest_points(stages)
    ends = read_offsets(run.clusters.source, points, Which.END)
    past = [OffsetRange(tp, points[tp], end) for tp, end in ends.items() if end > points[tp]]
    seen = count_visible(run.clusters.source, past)
    return [
        Straggler(r.partition, r.start, r.end, found.first, found.count)
        for r in past
        if (found := seen[r.partition]).first is not None
    ]


def settle_stragglers(
    run: Run, current: Pass, stages: Iterable[str], stragglers: list[Straggler]
) -> list[CutoverPoint]:
    """Freeze passed points anew. Raises `StragglerFound` when a reader is leaving or has left."""
    topics = {s.partition.topic for s in stragglers}
    left = [s for s in run.plan.services if s.reads & topics and (current.leaving(s.name) or current.switched(s.name))]
    if left:
        groups = sorted({g for s in left for c in s.consumes if set(c.topics) & topics for g in (c.group,)})
        raise StragglerFound(
            "messages were written to the source behind the cutover point, after a service that reads them had left:\n"
            + "\n".join(f"  {s}" for s in stragglers)
            + f"\nGroups that will miss them: {', '.join(groups)}.\nFind and stop the writer (the preflight's finding"
            " unclaimed-writer tells how), then roll back, or copy the named ranges to the target by hand."
        )
    frozen = []
    for stage in stages:
        offsets = dict(current.points(stage)[-1].offsets)
        later = {s.partition: s.end for s in stragglers if s.partition in offsets}
        if later:
            frozen.append(current.freeze(stage, offsets | later, run.run_id, run.now()))
    return frozen
