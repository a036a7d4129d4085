"""Coverage, the proof for schemes that copy nothing.

For each group and partition: the cluster that is left is consumed without a hole from where the group stood when the
pass began to the cutover point, and the one that it goes to from its seed onward, with exact counts of visible messages
for each range. A commit proves reading, not processing.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from kafka_migration.clusters.client import Cluster
from kafka_migration.groups.commits import committed
from kafka_migration.offsets import TopicPartition, Which, in_order, read_several
from kafka_migration.passes import Pass
from kafka_migration.run import Run
from kafka_migration.steps.drain import positions_now
from kafka_migration.visible import count_between


@dataclass(frozen=True)
class CoverageRow:
    """One topic, partition and group: offsets, and counts of visible messages (None: could not be counted).

    `service`: those that read it with this group, joined by commas where several share it.

    The origin is the cluster that the group leaves, the destination the one that it goes to. `origin_visible` lies in
    [begin, cutover), `origin_left` of it is not consumed. `destination_visible` lies in [seed, destination_end),
    `destination_consumed` in [seed, destination_commit), `destination_left` in [destination_commit, destination_end).
    `counted_from`: from where on of these was counted now, where an earlier run has counted what lies before.
    """

    topic: str
    partition: int
    group: str
    service: str
    begin: int
    cutover: int
    origin_log_start: int
    origin_commit: int | None
    origin_verdict: str
    origin_visible: int | None
    origin_left: int
    seed: int
    destination_log_start: int
    destination_commit: int | None
    destination_end: int
    destination_visible: int | None
    destination_consumed: int | None
    destination_left: int
    counted_from: int | None = None

    @property
    def counts_from(self) -> int:
        """From where on the destination was counted now; what lies before was counted by an earlier run."""
        return self.seed if self.counted_from is None else self.counted_from

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))  # its values are plain: `asdict` would look into each of them, row by row


def cover(run: Run, current: Pass) -> list[CoverageRow]:
    """Read what is needed of both clusters, each partition once, and count."""
    services = [service for service in run.plan.services if service.consumes and not run.stays(service.name)]
    positions = positions_now(run, current, [service.name for service in services])
    readers: dict[tuple[str, str], list[str]] = defaultdict(list)
    for service in services:
        for consumes in service.consumes:
            for topic in consumes.topics:
                readers[consumes.group, topic].append(service.name)
    groups = sorted(positions)
    begins, seeds = dict(current.begins), dict(current.seeds)
    target_commits = committed(run.clusters.destination, groups)
    target_partitions = {tp for group in groups for tp in seeds.get(group, {})}
    target = read_several(run.clusters.destination, target_partitions, (Which.START, Which.END, Which.STABLE))
    # The last stable offset is the end that a committed reader can have reached.
    ends = target[Which.STABLE]
    source_counts = _Counts(run.clusters.origin)
    target_counts = _Counts(run.clusters.destination)
    for group, at in positions.items():
        for tp, p in at.items():
            begin = begins[group][tp]
            source_counts.want(tp, max(begin, p.log_start), _reached(p.committed, begin, p.point), p.point)
            reached_there = target_commits[group].get(tp, seeds[group][tp])
            target_counts.want(tp, max(seeds[group][tp], target[Which.START][tp]), reached_there, ends[tp])
    source_counts.read()
    target_counts.read()
    rows = []
    for group, at in sorted(positions.items()):
        for tp in sorted(at, key=in_order):
            p = at[tp]
            begin, seed = begins[group][tp], seeds[group][tp]
            reached = _reached(p.committed, begin, p.point)
            commit = target_commits[group].get(tp)
            read_to = max(seed, commit if commit is not None else seed)
            from_target = max(seed, target[Which.START][tp])
            left = source_counts.between(tp, max(reached, p.log_start), p.point)
            rows.append(
                CoverageRow(
                    topic=tp.topic,
                    partition=tp.partition,
                    group=group,
                    service=", ".join(readers[group, tp.topic]),
                    begin=begin,
                    cutover=p.point,
                    origin_log_start=p.log_start,
                    origin_commit=p.committed,
                    origin_verdict=p.verdict.value,
                    origin_visible=source_counts.between(tp, max(begin, p.log_start), p.point),
                    origin_left=left if left is not None else 0,
                    seed=seed,
                    destination_log_start=target[Which.START][tp],
                    destination_commit=commit,
                    destination_end=ends[tp],
                    destination_visible=target_counts.between(tp, from_target, max(ends[tp], read_to)),
                    destination_consumed=target_counts.between(tp, from_target, read_to),
                    destination_left=target_counts.between(tp, read_to, max(ends[tp], read_to)) or 0,
                )
            )
    return rows


def _reached(commit: int | None, begin: int, point: int) -> int:
    """How far a group has come in [begin, point)."""
    return min(point, max(begin, commit if commit is not None else begin))


class _Counts:
    """Visible messages between marks of partitions, each partition read once."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._marks: dict[TopicPartition, set[int]] = defaultdict(set)
        self._counted: dict[TopicPartition, tuple[list[int], list[int], bool]] = {}

    def want(self, tp: TopicPartition, *offsets: int) -> None:
        low = offsets[0]
        self._marks[tp] |= {max(low, offset) for offset in offsets}

    def read(self) -> None:
        marks = {tp: sorted(found) for tp, found in self._marks.items() if len(found) > 1}
        for tp, (counts, complete) in count_between(self._cluster, marks).items():
            self._counted[tp] = (marks[tp], counts, complete)

    def between(self, tp: TopicPartition, start: int, end: int) -> int | None:
        """Visible messages in [start, end); both were wanted. None when the range could not be read to its end."""
        if start >= end:
            return 0
        if tp not in self._counted:
            return 0
        marks, counts, complete = self._counted[tp]
        if not complete:
            return None
        return sum(counts[bisect_left(marks, start) : bisect_left(marks, end)])


def totals(rows: list[CoverageRow]) -> dict[str, int]:
    """Sums over the partitions of each topic once, however many groups read it."""
    seen: dict[tuple[str, int], CoverageRow] = {}
    for row in rows:
        key = (row.topic, row.partition)
        if key not in seen or (row.origin_visible or 0) > (seen[key].origin_visible or 0):
            seen[key] = row
    return {
        "origin_visible": sum(r.origin_visible or 0 for r in seen.values()),
        "destination_visible": sum(r.destination_visible or 0 for r in seen.values()),
    }
