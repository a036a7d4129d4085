"""Seconds from the creation of a mirror, or from its start after a stop, to the first message on the target.

On a running Connect worker, which is what a plan names. Beside it MirrorMaker's own defaults, created the same way on
the same worker. Each mirror copies a topic of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

from rich.console import Console
from rich.table import Table

from benchmarks.failed import BenchmarkFailed
from benchmarks.pair import (
    Pair,
    delete_topics,
    fill,
    make_topic,
    plain_mirror,
    stop_connector,
    stored,
    two_clusters,
)
from benchmarks.whole_copy import WholeCopy
from kafka_migration.mirror.rest import Connect
from kafka_migration.offsets import TopicPartition

CREATED, STARTED_AGAIN, DEFAULTS = "this product, created", "this product, started again", "defaults, created"
_MESSAGES = 1_000
_TIMES = 7
_WITHIN = 90.0


def run(console: Console, scale: float = 1.0) -> None:
    with two_clusters() as pair, pair.worker() as connect:
        found = measure(pair, connect, 1 + max(1, int(_TIMES * scale)))
    table = Table("mirror", "times", "seconds to the first message: median", "least", "most")
    for name, (_, *seconds) in found.items():  # who comes first runs cold
        numbers = (f"{value:.2f}" for value in (median(seconds), min(seconds), max(seconds)))
        table.add_row(name, str(len(seconds)), *numbers)
    console.print(table)


def measure(pair: Pair, connect: Connect, times: int) -> dict[str, list[float]]:
    """Seconds of each kind, `times` of them."""
    found: dict[str, list[float]] = {CREATED: [], STARTED_AGAIN: [], DEFAULTS: []}
    for number in range(times):
        with pair.topic(f"first-{number}", 1, _MESSAGES) as partitions:
            created, again = _ours(pair, connect, partitions)
            theirs = _theirs(pair, connect, partitions)
        for name, seconds in ((CREATED, created), (STARTED_AGAIN, again), (DEFAULTS, theirs)):
            found[name].append(seconds)
    return found


def _ours(pair: Pair, connect: Connect, partitions: list[TopicPartition]) -> tuple[float, float]:
    """Created, and started again behind a stop."""
    with WholeCopy(pair, connect, partitions) as copy:
        created = _until_first(pair, partitions, copy.start)
        copy.finish()
        fill(pair.source, partitions, 1, 100)
        return created, _until_first(pair, partitions, copy.mirror.resume)


def _theirs(pair: Pair, connect: Connect, partitions: list[TopicPartition]) -> float:
    alias, topic = "defaults", partitions[0].topic
    copies = make_topic(pair.target, f"{alias}.{topic}", len(partitions))

    def create() -> None:
        connect.create_stopped(topic, plain_mirror(pair, topic, alias))
        connect.resume(topic)

    try:
        return _until_first(pair, copies, create)
    finally:
        stop_connector(connect, topic)
        delete_topics(pair.target, [copies[0].topic])


def _until_first(pair: Pair, copies: list[TopicPartition], begin: Callable[[], None]) -> float:
    """Seconds from the call of `begin` until there is more on the target than before."""
    before, began = stored(pair.target, copies), time.monotonic()
    begin()
    while stored(pair.target, copies) == before:
        if time.monotonic() - began > _WITHIN:
            raise BenchmarkFailed(f"nothing has come to {copies[0].topic} on the target within {_WITHIN:.0f} s")
        time.sleep(0.01)
    return time.monotonic() - began
