"""A damaged message is served by its broker as if nothing had happened, and all others are as they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.integration.workbench import Workbench

from demo.damage import DamageError, damage
from demo.kafka import KafkaCluster
from kafka_migration.offsets import OffsetRange, TopicPartition
from kafka_migration.topics.describe import await_topics
from kafka_migration.visible import each_visible


def test_one_message_is_another_one_and_its_broker_does_not_know(tmp_path: Path) -> None:
    with KafkaCluster("damaged", tmp_path) as cluster:
        bench = Workbench(cluster.bootstrap_servers)
        [tp] = bench.topic("t")
        for number in range(5):
            bench.write(tp, 20, key=b"k%d" % number, value=b"value of %d" % number)
        bench.commit_transaction(tp, 3)
        bench.write(tp, value=None)
        [squeezed] = bench.topic("squeezed", settings={"compression.type": "zstd"})
        bench.write(squeezed, 20, value=b"v" * 100)
        before = _values(bench, tp)
        cluster.stop()
        assert damage(cluster.log_directory(1), tp.topic, 0, 47) == f"one bit of the message at {tp}@47"
        for where, offset, why in (
            (tp, 103, "marker"),
            (tp, 104, "no value"),
            (tp, 105, "holds no offset 105"),
            (squeezed, 3, f"{squeezed}@3 cannot be changed: its batch is compressed"),
        ):
            with pytest.raises(DamageError, match=why):
                damage(cluster.log_directory(1), where.topic, 0, offset)
        cluster.start()
        cluster.wait_ready()
        again = Workbench(cluster.bootstrap_servers)
        await_topics(again.cluster, {tp.topic: 1})
        assert bench.end(tp) == again.end(tp), "a client from before the restart is told as well"
        after = _values(again, tp)
    assert {offset for offset in before if before[offset] != after[offset]} == {47}
    assert after.keys() == before.keys()


def _values(bench: Workbench, tp: TopicPartition) -> dict[int, Any]:
    found: dict[int, Any] = {}
    each_visible(
        bench.cluster,
        [OffsetRange(tp, 0, bench.end(tp))],
        lambda _, message: found.update({message.offset(): (message.key(), message.value(), message.timestamp())}),
    )
    return found
