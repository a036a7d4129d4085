"""The shop when its cluster is killed: who works there can be stopped, and works on another one.

And what the demo counts of it by itself: what had been acknowledged and lies on no other cluster, who went on first.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from demo.disaster import written
from demo.kafka import KafkaCluster
from demo.mirrored import ids_on
from demo.shop import Shop
from demo.shop.catalogue import PLAIN, TOPICS
from demo.shop.supervisor import write_private
from demo.waiting import wait_until
from demo.witness import WitnessCount, acknowledged, count, first_processed

_ENOUGH = 1_500
_SUPERVISORS_PATIENCE = 15.0


@pytest.mark.timeout(240)
def test_services_of_a_killed_cluster_can_be_stopped_and_go_on_at_another(tmp_path: Path) -> None:
    with KafkaCluster("lost", tmp_path / "lost") as lost, KafkaCluster("survivor", tmp_path / "survivor") as survivor:
        admin = AdminClient({"bootstrap.servers": survivor.bootstrap_servers})
        for future in admin.create_topics([NewTopic(topic.name, topic.partitions) for topic in TOPICS]).values():
            future.result()
        shop = Shop(tmp_path / "shop", tmp_path)
        shop.prepare(lost.bootstrap_servers)
        shop.start()
        try:
            wait_until(lambda: _counted(shop).produced > _ENOUGH, timeout=60, what="the shop to do business")
            killed = time.time()
            lost.kill()
            time.sleep(5.0)  # in the middle of commits, of transactions, of everything
            before = _counted(shop).produced
            for name in (service.name for service in PLAIN.services):
                began = time.monotonic()
                _point(shop, name, lost, survivor)
                shop.restart(name)
                assert time.monotonic() - began < _SUPERVISORS_PATIENCE + 5.0, name
            wait_until(lambda: _counted(shop).produced > before + _ENOUGH, timeout=60, what="the shop to go on")
            wait_until(lambda: not _elsewhere(shop, survivor), timeout=60, what="everybody to work there")
            first = first_processed(shop.witness_directory, survivor.bootstrap_servers, since=killed)
            shop.stop_producers()
            there = ids_on(survivor.bootstrap_servers, written(PLAIN))
        finally:
            shop.stop()
    assert first is not None
    assert killed < first.time
    # Nobody copied anything: all that the first had acknowledged is missing, and nothing of the second.
    books = {
        one: acknowledged(shop.witness_directory, one.bootstrap_servers, written(PLAIN)) for one in (lost, survivor)
    }
    assert len(books[lost]) > _ENOUGH // 2
    assert not books[lost] & there
    assert books[survivor] <= there


def _counted(shop: Shop) -> WitnessCount:
    return count(shop.witness_directory, PLAIN.readers)


def _elsewhere(shop: Shop, cluster: KafkaCluster) -> set[str]:
    counted = _counted(shop)
    rhythms = [(one.service, one.rhythm) for one in counted.producers]
    rhythms += [(one.group, one.rhythm) for one in counted.groups]
    return {name for name, rhythm in rhythms if rhythm.last_servers != cluster.bootstrap_servers}


def _point(shop: Shop, name: str, old: KafkaCluster, new: KafkaCluster) -> None:
    file = shop.connection.env_directory / f"{name}.env"
    write_private(file, file.read_text(encoding="utf-8").replace(old.bootstrap_servers, new.bootstrap_servers))
