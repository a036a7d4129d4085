"""The canary: a message of this product's own that the mirror brings along, to see that it does and how fast.

It has a topic of its own on both clusters, which the plan's mirror copies beside the plan's topics. Nothing else of the
source is written to, and none of the plan's topics is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any
from uuid import uuid4

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, KafkaException, Message, Producer

from kafka_migration.clusters.client import CONNECT_TIMEOUT, REQUEST_TIMEOUT, Cluster, Clusters
from kafka_migration.errors import ClusterError
from kafka_migration.findings import Finding, Status
from kafka_migration.offsets import OffsetRange, Offsets, TopicPartition, Which, read_several
from kafka_migration.plan.model import OWN_TOPICS, Plan
from kafka_migration.report import Change
from kafka_migration.topics.create import TopicToCreate, create_topics
from kafka_migration.topics.describe import topic_names
from kafka_migration.visible import each_visible

_SETTINGS = {"retention.ms": "86400000", "cleanup.policy": "delete"}
_OF_COPIES = {"message.timestamp.type": "LogAppendTime"}  # tells when a copy was written, by its broker's clock
_BROKERS_DEFAULT = -1


@dataclass(frozen=True)
class Canary:
    """One that was sent. `sent_at`: seconds since the epoch. `onto`: where the destination's topic ended before it."""

    topic: str
    id: str
    sent_at: float
    onto: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def topic_of(plan: Plan) -> str | None:
    """The canary's topic; None where the plan asks for none."""
    return f"{OWN_TOPICS}canary.{plan.plan}" if plan.mirror is not None and plan.mirror.canary else None


@dataclass(frozen=True)
class Beat:
    """One that has arrived: when it was sent, in seconds since the epoch, and how many seconds it took."""

    sent_at: float
    took: float


def check(clusters: Clusters, topic: str, copy: str) -> list[Finding]:
    """Whether both clusters have the topic or would create it; changes nothing.

    `copy`, here as below: what it is called on the destination.
    """
    found = []
    for cluster, name in ((clusters.origin, topic), (clusters.destination, copy)):
        if name in topic_names(cluster):
            continue
        for reason in create_topics(cluster, [_wanted(clusters, cluster, name)], trial=True).values():
            found.append(
                Finding(
                    f"canary-topic/{cluster.side}",
                    Status.FAIL,
                    f"the {cluster.side} would not create topic {name}: {reason}",
                    "a topic of this product's own, one partition, kept for a day",
                    "give the connection the right to create it and to write to it on the source, create it by hand,"
                    " or take canary out of the plan's mirror",
                )
            )
    return found or [Finding("canary-topic/all", Status.PASS, f"topic {topic} is there, or can be created")]


def make(clusters: Clusters, topic: str, copy: str) -> list[Change]:
    """Make the topic where it is not there yet, on both clusters. Raises `ClusterError`."""
    changes = []
    for cluster, name in ((clusters.origin, topic), (clusters.destination, copy)):
        if name in topic_names(cluster):
            continue
        for reason in create_topics(cluster, [_wanted(clusters, cluster, name)]).values():
            raise ClusterError(f"{cluster} did not create the canary's topic {name}: {reason}")
        changes.append(Change(f"topic {name} on the {cluster.side}", "absent", "made: one partition, kept for a day"))
    return changes


def begins(clusters: Clusters, topic: str) -> Offsets:
    """From where on the topic is copied: nobody waits for former canaries any more."""
    tp = TopicPartition(topic, 0)
    return {tp: read_several(clusters.origin, [tp], (Which.END,))[Which.END][tp]}


def send(clusters: Clusters, topic: str, clock: Callable[[], float]) -> Canary:
    """Write a new one to the origin. Raises `ClusterError` where it is not acknowledged."""
    tp = TopicPartition(topic, 0)
    onto = read_several(clusters.destination, [tp], (Which.END,))[Which.END][tp]
    name, sent_at = _written(clusters.origin, topic, clock)
    return Canary(topic, name, sent_at, onto)


def beat(origin: Cluster, topic: str, clock: Callable[[], float]) -> float:
    """Write a new one for which nobody waits, see `beats`; when it was sent. Raises `ClusterError`."""
    return _written(origin, topic, clock)[1]


def beats(destination: Cluster, copy: str, since: int | None, now: float) -> tuple[list[Beat], int]:
    """Those that a consumer would see by now behind offset `since` of that topic, and behind which to look next.

    `since` None: from now on. A copy has arrived when its broker has appended it, by that broker's clock; where the
    topic keeps the time of the original, when it was seen here.
    """
    tp = TopicPartition(copy, 0)
    offsets = read_several(destination, [tp], (Which.START, Which.STABLE))
    end = offsets[Which.STABLE][tp]
    start = end if since is None else max(since, offsets[Which.START][tp])
    found: list[Beat] = []

    def heard(_: TopicPartition, message: Message) -> None:
        sent_at = float(json.loads(message.value())["sent_at"])
        kind, at = message.timestamp()
        found.append(Beat(sent_at, max(0.0, (at / 1000 if kind == TIMESTAMP_LOG_APPEND_TIME else now) - sent_at)))

    each_visible(destination, [OffsetRange(tp, start, end)], heard)
    return found, end


def _written(origin: Cluster, topic: str, clock: Callable[[], float]) -> tuple[str, float]:
    """Write one; its id, and when it was sent."""
    answers: list[Any] = []

    def answered(error: Any, message: Message) -> None:
        answers.append(error)

    try:
        producer = Producer({**origin.config, "acks": "all", "enable.idempotence": True})
        producer.list_topics(topic, timeout=CONNECT_TIMEOUT)  # connecting is no part of what is measured
        name, sent_at = uuid4().hex, clock()
        value = json.dumps({"id": name, "sent_at": sent_at}).encode()
        producer.produce(topic, value, name.encode(), partition=0, on_delivery=answered)
        producer.flush(REQUEST_TIMEOUT + CONNECT_TIMEOUT)
    except KafkaException as error:
        raise origin.error(error, f"writing to {topic}") from None
    if answers != [None]:
        raise (
            origin.error(answers[0], f"writing to {topic}")
            if answers
            else ClusterError(f"{origin} did not acknowledge a message to {topic} within {REQUEST_TIMEOUT:.0f} s")
        )
    return name, sent_at


def has_arrived(clusters: Clusters, told: Mapping[str, Any]) -> bool:
    """Whether a consumer of the destination would see it by now. `told`: a `Canary` as JSON. Raises `ClusterError`."""
    canary, seen = Canary(**told), set()
    tp = TopicPartition(canary.topic, 0)
    offsets = read_several(clusters.destination, [tp], (Which.START, Which.STABLE))
    start = max(canary.onto, offsets[Which.START][tp])
    each_visible(
        clusters.destination,
        [OffsetRange(tp, start, offsets[Which.STABLE][tp])],
        lambda _, message: seen.add(message.key()),
    )
    return canary.id.encode() in seen


def _wanted(clusters: Clusters, cluster: Cluster, topic: str) -> TopicToCreate:
    own = _OF_COPIES if cluster is clusters.destination else {}
    return TopicToCreate(topic, 1, _BROKERS_DEFAULT, {**_SETTINGS, **own})
