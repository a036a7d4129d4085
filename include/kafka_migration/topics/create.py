"""Creating topics and partitions on the target, in batches that a broker takes, first as a trial that creates nothing.

A broker refuses a request of more than 10,000 records: topics x (1 + partitions + settings), measured on 4.3.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from kafka_migration.clusters.client import REQUEST_TIMEOUT, Cluster
from kafka_migration.topics.describe import await_topics

_MOST_RECORDS = 5_000


@dataclass(frozen=True)
class TopicToCreate:
    """A topic as it will be created."""

    name: str
    partitions: int
    replication_factor: int
    settings: Mapping[str, str]

    @property
    def records(self) -> int:
        return 1 + self.partitions + len(self.settings)


def create_topics(cluster: Cluster, topics: Iterable[TopicToCreate], trial: bool = False) -> dict[str, str]:
    """Create topics and wait until they are visible; `trial` only asks the broker whether it would.

    Returns the refusals: topic to the broker's reason. A topic that exists already is a refusal too.
    """
    wanted = list(topics)
    refusals: dict[str, str] = {}
    for batch in _batches(wanted):
        futures = cluster.admin.create_topics(
            [NewTopic(t.name, t.partitions, t.replication_factor, config=dict(t.settings)) for t in batch],
            validate_only=trial,
            request_timeout=REQUEST_TIMEOUT,
            operation_timeout=REQUEST_TIMEOUT,
        )
        for name, future in futures.items():
            try:
                future.result(timeout=REQUEST_TIMEOUT * 2)
            except KafkaException as error:
                refusals[name] = f"{error.args[0].str()} ({error.args[0].name()})"
    if not trial:
        await_topics(cluster, {t.name: t.partitions for t in wanted if t.name not in refusals})
    return refusals


def add_partitions(cluster: Cluster, totals: Mapping[str, int]) -> None:
    """Grow topics to that many partitions and wait until they are visible. Raises `ClusterError`."""
    if not totals:
        return
    futures = cluster.admin.create_partitions(
        [NewPartitions(name, total) for name, total in totals.items()], request_timeout=REQUEST_TIMEOUT
    )
    for name, future in futures.items():
        cluster.wait(future, f"growing topic {name} to {totals[name]} partitions")
    await_topics(cluster, totals)


def set_settings(cluster: Cluster, settings: Mapping[str, Mapping[str, str]]) -> None:
    """Set these settings of topics, leaving all others. Raises `ClusterError`."""
    resources = [
        ConfigResource(
            ResourceType.TOPIC,
            name,
            incremental_configs=[
                ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET) for key, value in wanted.items()
            ],
        )
        for name, wanted in settings.items()
        if wanted
    ]
    if not resources:
        return
    futures = cluster.admin.incremental_alter_configs(resources, request_timeout=REQUEST_TIMEOUT)
    for resource, future in futures.items():
        cluster.wait(future, f"setting {', '.join(settings[resource.name])} of topic {resource.name}")


def _batches(topics: list[TopicToCreate]) -> Iterator[list[TopicToCreate]]:
    batch: list[TopicToCreate] = []
    size = 0
    for topic in topics:
        if batch and size + topic.records > _MOST_RECORDS:
            yield batch
            batch, size = [], 0
        batch.append(topic)
        size += topic.records
    if batch:
        yield batch
