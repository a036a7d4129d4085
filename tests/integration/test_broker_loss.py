"""One broker of three dies while it is asked: others lead what it has led, and what reads the cluster goes on."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient, BrokerMetadata, ClusterMetadata, NewTopic
from tests.integration.workbench import eventually

from demo.broker_loss import BrokerLoss
from demo.kafka import KafkaCluster
from demo.rest import TaskRow
from kafka_migration.clusters.client import Cluster, offsets_partition
from kafka_migration.clusters.each import ask_each_broker
from kafka_migration.clusters.identity import identify
from kafka_migration.errors import ClusterError, OffsetsRefused
from kafka_migration.groups import commits
from kafka_migration.groups.commits import committed, set_commits
from kafka_migration.groups.describe import describe_groups
from kafka_migration.offsets import TopicPartition, Which, read_several
from kafka_migration.sides import Side
from kafka_migration.topics import describe
from kafka_migration.topics.create import TopicToCreate, create_topics, set_settings
from kafka_migration.topics.describe import describe_topics
from kafka_migration.topics.ids import topic_ids

_OFFSETS = "__consumer_offsets"
_GROUPS = [f"group-{number}" for number in range(6)]
_ENDS = {TopicPartition("orders", number): 10 for number in range(6)}


@dataclass
class Lost:
    """A cluster whose broker is killed by the demo's own hand."""

    cluster: KafkaCluster
    loss: BrokerLoss
    said: list[str]

    def seen(self) -> Cluster:
        return Cluster(Side.SOURCE, "lost", {"bootstrap.servers": self.cluster.bootstrap_servers})


@pytest.fixture(scope="module")
def lost(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lost]:
    folder = tmp_path_factory.mktemp("three")
    said: list[str] = []
    with KafkaCluster("three", folder, brokers=3, racks=("a", "b", "c")) as cluster:
        admin = AdminClient({"bootstrap.servers": cluster.bootstrap_servers})
        admin.create_topics([NewTopic("orders", 6, config={"min.insync.replicas": "2"})])["orders"].result(30)
        producer = Producer({"bootstrap.servers": cluster.bootstrap_servers, "acks": "all"})
        for number in range(60):
            producer.produce("orders", b"value", partition=number % 6)
        assert producer.flush(30) == 0
        yield Lost(cluster, BrokerLoss({"source": cluster, "target": cluster}, "drain", said.append), said)


def test_groups_of_a_cluster_that_none_has_ever_used_are_read_and_set(tmp_path: Path) -> None:
    """Kafka makes its topic of offsets when somebody first asks for a coordinator; until then there is none."""
    cluster = KafkaCluster("new", tmp_path, brokers=2)
    cluster.format()
    cluster.start()
    try:
        admin = AdminClient({"bootstrap.servers": cluster.bootstrap_servers})
        eventually(lambda: _nodes(admin) == 2, "both brokers to be up", 60)
        assert _OFFSETS not in admin.list_topics(timeout=10).topics
        new = Cluster(Side.TARGET, "new", {"bootstrap.servers": cluster.bootstrap_servers})
        assert describe_groups(new, ["one"])["one"].state == "DEAD"
        assert committed(new, ["one", "two"]) == {"one": {}, "two": {}}
        create_topics(new, [TopicToCreate("orders", 1, 2, {})])
        set_commits(new, {"one": {TopicPartition("orders", 0): 0}})
        assert committed(new, ["one"]) == {"one": {TopicPartition("orders", 0): 0}}
    finally:
        cluster.stop()


def _nodes(admin: AdminClient) -> int:
    try:
        return len(admin.describe_cluster(request_timeout=2).result(5).nodes)
    except (KafkaException, TimeoutError):
        return 0


def test_leaders_change_at_the_cutover_and_a_client_that_knew_the_former_ones_hears_of_it(lost: Lost) -> None:
    known = lost.seen()
    before = describe_topics(known, ["orders"])["orders"].placed
    assert read_several(known, _ENDS, [Which.END])[Which.END] == _ENDS

    lost.loss.watch([_row("cutover")])

    assert lost.said == ["leaders of 6 of the source's 6 partitions changed, while it is cut over"]

    def heard() -> bool:
        now = describe_topics(known, ["orders"])["orders"].placed
        return all(now[number].leader not in (None, before[number].leader) for number in before)

    eventually(heard, "the broker that is asked to know the new leaders")
    after = describe_topics(known, ["orders"])["orders"].placed
    assert {frozenset(one.replicas) for one in after.values()} == {frozenset({1, 2, 3})}
    assert read_several(known, _ENDS, [Which.END])[Which.END] == _ENDS


def test_coordinator_of_a_group_is_the_leader_that_is_looked_at(lost: Lost) -> None:
    known = lost.seen()
    set_commits(known, dict.fromkeys(_GROUPS, _ENDS))
    partitions = known.admin.list_topics(_OFFSETS, timeout=10).topics[_OFFSETS].partitions
    for group, told in known.admin.describe_consumer_groups(_GROUPS).items():
        assert told.result(30).coordinator.id == partitions[offsets_partition(group, len(partitions))].leader


