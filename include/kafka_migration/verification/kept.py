"""Which of the ranges that are to be compared are not kept any more: of those nothing can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from kafka_migration.offsets import TopicPartition, Which
from kafka_migration.verification.comparison import DESTINATION, ORIGIN
from kafka_migration.verification.differences import ContentResult, RangePair
from kafka_migration.verification.side_by_side import NamedCluster, range_of


def no_more_kept(
    clusters: Sequence[NamedCluster], pairs: Sequence[RangePair], pool: ThreadPoolExecutor
) -> dict[TopicPartition, ContentResult]:
    """The partitions of which either side does not keep the start of its range any more."""
    ranges = [[r for r in (range_of(p, side) for p in pairs) if r.start < r.end] for side in (ORIGIN, DESTINATION)]
    starts = pool.map(
        lambda cluster, wanted: cluster.offsets([r.partition for r in wanted], Which.START), clusters, ranges
    )
    deleted: dict[TopicPartition, ContentResult] = {}
    for name, wanted, kept in zip(("origin", "destination"), ranges, starts, strict=True):
        for r in wanted:
            if kept[r.partition] > r.start and r.partition not in deleted:
                gone = f"offsets {r.start:,} to {min(kept[r.partition], r.end):,}"
                told = f"{gone} of [{r.start:,}, {r.end:,}) on the {name}"
                deleted[r.partition] = ContentResult(r.partition, deleted=told)
    return deleted
