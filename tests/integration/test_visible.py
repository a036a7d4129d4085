"""What a consumer would see between two offsets, against logs whose writer knows what it wrote."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.conftest import RunningCluster
from tests.integration.workbench import Workbench, compacting_settings, eventually

from demo.kafka import KafkaCluster
from kafka_migration import visible
from kafka_migration.clusters import patience
from kafka_migration.clusters.client import Cluster
from kafka_migration.errors import ClusterError, ClusterUnreachable
from kafka_migration.offsets import OffsetRange, TopicPartition, Which, read_offsets
from kafka_migration.sides import Side
from kafka_migration.visible import Seen, count_between, count_visible, first_visible


@pytest.fixture(scope="module")
def bench(source: RunningCluster) -> Workbench:
    return Workbench(source.bootstrap_servers)


@pytest.fixture(scope="module")
def mixed(bench: Workbench) -> tuple[TopicPartition, list[int]]:
    """A log of plain messages, committed and aborted transactions in a random order, and its visible offsets."""
    [tp] = bench.topic("mixed")
    chance = random.Random(7)
    visible: list[int] = []
    for _ in range(60):
        count = chance.randint(1, 6)
        match chance.choice(["plain", "commit", "abort"]):
            case "plain":
                visible += bench.write(tp, count)
            case "commit":
                visible += bench.commit_transaction(tp, count)
            case "abort":
                bench.abort_transaction(tp, count)
    return tp, visible


def test_count_is_exact_in_every_range_of_a_mixed_log(
    bench: Workbench, mixed: tuple[TopicPartition, list[int]]
) -> None:
    tp, offsets = mixed
    end = bench.end(tp)
    assert end > len(offsets) + 20, "the log must hold markers and aborted messages"
    chance = random.Random(11)
    for _ in range(40):
        start, stop = sorted(chance.choices(range(end + 1), k=2))
        inside = [o for o in offsets if start <= o < stop]
        first, last = (inside[0], inside[-1]) if inside else (None, None)
        wanted = Seen(first, last, len(inside), complete=True)
        assert count_visible(bench.cluster, [OffsetRange(tp, start, stop)]) == {tp: wanted}, (start, stop)
        found = first_visible(bench.cluster, [OffsetRange(tp, start, stop)])[tp]
        assert found.first == first, (start, stop)
        assert found.complete or found.first is not None, (start, stop)


def test_counts_between_marks_add_up_to_the_whole(bench: Workbench, mixed: tuple[TopicPartition, list[int]]) -> None:
    tp, offsets = mixed
    end = bench.end(tp)
    chance = random.Random(13)
    for _ in range(10):
        marks = sorted(chance.choices(range(end + 1), k=chance.randint(2, 6)))  # the same mark may come twice
        counts, complete = count_between(bench.cluster, {tp: marks})[tp]
        assert complete
        assert counts == [sum(a <= o < b for o in offsets) for a, b in itertools.pairwise(marks)], marks


def test_many_partitions_are_read_side_by_side(bench: Workbench) -> None:
    partitions = bench.topic("wide", partitions=12)
    for tp in partitions:
        bench.write(tp, tp.partition)
    ends = {tp: bench.end(tp) for tp in partitions}
    seen = count_visible(bench.cluster, [OffsetRange(tp, 0, end) for tp, end in ends.items()])
    assert {tp: s.count for tp, s in seen.items()} == {tp: tp.partition for tp in partitions}
    assert all(s.complete for s in seen.values())


def test_more_messages_than_a_batch_are_counted_and_progress_is_told(bench: Workbench) -> None:
    [tp] = bench.topic("long")
    bench.write(tp, 3500)
    told: list[int] = []
    assert count_visible(bench.cluster, [OffsetRange(tp, 0, 3500)], told.append)[tp].count == 3500
    assert told == sorted(told)
    assert told[-1] == 3500


def test_messages_past_the_end_of_a_range_are_not_counted(bench: Workbench) -> None:
    [tp] = bench.topic("past")
    bench.write(tp, 10)
    assert count_visible(bench.cluster, [OffsetRange(tp, 2, 5)])[tp] == Seen(2, 4, 3, True)


def test_empty_range_needs_no_read(bench: Workbench) -> None:
    nowhere = TopicPartition("no-such-topic", 0)
    assert count_visible(bench.cluster, [OffsetRange(nowhere, 5, 5)]) == {nowhere: Seen(None, None, 0, True)}


@pytest.mark.parametrize("start", [0, 3, 4, 5, 8])
def test_open_transaction_is_never_taken_for_empty(bench: Workbench, start: int) -> None:
    [tp] = bench.topic("open")
    bench.write(tp, 4)
    with bench.open_transaction(tp, 5):
        assert bench.end(tp) == 9
        seen = count_visible(bench.cluster, [OffsetRange(tp, start, 9)])[tp]
        assert not seen.complete
        assert seen.count == max(0, 4 - start)
        assert not first_visible(bench.cluster, [OffsetRange(tp, start, 9)])[tp].complete


@pytest.mark.parametrize("start", [0, 4, 6])
def test_end_of_a_transaction_is_waited_for_as_long_as_told(bench: Workbench, start: int) -> None:
    [tp] = bench.topic("ends")
    bench.write(tp, 4)
    asked = [OffsetRange(tp, start, 9)]
    with ThreadPoolExecutor(1) as pool:
        with bench.open_transaction(tp, 5):
            in_vain = count_visible(bench.cluster, asked, patience=0.3)[tp]
            assert (in_vain.complete, in_vain.count) == (False, max(0, 4 - start))
            waiting = pool.submit(count_visible, bench.cluster, asked, patience=60.0)
            time.sleep(1.0)  # whoever reads has come to what keeps it, on all but the slowest machines
            assert not waiting.done()
        seen = waiting.result(30)[tp]
    assert (seen.complete, seen.count) == (True, max(0, 4 - start)), "what was aborted is nothing to be read"


def test_nothing_is_waited_for_of_a_log_that_ends_before_a_range(bench: Workbench) -> None:
    [tp] = bench.topic("cut")
    bench.write(tp, 4)
    seen = count_visible(bench.cluster, [OffsetRange(tp, 50, 60)], patience=300.0)
    assert seen == {tp: Seen(None, None, 0, False)}


def test_range_whose_start_was_deleted_is_an_error_that_names_it(bench: Workbench) -> None:
    [tp] = bench.topic("deleted")
    bench.write(tp, 10)
    bench.delete_before(tp, 4)
    with pytest.raises(ClusterError, match=rf"{tp} cannot be read from offset 2 on"):
        count_visible(bench.cluster, [OffsetRange(tp, 2, 10)])
    assert count_visible(bench.cluster, [OffsetRange(tp, 4, 10)])[tp].count == 6


def test_two_ranges_of_one_partition_are_refused(bench: Workbench) -> None:
    tp = TopicPartition("twice", 0)
    with pytest.raises(ValueError, match="one range only"):
        count_visible(bench.cluster, [OffsetRange(tp, 0, 1), OffsetRange(tp, 2, 3)])


def test_look_at_a_tail_does_not_wait_for_a_full_batch(bench: Workbench) -> None:
    """Who waits for one needs half a second each time; whatever else the machine does, one of ten is faster."""
    [tp] = bench.topic("tail")
    bench.commit_transaction(tp, 3)
    took: list[float] = []
    for _ in range(10):
        began = time.monotonic()
        assert first_visible(bench.cluster, [OffsetRange(tp, 3, 4)])[tp] == Seen(None, None, 0, True)
        took.append(time.monotonic() - began)
    assert min(took) < 0.5


class TestOnAClusterOfItsOwn:
    """Compaction at once, and a broker that goes away while it is read."""

    @pytest.fixture(scope="class")
    def kafka(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
        settings = {"log.cleaner.backoff.ms": "100"}
        with KafkaCluster("compacting", tmp_path_factory.mktemp("compacting"), settings=settings) as cluster:
            yield cluster

    def test_compacted_log_is_counted_as_it_is_now(self, kafka: KafkaCluster) -> None:
        bench = Workbench(kafka.bootstrap_servers)
        [tp] = bench.topic("compacted", settings=compacting_settings())
        for _ in range(5):
            for key in (b"a", b"b", b"c"):
                bench.write(tp, 2, key=key)
        bench.roll_segment(tp)
        end = bench.end(tp)
        eventually(lambda: len(bench.visible_offsets(tp)) <= 3, "the log to be compacted")
        offsets = bench.visible_offsets(tp)
        for start in range(end):
            inside = [o for o in offsets if o >= start]
            seen = count_visible(bench.cluster, [OffsetRange(tp, start, end)])[tp]
            assert (seen.count, seen.first, seen.complete) == (len(inside), inside[0] if inside else None, True), start

    def test_broker_that_goes_away_is_told_as_such(self, kafka: KafkaCluster, monkeypatch: pytest.MonkeyPatch) -> None:
        bench = Workbench(kafka.bootstrap_servers)
        [tp] = bench.topic("leaving")
        bench.write(tp, 3)
        cluster = Cluster(Side.SOURCE, "kafka_source", {"bootstrap.servers": kafka.bootstrap_servers})

        def last_answer(*asked: Any) -> dict[TopicPartition, int]:
            answer = read_offsets(*asked)
            kafka.kill()
            return answer

        monkeypatch.setattr(visible, "_STALL", 1.0)
        monkeypatch.setattr(visible, "read_offsets", last_answer)
        with pytest.raises(ClusterUnreachable, match=rf"reading {tp}[\s\S]*Connection refused"):
            count_visible(cluster, [OffsetRange(tp, 0, 3)])
        monkeypatch.setattr(patience, "SHORT_FIRST", (1.0, 1.0))
        with pytest.raises(ClusterUnreachable, match="Connection refused"):
            read_offsets(cluster, [tp], Which.END)
