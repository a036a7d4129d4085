"""Committed offsets: read in bulk, set with every partition's answer read, refused where a group is in use."""

from __future__ import annotations

import uuid

import pytest
from tests.conftest import RunningCluster
from tests.integration.workbench import Workbench, eventually

from kafka_migration.errors import OffsetsRefused
from kafka_migration.groups.commits import committed, set_commits
from kafka_migration.groups.describe import describe_groups, list_groups
from kafka_migration.offsets import TopicPartition


@pytest.fixture(scope="module")
def bench(source: RunningCluster) -> Workbench:
    return Workbench(source.bootstrap_servers)


@pytest.fixture
def group() -> str:
    return f"group-{uuid.uuid4().hex[:8]}"


def test_offsets_of_a_new_group_are_set_and_read_back(bench: Workbench, group: str) -> None:
    one, two = bench.topic("set", partitions=2)
    set_commits(bench.cluster, {group: {one: 0, two: 7}})
    assert committed(bench.cluster, [group]) == {group: {one: 0, two: 7}}


def test_setting_some_partitions_leaves_the_others(bench: Workbench, group: str) -> None:
    one, two = bench.topic("some", partitions=2)
    set_commits(bench.cluster, {group: {one: 1, two: 2}})
    set_commits(bench.cluster, {group: {two: 5}})
    assert committed(bench.cluster, [group])[group] == {one: 1, two: 5}


def test_group_that_does_not_exist_has_no_commits(bench: Workbench, group: str) -> None:
    assert committed(bench.cluster, [group]) == {group: {}}


def test_partition_without_a_commit_is_absent_and_not_zero(bench: Workbench, group: str) -> None:
    one, two = bench.topic("absent", partitions=2)
    set_commits(bench.cluster, {group: {one: 0}})
    assert two not in committed(bench.cluster, [group])[group]


def test_many_groups_are_read_at_once(bench: Workbench, group: str) -> None:
    [tp] = bench.topic("crowd")
    groups = {f"{group}-{n}": {tp: n} for n in range(60)}
    set_commits(bench.cluster, groups)
    assert committed(bench.cluster, groups) == groups


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_group_in_use_is_refused_and_keeps_its_offsets(bench: Workbench, group: str, protocol: str) -> None:
    """The call itself succeeds: the refusal stands in each partition's answer only."""
    [tp] = bench.topic("in-use")
    bench.write(tp, 10)
    with bench.member(group, tp.topic, group_protocol=protocol) as consumer:
        message = bench.read_by(consumer, 4)[-1]
        consumer.commit(message=message, asynchronous=False)
        with pytest.raises(OffsetsRefused, match="stop the consumers that use it") as refusal:
            set_commits(bench.cluster, {group: {tp: 0}})
        assert f"group {group}, {tp}: UNKNOWN_MEMBER_ID" in str(refusal.value)
        assert committed(bench.cluster, [group])[group] == {tp: 4}


def test_refusal_names_the_group_in_use_and_only_that(bench: Workbench, group: str) -> None:
    [tp] = bench.topic("one-of-two")
    with bench.member(group, tp.topic), pytest.raises(OffsetsRefused) as refusal:
        set_commits(bench.cluster, {group: {tp: 0}, f"{group}-idle": {tp: 3}})
    assert str(refusal.value).count("UNKNOWN_MEMBER_ID") == 1
    assert committed(bench.cluster, [f"{group}-idle"])[f"{group}-idle"] == {tp: 3}


def test_topic_that_is_not_there_is_refused_by_name(bench: Workbench, group: str) -> None:
    [tp] = bench.topic("there")
    with pytest.raises(OffsetsRefused, match=r"no-such-topic/0: UNKNOWN_TOPIC_OR_PART"):
        set_commits(bench.cluster, {group: {tp: 1, TopicPartition("no-such-topic", 0): 1}})


def test_group_is_described_while_it_is_used_and_after(bench: Workbench, group: str) -> None:
    partitions = bench.topic("described", partitions=2)
    topic = partitions[0].topic
    before = describe_groups(bench.cluster, [group])[group]
    assert (before.exists, before.active) == (False, False)
    with bench.member(group, topic, client_id="reader-7"):
        eventually(lambda: describe_groups(bench.cluster, [group])[group].stable, "a stable group")
        told = describe_groups(bench.cluster, [group])[group]
        assert (told.active, told.owned, told.kind) == (True, frozenset(partitions), "CLASSIC")
        assert told.members[0].client_id == "reader-7"
        assert told.members[0].host in ("127.0.0.1", "localhost")
        assert group in {listed.group for listed in list_groups(bench.cluster)}
    eventually(lambda: not describe_groups(bench.cluster, [group])[group].active, "the group to be empty")


def test_group_of_the_consumer_protocol_is_told_as_such(bench: Workbench, group: str) -> None:
    [tp] = bench.topic("kip-848")
    with bench.member(group, tp.topic, group_protocol="consumer"):
        assert describe_groups(bench.cluster, [group])[group].kind == "CONSUMER"
        assert {g.kind for g in list_groups(bench.cluster) if g.group == group} == {"CONSUMER"}
