"""What is stored before the shop opens: it lies where its log says, and two groups read the rest over two clusters.

The names are the shop's own: no other test has them on the shared clusters.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from tests.conftest import RunningCluster

from demo.shop import Shop
from demo.shop.catalogue import EVENTS, WITH_HISTORY, Catalogue
from demo.shop.history import write_history
from demo.shop.messages import read
from demo.shop.supervisor import write_private
from demo.waiting import wait_until
from demo.witness import GroupCount, WitnessCount, count, wait_until_complete
from demo.witness_log import Record, parse

_STORED, _UNREAD = 80_000, 8_000
_FIRST, _END = (_STORED - _UNREAD) // EVENTS.partitions, _STORED // EVENTS.partitions
_GROUPS = ("ledger", "archive")
_DAY = 86_400

_RATE = float(next(one for one in WITH_HISTORY.services if one.name == "ledger").settings["SHOP_RATE"])

# The shop without what has nothing to do with it.
_ONLY_HISTORY = Catalogue(
    (EVENTS,), tuple(service for service in WITH_HISTORY.services if service.name in _GROUPS), seconds=()
)


def test_two_groups_read_the_rest_of_what_was_stored_once_and_in_order_over_two_clusters(
    source: RunningCluster, target: RunningCluster, tmp_path: Path
) -> None:
    with _shop(source, tmp_path) as shop:
        log = shop.witness_directory / "history.tsv"
        write_history(source.bootstrap_servers, log, _GROUPS, messages=_STORED, unread=_UNREAD)
        stood = _committed(source, "archive")
        assert stood == _committed(source, "ledger") == dict.fromkeys(range(EVENTS.partitions), _FIRST)
        stored = _stored(source)
        assert sorted(stored, key=str) == sorted((parse(line).record for line in log.open()), key=str)
        assert len({one.key for one in stored}) > EVENTS.partitions
        _mirror(target, tmp_path)

        shop.start()
        wait_until(lambda: _of(_count(shop), "ledger").processed > 500, timeout=60, what="ledger to read something")
        assert [name for name, known in shop.status().items() if known.pid] == ["ledger"]
        shop._stop(["ledger"], timeout=30)
        left = _committed(source, "ledger")
        for group, offsets in (("ledger", left), ("archive", stood)):
            _commit(target, group, offsets)
        _point(shop.connection.env_directory / "ledger.env", source, target)
        shop.start_late("archive", target.bootstrap_servers)
        shop.hurry("ledger")
        counted = wait_until_complete(shop.witness_directory, shop.catalogue.readers, timeout=60, quiet=15)
        times = _times(shop.witness_directory / "ledger.tsv")

    assert (counted.produced, counted.lost, counted.repeated, counted.out_of_order) == (_UNREAD, 0, 0, 0)
    assert {one.group: one.processed for one in counted.groups} == dict.fromkeys(_GROUPS, _UNREAD)
    on_source = sum(left.values()) - sum(stood.values())
    assert 0 < on_source < _UNREAD / 2, "ledger was to be far behind when it was moved"
    servers = {group: _of(counted, group).rhythm.by_servers for group in _GROUPS}
    assert servers["archive"] == {target.bootstrap_servers: _UNREAD}
    assert {name: len(moments) for name, moments in times.items()} == servers["ledger"]
    slow, fast = times[source.bootstrap_servers], times[target.bootstrap_servers]
    assert (len(slow), len(fast)) == (on_source, _UNREAD - on_source)
    # Its limit holds, but for the first messages that it takes at once; then it is gone.
    assert len(slow) <= _RATE * (slow[-1] - slow[0]) + 200
    assert len(fast) > 2 * _RATE * (fast[-1] - fast[0])


@contextmanager
def _shop(cluster: RunningCluster, directory: Path) -> Iterator[Shop]:
    """Prepared, with the topic on that cluster; stopped at the end, whether it was started or not."""
    sockets = directory / "s"
    sockets.mkdir(mode=0o700)
    shop = Shop(directory / "shop", sockets, _ONLY_HISTORY)
    shop.prepare(cluster.bootstrap_servers)
    try:
        yield shop
    finally:
        shop.stop()


def _mirror(cluster: RunningCluster, directory: Path) -> None:
    """The same once more: offset for offset, as a mirror of an untouched topic would leave it."""
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap_servers})
    wanted = NewTopic(EVENTS.name, EVENTS.partitions, config=dict(EVENTS.settings))
    admin.create_topics([wanted])[EVENTS.name].result()
    write_history(cluster.bootstrap_servers, directory / "mirrored.tsv", [], messages=_STORED, unread=_UNREAD)


def _stored(cluster: RunningCluster) -> list[Record]:
    """The last messages of each partition as a service reads them. All of them are some days old, none too old."""
    consumer = Consumer(
        {"bootstrap.servers": cluster.bootstrap_servers, "group.id": "none", "enable.auto.commit": False}
    )
    consumer.assign([TopicPartition(EVENTS.name, number, 0) for number in range(EVENTS.partitions)])
    records: list[Record] = []
    ages: list[float] = []
    deadline = time.monotonic() + 60
    try:
        while len(ages) < _STORED:
            assert time.monotonic() < deadline, f"only {len(ages)} of {_STORED} messages could be read"
            for message in consumer.consume(5_000, 1.0):
                assert message.error() is None
                ages.append(time.time() - message.timestamp()[1] / 1000)
                record = read(message)
                assert record is not None
                records += [record] if record.offset >= _FIRST else []
    finally:
        consumer.close()
    assert 19 * _DAY < max(ages) < 21 * _DAY
    assert -60 < min(ages) < _DAY
    return records


def _committed(cluster: RunningCluster, group: str) -> dict[int, int]:
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap_servers})
    asked = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)], request_timeout=10)
    return {one.partition: one.offset for one in asked[group].result().topic_partitions}


def _commit(cluster: RunningCluster, group: str, offsets: Mapping[int, int]) -> None:
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap_servers})
    places = [TopicPartition(EVENTS.name, partition, offset) for partition, offset in offsets.items()]
    admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, places)])[group].result()


def _point(env_file: Path, before: RunningCluster, after: RunningCluster) -> None:
    text = env_file.read_text(encoding="utf-8")
    write_private(env_file, text.replace(before.bootstrap_servers, after.bootstrap_servers))


def _times(log: Path) -> dict[str, list[float]]:
    """When something was processed, by the servers."""
    found: dict[str, list[float]] = {}
    for entry in map(parse, log.open()):
        found.setdefault(entry.servers, []).append(entry.time)
    return found


def _count(shop: Shop) -> WitnessCount:
    return count(shop.witness_directory, shop.catalogue.readers)


def _of(counted: WitnessCount, group: str) -> GroupCount:
    return next(one for one in counted.groups if one.group == group)
