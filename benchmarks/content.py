"""Content compared, beside what reading alone costs: messages a second of both clusters together.

The same messages lie on both. Reading is the floor: how fast confluent-kafka merely counts them with the same settings,
in one process, one cluster after the other; and Kafka's own ConsumerPerformance, a JVM for each cluster in turn, by the
rate that it tells of its fetching. What people do today is piped through a shell: kcat, sort, sha256sum, for each
cluster in turn; left out where there is no kcat. Every way is measured in every round, the rounds in turned order; the
best counts.
"""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from confluent_kafka import KafkaError, Producer
from rich.console import Console
from rich.table import Table

from benchmarks.failed import BenchmarkFailed
from benchmarks.pair import Pair, delete_topics, make_topic, two_clusters
from demo.jars import java, kafka_classpath
from kafka_migration.clusters.client import Cluster
from kafka_migration.offsets import TopicPartition
from kafka_migration.verification.content import RangePair, compare_content

PARTITIONS = 4
_BATCH = 1000
_STALL = 60.0

COMPARED = "compared by this product"
COUNTED = "counted by confluent-kafka"
PERFORMANCE = "Kafka's ConsumerPerformance"
SHELL = "kcat | sort | sha256sum"
KCAT = shutil.which("kcat") or shutil.which("kafkacat")
WAYS = (COUNTED, COMPARED, PERFORMANCE, *((SHELL,) if KCAT else ()))


@dataclass(frozen=True)
class Load:
    """`count` messages of `size` bytes, on each cluster."""

    count: int
    size: int


LOADS = (Load(3_000_000, 100), Load(600_000, 1_024))


@dataclass
class Measured:
    """Of one way: messages a second and seconds of this process's CPU, by round."""

    rates: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)


def run(console: Console, scale: float = 1.0) -> None:
    with two_clusters() as pair:
        for load in LOADS:
            scaled = Load(max(PARTITIONS, int(load.count * scale)), load.size)
            console.print(_table(scaled, measure(console, pair, scaled)))


def measure(console: Console, pair: Pair, load: Load, rounds: int = 3) -> dict[str, Measured]:
    topic = f"same-{load.size}"
    found = {way: Measured() for way in WAYS}
    clusters = (pair.source, pair.target)
    try:
        for cluster in clusters:
            fill_alike(cluster, make_topic(cluster, topic, PARTITIONS), load)
        deeds: Mapping[str, Callable[[], float | None]] = {
            COUNTED: lambda: _counted(clusters, topic, load),
            COMPARED: lambda: _compared(pair, topic, load),
            PERFORMANCE: lambda: _performance(clusters, topic, load),
            SHELL: lambda: _piped(clusters, topic),
        }
        for number in range(rounds):
            for way in WAYS if number % 2 == 0 else reversed(WAYS):
                began, busy = time.monotonic(), time.process_time()
                told = deeds[way]()
                seconds = time.monotonic() - began
                found[way].rates.append(told if told is not None else 2 * load.count / seconds)
                found[way].busy.append(time.process_time() - busy)
                console.print(f"{load.size} bytes, round {number + 1}, {way}: {found[way].rates[-1]:,.0f} messages/s")
    finally:
        for cluster in clusters:
            delete_topics(cluster, [topic])
    return found


_BEGAN = int(time.time() * 1000) - 24 * 3600 * 1000  # brokers take no timestamp of the future