def test_new_topic_is_awaited_until_every_broker_knows_it(lost: Lost, monkeypatch: pytest.MonkeyPatch) -> None:
    """One broker is made to say once more what it said before the topic was created."""
    known, asked = lost.seen(), []
    before = ask_each_broker(known, known.admin.list_topics(timeout=10).brokers.values())

    def ask(cluster: Cluster, brokers: Iterable[BrokerMetadata]) -> dict[int, ClusterMetadata | str]:
        asked.append(ask_each_broker(cluster, brokers))
        return {**asked[-1], 2: before[2], 3: "no TCP connection"} if len(asked) == 1 else asked[-1]

    monkeypatch.setattr(describe, "ask_each_broker", ask)
    create_topics(known, [TopicToCreate("late", 2, 3, {})])
    assert len(asked) >= 2
    for told in asked[-1].values():
        assert isinstance(told, ClusterMetadata)
        assert len(told.topics["late"].partitions) == 2
    ids = topic_ids(known, ["late", "orders"], there=True)
    assert len(set(ids.values())) == 2
    with pytest.raises(ClusterError, match="asking for the id of topic never-made"):
        topic_ids(known, ["never-made"], there=True)


def test_offsets_and_groups_are_read_while_a_broker_dies_as_soon_as_others_lead(lost: Lost) -> None:
    known = lost.seen()
    wanted = {group: dict.fromkeys(_ENDS, 7) for group in _GROUPS}
    set_commits(known, wanted)

    lost.loss.watch([_row("billing.drained")])
    killed = time.monotonic()
    assert committed(known, _GROUPS) == wanted
    assert set(describe_groups(known, _GROUPS)) == set(_GROUPS)
    assert read_several(known, _ENDS, [Which.END, Which.STABLE]) == {Which.END: _ENDS, Which.STABLE: _ENDS}
    took = time.monotonic() - killed

    assert len(lost.cluster.running) == 2
    eventually(lambda: len(identify(lost.seen()).brokers) == 2, "the cluster to count on the broker no more")
    # Nine seconds until it is missed; a client that waits for the dead one itself waits for thirty.
    assert took < 25


def test_offsets_that_a_cluster_cannot_store_now_are_no_refusal(lost: Lost, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too few replicas are in sync: the coordinator answers each partition that no coordinator is available."""
    monkeypatch.setattr(commits, "_COORDINATED_WITHIN", 0.0)
    there = lost.seen()
    set_settings(there, {_OFFSETS: {"min.insync.replicas": "3"}})
    told: list[ClusterError] = []

    def refused() -> bool:
        try:
            set_commits(there, {"group-0": _ENDS})
        except ClusterError as error:
            told.append(error)
        return bool(told)

    try:
        eventually(refused, "the coordinator to ask for three replicas")
    finally:
        set_settings(there, {_OFFSETS: {"min.insync.replicas": "1"}})
    assert "orders/0: COORDINATOR_NOT_AVAILABLE" in str(told[0])
    assert not isinstance(told[0], OffsetsRefused)


def test_broker_is_started_again_and_all_is_in_sync_at_the_end(lost: Lost) -> None:
    lost.loss.end()

    assert lost.cluster.running == (1, 2, 3)

    def in_sync() -> bool:
        placed = describe_topics(lost.seen(), ["orders"])["orders"].placed.values()
        return all(len(one.in_sync) == 3 for one in placed)

    eventually(in_sync, "the broker that is asked to know that all are in sync")
    assert lost.loss.missing is None


def test_groups_are_read_on_after_their_coordinators_have_moved(lost: Lost) -> None:
    """A client that remembers them ends this very process: in Airflow that would be the triggerer, with all waits."""
    known = lost.seen()
    wanted = {group: dict.fromkeys(_ENDS, 7) for group in _GROUPS}
    set_commits(known, wanted)

    told = known.admin.list_topics(_OFFSETS, timeout=10).topics[_OFFSETS].partitions
    (node, _led), *_ = Counter(partition.leader for partition in told.values()).most_common()

    lost.cluster.stop_broker(node)
    lost.cluster.start_broker(node)
    lost.cluster.wait_ready()

    assert committed(known, _GROUPS) == wanted
    assert set(describe_groups(known, _GROUPS)) == set(_GROUPS)


def test_demo_that_has_killed_nobody_or_elected_no_leader_has_shown_nothing(lost: Lost) -> None:
    loss = BrokerLoss({"source": lost.cluster, "target": lost.cluster}, "switch_consumers", lost.said.append)
    loss.watch([_row("billing.switch", "success"), _row("billing.drained")])
    assert loss.missing == "no_broker_killed_in_switch_consumers"
    loss.end()
    assert lost.cluster.running == (1, 2, 3)


def _row(task: str, state: str = "running") -> TaskRow:
    return TaskRow(task, -1, task, state, 1, datetime.now(UTC), None)
