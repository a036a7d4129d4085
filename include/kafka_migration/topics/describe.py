"""What topics are: partitions, replicas, and the effective value of every setting. Changes nothing."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    ClusterMetadata,
    ConfigEntry,
    ConfigResource,
    ConfigSource,
    PartitionMetadata,
    ResourceType,
    TopicMetadata,
)

from kafka_migration.clusters.client import CONNECT_TIMEOUT, REQUEST_TIMEOUT, Cluster
from kafka_migration.clusters.each import ask_each_broker
from kafka_migration.clusters.patience import ask_each
from kafka_migration.errors import ClusterError
from kafka_migration.offsets import TopicPartition
from kafka_migration.plan.model import Plan, Topics, is_name

_BATCH = 100
# A broker that takes these from `log.retention.hours` and the like gives the right value and calls it Kafka's default
# (measured on 4.3.1): they always count as set.
_IN_OTHER_UNITS = frozenset(("retention.ms", "segment.ms", "segment.jitter.ms", "flush.ms"))


@dataclass(frozen=True)
class Placed:
    """The brokers that keep a partition, those of them that are in sync, and the one that leads (None: nobody)."""

    replicas: tuple[int, ...]
    in_sync: tuple[int, ...]
    leader: int | None


@dataclass(frozen=True)
class Topic:
    """A topic. `settings`: every setting's effective value; `explicit`: those that may not be Kafka's own default.

    `placed`: where each partition stood, by its number, when the topic was described. That changes with every broker
    that comes or goes, and is no part of what the topic is.
    """

    name: str
    partitions: int
    replication_factor: int
    settings: Mapping[str, str]
    explicit: frozenset[str]
    placed: Mapping[int, Placed] = field(default_factory=dict, compare=False)

    @property
    def compacted(self) -> bool:
        return "compact" in self.settings.get("cleanup.policy", "")

    def numbered(self) -> list[TopicPartition]:
        return [TopicPartition(self.name, number) for number in range(self.partitions)]


def topic_names(cluster: Cluster) -> set[str]:
    """The names of all topics that this user may see, without Kafka's own.

    Raises `ClusterUnreachable`. A user without permission to describe a topic does not see it, and no broker says so.
    """
    return {name for name in _listed(cluster, "listing the topics") if not name.startswith("__")}


def choose(topics: Topics, plan: Plan, names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Those of `names` that the plan moves, and the entries of `topics.include` that match none of them."""
    there = set(names)
    chosen = sorted(name for name in there if plan.includes(name))
    unmatched = [
        entry
        for entry in topics.include
        if (entry not in there if is_name(entry) else not any(re.fullmatch(entry, name) for name in there))
    ]
    return chosen, unmatched


def describe_topics(cluster: Cluster, names: Iterable[str]) -> dict[str, Topic]:
    """The topics of these names that exist; those that do not are absent."""
    wanted = sorted(set(names))
    if not wanted:
        return {}
    told = _listed(cluster, "describing topics")
    there = [name for name in wanted if name in told and told[name].error is None]
    settings = _settings(cluster, there)
    return {
        name: Topic(
            name,
            partitions=len(told[name].partitions),
            replication_factor=min((len(p.replicas) for p in told[name].partitions.values()), default=0),
            settings=settings[name][0],
            explicit=settings[name][1],
            placed={number: _placed(one) for number, one in told[name].partitions.items()},
        )
        for name in there
    }


def partitions_of(cluster: Cluster, names: Iterable[str]) -> list[TopicPartition]:
    """Every partition of these topics, as the cluster has them now. Raises `ClusterError` for a missing topic."""
    told = _listed(cluster, "listing partitions")
    wanted = sorted(set(names))
    gone = [name for name in wanted if name not in told]
    if gone:
        raise ClusterError(f"{cluster} has no topic {', '.join(gone)}")
    return [TopicPartition(name, number) for name in wanted for number in sorted(told[name].partitions)]


