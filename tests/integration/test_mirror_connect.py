"""MirrorMaker on a real Connect worker: exactly a declared range comes, once, byte for byte, and whatever is killed."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import NewTopic
from tests.conftest import RunningCluster
from tests.integration.workbench import Workbench, eventually

from demo.connect import ConnectWorker
from demo.kafka import KafkaCluster
from kafka_migration.errors import MirrorError, MirrorUnreachable
from kafka_migration.findings import Finding, Status
from kafka_migration.mirror.anchors import read_syncs
from kafka_migration.mirror.connect import ConnectMirror
from kafka_migration.mirror.flow import Flow, connector_config
from kafka_migration.mirror.properties import PROPERTIES, Reader
from kafka_migration.mirror.rest import Connect, ConnectAccess
from kafka_migration.offsets import TopicPartition
from kafka_migration.sides import Side
from kafka_migration.topics.describe import await_topics, describe_topics

MANY = 15_000  # messages, of which those that copy slowly have copied few before they are stopped
SLOW = {"source.consumer.max.poll.records": 20}  # each read is a transaction of its own


@pytest.fixture(scope="module")
def worker(target: RunningCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConnectWorker]:
    with ConnectWorker("mirrors", target.bootstrap_servers, tmp_path_factory.mktemp("connect") / "worker") as one:
        yield one


@dataclass
class Pair:
    """Both clusters, the worker between them, and the mirrors that a test has made."""

    origin: Workbench
    destination: Workbench
    connect: Connect
    named: Callable[[str], str]
    made: list[ConnectMirror]

    def topic(self, name: str, partitions: int = 1, **settings: str) -> list[TopicPartition]:
        """A topic of that name on both; the settings are the origin's."""
        created = self.origin.topic(name, partitions, settings)
        topic = created[0].topic
        future = self.destination.cluster.admin.create_topics([NewTopic(topic, partitions, 1)])[topic]
        future.result(timeout=30)
        await_topics(self.destination.cluster, {topic: partitions})
        return created

    def flow(self, *partitions: TopicPartition, plan: str = "plan", **properties: str | int | bool) -> Flow:
        topics = sorted({tp.topic for tp in partitions})
        return Flow(
            self.named(plan), topics, self.origin.cluster, self.destination.cluster, properties=dict(properties)
        )

    def mirror(self, *partitions: TopicPartition, plan: str = "plan", **properties: str | int | bool) -> ConnectMirror:
        self.made.append(ConnectMirror(self.flow(*partitions, plan=plan, **properties), self.connect))
        return self.made[-1]

    def await_position(self, mirror: ConnectMirror, tp: TopicPartition, offset: int, timeout: float = 90.0) -> None:
        eventually(lambda: self.connect.positions(mirror.name).get(tp) == offset, f"{tp} at {offset}", timeout)


@pytest.fixture
def pair(
    source: RunningCluster, target: RunningCluster, worker: ConnectWorker, unique: Callable[[str], str]
) -> Iterator[Pair]:
    origin = Workbench(source.bootstrap_servers)
    destination = Workbench(target.bootstrap_servers, Side.TARGET)
    one = Pair(origin, destination, Connect(ConnectAccess(worker.url)), unique, [])
    yield one
    for mirror in one.made:
        mirror.remove()


