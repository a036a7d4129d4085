"""Seeds: no group may start nowhere, whatever its `auto.offset.reset` says."""

from __future__ import annotations

import uuid

import pytest
from tests.conftest import RunningCluster
from tests.integration.workbench import Workbench

from kafka_migration.errors import OffsetsRefused
from kafka_migration.groups.commits import committed, set_commits
from kafka_migration.groups.seeds import at_ends, missing_seeds, plant
from kafka_migration.offsets import TopicPartition, Which, read_offsets
from kafka_migration.sides import Side


@pytest.fixture(scope="module")
def bench(target: RunningCluster) -> Workbench:
    return Workbench(target.bootstrap_servers, Side.TARGET)


@pytest.fixture
def group() -> str:
    return f"group-{uuid.uuid4().hex[:8]}"


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_seeded_group_reads_everything_although_it_would_start_at_latest(
    bench: Workbench, group: str, protocol: str
) -> None:
    [tp] = bench.topic("latest")
    plant(bench.cluster, {group: {tp: 0}})
    written = bench.write(tp, 50)
    with bench.member(group, tp.topic, auto_offset_reset="latest", group_protocol=protocol) as consumer:
        assert [m.offset() for m in bench.read_by(consumer, 50)] == written


def test_seeded_group_repeats_nothing_although_it_would_start_at_earliest(bench: Workbench, group: str) -> None:
    [tp] = bench.topic("earliest")
    bench.write(tp, 20)
    plant(bench.cluster, at_ends({group: [tp.topic]}, read_offsets(bench.cluster, [tp], Which.END)))
    bench.write(tp, 3)
    with bench.member(group, tp.topic, auto_offset_reset="earliest") as consumer:
        assert [m.offset() for m in bench.read_by(consumer, 3)] == [20, 21, 22]


def test_planting_again_changes_nothing_and_says_so(bench: Workbench, group: str) -> None:
    [tp] = bench.topic("again")
    assert plant(bench.cluster, {group: {tp: 5}}) == {group: {tp: 5}}
    assert plant(bench.cluster, {group: {tp: 5}}) == {}


def test_seed_that_has_gone_is_set_again_to_the_recorded_offset(bench: Workbench, group: str) -> None:
    """Never to the end of now: what was written meanwhile would be lost."""
    one, two = bench.topic("gone", partitions=2)
    seeds = {group: {one: 0, two: 0}}
    plant(bench.cluster, seeds)
    bench.write(one, 10)
    bench.cluster.admin.delete_consumer_groups([group])[group].result(timeout=30)
    assert committed(bench.cluster, [group]) == {group: {}}
    assert plant(bench.cluster, seeds) == seeds
    assert committed(bench.cluster, [group]) == seeds


def test_only_the_partition_that_lost_its_seed_is_planted(bench: Workbench, group: str) -> None:
    one, two = bench.topic("half-gone", partitions=2)
    plant(bench.cluster, {group: {one: 3, two: 3}})
    set_commits(bench.cluster, {group: {one: 0}})
    assert plant(bench.cluster, {group: {one: 3, two: 3}}) == {group: {one: 3}}
    assert committed(bench.cluster, [group])[group] == {one: 3, two: 3}


def test_group_that_has_read_on_from_its_seed_is_left_where_it_is(bench: Workbench, group: str) -> None:
    [tp] = bench.topic("read-on")
    set_commits(bench.cluster, {group: {tp: 8}})
    assert plant(bench.cluster, {group: {tp: 5}}) == {}
    assert committed(bench.cluster, [group])[group] == {tp: 8}


def test_group_that_is_active_on_the_target_is_never_seeded(bench: Workbench, group: str) -> None:
    [tp] = bench.topic("active")
    with (
        bench.member(group, tp.topic),
        pytest.raises(OffsetsRefused, match=r"the target cluster[\s\S]*is active there"),
    ):
        plant(bench.cluster, {group: {tp: 0}})


def test_each_group_is_seeded_on_its_own_topics_only() -> None:
    ends = {TopicPartition("a", 0): 1, TopicPartition("a", 1): 2, TopicPartition("b", 0): 3}
    assert at_ends({"g": ["a"], "h": ["a", "b"], "i": []}, ends) == {
        "g": {TopicPartition("a", 0): 1, TopicPartition("a", 1): 2},
        "h": ends,
        "i": {},
    }


def test_rewound_commit_counts_as_a_missing_seed() -> None:
    tp = TopicPartition("a", 0)
    assert missing_seeds({"g": {tp: 5}}, {"g": {tp: 4}}) == {"g": {tp: 5}}
    assert missing_seeds({"g": {tp: 5}}, {"g": {tp: 5}}) == {}
    assert missing_seeds({"g": {tp: 5}}, {}) == {"g": {tp: 5}}
