"""Topics that would take copies under names of their own: are they empty?"""

from __future__ import annotations

from collections.abc import Mapping

from kafka_migration.clusters.client import Cluster
from kafka_migration.offsets import OffsetRange, Which, read_several
from kafka_migration.topics.describe import Topic
from kafka_migration.visible import first_visible


def filled(cluster: Cluster, topics: Mapping[str, Topic]) -> set[str]:
    """Those that hold a visible message. Raises `ClusterError`."""
    partitions = [tp for topic in topics.values() for tp in topic.numbered()]
    offsets = read_several(cluster, partitions, (Which.START, Which.END))
    ranges = [OffsetRange(tp, offsets[Which.START][tp], offsets[Which.END][tp]) for tp in partitions]
    return {tp.topic for tp, seen in first_visible(cluster, ranges).items() if seen.first is not None}
