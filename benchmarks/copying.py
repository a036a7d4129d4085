"""Messages a second of a mirror with this product's settings, beside MirrorMaker's defaults.

One topic of four partitions for each size, on running Connect workers. Each way of copying is measured in
every round, the rounds in turned order, since who comes first runs cold; the best round counts. From the first message
on the target to the last; every copy is counted, and thrown away.

Exactly once or not is a matter of the worker: one with `exactly.once.source.support=enabled` knows no other way.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from benchmarks.failed import BenchmarkFailed
from benchmarks.pair import (
    PLAIN_TARGET,
    Pair,
    check_count,
    delete_topics,
    make_topic,
    plain_mirror,
    stop_connector,
    stored,
    two_clusters,
)
from kafka_migration.mirror.flow import Flow, connector_config
from kafka_migration.mirror.rest import Connect
from kafka_migration.offsets import TopicPartition

PARTITIONS = 4
_LOOK = 0.05
_REST = 1.5  # seconds without a new offset, once there are enough of them: then all has been copied, or never will be
_STALL = 90.0


@dataclass(frozen=True)
class Way:
    """How it is copied: with whose settings, and whether exactly once."""

    ours: bool
    exactly_once: bool

    def __str__(self) -> str:
        return f"{'this product' if self.ours else 'defaults'}, {'exactly' if self.exactly_once else 'at least'} once"

    def connector(self, pair: Pair, topic: str, alias: str) -> dict[str, str]:
        """Copies to `alias.topic`, so that each run has a topic of its own."""
        named = {
            "source.cluster.alias": alias,
            "replication.policy.class": "org.apache.kafka.connect.mirror.DefaultReplicationPolicy",
        }
        if not self.ours:
            return {**plain_mirror(pair, topic, alias), **named}
        config = {**connector_config(Flow("bench", [topic], pair.source, pair.target), [topic]), **named}
        if not self.exactly_once:
            del config["exactly.once.support"]
        return config


PRODUCT = Way(ours=True, exactly_once=True)
WAYS = (Way(False, False), Way(False, True), Way(True, False), PRODUCT)


@dataclass(frozen=True)
class Load:
    """`count` messages of `size` bytes."""

    count: int
    size: int


LOADS = (Load(1_500_000, 100), Load(300_000, 1_024))


def run(console: Console, scale: float = 1.0) -> None:
    with (
        two_clusters() as pair,
        pair.worker(exactly_once=True) as exactly,
        pair.worker(exactly_once=False) as at_least,
    ):
        workers = {True: exactly, False: at_least}
        for load in LOADS:
            scaled = Load(max(1, int(load.count * scale)), load.size)
            console.print(_table(scaled, measure(console, pair, workers, scaled)))


def measure(
    console: Console, pair: Pair, workers: Mapping[bool, Connect], load: Load, rounds: int = 2
) -> dict[Way, list[float]]:
    """Messages a second of each way, by round. `workers`: by whether they copy exactly once."""
    topic = f"bytes-{load.size}"
    rates: dict[Way, list[float]] = {way: [] for way in WAYS}
    with pair.topic(topic, PARTITIONS, load.count, load.size):
        for number in range(rounds):
            for way in WAYS if number % 2 == 0 else reversed(WAYS):
                alias = f"run{number}-{WAYS.index(way)}"
                rates[way].append(_copied(pair, workers[way.exactly_once], way, topic, alias, load.count))
                console.print(f"{load.size} bytes, round {number + 1}, {way}: {rates[way][-1]:,.0f} messages/s")
    return rates


def _copied(pair: Pair, connect: Connect, way: Way, topic: str, alias: str, count: int) -> float:
    copies = make_topic(pair.target, f"{alias}.{topic}", PARTITIONS)
    connector = f"{topic}-{alias}"
    try:
        connect.create_stopped(connector, way.connector(pair, topic, alias))
        connect.resume(connector)
        rate = _watched(pair, connect, connector, copies, count)
        check_count(pair.target, copies, count)
        return rate
    finally:
        stop_connector(connect, connector)
        delete_topics(pair.target, [copies[0].topic, f"mm2-offset-syncs.{alias}.internal"])
        delete_topics(pair.source, [f"mm2-offset-syncs.{PLAIN_TARGET}.internal"])


def _watched(pair: Pair, connect: Connect, connector: str, copies: list[TopicPartition], count: int) -> float:
    """Messages a second, from the last look that saw none on the target until nothing came any more.

    Markers of transactions have offsets too, so that the number of offsets does not tell when all has come.
    """
    began = last = time.monotonic()
    total = 0
    while True:
        now, seen = time.monotonic(), stored(pair.target, copies)
        if seen == 0:
            began = now
        if seen > total:
            last, total = now, seen
        elif total >= count and now - last > _REST:
            return count / (last - began)
        elif now - last > _STALL:
            failures = "\n".join(connect.progress(connector).failures.values())
            raise BenchmarkFailed(f"{connector}: {total:,} offsets of {count:,} messages, and no more\n{failures}")
        time.sleep(_LOOK)


def _table(load: Load, rates: Mapping[Way, list[float]]) -> Table:
    title = f"{load.count:,} messages of {load.size:,} random bytes"
    table = Table("settings", "messages/s, each round", "best", "this product exactly once / these", title=title)
    for way in WAYS:
        best = max(rates[way])
        told = ", ".join(f"{rate:,.0f}" for rate in rates[way])
        table.add_row(str(way), told, f"{best:,.0f}", f"{max(rates[PRODUCT]) / best:.2f}")
    return table