def await_topics(cluster: Cluster, partitions: Mapping[str, int], patience: float = 120.0) -> None:
    """Wait until every broker that answers shows each topic with that many partitions and a leader for each.

    Success of a creation is not visibility: a loaded broker takes minutes for thousands of partitions (measured). So it
    is waited for as long as more become visible; `patience` is for a time in which none does. And what one broker shows
    another may not have heard of: the next question may be for that one.
    """
    fewest, since = len(partitions) + 1, time.monotonic()
    while True:
        asked = time.monotonic()
        told = _metadata(cluster, "waiting for topics to be visible")
        unseen = _unseen(told, partitions)
        if not unseen and len(told.brokers) > 1:
            everyone = ask_each_broker(cluster, told.brokers.values()).values()
            unseen = set().union(*(_unseen(one, partitions) for one in everyone if not isinstance(one, str)))
        took = time.monotonic() - asked
        if not unseen:
            return
        if len(unseen) < fewest:
            fewest, since = len(unseen), time.monotonic()
        elif time.monotonic() - since > patience:
            raise ClusterError(
                f"{cluster} took the creation of these topics, and has not shown one more of them for"
                f" {patience:.0f} s: {', '.join(sorted(unseen)[:10])}"
            )
        time.sleep(max(0.1, 3 * took))  # a broker that answers slowly has enough to do


def _unseen(told: ClusterMetadata, partitions: Mapping[str, int]) -> set[str]:
    """The topics of which a broker does not show so many partitions with a leader yet."""
    topics = told.topics
    return {
        name
        for name, count in partitions.items()
        if name not in topics
        or len(topics[name].partitions) < count
        or any(p.leader < 0 for p in topics[name].partitions.values())
    }


def await_settings(
    cluster: Cluster, settings: Mapping[str, Mapping[str, str]], patience: float = 30.0
) -> dict[str, Topic]:
    """Wait until topics are seen with these settings, and return them so: another broker may not have heard of it yet.

    Whoever compares them tells what is not seen by then. Absent are topics that are not there.
    """
    deadline = time.monotonic() + patience
    found: dict[str, Topic] = {}
    unseen = {name for name in settings if settings[name]}
    while unseen and time.monotonic() < deadline:
        found |= describe_topics(cluster, unseen)
        unseen = {
            name for name in unseen if name not in found or not settings[name].items() <= found[name].settings.items()
        }
        if unseen:
            time.sleep(0.1)
    return found


def broker_settings(cluster: Cluster, broker_id: int) -> dict[str, str]:
    """The effective settings of one broker; empty when this user may not read them."""
    resource = ConfigResource(ResourceType.BROKER, str(broker_id))
    future = cluster.admin.describe_configs([resource], request_timeout=REQUEST_TIMEOUT)[resource]
    try:
        entries = cluster.wait(future, f"reading the settings of broker {broker_id}")
    except ClusterError as error:
        if "AUTHORIZATION_FAILED" in str(error):
            return {}
        raise
    return {name: entry.value or "" for name, entry in entries.items()}


def _placed(partition: PartitionMetadata) -> Placed:
    leader = partition.leader if partition.leader >= 0 else None
    return Placed(tuple(partition.replicas), tuple(partition.isrs), leader)


def _listed(cluster: Cluster, doing: str) -> dict[str, TopicMetadata]:
    topics: dict[str, TopicMetadata] = _metadata(cluster, doing).topics
    return topics


def _metadata(cluster: Cluster, doing: str) -> ClusterMetadata:
    try:
        told: ClusterMetadata = cluster.admin.list_topics(timeout=CONNECT_TIMEOUT)
    except KafkaException as error:
        raise cluster.error(error, doing) from None
    return told


def _not_heard_of(topic: str, error: KafkaError) -> bool:
    """Whether the broker that was asked may only be behind the one that had listed the topic."""
    return bool(error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART)


def _settings(cluster: Cluster, names: list[str]) -> dict[str, tuple[dict[str, str], frozenset[str]]]:
    def ask(left: Sequence[str], within: float) -> dict[str, Future[dict[str, ConfigEntry]]]:
        futures: dict[str, Future[dict[str, ConfigEntry]]] = {}
        for i in range(0, len(left), _BATCH):
            resources = [ConfigResource(ResourceType.TOPIC, name) for name in left[i : i + _BATCH]]
            told = cluster.admin.describe_configs(resources, request_timeout=within)
            futures |= {resource.name: future for resource, future in told.items()}
        return futures

    found = {}
    for name, entries in ask_each(cluster, names, ask, _not_heard_of).items():
        if isinstance(entries, KafkaError):
            raise cluster.error(entries, f"reading the settings of topic {name}")
        found[name] = (
            {name: entry.value or "" for name, entry in entries.items()},
            frozenset(
                name
                for name, entry in entries.items()
                if entry.source != ConfigSource.DEFAULT_CONFIG.value or name in _IN_OTHER_UNITS
            ),
        )
    return found
