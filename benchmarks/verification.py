"""A verification whose cost grows with what is new: offsets of very many partitions, an incremental pass, memory.

The same messages lie on both clusters. The full pass and the one over what came since are measured in turn; memory is
that of a process of its own which compares a tenth, and of one which compares everything.
"""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from confluent_kafka.admin import NewTopic
from rich.console import Console
from rich.table import Table

from benchmarks.content import PARTITIONS, Load, fill_alike
from benchmarks.failed import BenchmarkFailed
from benchmarks.pair import Pair, delete_topics, make_topic, two_clusters
from kafka_migration.clusters.client import Cluster
from kafka_migration.offsets import TopicPartition, Which, read_several
from kafka_migration.sides import Side
from kafka_migration.steps.copies import left
from kafka_migration.topics.describe import await_topics
from kafka_migration.verification.content import RangePair, compare_content
from kafka_migration.verification.proved import Proved

LOAD = Load(3_000_000, 100)
MANY = 10_000
_TOPICS = 10
_NEW = 0.01
_ROUNDS = 3
_MIB = 1024  # ru_maxrss is in KiB


@dataclass(frozen=True)
class Measured:
    """Seconds of the best round; memory in MiB, at most, of a process that compares a tenth, and of one all."""

    offsets: float
    full: float
    incremental: float
    memory_tenth: int
    memory_all: int


def run(console: Console, scale: float = 1.0) -> None:
    with two_clusters() as pair:
        load = Load(max(100 * PARTITIONS, int(LOAD.count * scale)), LOAD.size)
        many = max(_TOPICS, int(MANY * scale))
        console.print(_table(load, many, measure(pair, load, many)))


def measure(pair: Pair, load: Load, many: int, rounds: int = _ROUNDS) -> Measured:
    topic = "verified"
    clusters = (pair.source, pair.target)
    try:
        for cluster in clusters:
            fill_alike(cluster, make_topic(cluster, topic, PARTITIONS), load)
        whole = [_range(topic, n, load) for n in range(PARTITIONS)]
        known = {p.partition: _proved(p) for p in whole}
        passes = [
            (_best(rounds, lambda: _compare(pair, whole))),
            _best(rounds, lambda: _compare(pair, left(whole, known))),
        ]
        memory = [_memory(pair, pairs) for pairs in ([_first(p, p.origin_end // 10) for p in whole], whole)]
    finally:
        for cluster in clusters:
            delete_topics(cluster, [topic])
    return Measured(_offsets(pair.source, many, rounds), *passes, *memory)


def _range(topic: str, number: int, load: Load) -> RangePair:
    count = load.count // PARTITIONS + (number < load.count % PARTITIONS)
    return RangePair(TopicPartition(topic, number), 0, count, 0, count)


def _first(pair: RangePair, count: int) -> RangePair:
    return RangePair(pair.partition, 0, count, 0, count)


def _proved(pair: RangePair) -> Proved:
    """All but the last hundredth."""
    at = int(pair.origin_end * (1 - _NEW))
    return Proved(at, at, at)


def _best(rounds: int, deed: Callable[[], object]) -> float:
    found = []
    for _ in range(rounds):
        began = time.monotonic()
        deed()
        found.append(time.monotonic() - began)
    return min(found)


def _compare(pair: Pair, pairs: Sequence[RangePair]) -> None:
    results = compare_content(pair.source, pair.target, pairs)
    wanted = sum(p.origin_end - p.origin_start for p in pairs)
    equal = sum(result.equal for result in results.values())
    if equal != wanted or any(result.different for result in results.values()):
        raise BenchmarkFailed(f"{equal:,} of {wanted:,} messages are equal")


def _memory(pair: Pair, pairs: Sequence[RangePair]) -> int:
    """In a process of its own, which begins with nothing."""
    addresses = (pair.source.bootstrap_servers, pair.target.bootstrap_servers)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_compared_alone, addresses, list(pairs)).result()


def _compared_alone(addresses: tuple[str, str], pairs: list[RangePair]) -> int:
    here, there = (
        Cluster(side, side.value, {"bootstrap.servers": address}) for side, address in zip(Side, addresses, strict=True)
    )
    compare_content(here, there, pairs)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // _MIB


def _offsets(cluster: Cluster, many: int, rounds: int) -> float:
    """The starts and ends of so many partitions."""
    names = [f"many-{number}" for number in range(_TOPICS)]
    each = many // _TOPICS
    try:
        for name in names:  # a controller takes no more than 10,000 records in one request
            made = cluster.admin.create_topics([NewTopic(name, each, 1)], request_timeout=120)
            cluster.wait(made[name], f"creating topic {name}", 120)
        await_topics(cluster, dict.fromkeys(names, each))
        partitions = [TopicPartition(name, number) for name in names for number in range(each)]
        read_several(cluster, partitions, (Which.END,))  # leaders that are new are asked for again
        return _best(rounds, lambda: read_several(cluster, partitions, (Which.START, Which.END)))
    finally:
        delete_topics(cluster, names)


def _table(load: Load, many: int, found: Measured) -> Table:
    table = Table("what", "figure", "", title=f"{load.count:,} messages of {load.size:,} bytes on each of two clusters")
    table.add_row(f"starts and ends of {many:,} partitions", f"{found.offsets:.2f} s", "")
    table.add_row("content compared, all", f"{found.full:.2f} s", "")
    ratio = found.incremental / found.full
    table.add_row(f"content compared, {_NEW:.0%} being new", f"{found.incremental:.2f} s", f"{ratio:.1%} of that")
    table.add_row("memory to compare a tenth", f"{found.memory_tenth} MiB", "")
    table.add_row(
        "memory to compare all", f"{found.memory_all} MiB", f"{found.memory_all / found.memory_tenth:.2f} of that"
    )
    return table
