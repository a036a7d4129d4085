"""Where a group goes on when the cluster that it read is gone: from what the mirror has told, and the copies alone.

Nothing of the origin can be read, so that nothing is proved by content. What is left is arithmetic. Between two pairs
of offsets that the mirror has told lie on the destination all messages of that stretch of the origin, one after the
other. From an origin offset X up to the upper pair there are no more messages than offsets: so at most that many of the
copies may be unread, and a group that goes on so many before the end of the stretch skips nothing. Where the origin had
a message at each offset that is exactly its next message; aborted messages and markers make it a few earlier.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from kafka_migration.clusters.client import Cluster
from kafka_migration.mirror.anchors import Anchors, Pair
from kafka_migration.mirror.handover import Position
from kafka_migration.offsets import OffsetRange, Offsets, TopicPartition, Which, read_several
from kafka_migration.visible import count_between, each_visible

_MOST_TO_COUNT = 1_000_000  # offsets: what lies further behind is told as offsets, of which there are no fewer


@dataclass(frozen=True)
class Place:
    """`offset` of the destination. `near`: messages between it and the known position, at most, that are read again."""

    offset: int
    near: int


@dataclass(frozen=True)
class Survived:
    """Where a group goes on. `known`: the offset of the origin that it was last known to read next; None: of a group
    that was never seen to commit. `near`: messages that it reads again, at most, had it stood there to the last.
    `most`: had it read everything that was copied.
    """

    group: str
    partition: TopicPartition
    known: int | None
    offset: int
    near: int
    most: int


def place(low: Pair | None, high: Pair | None, start: Pair, offset: int, copies: Sequence[int]) -> Place:
    """Where an origin offset between two pairs goes on. `copies`: the visible offsets of the destination between them.

    `start`: where copying began; what lies before it was never copied. `high` None: where the copies end is not known
    of the origin, and all that is sure is where they began.
    """
    if low is None:
        return Place(start[1], 0)
    if high is None:
        return Place(low[1], min(len(copies), max(0, offset - low[0])))
    if len(copies) > high[0] - low[0]:  # more than there can be: somebody else wrote there, or it was copied again
        return Place(low[1], len(copies))
    unread = max(0, high[0] - offset)
    read = max(0, len(copies) - unread)
    most_read = min(len(copies), max(0, offset - low[0]))
    return Place(copies[read] if read < len(copies) else high[1], max(0, most_read - read))


def places(
    destination: Cluster,
    anchors: Mapping[TopicPartition, Anchors],
    positions: Iterable[Position],
    images: Offsets,
    copy_of: Callable[[TopicPartition], TopicPartition] = lambda tp: tp,
) -> list[Survived]:
    """Each position, in the order given. An `offset` below nought: the group was never seen to commit.

    `images`: where the destination ends, of each partition of the origin. `copy_of`: what a partition of the origin is
    called on the destination. Raises `ClusterError`.
    """
    wanted = list(positions)
    starts = read_several(destination, [copy_of(tp) for tp in images], (Which.START,))[Which.START]
    found: dict[tuple[TopicPartition, int], Place] = {}
    stretches: dict[tuple[TopicPartition, Pair, Pair | None], list[int]] = {}
    for tp, offset in sorted({(p.partition, p.offset) for p in wanted}):
        low, high = anchors[tp].around(offset)
        if low is None:
            found[tp, offset] = place(None, high, anchors[tp].start, offset, ())
        else:
            stretches.setdefault((tp, low, high), []).append(offset)
    for (tp, low, high), copies in _read(destination, stretches, images, starts, copy_of):
        for offset in stretches[tp, low, high]:
            found[tp, offset] = place(low, high, anchors[tp].start, offset, copies)
    most = _counted(destination, found, images, starts, copy_of)
    return [
        Survived(
            p.group,
            p.partition,
            p.offset if p.offset >= 0 else None,
            # What the destination has deleted meanwhile nobody can read, and a group set there may go anywhere.
            max(found[p.partition, p.offset].offset, starts[copy_of(p.partition)]),
            found[p.partition, p.offset].near,
            most[p.partition, p.offset],
        )
        for p in wanted
    ]


def _read(
    destination: Cluster,
    stretches: Iterable[tuple[TopicPartition, Pair, Pair | None]],
    images: Offsets,
    starts: Offsets,
    copy_of: Callable[[TopicPartition], TopicPartition],
) -> Iterable[tuple[tuple[TopicPartition, Pair, Pair | None], list[int]]]:
    """The visible offsets of each stretch; of one partition one after the other, partitions side by side."""
    by_partition: dict[TopicPartition, list[tuple[TopicPartition, Pair, Pair | None]]] = {}
    for one in stretches:
        by_partition.setdefault(one[0], []).append(one)
    for together in zip_longest(*by_partition.values()):
        ranges, of = [], {}
        for one in (one for one in together if one is not None):
            tp, low, high = one
            there = copy_of(tp)
            ranges.append(OffsetRange(there, max(low[1], starts[there]), high[1] if high else images[tp]))
            of[there] = one
        seen: dict[TopicPartition, list[int]] = {there: [] for there in of}
        each_visible(
            destination,
            [r for r in ranges if r.end > r.start],
            lambda tp, message, seen=seen: seen[tp].append(message.offset()),  # type: ignore[misc]
        )
        yield from ((of[there], offsets) for there, offsets in seen.items())


def _counted(
    destination: Cluster,
    found: Mapping[tuple[TopicPartition, int], Place],
    images: Offsets,
    starts: Offsets,
    copy_of: Callable[[TopicPartition], TopicPartition],
) -> dict[tuple[TopicPartition, int], int]:
    """By position the visible messages from where it goes on to the end of the copies."""
    near: dict[TopicPartition, list[int]] = {}
    for (tp, _), at in found.items():
        there = copy_of(tp)
        begin = max(at.offset, starts[there])
        if 0 < images[tp] - begin <= _MOST_TO_COUNT:
            near.setdefault(tp, []).append(begin)
    marks = {copy_of(tp): sorted({*begins, images[tp]}) for tp, begins in near.items()}
    counts = {
        (there, mark): sum(between[i:])
        for there, (between, _) in count_between(destination, marks).items()
        for i, mark in enumerate(marks[there][:-1])
    }
    return {
        (tp, known): counts.get((copy_of(tp), max(at.offset, starts[copy_of(tp)])), max(0, images[tp] - at.offset))
        for (tp, known), at in found.items()
    }
