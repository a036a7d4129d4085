"""The live shop on a real broker: what it leaves in Kafka, and that its own logs find it faultless."""

from __future__ import annotations

import os
import signal
import stat
import time
from collections.abc import Iterator
from configparser import RawConfigParser
from dataclasses import dataclass
from pathlib import Path

import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, IsolationLevel, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from demo.kafka import KafkaCluster
from demo.shop import Shop
from demo.shop.catalogue import SECONDS, SERVICES, TOPICS, readers
from demo.shop.messages import Maker
from demo.shop.supervisor import write_private
from demo.waiting import wait_until
from demo.witness import WitnessCount, count, wait_until_complete

_ENOUGH = 4_000
_LOOK_EVERY = 0.3  # each look counts all that was ever written, beside the shop that is to write


@dataclass(frozen=True)
class Closed:
    """A shop after its day: open for some seconds, restarted in the middle, closed in order."""

    cluster: KafkaCluster
    shop: Shop
    counted: WitnessCount
    backlog: int


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Closed]:
    directory = tmp_path_factory.mktemp("day")
    with KafkaCluster("shop", directory / "kafka") as cluster:
        shop = _prepared(cluster, directory)
        shop.start()
        try:
            _await_produced(shop, _ENOUGH // 2)
            for service in SERVICES:
                shop.restart(service.name)
            _await_produced(shop, _ENOUGH)
            backlog = _backlog(cluster, "analytics")
            shop.stop_producers()
            counted = wait_until_complete(shop.witness_directory, readers(), timeout=60, quiet=15)
        finally:
            shop.stop()
        yield Closed(cluster, shop, counted, backlog)


def test_nothing_is_lost_repeated_or_out_of_order_though_every_service_was_restarted(closed: Closed) -> None:
    counted = closed.counted
    assert (counted.lost, counted.repeated, counted.out_of_order, counted.first_fault) == (0, 0, 0, None)
    assert counted.produced > _ENOUGH
    assert {one.service for one in counted.producers} == {"order-api", "payments", "fulfilment"}
    assert {one.group for one in counted.groups} == set(readers())
    assert all(one.processed and not one.unacknowledged for one in counted.groups)


def test_every_partition_of_a_transactional_topic_holds_markers_and_aborted_messages(closed: Closed) -> None:
    committed = _read(closed.cluster, "payments", "read_committed")
    stored = _read(closed.cluster, "payments", "read_uncommitted")
    ends = _ends(closed.cluster, "payments")
    for partition, end in ends.items():
        assert stored[partition] > committed[partition], f"no aborted message in partition {partition}"
        assert end > stored[partition], f"no marker in partition {partition}"
    assert sum(committed.values()) == _of(closed, "payments")


def test_explicit_record_commits_leave_a_lag_of_markers_behind_the_last_message(closed: Closed) -> None:
    committed = _committed(closed.cluster, "shipping")
    ends = _ends(closed.cluster, "shipments")
    assert all(committed["shipments", partition] < end for partition, end in ends.items())


def test_slow_service_is_some_thousand_messages_behind(closed: Closed) -> None:
    assert closed.backlog > 1_000


def test_one_group_speaks_the_new_protocol_and_the_others_the_classic_one(closed: Closed) -> None:
    admin = AdminClient({"bootstrap.servers": closed.cluster.bootstrap_servers})
    listed = admin.list_consumer_groups(request_timeout=10).result().valid
    kinds = {group.group_id: group.type.name for group in listed}
    assert {group for group in readers() if kinds[group] == "CONSUMER"} == {"audit"}
    assert {kinds[group] for group in set(readers()) - {"audit"}} == {"CLASSIC"}


def test_groups_are_left_and_one_topic_stays_idle(closed: Closed) -> None:
    admin = AdminClient({"bootstrap.servers": closed.cluster.bootstrap_servers})
    groups = admin.describe_consumer_groups(sorted(readers()), request_timeout=10)
    assert {group: future.result().state.name for group, future in groups.items()} == dict.fromkeys(readers(), "EMPTY")
    assert set(_ends(closed.cluster, "returns").values()) == {0}


def test_secrets_are_readable_by_the_owner_alone(closed: Closed) -> None:
    files = [*closed.shop.connection.env_directory.iterdir(), closed.shop.directory / "supervisord.conf"]
    assert len(files) == len(SERVICES) + len(SECONDS) + 1
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_nothing_is_lost_though_the_broker_was_killed_and_the_processor_repeats_nothing(tmp_path: Path) -> None:
    # A broker that was killed may come back only when its session has ended.
    settings = {"broker.session.timeout.ms": "3000", "broker.heartbeat.interval.ms": "500"}
    with KafkaCluster("killed", tmp_path / "kafka", settings=settings) as cluster:
        shop = _prepared(cluster, tmp_path)
        shop.start()
        try:
            _await_produced(shop, _ENOUGH // 4)
            cluster.kill_broker(1)
            cluster.start_broker(1)
            cluster.wait_ready()
            _await_produced(shop, _produced(shop) + _ENOUGH // 4)
            shop.stop_producers()
            counted = wait_until_complete(shop.witness_directory, readers(), timeout=120, quiet=60)
        finally:
            shop.stop()
    assert (counted.lost, counted.out_of_order) == (0, 0)
    # The others may read again what they could not commit: at least once is all they promise.
    assert {one.group: one.repeated for one in counted.groups}["fulfilment"] == 0


def test_no_service_outlives_a_supervisor_that_was_killed(tmp_path: Path) -> None:
    with KafkaCluster("orphans", tmp_path / "kafka") as cluster:
        shop = _prepared(cluster, tmp_path)
        shop.start()
        services = [one.pid for one in shop.status().values() if one.pid]
        assert len(services) == len(SERVICES)
        supervisord = int((shop.directory / "supervisord.pid").read_text(encoding="ascii"))
        os.kill(supervisord, signal.SIGKILL)
        wait_until(lambda: not any(map(_runs, services)), timeout=30, what="the services to end")
        shop.stop()


def test_second_instances_read_another_cluster_beside_the_first_and_stop_with_the_shop(tmp_path: Path) -> None:
    with KafkaCluster("one", tmp_path / "one") as one, KafkaCluster("two", tmp_path / "two") as two:
        _with_orders(two, 500)
        shop = _prepared(one, tmp_path)
        _point(shop.connection.env_directory / "billing-second.env", one, two)
        _point(shop.connection.env_directory / "fulfilment-second.env", one, two)
        shop.start()
        try:
            firsts = {service.name: shop.status()[service.name].pid for service in SERVICES}
            for name in ("billing-second", "fulfilment-second"):
                shop.restart(name)
            _copy(shop, "analytics", one, two)
            everyone = _groups_at(two, {"billing": 500, "fulfilment": 500, "analytics": 1_000})  # shipments as well
            wait_until(lambda: everyone <= _witnessed(shop), timeout=60, what="the second instances to read")
            _await_produced(shop, _produced(shop) + 1_000)
            status = shop.status()
            # The processor's two instances have one transactional id: neither has put the other out of work.
            assert {name: status[name].pid for name in firsts} == firsts
            pids = [known.pid for known in status.values() if known.pid]
            assert len(pids) == len(SERVICES) + 3
        finally:
            shop.stop()
        assert not [pid for pid in pids if _runs(pid)]
        counted = count(shop.witness_directory, readers())
    assert (counted.repeated, counted.out_of_order) == (0, 0)
    assert (shop.witness_directory / "analytics.2.tsv").exists()


def _with_orders(cluster: KafkaCluster, number: int) -> None:
    """The shop's topics on another cluster, and some orders there that no service of the shop has taken."""
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap_servers})
    for future in admin.create_topics([NewTopic(topic.name, topic.partitions) for topic in TOPICS]).values():
        future.result()
    producer, maker = Producer({"bootstrap.servers": cluster.bootstrap_servers}), Maker("elsewhere")
    for customer in range(number):
        message = maker.message("orders", f"elsewhere-{customer}", amount=1)
        producer.produce(message.topic, message.value, message.key)
    assert producer.flush(30) == 0


def _point(env_file: Path, before: KafkaCluster, after: KafkaCluster) -> None:
    text = env_file.read_text(encoding="utf-8")
    assert before.bootstrap_servers in text
    write_private(env_file, text.replace(before.bootstrap_servers, after.bootstrap_servers))


def _copy(shop: Shop, name: str, before: KafkaCluster, after: KafkaCluster) -> None:
    """A second instance made of what the configuration says of the first, as a controller makes it."""
    access = shop.connection
    env_file, copied = access.env_directory / f"{name}.env", access.env_directory / f"{name}-second.env"
    write_private(copied, env_file.read_text(encoding="utf-8"))
    _point(copied, before, after)
    configuration = RawConfigParser()
    configuration.read(access.configuration)
    section = dict(configuration[f"program:{name}"])
    assert str(env_file) in section["command"]
    section["command"] = section["command"].replace(str(env_file), str(copied))
    lines = [f"[program:{name}-second]", *(f"{key}={value}" for key, value in section.items())]
    write_private(access.program_directory / f"{name}-second.conf", "\n".join(lines) + "\n")
    supervisor = shop._supervisor()
    supervisor.reloadConfig()
    supervisor.addProcessGroup(f"{name}-second")
    shop.restart(f"{name}-second")


def _groups_at(cluster: KafkaCluster, processed: dict[str, int]) -> set[tuple[str, str, int]]:
    return {(group, cluster.bootstrap_servers, number) for group, number in processed.items()}


def _witnessed(shop: Shop) -> set[tuple[str, str, int]]:
    """Each group, where it processed something, and how many."""
    counted = count(shop.witness_directory, readers())
    return {(one.group, at, number) for one in counted.groups for at, number in one.rhythm.by_servers.items()}


def _prepared(cluster: KafkaCluster, directory: Path) -> Shop:
    sockets = directory / "s"
    sockets.mkdir(mode=0o700)
    shop = Shop(directory / "shop", sockets)
    shop.prepare(cluster.bootstrap_servers)
    return shop


def _await_produced(shop: Shop, number: int) -> None:
    """More than that many messages."""

    def done() -> bool:
        time.sleep(_LOOK_EVERY)
        return _produced(shop) > number

    wait_until(done, timeout=60, what="the shop to do business")


def _produced(shop: Shop) -> int:
    return count(shop.witness_directory, readers()).produced


def _of(closed: Closed, service: str) -> int:
    return next(one.produced for one in closed.counted.producers if one.service == service)


def _partitions(topic: str) -> list[TopicPartition]:
    count_of = next(one.partitions for one in TOPICS if one.name == topic)
    return [TopicPartition(topic, partition) for partition in range(count_of)]


def _ends(cluster: KafkaCluster, topic: str) -> dict[int, int]:
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap_servers})
    futures = admin.list_offsets(
        {one: OffsetSpec.latest() for one in _partitions(topic)},
        isolation_level=IsolationLevel.READ_UNCOMMITTED,
        request_timeout=10,
    )
    return {one.partition: future.result().offset for one, future in futures.items()}


