"""Content comparison of whole topics, whose partitions need not be as many on both clusters.

Where a message lies then says nothing, and order holds within a key: see `within_keys`. Of a compacted topic the latest
message of every key is compared. Each cluster is read once, and once more for the keys that differ. Memory grows with
the keys; of messages without a key, when they differ, with their number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from kafka_migration.clusters.client import Cluster
from kafka_migration.offsets import OffsetRange, TopicPartition, Which, read_offsets
from kafka_migration.verification import located, within_keys
from kafka_migration.verification.comparison import DESTINATION, ORIGIN
from kafka_migration.verification.differences import ContentResult, Difference
from kafka_migration.verification.digest import digest
from kafka_migration.verification.side_by_side import NamedCluster
from kafka_migration.verification.within_keys import Entry, Found, KeyDigest, Latest, Latests, Sums, digest_of
from kafka_migration.visible import PASSES_WITHIN, Seen, each_visible

_HELD = 1_000_000  # messages of keys that differ that are held at once; for more all is read again
_SIDES = (ORIGIN, DESTINATION)


@dataclass(frozen=True)
class TopicPair:
    """What of a topic is compared on each cluster, all its partitions; it may have another name on the destination.

    `ignore_timestamp`: the destination stamps messages anew. `by_key`: the latest message of each key counts.
    """

    origin: tuple[OffsetRange, ...]
    destination: tuple[OffsetRange, ...]
    ignore_timestamp: bool = False
    by_key: bool = False

    @property
    def topic(self) -> str:
        return self.origin[0].partition.topic

    def ranges(self, side: int) -> tuple[OffsetRange, ...]:
        return self.origin if side == ORIGIN else self.destination


def compare_topics_by_key(
    origin: Cluster, destination: Cluster, topics: Sequence[TopicPair]
) -> dict[TopicPartition, ContentResult]:
    """Compare these topics, one after the other; a result for each partition that either side has.

    What both have counts where the origin has it, what only the destination has where it lies there. Nothing of a topic
    is compared where a start is not kept any more, or an open transaction stands in the way: any key may go on there.
    Raises `ClusterError` where a start is deleted while it is read, or a cluster cannot be read.
    """
    if len({pair.topic for pair in topics}) < len(topics):
        raise ValueError("each topic can be compared over one pair of ranges only")
    results: dict[TopicPartition, ContentResult] = {}
    with ThreadPoolExecutor(2) as pool:
        for pair in topics:
            results |= _Topic((origin, destination), pair, pool).compare()
    return results


class _Topic:
    """One topic while it is compared."""

    def __init__(self, clusters: tuple[Cluster, Cluster], pair: TopicPair, pool: ThreadPoolExecutor) -> None:
        self._clusters = clusters
        self._pair = pair
        self._pool = pool
        numbers = sorted({r.partition.partition for r in (*pair.origin, *pair.destination)})
        self._results = {n: ContentResult(self._named(n), by_key=pair.by_key) for n in numbers}

    def compare(self) -> dict[TopicPartition, ContentResult]:
        self._look_for_deleted()
        if not any(result.deleted for result in self._results.values()):
            self._compare_latest() if self._pair.by_key else self._compare_all()
            self._look_again()
        return {result.partition: result for result in self._results.values()}

    def _compare_all(self) -> None:
        sums: tuple[Sums, Sums] = ({}, {})

        def sum_up(side: int, partition: int, message: Any) -> None:
            within_keys.add(sums[side], digest_of(message.key()), partition, self._digest(message))

        if not self._read(sum_up):
            return
        keys = within_keys.differing(*sums)
        for part in within_keys.batches(keys, sums, _HELD):
            self._note(self._differences(part))
        for result in self._results.values():
            apart = [kind for kind in result.counts if kind.on_origin]
            result.equal = result.origin_visible - sum(result.counts[kind] for kind in apart)
        self._must_add_up()

    def _differences(self, keys: set[KeyDigest]) -> list[Found]:
        entries: tuple[dict[KeyDigest, list[Entry]], dict[KeyDigest, list[Entry]]] = ({}, {})

        def keep(side: int, partition: int, message: Any) -> None:
            key = digest_of(message.key())
            if key in keys:
                entries[side].setdefault(key, []).append(Entry(partition, message.offset(), self._digest(message)))

        self._read(keep)
        return [found for key in keys for found in within_keys.compared(key, *(side.get(key, []) for side in entries))]

    def _compare_latest(self) -> None:
        latest: tuple[Latests, Latests] = ({}, {})

        def keep(side: int, partition: int, message: Any) -> None:
            one = Latest(Entry(partition, message.offset(), self._digest(message)), message.value() is None)
            latest[side].setdefault(digest_of(message.key()), {})[partition] = one

        if not self._read(keep):
            return
        rewritten = set[KeyDigest]().union(*self._pool.map(self._beyond, _SIDES, within_keys.absent(*latest)))
        equal, found = within_keys.compared_latest(*latest, rewritten)
        first = next(iter(self._results.values()))  # a key has no one partition: all are counted with the first
        first.equal, first.rewritten = equal, len(rewritten)
        self._note(found)

    def _beyond(self, side: int, absent: set[KeyDigest]) -> set[KeyDigest]:
        """Of the keys that a side lacks those that it has beyond its end: compaction removed the former."""
        if not absent:
            return set()
        ranges = self._pair.ranges(side)
        ends = read_offsets(self._clusters[side], [r.partition for r in ranges], Which.STABLE)
        found: set[KeyDigest] = set()

        def tell(_: TopicPartition, message: Any) -> None:
            if (key := digest_of(message.key())) in absent:
                found.add(key)

        beyond = [OffsetRange(r.partition, r.end, ends[r.partition]) for r in ranges]
        each_visible(self._clusters[side], beyond, tell)
        return found

    def _read(self, tell: Callable[[int, int, Any], None]) -> bool:
        """Tell of every message of both sides; whether all could be read."""

        def read(side: int) -> Mapping[TopicPartition, Seen]:
            ranges = self._pair.ranges(side)
            return each_visible(
                self._clusters[side], ranges, lambda tp, message: tell(side, tp.partition, message), PASSES_WITHIN
            )

        one, other = self._pool.map(read, _SIDES)
        for tp, seen in one.items():
            result = self._results[tp.partition]
            result.origin_visible, result.origin_complete = seen.count, seen.complete
        for tp, seen in other.items():
            result = self._results[tp.partition]
            result.destination_visible, result.destination_complete = seen.count, seen.complete
        return all(result.complete for result in self._results.values())

    def _note(self, found: Sequence[Found]) -> None:
        told: dict[int, list[Difference]] = {}
        for kind, mine, theirs in found:
            at = mine or theirs
            assert at is not None
            there = None if theirs is None or theirs.partition == at.partition else self._named(theirs.partition)
            difference = Difference(
                kind,
                self._named(at.partition),
                None if mine is None else mine.offset,
                None if theirs is None else theirs.offset,
                there=there,
            )
            told.setdefault(at.partition, []).append(difference)
        for number, differences in told.items():
            self._results[number].note(sorted(differences, key=lambda d: d.offset))

    def _must_add_up(self) -> None:
        results = self._results.values()
        both = sum(r.equal + sum(r.counts[kind] for kind in r.counts if kind.on_destination) for r in results)
        if both != sum(r.destination_visible for r in results):  # what was not compared must never count as equal
            raise RuntimeError(f"the counts of {self._pair.topic} contradict each other: this is a fault of this code")

    def _look_for_deleted(self) -> None:
        wanted = [[r for r in self._pair.ranges(side) if r.start < r.end] for side in _SIDES]
        starts = self._pool.map(
            lambda cluster, ranges: read_offsets(cluster, [r.partition for r in ranges], Which.START),
            self._clusters,
            wanted,
        )
        for name, ranges, kept in zip(("origin", "destination"), wanted, starts, strict=True):
            for r in ranges:
                if kept[r.partition] > r.start:
                    gone = f"offsets {r.start:,} to {min(kept[r.partition], r.end):,}"
                    self._results[r.partition.partition].deleted = f"{gone} of [{r.start:,}, {r.end:,}) on the {name}"

    def _look_again(self) -> None:
        names = {self._named(r.partition.partition): r.partition for r in self._pair.destination}
        clusters = (NamedCluster(self._clusters[ORIGIN], {}), NamedCluster(self._clusters[DESTINATION], names))
        results = {result.partition: result for result in self._results.values()}
        stamped = results.keys() if self._pair.ignore_timestamp else ()
        located.look_again(clusters, stamped, results, self._pool)

    def _digest(self, message: Any) -> bytes:
        return digest(message, timestamp=not self._pair.ignore_timestamp)

    def _named(self, number: int) -> TopicPartition:
        return TopicPartition(self._pair.topic, number)
