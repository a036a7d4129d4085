"""Topics that take copies under names of their own, beside the topics that they are copies of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from kafka_migration.checks.topics import creation
from kafka_migration.clusters.client import Cluster
from kafka_migration.errors import ClusterError
from kafka_migration.report import Change
from kafka_migration.topics.create import add_partitions, create_topics
from kafka_migration.topics.describe import Topic, describe_topics


def make(cluster: Cluster, originals: Mapping[str, Topic], names: Mapping[str, str]) -> list[Change]:
    """Make what is missing, with the partitions and settings of the originals; add partitions that came since.

    `names`: by original what its copy is called there. Raises `ClusterError`, also where the cluster refuses one.
    """
    there = describe_topics(cluster, names.values())
    missing = [replace(creation(originals[topic]), name=copy) for topic, copy in names.items() if copy not in there]
    refusals = create_topics(cluster, missing)
    if refusals:
        lines = "\n".join(f"  {topic}: {reason}" for topic, reason in sorted(refusals.items()))
        raise ClusterError(f"{cluster} did not create these topics:\n{lines}")
    grown = {
        copy: originals[topic].partitions
        for topic, copy in names.items()
        if copy in there and there[copy].partitions < originals[topic].partitions
    }
    add_partitions(cluster, grown)
    changes = [Change(f"topic {t.name}", "absent", f"{t.partitions} partitions") for t in missing]
    return changes + [Change(f"partitions of {n}", str(there[n].partitions), str(to)) for n, to in grown.items()]
