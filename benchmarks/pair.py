"""Two real clusters for a benchmark, and what it does with them: topics of random bytes, counted when they are copied.

A benchmark that has lost a message has measured nothing: then it ends with `BenchmarkFailed`.
"""

from __future__ import annotations

import contextlib
import random
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic

from benchmarks.failed import BenchmarkFailed
from demo.connect import ConnectWorker
from demo.kafka import KafkaCluster
from kafka_migration.clusters.client import Cluster
from kafka_migration.mirror.rest import Connect, ConnectAccess
from kafka_migration.offsets import OffsetRange, TopicPartition, Which, read_offsets
from kafka_migration.sides import Side
from kafka_migration.topics.describe import await_topics, topic_names
from kafka_migration.visible import count_visible

PLAIN_TARGET = "bench"
_STALL = 60.0
_FREED_AT_ONCE = {"log.segment.delete.delay.ms": "1000"}  # copies are deleted after each run


@dataclass(frozen=True)
class Pair:
    """Source and target, and a folder for what else is started."""

    source: Cluster
    target: Cluster
    folder: Path

    @contextlib.contextmanager
    def worker(self, *, exactly_once: bool = True) -> Iterator[Connect]:
        """A running Connect worker that copies to the target."""
        name = "exactly-once" if exactly_once else "at-least-once"
        servers = self.target.bootstrap_servers
        with ConnectWorker(name, servers, self.folder / name, exactly_once=exactly_once) as worker:
            yield Connect(ConnectAccess(worker.url))

    @contextlib.contextmanager
    def topic(self, name: str, partitions: int, messages: int, size: int = 100) -> Iterator[list[TopicPartition]]:
        """A topic of the source with so many messages. It is deleted at the end, and its copy with it."""
        made = make_topic(self.source, name, partitions)
        try:
            fill(self.source, made, messages, size)
            yield made
        finally:
            for cluster in (self.source, self.target):
                delete_topics(cluster, [name])


@contextlib.contextmanager
def two_clusters(heap: str = "384m") -> Iterator[Pair]:
    """A source and a target of one broker each, with that much heap; they go with all that is on them."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kafka-migration-bench-")))
        both = [KafkaCluster(side.value, folder / side.value, settings=_FREED_AT_ONCE, heap=heap) for side in Side]
        with ThreadPoolExecutor(len(both)) as pool:
            for future in [pool.submit(stack.enter_context, one) for one in both]:
                future.result()
        source, target = (
            Cluster(s, s.value, {"bootstrap.servers": b.bootstrap_servers}) for s, b in zip(Side, both, strict=True)
        )
        yield Pair(source, target, folder)


def make_topic(on: Cluster, name: str, partitions: int) -> list[TopicPartition]:
    on.wait(on.admin.create_topics([NewTopic(name, partitions, 1)])[name], f"creating topic {name}")
    await_topics(on, {name: partitions})
    return [TopicPartition(name, number) for number in range(partitions)]


def delete_topics(on: Cluster, names: Iterable[str]) -> None:
    there = sorted(set(names) & set(topic_names(on)))
    for name, future in on.admin.delete_topics(there).items() if there else ():
        on.wait(future, f"deleting topic {name}")


def fill(on: Cluster, partitions: Sequence[TopicPartition], count: int, size: int) -> None:
    """`count` messages in all of `size` random bytes each, the partitions in turn."""
    before, chance = stored(on, partitions), random.Random(size)
    producer = Producer({"bootstrap.servers": on.bootstrap_servers, "linger.ms": 20, "batch.size": 500_000})
    for number in range(count):
        tp = partitions[number % len(partitions)]
        while True:
            try:
                producer.produce(tp.topic, chance.randbytes(size), partition=tp.partition)
                break
            except BufferError:
                producer.poll(0.05)
    producer.flush(120)
    taken = stored(on, partitions) - before
    if taken != count:
        raise BenchmarkFailed(f"{on} has taken {taken:,} of {count:,} messages")


def check_count(on: Cluster, partitions: Sequence[TopicPartition], count: int) -> None:
    """Raises `BenchmarkFailed` unless exactly so many messages are visible."""
    ends = read_offsets(on, partitions, Which.END)
    seen = count_visible(on, [OffsetRange(tp, 0, end) for tp, end in ends.items()])
    total = sum(one.count for one in seen.values())
    if total != count or not all(one.complete for one in seen.values()):
        raise BenchmarkFailed(
            f"{total:,} messages of {partitions[0].topic} are visible on the {on.side}, not {count:,}"
        )


def stored(on: Cluster, partitions: Iterable[TopicPartition]) -> int:
    """Offsets up to which committed readers read, in all."""
    return sum(read_offsets(on, partitions, Which.STABLE).values())


def stop_connector(connect: Connect, name: str) -> None:
    """Stop a connector and remove it, with the offsets that it has kept."""
    if connect.config(name) is None:
        return
    connect.stop(name)
    deadline = time.monotonic() + _STALL
    while connect.state(name) != ("STOPPED", 0):
        if time.monotonic() > deadline:
            raise BenchmarkFailed(f"connector {name} does not stop: {connect.state(name)}")
        time.sleep(0.1)
    connect.remove(name)


def plain_mirror(pair: Pair, topic: str, alias: str) -> Mapping[str, str]:
    """MirrorMaker's own defaults: what it cannot do without, and replicas for a single broker."""
    return {
        "connector.class": "org.apache.kafka.connect.mirror.MirrorSourceConnector",
        "source.cluster.alias": alias,
        "target.cluster.alias": PLAIN_TARGET,
        "source.cluster.bootstrap.servers": pair.source.bootstrap_servers,
        "target.cluster.bootstrap.servers": pair.target.bootstrap_servers,
        "topics": topic,
        "replication.factor": "1",
        "offset-syncs.topic.replication.factor": "1",
    }
