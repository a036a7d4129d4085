"""What only the other client can ask: versions, features, disk space, open transactions; None where it cannot."""

from __future__ import annotations

import pytest
from tests.conftest import RunningCluster
from tests.integration.workbench import Workbench, eventually

from kafka_migration.clusters.client import Cluster
from kafka_migration.clusters.protocol import OpenTransaction, speak, translate
from kafka_migration.offsets import TopicPartition
from kafka_migration.sides import Side


@pytest.fixture(scope="module")
def bench(source: RunningCluster) -> Workbench:
    return Workbench(source.bootstrap_servers)


def test_versions_and_features_are_told(bench: Workbench) -> None:
    with speak(bench.cluster) as protocol:
        assert protocol is not None
        versions, features = protocol.api_versions(), protocol.features()
    assert versions is not None
    assert features is not None
    assert versions["Fetch"] >= 13
    assert features["metadata.version"] > 0
    assert features["group.version"] >= 1, "the consumer protocol of KIP-848"


def test_space_is_told(bench: Workbench) -> None:
    [tp] = bench.topic("stored")
    bench.write(tp, 100, value=b"x" * 1000)
    with speak(bench.cluster) as protocol:
        assert protocol is not None
        usable, stored = protocol.usable_bytes(), protocol.stored_bytes([tp.topic])
    assert usable is not None
    assert usable > 0
    assert stored is not None
    assert stored[tp.topic] >= 100_000


def test_open_transactions_are_told_with_their_holder_until_they_end(bench: Workbench) -> None:
    one, two = bench.topic("held", partitions=2)
    bench.write(one, 3)
    with bench.open_transaction(one, 2) as holder, speak(bench.cluster) as protocol:
        assert protocol is not None
        told = protocol.open_transactions([one, two])
        assert told is not None
        assert [(t.partition, t.start_offset, t.transactional_id) for t in told] == [(one, 3, holder)]
    with speak(bench.cluster) as protocol:
        assert protocol is not None
        eventually(lambda: protocol.open_transactions([one, two]) == [], "the transaction to be over")


def test_partition_that_is_not_there_is_not_taken_for_one_without_transactions(bench: Workbench) -> None:
    with speak(bench.cluster) as protocol:
        assert protocol is not None
        assert not protocol.open_transactions([TopicPartition("no-such-topic", 0)])


def test_cluster_that_does_not_answer_is_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(_patience(), "bootstrap_timeout_ms", 1000)
    with speak(Cluster(Side.SOURCE, "kafka_source", {"bootstrap.servers": "127.0.0.1:1"})) as protocol:
        assert protocol is None


def test_security_that_has_no_counterpart_is_not_seen_instead_of_guessed() -> None:
    plain = {"bootstrap.servers": "a:1,b:2"}
    assert translate(plain) == {"bootstrap_servers": "a:1,b:2"}
    assert translate(plain | {"ssl.key.pem": "..."}) is None
    assert translate(plain | {"sasl.mechanism": "OAUTHBEARER", "security.protocol": "SASL_SSL"}) is None
    assert translate(plain | {"security.protocol": "sasl_ssl", "sasl.mechanism": "PLAIN", "sasl.username": "u"}) == {
        "bootstrap_servers": "a:1,b:2",
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": "u",
    }


def test_holder_that_the_broker_does_not_name_goes_by_its_producer_id() -> None:
    assert (
        str(OpenTransaction(TopicPartition("a", 0), 77, 1234, None)) == "a/0 from offset 1,234, held by producer id 77"
    )


def _patience() -> dict[str, int]:
    from kafka_migration.clusters import protocol

    return protocol._PATIENCE