def fill_alike(on: Cluster, partitions: list[TopicPartition], load: Load) -> None:
    """The same on every cluster, timestamps included."""
    producer = Producer({"bootstrap.servers": on.bootstrap_servers, "linger.ms": 20, "batch.size": 500_000})
    value = bytes(range(256)) * (load.size // 256 + 1)
    for number in range(load.count):
        tp = partitions[number % len(partitions)]
        while True:
            try:
                producer.produce(
                    tp.topic,
                    value[number % 200 :][: load.size - 8],
                    key=b"%08d" % number,
                    partition=tp.partition,
                    timestamp=_BEGAN + number,
                )
                break
            except BufferError:
                producer.poll(0.05)
    if producer.flush(120):
        raise BenchmarkFailed(f"{on} has not taken all messages")


def _counted(clusters: tuple[Cluster, Cluster], topic: str, load: Load) -> None:
    for cluster in clusters:
        with cluster.reader() as consumer:
            consumer.assign([TopicPartition(topic, number).at(0) for number in range(PARTITIONS)])
            count, ended, heard = 0, 0, time.monotonic()
            while ended < PARTITIONS:
                messages = consumer.consume(_BATCH, 0.1)
                for message in messages:
                    if message.error() is None:
                        count += 1
                    elif message.error().code() == KafkaError._PARTITION_EOF:
                        ended += 1
                heard = time.monotonic() if messages else heard
                if time.monotonic() - heard > _STALL:
                    raise BenchmarkFailed(f"{cluster}: nothing for {_STALL:.0f} s")
        if count != load.count:
            raise BenchmarkFailed(f"{cluster}: {count:,} of {load.count:,} messages")


def _compared(pair: Pair, topic: str, load: Load) -> None:
    each = [load.count // PARTITIONS + (number < load.count % PARTITIONS) for number in range(PARTITIONS)]
    pairs = [RangePair(TopicPartition(topic, n), 0, count, 0, count) for n, count in enumerate(each)]
    results = compare_content(pair.source, pair.target, pairs)
    equal = sum(result.equal for result in results.values())
    if equal != load.count or any(result.different for result in results.values()):
        raise BenchmarkFailed(f"{equal:,} of {load.count:,} messages are equal")


def _performance(clusters: tuple[Cluster, Cluster], topic: str, load: Load) -> float:
    """Messages a second: those of both, by the seconds that each tells of its fetching."""
    seconds = 0.0
    for cluster in clusters:
        told = subprocess.run(
            [
                str(java()),
                "-Xmx512m",
                "-cp",
                kafka_classpath(),
                "org.apache.kafka.tools.ConsumerPerformance",
                *("--bootstrap-server", cluster.bootstrap_servers, "--topic", topic, "--group", uuid.uuid4().hex),
                *("--num-records", str(load.count), "--timeout", "60000"),
            ],
            capture_output=True,
            text=True,
            timeout=600,
        )
        rows = [row for row in csv.reader(told.stdout.splitlines(), skipinitialspace=True) if len(row) > 9]
        if told.returncode or len(rows) != 2:
            raise BenchmarkFailed(f"ConsumerPerformance: {told.stdout[-500:]}\n{told.stderr[-500:]}")
        values = dict(zip((name.strip() for name in rows[0]), rows[1], strict=True))
        seconds += max(1.0, float(values["fetch.time.ms"])) / 1000
    return 2 * load.count / seconds


def _piped(clusters: tuple[Cluster, Cluster], topic: str) -> None:
    """The digests of both topics, made in the shell: order, headers and timestamps are not looked at."""
    told = []
    for cluster in clusters:
        kcat = f"{KCAT} -C -e -q -b {cluster.bootstrap_servers} -t {topic} -o beginning -f '%p %k %s\\n'"
        piped = subprocess.run(
            ["sh", "-c", f"{kcat} | sort | sha256sum"],
            capture_output=True,
            env={**os.environ, "LC_ALL": "C"},
            check=True,
            timeout=600,
        )
        told.append(piped.stdout)
    if told[0] != told[1]:
        raise BenchmarkFailed("the shell finds the topics different")


def _table(load: Load, found: Mapping[str, Measured]) -> Table:
    title = f"{load.count:,} messages of {load.size:,} bytes on each of two clusters, {PARTITIONS} partitions"
    table = Table("way", "messages/s, each round", "best", "CPU s here", "compared / this", title=title)
    ours = max(found[COMPARED].rates)
    for way in WAYS:
        best = max(found[way].rates)
        told = ", ".join(f"{rate:,.0f}" for rate in found[way].rates)
        busy = "" if way in (PERFORMANCE, SHELL) else f"{min(found[way].busy):.1f}"
        table.add_row(way, told, f"{best:,.0f}", busy, f"{ours / best:.2f}")
    return table
