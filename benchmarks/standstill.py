"""Seconds that a producer stands still in `mirror_first`, against the amount of stored messages.

The steps of the scheme one after the other, without Airflow, while a producer writes 200 messages a second: it is
stopped, the cutover point is final, the mirror has copied everything and is stopped, the producer starts on the target.
Told by the producer itself: from its last message that the source acknowledged to the first that the target did. It
runs in this process, so that its own start costs nothing. Afterwards the messages on the target are counted.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from benchmarks.pair import Pair, check_count, two_clusters
from benchmarks.script import wait_for
from benchmarks.writer import Writer
from kafka_migration.clusters.client import Clusters
from kafka_migration.mirror.registry import build_mirrors
from kafka_migration.mirror.rest import Connect
from kafka_migration.offsets import TopicPartition
from kafka_migration.plan.graph import FIRST_STAGE
from kafka_migration.plan.model import Plan
from kafka_migration.records import MemoryRecords
from kafka_migration.run import Run
from kafka_migration.sides import Side
from kafka_migration.steps import handover, holding, mirroring, switch, topics
from kafka_migration.steps.cutover import cutover

PARTITIONS = 4
AMOUNTS = (200_000, 1_000_000, 4_000_000)
_FIRST = 10_000  # migrated once before anything is told: who comes first runs cold


@dataclass(frozen=True)
class Measured:
    """With so many messages stored: how long the producer stood still, and of that the seconds of each step."""

    stored: int
    standstill: float
    steps: dict[str, float]


def run(console: Console, scale: float = 1.0) -> None:
    amounts = [max(1, int(amount * scale)) for amount in AMOUNTS]
    with two_clusters() as pair, pair.worker() as connect:
        _, *found = measure(pair, connect, [_FIRST, *amounts])
    names = list(found[0].steps)
    title = f"seconds; messages of 100 bytes, {PARTITIONS} partitions"
    table = Table("stored messages", "producer stands still", "to the least", *names, title=title)
    least = found[0].standstill
    for one in found:
        told = [f"{one.steps[name]:.2f}" for name in names]
        table.add_row(f"{one.stored:,}", f"{one.standstill:.2f}", f"{one.standstill / least:.2f}", *told)
    console.print(table)


def measure(pair: Pair, connect: Connect, amounts: Sequence[int]) -> list[Measured]:
    found = []
    for number, stored in enumerate(amounts):
        with pair.topic(f"stored-{number}", PARTITIONS, stored) as partitions:
            found.append(_migrated(pair, connect, partitions, stored))
    return found


def _migrated(pair: Pair, connect: Connect, partitions: Sequence[TopicPartition], stored: int) -> Measured:
    run = _run(pair, connect, partitions[0].topic)
    writer = Writer(run.plan.service("writer"), run.clusters.addresses, partitions)
    run.controllers = {"writer": writer}
    [unit] = run.graph.producers
    try:
        writer.start()
        topics.create(run)
        holding.hold(run)
        mirroring.start(run)
        wait_for(run, mirroring.caught_up)
        steps: dict[str, float] = {}
        for name, step in (
            ("stop_writers", lambda: handover.stop_writers(run)),
            ("cutover", lambda: wait_for(run, cutover, stage=FIRST_STAGE)),
            ("stop_mirror", lambda: wait_for(run, mirroring.stop_mirror)),
            ("switch_producers", lambda: switch.switch_producers(run, unit=unit.name)),
        ):
            began = time.monotonic()
            step()
            steps[name] = time.monotonic() - began
        writer.stop()
        check_count(pair.target, partitions, stored + writer.written)
        return Measured(stored, writer.stood_still, steps)
    finally:
        writer.stop()
        for mirror in run.mirrors.values():
            mirror.remove()


def _run(pair: Pair, connect: Connect, topic: str) -> Run:
    plan = Plan.model_validate(
        {
            "plan": topic,
            "scheme": "mirror_first",
            "source": {"connection": "source"},
            "target": {"connection": "target"},
            "topics": {"include": [topic]},
            "services": [{"name": "writer", "produces": [topic], "controller": {"kind": "in this process"}}],
            "mirror": {"connection": "connect"},
        }
    )
    clusters = Clusters(pair.source, pair.target, workers={Side.TARGET: connect})
    mirrors = build_mirrors(plan, clusters, lambda name: {})
    return Run(plan, "migrate", "bench", clusters, {}, MemoryRecords(), mirrors=mirrors)
