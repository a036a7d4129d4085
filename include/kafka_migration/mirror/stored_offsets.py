"""How far a MirrorMaker without REST has come: its topic of offsets, read, and written while it does not run.

It is Kafka Connect's own topic (`mm2-offsets.<alias>.internal`, on the cluster that is copied to). What is stored is
the last offset that was copied. Connect finds an entry again by the bytes of its key, so they are written as it does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import NewTopic

from kafka_migration.clusters.client import REQUEST_TIMEOUT, Cluster
from kafka_migration.errors import MirrorError
from kafka_migration.offsets import OffsetRange, Offsets, TopicPartition, Which, read_several
from kafka_migration.topics.describe import await_topics, topic_names
from kafka_migration.visible import each_visible

_CONNECTOR = "MirrorSourceConnector"
# One partition, so that no key is looked for in another one than it was written to. Small segments are compacted soon:
# every transaction of the copying leaves an entry for each of its partitions, and the topic is read again and again.
_SETTINGS = {"cleanup.policy": "compact", "segment.bytes": str(4 * 2**20), "min.cleanable.dirty.ratio": "0.1"}
_FLUSH_WITHIN = 60.0


def offsets_topic(alias: str) -> str:
    """Where the offsets of what is copied from the cluster of that alias are stored."""
    return f"mm2-offsets.{alias}.internal"


def make_topic(cluster: Cluster, alias: str, replicas: int) -> None:
    """Make it, where it is not there."""
    topic = offsets_topic(alias)
    if topic not in topic_names(cluster):
        made = cluster.admin.create_topics(
            [NewTopic(topic, 1, replicas, config=_SETTINGS)], request_timeout=REQUEST_TIMEOUT
        )
        cluster.wait(made[topic], f"creating topic {topic}")
        await_topics(cluster, {topic: 1})


def read_positions(cluster: Cluster, alias: str) -> dict[TopicPartition, int]:
    """By partition the offset that is copied next; empty where nothing is stored."""
    topic = TopicPartition(offsets_topic(alias), 0)
    if topic.topic not in topic_names(cluster):
        return {}
    found: dict[TopicPartition, int] = {}

    def tell(_: TopicPartition, message: Any) -> None:
        of = _partition(message.key(), alias)
        if of is None:
            return
        if message.value() is None:
            found.pop(of, None)
        else:
            found[of] = int(json.loads(message.value())["offset"]) + 1

    offsets = read_several(cluster, [topic], (Which.START, Which.STABLE))
    each_visible(cluster, [OffsetRange(topic, offsets[Which.START][topic], offsets[Which.STABLE][topic])], tell)
    return found


def write_positions(cluster: Cluster, alias: str, positions: Offsets) -> None:
    """Let a MirrorMaker that does not run go on at these offsets. From 0 it goes on by itself."""
    entries = {_key(tp, alias): _value(at) for tp, at in sorted(positions.items()) if at > 0}
    _write(cluster, offsets_topic(alias), entries)


def forget_positions(cluster: Cluster, alias: str) -> None:
    """Let it begin anew."""
    _write(cluster, offsets_topic(alias), {_key(tp, alias): None for tp in read_positions(cluster, alias)})


def shut_out(cluster: Cluster, alias: str, tasks: int) -> None:
    """End what tasks of a killed process had begun to write: an open transaction holds up whoever reads the copies.

    Kafka Connect calls the transactions of a task by its group, its connector and its number (KIP-618).
    """
    for number in range(tasks):
        settings = {**cluster.config, "transactional.id": f"{alias}-mm2-{_CONNECTOR}-{number}"}
        try:
            Producer(settings).init_transactions(_FLUSH_WITHIN)
        except KafkaException as error:
            raise cluster.error(error, f"ending the transactions of task {number} of MirrorMaker") from None


def _write(cluster: Cluster, topic: str, entries: Mapping[bytes, bytes | None]) -> None:
    if not entries:
        return
    refused: list[str] = []
    producer = Producer({**cluster.config, "acks": "all", "enable.idempotence": True})
    for key, value in entries.items():
        producer.produce(
            topic, value, key, partition=0, on_delivery=lambda error, _: refused.append(error.str()) if error else None
        )
    left = producer.flush(_FLUSH_WITHIN)
    if refused or left:
        raise MirrorError(
            f"{cluster}: the offsets from which MirrorMaker shall copy could not all be written to {topic}:"
            f" {refused[0] if refused else f'{left} without an answer'}. Clear this task to write them again."
        )


def _key(tp: TopicPartition, alias: str) -> bytes:
    source = {"cluster": alias, "partition": tp.partition, "topic": tp.topic}
    return json.dumps([_CONNECTOR, source], separators=(",", ":")).encode()


def _value(position: int) -> bytes:
    return json.dumps({"offset": position - 1}, separators=(",", ":")).encode()


def _partition(key: bytes | None, alias: str) -> TopicPartition | None:
    connector, source = json.loads(key or b"[null,null]")
    if connector != _CONNECTOR or source["cluster"] != alias:
        return None
    return TopicPartition(source["topic"], int(source["partition"]))