@dataclass(frozen=True)
class Copy:
    """All of a message that a copy must keep."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    timestamp: tuple[int, int]

    @classmethod
    def of(cls, message: Message) -> Copy:
        return cls(message.key(), message.value(), tuple(message.headers() or ()), message.timestamp())


def read(bench: Workbench, tp: TopicPartition) -> list[Copy]:
    """Every message that a committed reader is shown."""
    found: list[Copy] = []
    with bench.cluster.reader() as consumer:
        consumer.assign([tp.at(0)])
        while True:
            for message in consumer.consume(1000, timeout=1.0):
                error = message.error()
                if error is None:
                    found.append(Copy.of(message))
                else:
                    assert error.code() == KafkaError._PARTITION_EOF, error
                    return found


def produce(bench: Workbench, tp: TopicPartition, numbers: range) -> None:
    """One message for each number, its value the number."""
    producer = Producer({"bootstrap.servers": bench.bootstrap_servers, "linger.ms": 5})
    for number in numbers:
        producer.produce(tp.topic, str(number).encode(), partition=tp.partition)
    assert producer.flush(60) == 0


def failures(findings: list[Finding]) -> set[str]:
    return {f.id for f in findings if f.status is Status.FAIL}


def test_worker_that_can_copy_exactly_once_passes(pair: Pair) -> None:
    [tp] = pair.topic("a")
    [found] = pair.mirror(tp).check()
    assert found.status is Status.PASS
    assert "4.3.1, copies exactly once" in found.seen
    assert pair.connect.connectors() == {}, "looking leaves nothing behind"


def test_worker_without_exactly_once_is_a_failure_and_not_a_downgrade(
    pair: Pair, target: RunningCluster, tmp_path: Path
) -> None:
    [tp] = pair.topic("a")
    with ConnectWorker("without", target.bootstrap_servers, tmp_path / "worker", exactly_once=False) as other:
        mirror = ConnectMirror(pair.flow(tp), Connect(ConnectAccess(other.url)))
        [found] = mirror.check()
        assert (found.id, found.status) == ("mirror-config/exactly.once.support", Status.FAIL)
        assert "exactly.once.source.support=enabled" in found.advice
        with pytest.raises(MirrorError, match="exactly-once"):
            mirror.create({tp: 0})


def test_worker_of_another_cluster_than_the_destination_is_a_failure(pair: Pair) -> None:
    back = Flow("plan", ["a"], pair.destination.cluster, pair.origin.cluster)
    [found] = [f for f in ConnectMirror(back, pair.connect).check() if f.id == "mirror-worker/cluster"]
    assert found.status is Status.FAIL


def test_mirror_without_topics_is_a_failure_as_connect_takes_it(pair: Pair) -> None:
    assert failures(pair.mirror().check()) == {"mirror-config/topics"}


def test_other_connectors_that_would_spoil_the_copies_are_found_under_each_name_of_their_class(pair: Pair) -> None:
    [tp] = pair.topic("a")
    config = connector_config(pair.flow(tp), [tp.topic])
    others: dict[str, dict[str, str]] = {
        pair.named("short"): {**config, "connector.class": "MirrorSource", "topics": tp.topic[:-3] + ".*"},
        pair.named("plain"): {**config, "connector.class": "MirrorSourceConnector"},
        pair.named("elsewhere"): {**config, "topics": "other"},
        pair.named("groups"): {
            **{key: value for key, value in config.items() if "cluster" in key},
            "connector.class": "MirrorCheckpointConnector",
            "sync.group.offsets.enabled": "true",
        },
    }
    try:
        for name, other in others.items():
            pair.connect.create_stopped(name, other)
        found = {f.id: f.status for f in pair.mirror(tp).check()}
    finally:
        for name in others:
            pair.connect.forget(name)
    assert found == {
        f"mirror-other/{pair.named('short')}": Status.FAIL,
        f"mirror-other/{pair.named('plain')}": Status.FAIL,
        f"mirror-other/{pair.named('groups')}": Status.INCONCLUSIVE,
    }


def test_property_without_effect_is_told(pair: Pair) -> None:
    [tp] = pair.topic("a")
    found = pair.mirror(tp, **{"offset.storage.replication.factor": 3}).check()
    assert [(f.id, f.status) for f in found][1:] == [("mirror-property/offset.storage.replication.factor", Status.WARN)]


def test_topic_that_takes_larger_messages_than_the_mirror_may_write_is_told(pair: Pair) -> None:
    [tp] = pair.topic("a", **{"max.message.bytes": "5000000"})
    [found] = pair.mirror(tp).check()
    assert (found.id, found.status) == (f"mirror-size/{tp.topic}", Status.INCONCLUSIVE)
    [found] = pair.mirror(tp, plan="larger", **{"producer.override.max.request.size": 5000000}).check()
    assert found.status is Status.PASS


def test_topic_of_syncs_that_is_compacted_is_told(pair: Pair, tmp_path: Path) -> None:
    with KafkaCluster("other", tmp_path / "other") as other:
        bench = Workbench(other.bootstrap_servers, Side.TARGET)
        mirror = ConnectMirror(Flow("plan", ["a"], pair.origin.cluster, bench.cluster), pair.connect)
        syncs = NewTopic(mirror.syncs_topic, 1, 1, config={"cleanup.policy": "compact"})
        bench.cluster.admin.create_topics([syncs])[mirror.syncs_topic].result(timeout=30)
        await_topics(bench.cluster, {mirror.syncs_topic: 1})
        found = {f.id: f for f in mirror.check()}
    assert found[f"mirror-syncs/{mirror.syncs_topic}"].status is Status.WARN
    assert "cleanup.policy=compact" in found[f"mirror-syncs/{mirror.syncs_topic}"].seen


def test_table_of_properties_has_the_defaults_of_the_worker(pair: Pair) -> None:
    for reader in (Reader.SOURCE, Reader.CHECKPOINT, Reader.HEARTBEAT):
        asked = pair.connect._call("PUT", f"/connector-plugins/{reader}/config/validate", {"connector.class": reader})
        defaults = {one["definition"]["name"]: one["definition"]["default_value"] for one in asked["configs"]}
        ours = {p.name: p.default for p in PROPERTIES if p.reader is reader}
        # Those of the connector's clients are no part of what it defines.
        ours = {
            name: value for name, value in ours.items() if not re.search(r"consumer\.|producer\.|source\.admin\.", name)
        }
        assert {name: defaults.get(name, "absent") for name in ours} == ours


def test_exactly_the_declared_range_comes_byte_for_byte(pair: Pair) -> None:
    [tp] = pair.topic("a")
    pair.origin.write(tp, 5, value=b"older")
    begin = pair.origin.end(tp)
    producer = Producer({"bootstrap.servers": pair.origin.bootstrap_servers})
    messages: list[dict[str, Any]] = [
        {"key": None, "value": b"no key"},
        {"key": b"gone", "value": None},
        {"key": None, "value": None, "headers": [("alone", b"\x00\xff")]},
        {"key": b"", "value": b""},
        {"key": b"\x00\x80\xff", "value": bytes(range(256)), "timestamp": 1_000_000_000_000},
        {"key": b"k", "value": b"1", "headers": [("n", b"1"), ("n", b"2"), ("null", None), ("empty", b"")]},
        {"key": b"k", "value": b"2", "headers": [("text", b"12"), ("quoted", b'"x"'), ("\u00fc", b"\xff\xfe")]},
        {"key": b"k", "value": b"x" * 900_000},
    ]
    for message in messages:
        producer.produce(tp.topic, partition=tp.partition, **message)
        assert producer.flush(30) == 0
    pair.origin.abort_transaction(tp, 3)
    pair.origin.commit_transaction(tp, 2)
    pair.origin.abort_transaction(tp, 1)  # nothing visible and two markers at the end
    last = pair.origin.visible_offsets(tp)[-1]

    mirror = pair.mirror(tp)
    [change] = mirror.create({tp: begin})
    assert change.before == "absent"
    assert mirror.state() == "STOPPED"
    assert pair.destination.end(tp) == 0, "created is not started"
    mirror.resume()
    pair.await_position(mirror, tp, last + 1)
    assert last + 1 < pair.origin.end(tp), "what is copied next is no measure of the end"
    assert read(pair.destination, tp) == read(pair.origin, tp)[5:]
    syncs = describe_topics(pair.destination.cluster, [mirror.syncs_topic])[mirror.syncs_topic]
    assert (syncs.settings["cleanup.policy"], syncs.settings["retention.ms"]) == ("delete", "-1")
    # By what is written of this partition: other tests copy to this cluster meanwhile.
    there = pair.origin.cluster.admin.list_topics(timeout=10).topics
    assert [topic for topic in there if tp.topic in topic] == [tp.topic], "the origin is only read"
    syncs_there = [topic for topic in there if topic.startswith("mm2-offset-syncs.")]
    assert not any(tp in read_syncs(pair.origin.cluster, topic) for topic in syncs_there)


def test_what_is_there_is_left_alone_and_never_wound_back(pair: Pair) -> None:
    one, two = pair.topic("a", 2)
    pair.origin.write(one, 10)
    mirror = pair.mirror(one)
    mirror.create({one: 4, two: 0})
    assert mirror.create({one: 4, two: 0}) == []
    assert pair.connect.positions(mirror.name) == {one: 4}
    mirror.resume()
    pair.await_position(mirror, one, 10)
    assert mirror.create({one: 4, two: 0}) == [], "a mirror that runs is not stopped for nothing"
    assert pair.connect.positions(mirror.name) == {one: 10}
    assert mirror.state() == "RUNNING"


def test_mirror_that_was_started_does_not_say_that_it_is_stopped(pair: Pair) -> None:
    [tp] = pair.topic("a")
    mirror = pair.mirror(tp)
    mirror.create({tp: 0})
    for _ in range(3):
        mirror.resume()
        assert mirror.state() not in ("STOPPED", "PAUSED")
        mirror.stop()
        assert mirror.state() == "STOPPED"


def test_topics_that_come_later_are_added_with_their_own_begin(pair: Pair) -> None:
    [one], [two] = pair.topic("a"), pair.topic("b")
    pair.origin.write(one, 4)
    pair.origin.write(two, 4)
    mirror = pair.mirror(one, two)
    mirror.create({one: 0})
    mirror.resume()
    pair.await_position(mirror, one, 4)
    mirror.create({one: 0, two: 3})
    mirror.resume()
    pair.await_position(mirror, two, 4)
    assert len(read(pair.destination, one)) == 4
    assert len(read(pair.destination, two)) == 1


def test_offsets_of_a_deleted_connector_are_not_taken_over_silently(pair: Pair) -> None:
    [tp] = pair.topic("a")
    pair.origin.write(tp, 10)
    mirror = pair.mirror(tp)
    mirror.create({tp: 0})
    mirror.resume()
    pair.await_position(mirror, tp, 10)
    pair.connect.forget(mirror.name)
    for _ in range(2):
        with pytest.raises(MirrorError, match=f"{tp} at 10"):
            mirror.create({tp: 0})
    pair.connect.create_stopped(mirror.name, connector_config(pair.flow(tp), [tp.topic]))
    assert pair.connect.positions(mirror.name) == {tp: 10}, "Connect keeps them"
    mirror.remove()
    mirror.create({tp: 0})
    assert pair.connect.positions(mirror.name) == {}


def test_nothing_is_copied_any_more_when_stop_returns(pair: Pair) -> None:
    [tp] = pair.topic("a")
    produce(pair.origin, tp, range(MANY))
    mirror = pair.mirror(tp, **SLOW)
    mirror.create({tp: 0})
    for _ in range(3):
        before = pair.destination.end(tp)
        mirror.resume()
        eventually(lambda seen=before: pair.destination.end(tp) > seen + 100, "some to be copied", 90)
        mirror.stop()
        stopped = pair.destination.end(tp)
        at = pair.connect.positions(mirror.name)[tp]
        assert mirror.state() == "STOPPED"
        assert len(read(pair.destination, tp)) == at, "what is stored is what was copied"
        mirror.create({tp: 0})
        time.sleep(1.0)  # nothing to wait for: it is the absence of more that is looked at
        assert pair.destination.end(tp) == stopped
    assert at < MANY, "stopped while it copied"
    mirror = pair.mirror(tp)  # the rest as fast as it can
    mirror.create({tp: 0})
    mirror.resume()
    pair.await_position(mirror, tp, MANY)
    assert [copy.value for copy in read(pair.destination, tp)] == [str(n).encode() for n in range(MANY)]


def test_task_that_outlived_the_stop_can_write_no_more(pair: Pair) -> None:
    """A worker waits a while for a task to end, and then goes on without it."""
    [tp] = pair.topic("a")
    pair.origin.write(tp, 1)
    mirror = pair.mirror(tp)
    mirror.create({tp: 0})
    mirror.resume()
    pair.await_position(mirror, tp, 1)
    pair.connect.stop(mirror.name)
    eventually(lambda: pair.connect.state(mirror.name) == ("STOPPED", 0), "the mirror to stop")
    outlived = Producer(
        {
            "bootstrap.servers": pair.destination.bootstrap_servers,
            "transactional.id": f"connect-mirrors-{mirror.name}-0",
        }
    )
    outlived.init_transactions(30)
    outlived.begin_transaction()
    outlived.produce(tp.topic, b"late", partition=tp.partition)
    assert outlived.flush(30) == 0
    mirror.stop()
    with pytest.raises(KafkaException) as refused:
        outlived.commit_transaction(30)
    assert refused.value.args[0].code() == KafkaError._FENCED
    assert len(read(pair.destination, tp)) == 1
    assert pair.connect.positions(mirror.name) == {tp: 1}


def test_killed_worker_loses_and_repeats_nothing(pair: Pair, worker: ConnectWorker) -> None:
    partitions = pair.topic("a", 2)
    for tp in partitions:
        produce(pair.origin, tp, range(MANY))
    mirror = pair.mirror(*partitions, **SLOW)
    mirror.create(dict.fromkeys(partitions, 0))
    mirror.resume()
    for _ in range(2):
        before = pair.destination.end(partitions[0])
        eventually(lambda seen=before: pair.destination.end(partitions[0]) > seen + 100, "some to be copied", 90)
        worker.kill()
        with pytest.raises(MirrorUnreachable, match="does not answer"):
            mirror.state()
        assert len(read(pair.destination, partitions[0])) < MANY, "killed while it copied"
        worker.start()
        worker.wait_ready()
        assert mirror.name in pair.connect.connectors(), "who is ready knows what it shall run"
    mirror = pair.mirror(*partitions)  # the rest as fast as it can
    mirror.create(dict.fromkeys(partitions, 0))
    mirror.resume()
    for tp in partitions:
        pair.await_position(mirror, tp, MANY)
        found = Counter(copy.value for copy in read(pair.destination, tp))
        assert found == Counter(str(n).encode() for n in range(MANY)), "lost or repeated"


def test_failed_task_is_told_with_its_cause_and_started_again(pair: Pair) -> None:
    [tp] = pair.topic("a")
    pair.origin.write(tp, 1, value=b"x" * 5000)
    mirror = pair.mirror(tp, **{"producer.override.max.request.size": 1000})
    mirror.create({tp: 0})
    mirror.resume()
    eventually(lambda: bool(pair.connect.progress(mirror.name).failures), "the task to fail", 90)
    [(task, trace)] = pair.connect.progress(mirror.name).failures.items()
    assert task == f"task 0 of {mirror.name}"
    assert "max.request.size" in trace
    assert mirror.restart_failed() == [task]
    pair.connect.configure(mirror.name, connector_config(pair.flow(tp), [tp.topic]))
    pair.await_position(mirror, tp, 1)
    assert mirror.restart_failed() == []


def test_broker_that_is_restarted_while_it_is_copied_to_loses_and_repeats_nothing(
    source: RunningCluster, unique: Callable[[str], str], tmp_path: Path
) -> None:
    with (
        KafkaCluster("restarted", tmp_path / "restarted") as cluster,
        ConnectWorker("restarted", cluster.bootstrap_servers, tmp_path / "worker") as worker,
    ):
        destination = Workbench(cluster.bootstrap_servers, Side.TARGET)
        pair = Pair(Workbench(source.bootstrap_servers), destination, Connect(ConnectAccess(worker.url)), unique, [])
        [tp] = pair.topic("a")
        produce(pair.origin, tp, range(MANY))
        mirror = pair.mirror(tp, **SLOW)
        mirror.create({tp: 0})
        mirror.resume()
        eventually(lambda: destination.end(tp) > 100, "some to be copied", 90)
        cluster.stop()
        cluster.start()
        cluster.wait_ready()
        assert len(read(destination, tp)) < MANY, "restarted while it copied"
        mirror = pair.mirror(tp)  # the rest as fast as it can
        mirror.create({tp: 0})
        mirror.resume()

        def copied() -> bool:
            try:
                mirror.restart_failed()  # as the wait does
                return pair.connect.positions(mirror.name).get(tp) == MANY
            except MirrorUnreachable:  # its own broker has just returned
                return False

        eventually(copied, "all to be copied", 120)
        assert [copy.value for copy in read(destination, tp)] == [str(n).encode() for n in range(MANY)]
