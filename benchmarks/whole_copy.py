"""A mirror of this product that copies topics from their first message on, stopped when it has copied everything."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from benchmarks.failed import BenchmarkFailed
from benchmarks.pair import Pair, make_topic
from kafka_migration.mirror.anchors import Anchors, read_syncs
from kafka_migration.mirror.connect import ConnectMirror
from kafka_migration.mirror.flow import Flow
from kafka_migration.mirror.rest import Connect
from kafka_migration.offsets import TopicPartition, Which, read_offsets

_STALL = 120.0


class WholeCopy:
    """As a context manager: the topic of these partitions is made on the target; at the end the mirror is removed.

    The source has plain messages only, no transactions: what has been copied is told by the mirror's positions alone.
    """

    def __init__(self, pair: Pair, connect: Connect, partitions: Sequence[TopicPartition]) -> None:
        self.pair = pair
        self.partitions = partitions
        self._connect = connect
        self.mirror = ConnectMirror(Flow("bench", [partitions[0].topic], pair.source, pair.target), connect)

    def __enter__(self) -> Self:
        make_topic(self.pair.target, self.partitions[0].topic, len(self.partitions))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.mirror.remove()

    def start(self) -> None:
        self.mirror.create(dict.fromkeys(self.partitions, 0))
        self.mirror.resume()

    def finish(self) -> None:
        """Return when everything has been copied and the mirror stands still."""
        ends = read_offsets(self.pair.source, self.partitions, Which.END)
        moved, last = time.monotonic(), -1
        while (copied := self._connect.positions(self.mirror.name)) != ends:
            now, total = time.monotonic(), sum(copied.values())
            if total > last:
                moved, last = now, total
            elif now - moved > _STALL:
                failures = "\n".join(self._connect.progress(self.mirror.name).failures.values())
                raise BenchmarkFailed(f"{self.mirror} has stopped at {total:,} of {sum(ends.values()):,}\n{failures}")
            time.sleep(0.2)
        self.mirror.stop()

    def anchors(self) -> dict[TopicPartition, Anchors]:
        """Of each partition what the mirror has told, and the ends of both sides."""
        syncs = read_syncs(self.pair.target, self.mirror.syncs_topic)
        here = read_offsets(self.pair.source, self.partitions, Which.END)
        there = read_offsets(self.pair.target, self.partitions, Which.END)
        return {tp: Anchors.build((0, 0), syncs.get(tp, ()), (here[tp], there[tp])) for tp in self.partitions}
