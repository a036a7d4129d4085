"""Stragglers: visible records past a frozen cutover point, and what they mean.

While no service that reads the topic is leaving, the point is frozen anew and both are kept. Afterwards some
group will never read them: that is an error which names the range and the groups.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from kafka_migration.errors import StragglerFound
from kafka_migration.offsets import OffsetRange, TopicPartition, Which, read_offsets
from kafka_migration.passes import CutoverPoint, Pass
from kafka_migration.run import Run
from kafka_migration.sides import Side
from kafka_migration.visible import count_visible


@dataclass(frozen=True)
class Straggler:
    """Visible records past the point of one partition: how many, from which offset, where the partition ends now.

    `first` None: none is visible yet, but a transaction is open there, whose messages may still become visible.
    """

    partition: TopicPartition
    point: int
    end: int
    first: int | None
    count: int

    def __str__(self) -> str:
        if self.first is None:
            return f"{self.partition}: a transaction is open past the point {self.point:,}"
        return f"{self.partition}: {self.count:,} message(s) from offset {self.first:,}, past the point {self.point:,}"


def find_stragglers(
    run: Run, current: Pass, stages: Iterable[str], topics: Collection[str] | None = None
) -> list[Straggler]:
    """Read the ends of these stages' topics again and look at what lies past their points, where there is one yet.

    `topics`: those of them that are looked at; all by default.

    None once a rollback has begun to move the writers back: what they write then is meant to be there.
    """
    if writers_return(run):
        return []
    points = current.latest_points((stage for stage in stages if current.frozen_at(stage) is not None), topics)
    ends = read_offsets(run.clusters.origin, points, Which.END)
    past = [OffsetRange(tp, points[tp], end) for tp, end in ends.items() if end > points[tp]]
    seen = count_visible(run.clusters.origin, past)
    return [
        Straggler(r.partition, r.start, r.end, found.first, found.count)
        for r in past
        if (found := seen[r.partition]).first is not None or not found.complete
    ]


def writers_return(run: Run) -> bool:
    """Whether this step looks at the way there of a rollback that has begun to move the writers back."""
    if not run.returning or run.heading is Side.SOURCE:
        return False
    back = run.way_back
    return any(back.leaving(s.name) or back.switched(s.name) for s in run.plan.services if s.produces)


def settle_stragglers(
    run: Run, current: Pass, stages: Iterable[str], stragglers: list[Straggler]
) -> list[CutoverPoint]:
    """Freeze passed points anew. Raises `StragglerFound` when a reader is leaving or has left.

    An open transaction that such a reader may miss is left to the closing look: it may still be aborted.
    """
    left = [s for s in run.plan.services if current.leaving(s.name) or current.switched(s.name)]
    missed = [s for s in stragglers if any(s.partition.topic in service.reads for service in left)]
    visible = [s for s in missed if s.first is not None]
    if visible:
        topics = {s.partition.topic for s in visible}
        groups = sorted({c.group for service in left for c in service.consumes if topics & set(c.topics)})
        raise StragglerFound(
            f"messages were written to the {run.leaving} behind the cutover point, after a service that reads them had"
            " left:\n"
            + "\n".join(f"  {s}" for s in visible)
            + f"\nGroups that will miss them: {', '.join(groups)}.\nFind and stop the writer (the preflight's finding"
            " unclaimed-writer tells how), then roll back, or copy the named ranges by hand."
        )
    frozen = []
    for stage in stages:
        offsets = dict(current.points(stage)[-1].offsets)
        later = {s.partition: s.end for s in stragglers if s.partition in offsets and s not in missed}
        if later:
            frozen.append(current.freeze(stage, offsets | later, run.run_id, run.now()))
    return frozen
