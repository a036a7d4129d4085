"""Offsets of partitions, read in bulk."""

from __future__ import annotations

import pytest
from tests.conftest import RunningCluster
from tests.integration.workbench import Workbench

from kafka_migration.errors import ClusterError
from kafka_migration.offsets import TopicPartition, Which, from_json, read_offsets, read_several, to_json


@pytest.fixture(scope="module")
def bench(source: RunningCluster) -> Workbench:
    return Workbench(source.bootstrap_servers)


def test_start_end_and_stable_are_told_apart(bench: Workbench) -> None:
    [tp] = bench.topic("three")
    bench.write(tp, 6)
    bench.delete_before(tp, 2)
    with bench.open_transaction(tp, 3):
        assert read_several(bench.cluster, [tp], Which) == {
            Which.START: {tp: 2},
            Which.STABLE: {tp: 6},
            Which.END: {tp: 9},
        }


def test_more_partitions_than_one_request_carries_are_all_told(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kafka_migration.offsets._BATCH", 7)
    partitions = bench.topic("many", partitions=20)
    for tp in partitions:
        bench.write(tp, tp.partition % 3)
    assert read_offsets(bench.cluster, iter(partitions), Which.END) == {tp: tp.partition % 3 for tp in partitions}


def test_no_partitions_need_no_request(bench: Workbench) -> None:
    assert read_several(bench.cluster, [], (Which.START, Which.END)) == {Which.START: {}, Which.END: {}}


def test_topic_that_is_not_there_is_an_error_that_names_it(bench: Workbench) -> None:
    with pytest.raises(ClusterError, match=r"the source cluster[\s\S]*the end offset of no-such-topic/0"):
        read_offsets(bench.cluster, [TopicPartition("no-such-topic", 0)], Which.END)


def test_partition_that_is_not_there_is_an_error_that_names_it(bench: Workbench) -> None:
    [tp] = bench.topic("one")
    with pytest.raises(ClusterError, match=rf"the end offset of {tp.topic}/7"):
        read_offsets(bench.cluster, [tp, TopicPartition(tp.topic, 7)], Which.END)


def test_offsets_survive_json() -> None:
    offsets = {TopicPartition("a.b/c", 0): 5, TopicPartition("a", 12): 0}
    assert to_json(offsets) == {"a/12": 0, "a.b/c/0": 5}
    assert from_json(to_json(offsets)) == offsets
