"""Two clusters means two ids and disjoint addresses, asked at every address that a broker advertises."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import KafkaException
from tests.conftest import RunningCluster
from tests.integration.workbench import eventually

from demo.kafka import KafkaCluster
from kafka_migration.clusters.client import Cluster
from kafka_migration.clusters.identity import Identity, identify
from kafka_migration.errors import ClusterError, ClusterUnreachable
from kafka_migration.sides import Side


def identity(bootstrap_servers: str) -> Identity:
    return identify(Cluster(Side.SOURCE, "kafka_source", {"bootstrap.servers": bootstrap_servers}))


def test_two_clusters_have_two_ids_and_disjoint_addresses(source: RunningCluster, target: RunningCluster) -> None:
    one, two = identity(source.bootstrap_servers), identity(target.bootstrap_servers)
    assert (one.cluster_id, two.cluster_id) == (source.cluster_id, target.cluster_id)
    assert not one.addresses & two.addresses


def test_one_cluster_under_two_addresses_is_one_cluster(source: RunningCluster) -> None:
    port = source.bootstrap_servers.rpartition(":")[2]
    one, two = identity(f"127.0.0.1:{port}"), identity(f"localhost:{port}")
    assert one.cluster_id == two.cluster_id
    assert one.addresses == two.addresses == {f"127.0.0.1:{port}"}


def test_every_broker_is_asked_at_its_advertised_address(source: RunningCluster) -> None:
    [broker] = identity(source.bootstrap_servers).brokers
    assert (broker.address, broker.cluster_id, broker.problem) == (source.bootstrap_servers, source.cluster_id, "")


def test_advertised_address_that_cannot_be_reached_is_told_apart(tmp_path: Path) -> None:
    """Reached by its bootstrap server, but no client could use it."""
    with _advertising("PLAINTEXT://127.0.0.1:1", tmp_path) as cluster:
        found = identity(cluster.bootstrap_servers)
        with pytest.raises(ClusterError, match=r"is this the port of a controller\?[\s\S]*connection kafka_source"):
            identity(f"127.0.0.1:{cluster.addresses[0].controller_port}")
    [broker] = found.brokers
    assert found.cluster_id == cluster.cluster_id
    assert (broker.address, broker.cluster_id) == ("127.0.0.1:1", None)
    assert broker.problem == "no TCP connection: Connection refused"


@contextlib.contextmanager
def _advertising(listener: str, directory: Path) -> Iterator[KafkaCluster]:
    """A cluster that advertises another address than it listens on; nothing but its id can be asked of it."""
    cluster = KafkaCluster("elsewhere", directory, settings={"advertised.listeners": listener})
    cluster.format()
    cluster.start()
    try:
        eventually(lambda: _answers(cluster), "the broker to answer", timeout=90)
        yield cluster
    finally:
        cluster.kill()


def _answers(cluster: KafkaCluster) -> bool:
    probe = Cluster(Side.SOURCE, "kafka_source", {"bootstrap.servers": cluster.bootstrap_servers})
    with contextlib.suppress(KafkaException):
        return len(probe.admin.list_topics(timeout=1).brokers) > 0
    return False


def test_cluster_that_is_not_there_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kafka_migration.clusters.identity.CONNECT_TIMEOUT", 1.0)
    with pytest.raises(ClusterUnreachable, match="asking for its id"):
        identity("127.0.0.1:1")
