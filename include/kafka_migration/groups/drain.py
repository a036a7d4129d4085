"""When a group has drained a partition: it has nothing *visible* left to read before the cutover point.

Not "lag is 0": transaction markers and aborted messages at the tail leave a lag for ever in a group that commits the
offsets of records, and a group whose next messages were deleted has a lag that nobody can work off. The rule, by the
committed offset c, the log start s and the cutover point E (each case measured on real brokers):

    c > E                         AHEAD       it has read past the point: messages came behind it
    c = E                         DRAINED
    c or its first offset < s     EXPIRED     messages were deleted since the migration began, before it read them
    no commit, s >= E             DRAINED     there is nothing to read
    else read [max(c, s), E) as a committed reader would:
        a message                 BEHIND      or NO_COMMIT, where the group has never committed
        the end                   DRAINED
        no end                    OPEN        a transaction is open, the last stable offset is before E

What was proven before up to some offset counts as read to there. A group of which Kafka does not tell the isolation
level is judged as `read_committed`: a remainder of aborted messages only counts as drained. A commit proves reading,
not processing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from kafka_migration.clusters.client import Cluster
from kafka_migration.offsets import OffsetRange, Offsets, TopicPartition, from_json, to_json
from kafka_migration.visible import first_visible


class Drain(StrEnum):
    """The verdict for one group and one partition."""

    DRAINED = "drained"
    BEHIND = "behind"
    NO_COMMIT = "no commit"
    AHEAD = "ahead"
    OPEN = "open transaction"
    EXPIRED = "expired unread"


@dataclass(frozen=True)
class Reader:
    """A group and what is known of its reading, by partition.

    `commits`: its committed offsets. `begins`: where it began to read when the migration did: its commit of that time,
    else where `auto.offset.reset` sent it; anything below is not its concern. `proven`: up to where it was found before
    to have nothing visible left; `moving`: partitions whose commit is on its way, not worth a read now; `behind`: what
    it had to read next where it was seen just now to have something left: while that is the same it still has.
    """

    group: str
    points: Offsets
    commits: Offsets
    begins: Offsets = field(default_factory=dict)
    proven: Offsets = field(default_factory=dict)
    moving: frozenset[TopicPartition] = frozenset()
    behind: Offsets = field(default_factory=dict)


@dataclass(frozen=True)
class Proof:
    """That nothing visible was left before `points` to a group that stood at `commits`.

    It outlives what it was read from: retention may take the rest. It says nothing about what comes behind its points.
    """

    commits: Offsets
    points: Offsets

    @classmethod
    def of(cls, positions: Mapping[TopicPartition, Position]) -> Proof:
        """What these positions prove: those that have drained and have a commit to know them by."""
        drained = {tp: p for tp, p in positions.items() if p.drained and p.committed is not None}
        return cls(
            {tp: p.committed for tp, p in drained.items() if p.committed is not None},
            {tp: p.point for tp, p in drained.items()},
        )

    def reaches(self, commits: Offsets) -> dict[TopicPartition, int]:
        """Up to where it still holds for the group at these commits: nowhere, where it has gone back since."""
        return {tp: point for tp, point in self.points.items() if commits.get(tp, -1) >= self.commits[tp]}

    def to_json(self) -> dict[str, dict[str, int]]:
        return {"commits": to_json(self.commits), "points": to_json(self.points)}

    @classmethod
    def from_json(cls, data: Mapping[str, Mapping[str, int]]) -> Proof:
        return cls(from_json(data["commits"]), from_json(data["points"]))


@dataclass(frozen=True)
class Position:
    """Where a group stands on one partition. `next`: the lowest offset that it has still to read, if it has."""

    partition: TopicPartition
    committed: int | None
    log_start: int
    point: int
    verdict: Drain
    next: int

    @property
    def drained(self) -> bool:
        return self.verdict in (Drain.DRAINED, Drain.AHEAD)

    @property
    def left(self) -> int:
        """Offsets up to the point: an upper bound of the messages left."""
        return 0 if self.drained else max(0, self.point - self.next)


def judge(cluster: Cluster, readers: list[Reader], log_starts: Offsets) -> dict[str, dict[TopicPartition, Position]]:
    """The verdict for every reader and every partition of its points, by group.

    What several groups have left of one partition is read together. Raises `ClusterError` when the cluster fails.
    """
    verdicts: dict[tuple[str, TopicPartition], Drain] = {}
    nexts: dict[tuple[str, TopicPartition], int] = {}
    unsure: dict[TopicPartition, dict[str, int]] = defaultdict(dict)
    for reader in readers:
        for tp, point in reader.points.items():
            where = (reader.group, tp)
            commit, log_start = reader.commits.get(tp), log_starts[tp]
            # An offset below where the group began cannot be owed to it: such messages were gone before.
            first = max(
                commit if commit is not None else -1,
                reader.begins.get(tp, log_start if commit is None else -1),
                reader.proven.get(tp, -1),
            )
            nexts[where] = max(first, log_start)
            if commit is not None and commit >= point:
                verdicts[where] = Drain.DRAINED if commit == point else Drain.AHEAD
            elif first < min(log_start, point):
                verdicts[where] = Drain.EXPIRED
            elif nexts[where] >= point:
                verdicts[where] = Drain.DRAINED
            elif tp in reader.moving or reader.behind.get(tp) == nexts[where]:
                verdicts[where] = Drain.BEHIND
            else:
                unsure[tp][reader.group] = nexts[where]
    verdicts |= read_on(cluster, _one_point_each(readers), unsure)
    found: dict[str, dict[TopicPartition, Position]] = {reader.group: {} for reader in readers}
    for reader in readers:
        for tp, point in reader.points.items():
            verdict = verdicts[reader.group, tp]
            if verdict is Drain.BEHIND and tp not in reader.commits:
                verdict = Drain.NO_COMMIT
            found[reader.group][tp] = Position(
                tp, reader.commits.get(tp), log_starts[tp], point, verdict, nexts[reader.group, tp]
            )
    return found


def _one_point_each(readers: list[Reader]) -> dict[TopicPartition, int]:
    points: dict[TopicPartition, int] = {}
    for reader in readers:
        for tp, point in reader.points.items():
            if points.setdefault(tp, point) != point:
                raise ValueError(f"two cutover points for {tp}: {points[tp]} and {point}")
    return points


def read_on(
    cluster: Cluster, points: Offsets, stands: Mapping[TopicPartition, Mapping[str, int]]
) -> dict[tuple[str, TopicPartition], Drain]:
    """By group and partition, whether something is visible from where the group stands up to the partition's point.

    Read from the highest position of each partition first: a message there is owed to every group before it too.
    So one read answers for all that are behind, however many groups stand at however many positions. Where nothing was
    found, the next lower position is read up to the one before, and what is unanswered keeps that one's verdict.
    """
    verdicts: dict[tuple[str, TopicPartition], Drain] = {}
    left = {tp: dict(groups) for tp, groups in stands.items()}
    ends = {tp: points[tp] for tp in left}
    nothing_to: dict[TopicPartition, Drain] = {}
    while left:
        ranges = [OffsetRange(tp, max(groups.values()), ends[tp]) for tp, groups in left.items()]
        seen = first_visible(cluster, ranges)
        for r in ranges:
            tp, groups = r.partition, left[r.partition]
            if seen[tp].first is not None:
                verdicts |= {(group, tp): Drain.BEHIND for group in groups}
                del left[tp]
                continue
            if not seen[tp].complete:
                nothing_to[tp] = Drain.OPEN
            verdict = nothing_to.setdefault(tp, Drain.DRAINED)
            verdicts |= {(group, tp): verdict for group, position in groups.items() if position == r.start}
            left[tp] = {group: position for group, position in groups.items() if position < r.start}
            ends[tp] = r.start
            if not left[tp]:
                del left[tp]
    return verdicts