def _committed(cluster: KafkaCluster, group: str) -> dict[tuple[str, int], int]:
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap_servers})
    asked = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)], request_timeout=10)
    return {(one.topic, one.partition): one.offset for one in asked[group].result().topic_partitions}


def _backlog(cluster: KafkaCluster, group: str) -> int:
    committed = _committed(cluster, group)
    topics = {topic for topic, _ in committed}
    ends = {(topic, partition): end for topic in topics for partition, end in _ends(cluster, topic).items()}
    return sum(ends[place] - max(offset, 0) for place, offset in committed.items())


def _read(cluster: KafkaCluster, topic: str, isolation: str) -> dict[int, int]:
    """How many messages a reader of that isolation gets from each partition."""
    consumer = Consumer(
        {
            "bootstrap.servers": cluster.bootstrap_servers,
            "group.id": "test",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "isolation.level": isolation,
        }
    )
    consumer.assign([TopicPartition(topic, one.partition, 0) for one in _partitions(topic)])
    found = {one.partition: 0 for one in _partitions(topic)}
    left = set(found)
    deadline = time.monotonic() + 60
    try:
        while left:
            assert time.monotonic() < deadline, f"the end of {topic} was not reached"
            for message in consumer.consume(500, 0.2):
                partition = message.partition() or 0
                error = message.error()
                if error is None:
                    found[partition] += 1
                elif error.code() == KafkaError._PARTITION_EOF:
                    left.discard(partition)
    finally:
        consumer.close()
    return found


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
