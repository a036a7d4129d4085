"""Writes real logs for the tests of the domain: transactions, aborted and deleted messages, groups that read.

It knows what it wrote from the brokers' acknowledgements, so that a test can judge a verdict without the code it tests.
"""

from __future__ import annotations

import contextlib
import logging
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import NewTopic

from demo.waiting import patience
from kafka_migration.clusters.client import Cluster
from kafka_migration.offsets import TopicPartition, Which, read_offsets, read_several
from kafka_migration.sides import Side
from kafka_migration.topics.describe import await_topics

_SILENT = logging.getLogger("tests.librdkafka")
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False


def eventually(condition: Callable[[], bool], what: str, timeout: float = 30.0) -> None:
    """Return as soon as it holds; fail the test when it does not in time.

    The longer it takes, the seldomer it looks: what is waited for runs on the same few cores.
    """
    began = time.monotonic()
    timeout *= patience()
    while not condition():
        waited = time.monotonic() - began
        assert waited < timeout, f"waited {timeout:.0f} s in vain for {what}"
        time.sleep(min(0.01 + waited / 20, 0.1))


def compacting_settings() -> dict[str, str]:
    """A topic that is compacted as soon as the cleaner looks at it."""
    return {
        "cleanup.policy": "compact",
        "segment.ms": "50",
        "min.cleanable.dirty.ratio": "0.001",
        "delete.retention.ms": "0",
    }


