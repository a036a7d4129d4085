"""Many topics, groups and services on two clusters: made in bulk through the bare client, with a lag that is known.

What is made here is also what a step is measured against: the same requests, sent with no code of this product.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, IsolationLevel, Producer
from confluent_kafka import TopicPartition as KafkaTopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, OffsetSpec, ResourceType

from benchmarks.failed import BenchmarkFailed
from demo.kafka import silent_logger

PARTITIONS_EACH = 10
MOST_SERVICES = 50
_TOPICS_EACH_READS = 2
_PRODUCING = 5  # one service in so many writes; the others read
_WITHIN = 180.0
_TOPICS_A_REQUEST = 150  # about as many records as the product sends in one
_PARTITIONS_A_REQUEST = 500


@dataclass(frozen=True)
class Size:
    """How many partitions there are; all else follows. Each topic has ten, each group reads two topics."""

    partitions: int
    most_services: int = MOST_SERVICES

    @property
    def topics(self) -> int:
        return max(1, self.partitions // PARTITIONS_EACH)

    @property
    def groups(self) -> int:
        return self.topics

    @property
    def services(self) -> int:
        return max(2, min(self.most_services, self.groups))


@dataclass(frozen=True)
class Many:
    """The names and numbers of one size. `messages`: in each partition; `behind`: how many a group has left of one."""

    size: Size
    messages: int = 10
    behind: int = 3

    @cached_property
    def topics(self) -> list[str]:
        return [f"topic-{number:04}" for number in range(self.size.topics)]

    @cached_property
    def reads(self) -> dict[str, list[str]]:
        """By group its topics: one after the other, so that every partition is read by somebody."""
        count = len(self.topics)
        return {
            f"group-{number:04}": sorted({self.topics[(number + more) % count] for more in range(_TOPICS_EACH_READS)})
            for number in range(self.size.groups)
        }

    @cached_property
    def plan(self) -> str:
        """The plan file: a fifth of its services write, the others read. A person has each in hand."""
        writing = max(1, self.size.services // _PRODUCING)
        reading = self.size.services - writing
        lines = [
            "plan: many",
            "scheme: producers_first",
            "source: {connection: source}",
            "target: {connection: target}",
            "topics: {include: ['topic-[0-9]+']}",
            "cutover: {quiet: 1s}",
            "services:",
        ]
        for number in range(writing):
            topics = ", ".join(self.topics[number::writing])
            if topics:
                lines += [f"  - name: writer-{number}", f"    produces: [{topics}]", "    controller: {kind: manual}"]
        groups = list(self.reads)
        for number in range(reading):
            mine = groups[len(groups) * number // reading : len(groups) * (number + 1) // reading]
            if mine:
                told = ", ".join(f"{{group: {group}, topics: [{', '.join(self.reads[group])}]}}" for group in mine)
                lines += [f"  - name: reader-{number}", f"    consumes: [{told}]", "    controller: {kind: manual}"]
        return "\n".join(lines) + "\n"

    def write_plan(self, folder: Path) -> Path:
        file = folder / "many.yaml"
        file.write_text(self.plan, encoding="utf-8")
        return file

    def of(self, topics: Iterable[str]) -> list[tuple[str, int]]:
        return [(topic, number) for topic in topics for number in range(PARTITIONS_EACH)]

    @cached_property
    def partitions(self) -> list[tuple[str, int]]:
        return self.of(self.topics)

    @cached_property
    def lag(self) -> dict[str, int]:
        """By group what it has left: a few messages of one partition of each group."""
        return dict.fromkeys(self.reads, self.behind)

    @cached_property
    def left(self) -> dict[tuple[str, int], int]:
        """From where on something is left to somebody, by partition."""
        return {(topics[0], 0): self.messages - self.behind for topics in self.reads.values()}

    def commits(self, end: int, behind: int = 0) -> dict[str, list[KafkaTopicPartition]]:
        """Where each group stands: at `end` of every partition, but so far before it in the first."""
        return {
            group: [
                KafkaTopicPartition(topic, number, end - (behind if place == 0 else 0))
                for place, (topic, number) in enumerate(self.of(topics))
            ]
            for group, topics in self.reads.items()
        }


class Bare:
    """The admin client of a cluster, asked for what the product asks for, in the same batches, and nothing more."""

    def __init__(self, servers: str) -> None:
        self._servers = servers
        self._admin = AdminClient({"bootstrap.servers": servers}, logger=silent_logger())

    def create(self, topics: Sequence[str]) -> None:
        """Create topics of ten partitions, and wait until all can be seen with a leader."""
        for names in batched_by(topics, _TOPICS_A_REQUEST):
            asked = self._admin.create_topics(
                [NewTopic(name, PARTITIONS_EACH, 1) for name in names], request_timeout=_WITHIN
            )
            _wait(asked.values())
        deadline = time.monotonic() + _WITHIN
        while time.monotonic() < deadline:
            seen = self._admin.list_topics(timeout=_WITHIN).topics
            if all(
                name in seen
                and len(seen[name].partitions) == PARTITIONS_EACH
                and all(p.leader >= 0 for p in seen[name].partitions.values())
                for name in topics
            ):
                return
            time.sleep(0.1)
        raise BenchmarkFailed(f"not all of {len(topics)} topics were to be seen after {_WITHIN:.0f} s")

    def fill(self, partitions: Sequence[tuple[str, int]], each: int) -> None:
        producer = Producer(
            {"bootstrap.servers": self._servers, "linger.ms": 50, "enable.idempotence": True}, logger=silent_logger()
        )
        for number in range(each):
            for topic, partition in partitions:
                while True:
                    try:
                        producer.produce(topic, b"%d" % number, partition=partition)
                        break
                    except BufferError:
                        producer.poll(0.05)
        if producer.flush(_WITHIN):
            raise BenchmarkFailed("not all messages were taken")

    def commit(self, commits: dict[str, list[KafkaTopicPartition]]) -> None:
        asked = [
            self._admin.alter_consumer_group_offsets(
                [ConsumerGroupTopicPartitions(group, offsets)], request_timeout=_WITHIN
            )[group]
            for group, offsets in commits.items()
        ]
        for done in _wait(asked):
            refused = [tp for tp in done.topic_partitions if tp.error]
            if refused:
                raise BenchmarkFailed(f"{done.group_id}: {refused[0].error}")

    def committed(self, groups: Iterable[str]) -> dict[str, list[KafkaTopicPartition]]:
        asked = {
            group: self._admin.list_consumer_group_offsets(
                [ConsumerGroupTopicPartitions(group)], request_timeout=_WITHIN
            )[group]
            for group in groups
        }
        return {group: future.result(_WITHIN).topic_partitions for group, future in asked.items()}

    def offsets(
        self, partitions: Sequence[tuple[str, int]], *specs: OffsetSpec, isolation: IsolationLevel | None = None
    ) -> None:
        asked: list[Future[Any]] = []
        for spec in specs:
            for some in batched_by(partitions, _PARTITIONS_A_REQUEST):
                asked += self._admin.list_offsets(
                    {KafkaTopicPartition(*one): spec for one in some},
                    isolation_level=isolation or IsolationLevel.READ_UNCOMMITTED,
                    request_timeout=_WITHIN,
                ).values()
        _wait(asked)

    def list_topics(self) -> None:
        self._admin.list_topics(timeout=_WITHIN)

    def settings(self, topics: Sequence[str]) -> None:
        asked: list[Future[Any]] = []
        for names in batched_by(topics, 100):
            resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
            asked += self._admin.describe_configs(resources, request_timeout=_WITHIN).values()
        _wait(asked)

    def try_to_create(self, topics: Sequence[str]) -> None:
        for names in batched_by(topics, _TOPICS_A_REQUEST):
            wanted = [NewTopic(name, PARTITIONS_EACH, 1) for name in names]
            _wait(self._admin.create_topics(wanted, validate_only=True, request_timeout=_WITHIN).values())

    def groups(self, groups: Sequence[str]) -> None:
        self._admin.list_consumer_groups(request_timeout=_WITHIN).result(_WITHIN)
        asked: list[Future[Any]] = []
        for names in batched_by(groups, _PARTITIONS_A_REQUEST):
            asked += self._admin.describe_consumer_groups(list(names), request_timeout=_WITHIN).values()
        _wait(asked)

    def read(self, starts: Mapping[tuple[str, int], int], end: int) -> None:
        """Every message from these offsets on to the end, which is the same for all."""
        settings = {"group.id": "bare", "fetch.queue.backoff.ms": 5, "fetch.wait.max.ms": 10}
        consumer = Consumer({"bootstrap.servers": self._servers, **settings}, logger=silent_logger())
        there = {where: start for where, start in starts.items() if start < end}
        consumer.assign([KafkaTopicPartition(*where, start) for where, start in there.items()])
        left, deadline = sum(end - start for start in there.values()), time.monotonic() + _WITHIN
        while left > 0 and time.monotonic() < deadline:
            left -= sum(message.error() is None for message in consumer.consume(1, 0.5) + consumer.consume(1000, 0))
        consumer.close()
        if left:
            raise BenchmarkFailed(f"{left:,} messages were not read")


def _wait(futures: Iterable[Future[Any]]) -> list[Any]:
    return [future.result(_WITHIN) for future in futures]


def batched_by(things: Sequence[Any], most: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(things), most):
        yield things[start : start + most]
