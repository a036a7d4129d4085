"""Both sides of a comparison, read at once and neither far ahead of the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

from kafka_migration.clusters.client import Cluster
from kafka_migration.offsets import OffsetRange, TopicPartition, Which, read_offsets
from kafka_migration.verification.comparison import DESTINATION, ORIGIN, Comparison
from kafka_migration.verification.differences import RangePair
from kafka_migration.verification.digest import digests
from kafka_migration.visible import PASSES_WITHIN, Reading, each_visible

_PATIENCE = 0.02  # seconds that the side which is behind is waited for before the other is asked
_ALONE = 0.5  # the same where there is no other


class NamedCluster:
    """A cluster that is asked for partitions by the names that they have on the origin. `names`: of those others."""

    def __init__(self, cluster: Cluster, names: Mapping[TopicPartition, TopicPartition]) -> None:
        self._cluster = cluster
        self._names = names
        self._origins = {copy: tp for tp, copy in names.items()}

    def offsets(self, partitions: Iterable[TopicPartition], which: Which) -> dict[TopicPartition, int]:
        wanted = [self.name(tp) for tp in partitions]
        return {self.origin(tp): at for tp, at in read_offsets(self._cluster, wanted, which).items()}

    def reading(self, ranges: Iterable[OffsetRange]) -> Reading:
        """Of the partitions as they are called here."""
        return Reading(self._cluster, self.ranges(ranges), patience=PASSES_WITHIN)

    def ranges(self, ranges: Iterable[OffsetRange]) -> list[OffsetRange]:
        """The same, of the partitions as they are called here."""
        return [replace(r, partition=self.name(r.partition)) for r in ranges]

    def name(self, tp: TopicPartition) -> TopicPartition:
        return self._names.get(tp, tp)

    def origin(self, tp: TopicPartition) -> TopicPartition:
        return self._origins.get(tp, tp)

    def each_visible(self, ranges: Iterable[OffsetRange], tell: Callable[[TopicPartition, Any], None]) -> None:
        each_visible(self._cluster, self.ranges(ranges), lambda tp, message: tell(self.origin(tp), message))


def named(origin: Cluster, destination: Cluster, pairs: Iterable[RangePair]) -> tuple[NamedCluster, NamedCluster]:
    """Both clusters, which are asked for the copies of these pairs by the names of their originals."""
    names = {p.partition: replace(p.partition, topic=p.copy) for p in pairs if p.copy}
    return NamedCluster(origin, {}), NamedCluster(destination, names)


def range_of(pair: RangePair, side: int) -> OffsetRange:
    """What of a pair is read on that side."""
    start, end = (
        (pair.origin_start, pair.origin_end) if side == ORIGIN else (pair.destination_start, pair.destination_end)
    )
    return OffsetRange(pair.partition, start, end)


def copied_range(pair: RangePair) -> OffsetRange:
    """What of the origin counts when it is asked whether something on the destination is a copy."""
    start = pair.origin_start if pair.copies_from is None else pair.copies_from
    return OffsetRange(pair.partition, start, pair.origin_end if pair.copies_to is None else pair.copies_to)


def read_both(
    clusters: tuple[NamedCluster, NamedCluster],
    pairs: Sequence[RangePair],
    comparisons: Mapping[TopicPartition, Comparison],
    progress: Callable[[int, int], None] | None,
) -> None:
    """Feed the comparisons until none wants more. `progress` is told offsets read, and offsets in all.

    Raises `ClusterError`.
    """
    with (
        _Side(clusters[ORIGIN], ORIGIN, pairs, comparisons) as one,
        _Side(clusters[DESTINATION], DESTINATION, pairs, comparisons) as other,
    ):
        _alternate(one, other, comparisons, progress)
    unfinished = sorted(tp for tp, comparison in comparisons.items() if comparison.unfinished)
    if unfinished:  # what was not compared must never count as equal
        raise RuntimeError(
            f"the comparison of {unfinished[0]} has ended before its ranges: this is a fault of this code"
        )


def _alternate(
    one: _Side,
    other: _Side,
    comparisons: Mapping[TopicPartition, Comparison],
    progress: Callable[[int, int], None] | None,
) -> None:
    """Read whichever is behind, and the other while that has nothing: so that little is held of either.

    One thread: what is done for a message holds Python's lock, and the client fetches in threads of its own.
    """
    while able := sorted((side for side in (one, other) if side.wanted), key=lambda side: side.share):
        touched = able[0].read(_PATIENCE if len(able) == 2 else _ALONE)
        if not touched and len(able) == 2:
            touched = able[1].read(0.0)
        for tp in touched:
            comparisons[tp].advance()
        for side in (one, other):
            side.keep_pace(touched)
        if progress is not None and touched:
            progress(one.passed + other.passed, one.total + other.total)


class _Side:
    """One cluster while it is read: `passed` of all its offsets have been."""

    def __init__(
        self,
        cluster: NamedCluster,
        number: int,
        pairs: Sequence[RangePair],
        comparisons: Mapping[TopicPartition, Comparison],
    ) -> None:
        ranges = [range_of(p, number) for p in pairs]
        self._cluster = cluster
        self._number = number
        self._comparisons = comparisons
        self._stamped = {p.partition for p in pairs if p.ignore_timestamp}
        self._left = {r.partition: max(0, r.end - r.start) for r in ranges}
        self._open = {tp for tp, left in self._left.items() if left}
        self._held: set[TopicPartition] = set()
        self._reading = cluster.reading(ranges)
        self.total = sum(self._left.values())
        self.passed = 0

    def __enter__(self) -> Self:
        self._reading.__enter__()
        for tp in list(self._open):
            self._note(tp)
        return self

    def __exit__(self, *_: object) -> None:
        self._reading.__exit__()

    @property
    def wanted(self) -> bool:
        """Whether there is a partition of which more is to be read now."""
        return len(self._open) > len(self._held)

    @property
    def share(self) -> float:
        """How much of it has been read, from 0 to 1."""
        return self.passed / self.total if self.total else 1.0

    def read(self, timeout: float) -> set[TopicPartition]:
        """Read some more; the partitions of which something was read, or that have ended."""
        touched = set()
        for there, messages in self._reading.some(timeout):
            tp = self._cluster.origin(there)
            if messages and self._comparisons[tp].found.complete:
                self._comparisons[tp].feed(self._number, messages, digests(messages, timestamp=tp not in self._stamped))
            touched.add(tp)
        for tp in touched:
            self._note(tp)
        return touched

    def _note(self, tp: TopicPartition) -> None:
        """Tell the comparison how much is left."""
        there = self._cluster.name(tp)
        seen = self._reading.seen.get(there)
        left = self._reading.left(there)
        self.passed += self._left[tp] - left
        self._left[tp] = left
        if seen is not None:
            self._open.discard(tp)
            self._held.discard(tp)
        if seen is None or seen.complete:
            self._comparisons[tp].read_up_to(self._number, left)
        else:
            self._comparisons[tp].cut_short(self._number)

    def keep_pace(self, partitions: Iterable[TopicPartition]) -> None:
        """Read on where the comparison wants more, and no further where it does not."""
        wanted = {tp for tp in partitions if tp in self._open and self._comparisons[tp].wants(self._number)}
        held = {tp for tp in partitions if tp in self._open} - wanted - self._held
        again = wanted & self._held
        self._reading.hold([self._cluster.name(tp) for tp in held])
        self._reading.go_on([self._cluster.name(tp) for tp in again])
        self._held = (self._held | held) - again
