"""Creating topics and partitions on the target, in batches that a broker takes, first as a trial that creates nothing.

A broker refuses a request of more than 10,000 records: topics x (1 + partitions + settings), measured on 4.3.1. Growing
topics and changing settings count likewise.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeVar

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from kafka_migration.clusters.client import REQUEST_TIMEOUT, Cluster
from kafka_migration.topics.describe import Topic, await_settings, await_topics

T = TypeVar("T")

_MOST_RECORDS = 2_000  # far below, so that what becomes visible together stays small


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
    for batch in _batches(wanted, lambda t: t.records):
        futures = cluster.admin.create_topics(
            [NewTopic(t.name, t.partitions, t.replication_factor, config=dict(t.settings)) for t in batch],
            validate_only=trial,
            request_timeout=REQUEST_TIMEOUT,
            operation_timeout=REQUEST_TIMEOUT,
        )
        for name, future in futures.items():
            reason = _refusal(future)
            if reason is not None and reason.code() > 0:
                refusals[name] = f"{reason.str()} ({reason.name()})"
            else:  # no answer is not the broker's answer
                cluster.wait(future, f"creating topic {name}")
    if not trial:
        await_topics(cluster, {t.name: t.partitions for t in wanted if t.name not in refusals})
    return refusals


def add_partitions(cluster: Cluster, totals: Mapping[str, int]) -> None:
    """Grow topics to at least that many partitions and wait until they are visible. Raises `ClusterError`.

    A mirror that runs sees the source's new partitions by itself and may be first: then the broker refuses
    (INVALID_PARTITIONS), and the topic has what was wanted.
    """
    for batch in _batches(list(totals), lambda name: 1 + totals[name]):
        futures = cluster.admin.create_partitions(
            [NewPartitions(name, totals[name]) for name in batch], request_timeout=REQUEST_TIMEOUT
        )
        for name, future in futures.items():
            reason = _refusal(future)
            if reason is None or reason.code() != KafkaError.INVALID_PARTITIONS:
                cluster.wait(future, f"growing topic {name} to {totals[name]} partitions")
    await_topics(cluster, totals)


def set_settings(cluster: Cluster, settings: Mapping[str, Mapping[str, str]]) -> dict[str, Topic]:
    """Set these settings of topics, leaving all others, and wait until they are visible: the topics as they are now.

    Raises `ClusterError`.
    """
    for batch in _batches([name for name in settings if settings[name]], lambda name: len(settings[name])):
        futures = cluster.admin.incremental_alter_configs(
            [_assignments(name, settings[name]) for name in batch], request_timeout=REQUEST_TIMEOUT
        )
        for resource, future in futures.items():
            cluster.wait(future, f"setting {', '.join(settings[resource.name])} of topic {resource.name}")
    return await_settings(cluster, settings)


def _assignments(topic: str, wanted: Mapping[str, str]) -> ConfigResource:
    return ConfigResource(
        ResourceType.TOPIC,
        topic,
        incremental_configs=[
            ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET) for key, value in wanted.items()
        ],
    )


def _refusal(future: Future[None]) -> KafkaError | None:
    """What the broker says against it, or None: it has agreed, or has not answered in time."""
    with contextlib.suppress(TimeoutError):
        error = future.exception(timeout=REQUEST_TIMEOUT * 2)
        return error.args[0] if isinstance(error, KafkaException) else None
    return None


def _batches(things: list[T], size: Callable[[T], int]) -> Iterator[list[T]]:
    batch: list[T] = []
    records = 0
    for thing in things:
        if batch and records + size(thing) > _MOST_RECORDS:
            yield batch
            batch, records = [], 0
        batch.append(thing)
        records += size(thing)
    if batch:
        yield batch
