"""The log of positions against real brokers: what is read back is what was noted last, whatever was noted before."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.conftest import RunningCluster
from tests.integration.workbench import Workbench

from kafka_migration.mirror import positions
from kafka_migration.mirror.positions import Known
from kafka_migration.offsets import TopicPartition
from kafka_migration.sides import Side

ONE, TWO = TopicPartition("orders", 0), TopicPartition("orders", 1)


@pytest.fixture(scope="module")
def bench(target: RunningCluster) -> Workbench:
    return Workbench(target.bootstrap_servers, Side.TARGET)


def test_what_is_read_is_what_was_noted_last(bench: Workbench, unique: Callable[[str], str]) -> None:
    topic = unique("kafka-migration.positions.shop")
    assert positions.read(bench.cluster, topic) == Known(), "before anything was made"
    assert [change.after for change in positions.make(bench.cluster, topic)] == ["made: one partition, compacted"]
    assert positions.make(bench.cluster, topic) == []
    assert positions.read(bench.cluster, topic) == Known(), "before anything was noted"
    first = {"billing": {ONE: 5, TWO: 7}, "gone later": {ONE: 1}, "reads nothing": {}}
    positions.note(bench.cluster, topic, first, {ONE: 20, TWO: 30}, {ONE: 18, TWO: 30}, at=1000.0)
    positions.note(bench.cluster, topic, {"billing": {TWO: 9}}, {ONE: 21, TWO: 30}, {ONE: 20, TWO: 30}, at=1010.5)
    assert positions.read(bench.cluster, topic) == Known(
        commits={"billing": {ONE: 5, TWO: 9}, "gone later": {ONE: 1}},
        at={"billing": 1010.5, "gone later": 1000.0},
        ends={ONE: 21, TWO: 30},
        copied={ONE: 20, TWO: 30},
        looked_at=1010.5,
    )


def test_a_group_that_stands_still_is_known_to_have_been_looked_at(
    bench: Workbench, unique: Callable[[str], str]
) -> None:
    topic = unique("kafka-migration.positions.still")
    positions.make(bench.cluster, topic)
    positions.note(bench.cluster, topic, {"billing": {ONE: 5}}, {ONE: 5}, {ONE: 5}, at=1.0)
    positions.note(bench.cluster, topic, {"billing": {}}, {ONE: 5}, {ONE: 5}, at=2.0)
    known = positions.read(bench.cluster, topic)
    assert (known.commits, known.at) == ({"billing": {ONE: 5}}, {"billing": 2.0})


def test_a_large_plan_is_noted_and_read_whole(bench: Workbench, unique: Callable[[str], str]) -> None:
    """Ten thousand partitions: where they end is one message of more than a client sends by default."""
    topic = unique("kafka-migration.positions.large")
    positions.make(bench.cluster, topic)
    ends = {TopicPartition("a-topic-with-a-rather-long-name-of-a-large-plan", n): 10**9 + n for n in range(10_000)}
    changed = {f"group-{n}": ends for n in range(3)}
    positions.note(bench.cluster, topic, changed, ends, ends, at=1.0)
    known = positions.read(bench.cluster, topic)
    assert known.commits == changed
    assert (known.ends, known.copied) == (ends, ends)
