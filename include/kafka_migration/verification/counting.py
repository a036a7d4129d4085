"""Copies counted: as many visible messages on both sides of each pair of ranges. What they hold is not looked at.

What one side has more is told without an offset. Of a compacted topic counts say nothing: compare it by its keys.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from kafka_migration.clusters.client import Cluster
from kafka_migration.offsets import TopicPartition
from kafka_migration.verification.comparison import DESTINATION, ORIGIN
from kafka_migration.verification.differences import ContentResult, Kind, RangePair
from kafka_migration.verification.kept import no_more_kept
from kafka_migration.verification.side_by_side import named, range_of
from kafka_migration.visible import PASSES_WITHIN, Seen, count_visible


def count_copies(
    origin: Cluster,
    destination: Cluster,
    pairs: Sequence[RangePair],
    progress: Callable[[int, int], None] | None = None,
) -> dict[TopicPartition, ContentResult]:
    """Count each pair of ranges. `progress` is told messages counted and offsets in all. Raises `ClusterError`.

    Nothing is counted of a partition where a start is not kept any more: its result says so.
    """
    if not pairs:
        return {}
    clusters = named(origin, destination, pairs)
    with ThreadPoolExecutor(2) as pool:
        gone = no_more_kept(clusters, pairs, pool)
    pairs = [p for p in pairs if p.partition not in gone]
    ranges = [clusters[side].ranges(range_of(p, side) for p in pairs) for side in (ORIGIN, DESTINATION)]
    total = sum(max(0, r.end - r.start) for side in ranges for r in side)
    counted = [0, 0]

    def count(side: int, cluster: Cluster) -> list[Seen]:
        def tell(messages: int) -> None:
            counted[side] = messages
            if progress is not None:
                progress(sum(counted), total)

        seen = count_visible(cluster, ranges[side], tell, PASSES_WITHIN)
        return [seen[r.partition] for r in ranges[side]]

    with ThreadPoolExecutor(2) as pool:
        here, there = pool.map(count, (ORIGIN, DESTINATION), (origin, destination))
    return gone | {p.partition: _result(p, one, other) for p, one, other in zip(pairs, here, there, strict=True)}


def _result(pair: RangePair, one: Seen, other: Seen) -> ContentResult:
    found = ContentResult(
        pair.partition,
        origin_visible=one.count,
        destination_visible=other.count,
        equal=min(one.count, other.count),
        origin_complete=one.complete,
        destination_complete=other.complete,
        counted=True,
    )
    if found.complete and one.count != other.count:
        found.counts[Kind.MISSING if one.count > other.count else Kind.EXTRA] = abs(one.count - other.count)
    return found
