"""The topic of offset syncs: made so that it keeps all of them, before MirrorMaker makes one that is compacted."""

from __future__ import annotations

from collections.abc import Mapping

from confluent_kafka.admin import NewTopic

from kafka_migration.clusters.client import REQUEST_TIMEOUT, Cluster
from kafka_migration.mirror.flow import Flow
from kafka_migration.offsets import TopicPartition, Which, read_several
from kafka_migration.topics.describe import topic_names

KEEP_ALL: Mapping[str, str] = {"cleanup.policy": "delete", "retention.ms": "-1"}


def keep_syncs(flow: Flow) -> None:
    """Make the topic that tells what was copied to where, where it is not there."""
    cluster = flow.syncs_cluster
    if flow.syncs_topic in topic_names(cluster):
        return
    made = cluster.admin.create_topics(
        [NewTopic(flow.syncs_topic, 1, -1, config=dict(KEEP_ALL))], request_timeout=REQUEST_TIMEOUT
    )
    cluster.wait(made[flow.syncs_topic], f"creating topic {flow.syncs_topic}")


def syncs_end(cluster: Cluster, topic: str) -> int:
    """Where the topic of offset syncs ends: what stands before that was written of other copies."""
    if topic not in topic_names(cluster):
        return 0
    ends = read_several(cluster, [TopicPartition(topic, 0)], (Which.END,))[Which.END]
    return ends[TopicPartition(topic, 0)]
