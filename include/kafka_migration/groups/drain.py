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

A group of which Kafka does not tell the isolation level is judged as `read_committed`: a remainder of aborted messages
only counts as drained. A commit proves reading, not processing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from kafka_migration.clusters.client import Cluster
from kafka_migration.offsets import OffsetRange, Offsets, TopicPartition
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
    else where `auto.offset.reset` sent it; anything below is not its concern. `proven`: a commit at which it was found
    to have drained to the same point before; `moving`: partitions whose commit is on its way, not worth a read now.
    """

    group: str
    points: Offsets
    commits: Offsets
    begins: Offsets = field(default_factory=dict)
    proven: Offsets = field(default_factory=dict)
    moving: frozenset[TopicPartition] = frozenset()


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
            )
            nexts[where] = max(first, log_start)
            if commit is not None and commit >= point:
                verdicts[where] = Drain.DRAINED if commit == point else Drain.AHEAD
            elif tp in reader.proven and commit is not None and commit >= reader.proven[tp]:
                verdicts[where] = Drain.DRAINED
            elif first < min(log_start, point):
                verdicts[where] = Drain.EXPIRED
            elif nexts[where] >= point:
                verdicts[where] = Drain.DRAINED
            elif tp in reader.moving:
                verdicts[where] = Drain.BEHIND
            else:
                unsure[tp][reader.group] = nexts[where]
    verdicts |= _by_reading(cluster, {tp: point for r in readers for tp, point in r.points.items()}, unsure)
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


def _by_reading(
    cluster: Cluster, points: Offsets, unsure: Mapping[TopicPartition, Mapping[str, int]]
) -> dict[tuple[str, TopicPartition], Drain]:
    """Read from the lowest position of each partition; what is found answers for every group at or before it."""
    verdicts: dict[tuple[str, TopicPartition], Drain] = {}
    open_questions = {tp: dict(groups) for tp, groups in unsure.items()}
    while open_questions:
        ranges = [OffsetRange(tp, min(groups.values()), points[tp]) for tp, groups in open_questions.items()]
        for tp, seen in first_visible(cluster, ranges).items():
            groups = open_questions[tp]
            for group, position in list(groups.items()):
                if seen.first is None:
                    verdicts[group, tp] = Drain.DRAINED if seen.complete else Drain.OPEN
                elif position <= seen.first:
                    verdicts[group, tp] = Drain.BEHIND
                else:
                    continue  # what was found lies before this group's position: ask again from there
                del groups[group]
            if not groups:
                del open_questions[tp]
    return verdicts
