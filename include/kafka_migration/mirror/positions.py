"""The log of positions: what groups have read on the source, kept where the mirror copies to.

A source that is lost cannot be asked any more. So whoever watches the mirror notes, in a compacted topic of this
product's own on the target, every commit that has changed, and with it where the source ended and how far was copied.
Nothing here reads or changes a group or a topic of the plan.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaException, Message, Producer

from kafka_migration.clusters.client import CONNECT_TIMEOUT, REQUEST_TIMEOUT, Cluster
from kafka_migration.errors import ClusterError
from kafka_migration.offsets import OffsetRange, Offsets, TopicPartition, Which, from_json, read_several, to_json
from kafka_migration.plan.model import OWN_TOPICS, Plan
from kafka_migration.report import Change
from kafka_migration.topics.create import TopicToCreate, create_topics
from kafka_migration.topics.describe import topic_names
from kafka_migration.visible import each_visible

_ENDS = ("ends",)
_LARGEST = 8 * 1024 * 1024  # where ten thousand partitions end is more than a client sends by default
_SETTINGS = {
    "cleanup.policy": "compact",
    "max.message.bytes": str(_LARGEST),
    "segment.bytes": str(4 * _LARGEST),  # what lies in the last segment is never compacted, and all of it is read
    "segment.ms": "3600000",
    "min.cleanable.dirty.ratio": "0.1",
}
_BROKERS_DEFAULT = -1
_RECENT = 200  # records: who notes does so last of each look


@dataclass(frozen=True)
class Known:
    """What was noted last.

    `commits`: by group what it had committed on the source. `at`: by group when it was last seen to be so, in seconds
    since the epoch. `ends`: where the source ended; `copied`: the next offset of it to be copied, both as seen at
    `looked_at`; None: nothing was ever noted. `carry`: what who noted has for the next that does.
    """

    commits: Mapping[str, Offsets] = field(default_factory=dict)
    at: Mapping[str, float] = field(default_factory=dict)
    ends: Offsets = field(default_factory=dict)
    copied: Offsets = field(default_factory=dict)
    looked_at: float | None = None
    carry: Mapping[str, Any] = field(default_factory=dict)


def topic_of(plan: Plan) -> str:
    """The log's topic."""
    return f"{OWN_TOPICS}positions.{plan.plan}"


def make(cluster: Cluster, topic: str) -> list[Change]:
    """Make the topic where it is not there yet. Raises `ClusterError`."""
    if topic in topic_names(cluster):
        return []
    for reason in create_topics(cluster, [TopicToCreate(topic, 1, _BROKERS_DEFAULT, _SETTINGS)]).values():
        raise ClusterError(f"{cluster} did not create topic {topic}, in which positions of groups are noted: {reason}")
    return [Change(f"topic {topic} on the {cluster.side}", "absent", "made: one partition, compacted")]


@dataclass(frozen=True, order=True)
class Watcher:
    """Who notes: since when, in seconds since the epoch, and as which run."""

    since: float
    run_id: str


def note(
    cluster: Cluster,
    topic: str,
    changed: Mapping[str, Offsets],
    ends: Offsets,
    copied: Offsets,
    at: float,
    watcher: Watcher | None = None,
    carry: Mapping[str, Any] | None = None,
) -> None:
    """Write what has changed. `changed`: every group that was looked at, with those of its commits that are new.

    What a group had committed before and is not in `changed` stays as it was noted. Raises `ClusterError` where
    something is not acknowledged by all replicas in sync.
    """
    refused: list[Any] = []

    def answered(error: Any, message: Message) -> None:
        if error is not None:
            refused.append(error)

    settings = {"acks": "all", "enable.idempotence": True, "compression.type": "lz4", "message.max.bytes": _LARGEST}
    try:
        producer = Producer({**cluster.config, **settings, "linger.ms": 5})
        producer.list_topics(topic, timeout=CONNECT_TIMEOUT)
        for key, value in _records(changed, ends, copied, at, watcher, carry):
            while True:
                try:
                    producer.produce(topic, value, key, partition=0, on_delivery=answered)
                    break
                except BufferError:
                    producer.poll(0.1)
        left = producer.flush(REQUEST_TIMEOUT + CONNECT_TIMEOUT)
    except KafkaException as error:
        raise cluster.error(error, f"writing to {topic}") from None
    if refused:
        raise cluster.error(refused[0], f"writing to {topic}")
    if left:
        raise ClusterError(f"{cluster} did not acknowledge {left} messages to {topic} within {REQUEST_TIMEOUT:.0f} s")


def read(cluster: Cluster, topic: str) -> Known:
    """What was noted last; nothing where there is no such topic. Raises `ClusterError`."""
    if topic not in topic_names(cluster):
        return Known()
    tp = TopicPartition(topic, 0)
    offsets = read_several(cluster, [tp], (Which.START, Which.STABLE))
    latest: dict[bytes, Any] = {}

    def heard(_: TopicPartition, message: Message) -> None:
        latest[message.key()] = message.value()

    each_visible(cluster, [OffsetRange(tp, offsets[Which.START][tp], offsets[Which.STABLE][tp])], heard)
    return _known({tuple(json.loads(key)): json.loads(value) for key, value in latest.items()})


def newest_watcher(cluster: Cluster, topic: str) -> Watcher | None:
    """The youngest of those who have noted last. Raises `ClusterError`."""
    tp = TopicPartition(topic, 0)
    offsets = read_several(cluster, [tp], (Which.START, Which.STABLE))
    end = offsets[Which.STABLE][tp]
    found: list[Watcher] = []

    def heard(_: TopicPartition, message: Message) -> None:
        if tuple(json.loads(message.key())) == _ENDS and (by := json.loads(message.value()).get("by")):
            found.append(Watcher(*by))

    each_visible(cluster, [OffsetRange(tp, max(offsets[Which.START][tp], end - _RECENT), end)], heard)
    return max(found, default=None)


def _records(
    changed: Mapping[str, Offsets],
    ends: Offsets,
    copied: Offsets,
    at: float,
    watcher: Watcher | None,
    carry: Mapping[str, Any] | None,
) -> Iterator[tuple[bytes, bytes]]:
    """Commits first: what says when it was looked is written behind what was seen."""
    for group, offsets in changed.items():
        for tp, offset in sorted(offsets.items()):
            yield _key(group, tp.topic, tp.partition), _value({"offset": offset, "at": at})
    by = None if watcher is None else [watcher.since, watcher.run_id]
    told = {
        "at": at,
        "by": by,
        "carry": dict(carry or {}),
        "groups": sorted(changed),
        "ends": to_json(ends),
        "copied": to_json(copied),
    }
    yield _key(*_ENDS), _value(told)


def _known(latest: dict[tuple[Any, ...], Any]) -> Known:
    last = latest.pop(_ENDS, None)
    commits: dict[str, dict[TopicPartition, int]] = {}
    at: dict[str, float] = {}
    for (group, topic, partition), value in latest.items():
        commits.setdefault(group, {})[TopicPartition(topic, partition)] = value["offset"]
        at[group] = max(value["at"], at.get(group, 0.0))
    if last is None:
        return Known(commits, at)
    at |= dict.fromkeys(last["groups"], last["at"])
    return Known(commits, at, from_json(last["ends"]), from_json(last["copied"]), last["at"], last.get("carry", {}))


def _key(*parts: object) -> bytes:
    return _value(parts)


def _value(data: object) -> bytes:
    return json.dumps(data, separators=(",", ":")).encode()
