"""Anchors: offsets of the origin of which it is known where on the destination their messages lie.

MirrorMaker tells them in its topic of offset syncs (KIP-382): the message at `upstream` was written at `downstream`.
Between two neighbours a position is found by counting; so the more there are, the less has to be read.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from kafka_migration.clusters.client import Cluster
from kafka_migration.offsets import OffsetRange, TopicPartition, Which, read_several
from kafka_migration.topics.describe import partitions_of, topic_names
from kafka_migration.visible import each_visible

Pair = tuple[int, int]
"""An offset of the origin, and the offset of the same message on the destination."""


@dataclass(frozen=True)
class Anchors:
    """Of one partition, rising strictly in both numbers. `ended`: the last is where both ranges end, no message.

    `start`: where the copied range began on both sides.
    """

    pairs: tuple[Pair, ...]
    ended: bool
    start: Pair

    @classmethod
    def build(cls, start: Pair, syncs: Iterable[Pair], end: Pair | None) -> Anchors:
        """`start`: from where was copied, and onto where. `syncs` in the order in which they were written.

        A sync that does not rise shows that a mirror was killed and has copied again: of what lies behind it the later
        copy counts. What was written for another range is left out.
        """
        pairs = [start]
        for up, down in syncs:
            if up < start[0] or down < start[1] or (end is not None and (up >= end[0] or down >= end[1])):
                continue
            while pairs and pairs[-1][0] >= up:
                pairs.pop()
            if not pairs or pairs[-1][1] < down:
                pairs.append((up, down))
        if end is not None:
            while pairs and (pairs[-1][0] >= end[0] or pairs[-1][1] >= end[1]):
                pairs.pop()
            pairs.append(end)
        return cls(tuple(pairs), end is not None, start)

    def swapped(self) -> Anchors:
        """The same, seen from the destination."""
        return Anchors(tuple((down, up) for up, down in self.pairs), self.ended, (self.start[1], self.start[0]))

    def around(self, offset: int) -> tuple[Pair | None, Pair | None]:
        """The neighbours of an offset of the origin: the last at or below it, the first above it.

        What lies at the end of the range or behind it has the end above it; where nothing was copied it has the start
        below it, and nothing before that counts.
        """
        within = min(offset, self.pairs[-1][0] - 1) if self.ended else offset
        at = bisect_right(self.pairs, within, key=lambda pair: pair[0])
        low = self.pairs[at - 1] if at else self.start if offset >= self.start[0] else None
        return low, (self.pairs[at] if at < len(self.pairs) else None)


def read_syncs(cluster: Cluster, topic: str, begin: int = 0) -> dict[TopicPartition, list[Pair]]:
    """The offset syncs that MirrorMaker has left in that topic, by partition, in the order in which it wrote them.

    `begin`: the offset of the topic from which on they count. Empty where there is no such topic.
    """
    found: dict[TopicPartition, list[Pair]] = defaultdict(list)
    if topic not in topic_names(cluster):
        return found

    def tell(_: TopicPartition, message: Any) -> None:
        if message.key() is not None and message.value() is not None:
            of, pair = _decoded(message.key(), message.value())
            found[of].append(pair)

    offsets = read_several(cluster, partitions_of(cluster, [topic]), (Which.START, Which.STABLE))
    ends = offsets[Which.STABLE]
    each_visible(
        cluster, [OffsetRange(tp, max(begin, start), ends[tp]) for tp, start in offsets[Which.START].items()], tell
    )
    return found


def _decoded(key: bytes, value: bytes) -> tuple[TopicPartition, Pair]:
    """Key: length (2 bytes), topic, partition (4); value: upstream and downstream (8 each). Measured on 4.3.1."""
    (length,) = struct.unpack_from(">h", key)
    topic = key[2 : 2 + length].decode()
    (partition,) = struct.unpack_from(">i", key, 2 + length)
    upstream, downstream = struct.unpack(">qq", value)
    return TopicPartition(topic, partition), (upstream, downstream)
