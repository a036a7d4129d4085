"""Seeds: the offset set for a group on the target before anything is written there that it must read.

A group without an offset starts where `auto.offset.reset` sends it, which loses messages (`latest`) or repeats them
(`earliest`). A seed that is gone is set again to the recorded offset, never to a later end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kafka_migration.clusters.client import Cluster
from kafka_migration.groups.commits import committed, set_commits
from kafka_migration.offsets import Offsets, TopicPartition, by_topic, of_topics


def missing_seeds(seeds: Mapping[str, Offsets], now: Mapping[str, Offsets]) -> dict[str, dict[TopicPartition, int]]:
    """The seeds that are not there: partitions without a commit, or with one below the seed."""
    return {
        group: gone
        for group, offsets in seeds.items()
        if (gone := {tp: o for tp, o in offsets.items() if now.get(group, {}).get(tp, -1) < o})
    }


def plant(cluster: Cluster, seeds: Mapping[str, Offsets]) -> dict[str, dict[TopicPartition, int]]:
    """Set what is missing of the seeds, read it back, and return what was set. Raises `OffsetsRefused`."""
    gone = missing_seeds(seeds, committed(cluster, seeds))
    set_commits(cluster, gone)
    return gone


def at_ends(groups: Mapping[str, Iterable[str]], ends: Offsets) -> dict[str, dict[TopicPartition, int]]:
    """The seed of every group (group to its topics): the end offset of each partition of its topics."""
    known = by_topic(ends)
    return {group: of_topics(known, topics) for group, topics in groups.items()}