class Workbench:
    """One real cluster and what the tests do on it."""

    def __init__(self, bootstrap_servers: str, side: Side = Side.SOURCE) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.cluster = Cluster(side, f"kafka_{side.value}", {"bootstrap.servers": bootstrap_servers})
        self._writer: Producer | None = None
        self._transactional: Producer | None = None

    def topic(self, name: str, partitions: int = 1, settings: Mapping[str, str] | None = None) -> list[TopicPartition]:
        """A new topic with a name of its own; its partitions."""
        topic = f"{name}-{uuid.uuid4().hex[:8]}"
        created = self.cluster.admin.create_topics([NewTopic(topic, partitions, 1, config=dict(settings or {}))])
        created[topic].result(timeout=30)
        await_topics(self.cluster, {topic: partitions})
        return [TopicPartition(topic, number) for number in range(partitions)]

    def end(self, tp: TopicPartition) -> int:
        return read_offsets(self.cluster, [tp], Which.END)[tp]

    def write(self, tp: TopicPartition, count: int = 1, key: bytes = b"k", value: bytes | None = b"v") -> list[int]:
        """Plain messages; the offsets that they were acknowledged at."""
        if self._writer is None:
            self._writer = self._producer()
        return _send(self._writer, tp, count, key, value)

    def commit_transaction(self, tp: TopicPartition, count: int = 1) -> list[int]:
        """A committed transaction; the offsets of its messages. One marker follows them."""
        producer = self._in_transaction()
        offsets = _send(producer, tp, count)
        producer.commit_transaction(30)
        self.await_markers(tp)
        return offsets

    def abort_transaction(self, tp: TopicPartition, count: int = 1) -> None:
        """An aborted transaction: its messages and its marker have offsets, and nobody sees them."""
        producer = self._in_transaction()
        _send(producer, tp, count)
        producer.abort_transaction(30)
        self.await_markers(tp)

    @contextlib.contextmanager
    def open_transaction(self, tp: TopicPartition, count: int = 1) -> Iterator[str]:
        """A transaction that stays open inside; its transactional.id. Aborted at the end."""
        name = f"holder-{uuid.uuid4().hex[:8]}"
        producer = self._producer(name)
        producer.begin_transaction()
        _send(producer, tp, count)
        try:
            yield name
        finally:
            producer.abort_transaction(30)

    def delete_before(self, tp: TopicPartition, offset: int) -> None:
        """Delete what lies before an offset, as retention does."""
        for future in self.cluster.admin.delete_records([tp.at(offset)]).values():
            future.result(timeout=30)

    def forget(self, suffix: str) -> None:
        """Delete every group and topic whose name has it: each look at all of them costs the tests that come later."""
        admin = self.cluster.admin
        groups = [one.group_id for one in admin.list_consumer_groups(request_timeout=30).result().valid]
        topics = list(admin.list_topics(timeout=30).topics)
        deletions: list[Any] = []
        if mine := [group for group in groups if suffix in group]:
            deletions += admin.delete_consumer_groups(mine, request_timeout=30).values()
        if mine := [topic for topic in topics if suffix in topic]:
            deletions += admin.delete_topics(mine, request_timeout=30).values()
        for one in deletions:
            with contextlib.suppress(KafkaException):  # a group that still has a member stays
                one.result(timeout=60)

    def roll_segment(self, tp: TopicPartition) -> None:
        """What is appended after the time of a segment begins another: only former ones are ever compacted."""
        time.sleep(0.06)
        self.abort_transaction(tp)

    @contextlib.contextmanager
    def member(self, group: str, topic: str, **settings: str) -> Iterator[Consumer]:
        """A real consumer, joined, with partitions. It commits only when told to."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.bootstrap_servers,
                "group.id": group,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 10,
                **{key.replace("_", "."): value for key, value in settings.items()},
            },
            logger=_SILENT,
        )
        assigned: list[object] = []
        consumer.subscribe([topic], on_assign=lambda _, partitions: assigned.extend(partitions))
        try:
            deadline = time.monotonic() + 30 * patience()
            while not assigned:
                assert time.monotonic() < deadline, f"{group} was given no partition of {topic}"
                message = consumer.poll(0.1)
                if message is not None and message.error() is None:
                    consumer.seek(TopicPartition(message.topic(), message.partition()).at(message.offset()))
            yield consumer
        finally:
            consumer.close()

    def read_by(self, consumer: Consumer, count: int) -> list[Message]:
        """The next `count` messages that a consumer is given."""
        read: list[Message] = []
        deadline = time.monotonic() + 30 * patience()
        while len(read) < count:
            assert time.monotonic() < deadline, f"read {len(read)} of {count} messages in time"
            message = consumer.poll(0.1)
            if message is not None:
                assert message.error() is None, message.error()
                read.append(message)
        return read

    def visible_offsets(self, tp: TopicPartition) -> list[int]:
        """Every offset that a committed reader is shown, by the simplest consumer there is, from the first to EOF."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.bootstrap_servers,
                "group.id": f"oracle-{uuid.uuid4().hex[:8]}",
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
            },
            logger=_SILENT,
        )
        consumer.assign([tp.at(read_offsets(self.cluster, [tp], Which.START)[tp])])
        offsets: list[int] = []
        try:
            deadline = time.monotonic() + 30 * patience()
            while True:
                assert time.monotonic() < deadline, f"{tp} was not read to its end in time"
                message = consumer.poll(0.1)
                if message is None:
                    continue
                error = message.error()
                if error is None:
                    offsets.append(message.offset())
                elif error.code() == KafkaError._PARTITION_EOF:
                    return offsets
        finally:
            consumer.close()

    def _in_transaction(self) -> Producer:
        if self._transactional is None:
            self._transactional = self._producer(f"writer-{uuid.uuid4().hex[:8]}")
        self._transactional.begin_transaction()
        return self._transactional

    def await_markers(self, tp: TopicPartition) -> None:
        """A commit or an abort returns before its marker is written."""

        def written() -> bool:
            offsets = read_several(self.cluster, [tp], (Which.STABLE, Which.END))
            return offsets[Which.STABLE] == offsets[Which.END]

        eventually(written, f"the transaction's marker on {tp}")

    def _producer(self, transactional_id: str | None = None) -> Producer:
        settings = {"bootstrap.servers": self.bootstrap_servers, "linger.ms": "0"}
        if transactional_id is None:
            return Producer(settings, logger=_SILENT)
        producer = Producer({**settings, "transactional.id": transactional_id}, logger=_SILENT)
        producer.init_transactions(60)
        return producer


def _send(
    producer: Producer, tp: TopicPartition, count: int, key: bytes = b"k", value: bytes | None = b"v"
) -> list[int]:
    offsets: list[int] = []

    def acknowledged(error: KafkaError | None, message: Message) -> None:
        assert error is None, error
        offsets.append(message.offset())

    for _ in range(count):
        producer.produce(tp.topic, value, key=key, partition=tp.partition, on_delivery=acknowledged)
    assert producer.flush(30) == 0
    return offsets
