"""A cluster that cannot be reached is told with its cause; a shared connection does no harm; nothing goes to stderr."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from tests.conftest import RunningCluster
from tests.integration.workbench import eventually

from kafka_migration.clusters import client
from kafka_migration.clusters.client import Cluster, Clusters
from kafka_migration.clusters.identity import identify
from kafka_migration.errors import ClusterError, ClusterUnreachable
from kafka_migration.groups.commits import committed
from kafka_migration.groups.describe import describe_groups
from kafka_migration.sides import Side

OF_AN_APPLICATION = {
    "group.id": "billing",
    "group.instance.id": "billing-1",
    "group.protocol": "consumer",
    "auto.offset.reset": "latest",
    "enable.auto.commit": True,
    "isolation.level": "read_uncommitted",
    "session.timeout.ms": 600000,
    "max.poll.interval.ms": 1000,
    "fetch.min.bytes": 1000000,
    "client.rack": "north",
    "transactional.id": "payments",
    "enable.idempotence": True,
    "acks": "1",
    "compression.type": "zstd",
}


def cluster(config: Mapping[str, Any], **kwargs: Any) -> Cluster:
    return Cluster(Side.SOURCE, "kafka_source", config, **kwargs)


def test_a_client_that_found_no_broker_is_not_asked_again(source: RunningCluster) -> None:
    """One may go on finding none after they are back: see `Cluster.leave_client`."""
    there = cluster({"bootstrap.servers": source.bootstrap_servers})
    first, first_of_groups = there.admin, there.group_admin([])
    assert there.admin is first
    assert there.group_admin([]) is first_of_groups
    with pytest.raises(ClusterUnreachable):
        raise there.error(KafkaError(KafkaError._TRANSPORT), "asking")
    assert there.admin is not first
    assert there.group_admin([]) is not first_of_groups
    assert committed(there, ["nobody"]) == {"nobody": {}}


def test_no_group_is_asked_of_a_cluster_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "CONNECT_TIMEOUT", 2.0)
    nobody = cluster({"bootstrap.servers": f"127.0.0.1:{_closed_port()}"})
    for ask in (committed, describe_groups):
        with pytest.raises(ClusterUnreachable, match="looking whether it answers"):
            ask(nobody, ["billing"])


def test_every_unreachable_cluster_is_told_within_ten_seconds_with_its_cause(
    source: RunningCluster, capfd: pytest.CaptureFixture[str]
) -> None:
    address = source.bootstrap_servers
    cases: dict[str, tuple[Mapping[str, Any], str]] = {
        "dead": ({"bootstrap.servers": f"127.0.0.1:{_closed_port()}"}, "Connection refused"),
        "bad name": ({"bootstrap.servers": "no-such-host.invalid:9092"}, "Failed to resolve"),
        "TLS": ({"bootstrap.servers": address, "security.protocol": "SSL"}, "PLAINTEXT broker listener"),
        "SASL": (
            {
                "bootstrap.servers": address,
                "security.protocol": "SASL_PLAINTEXT",
                "sasl.mechanism": "PLAIN",
                "sasl.username": "u",
                "sasl.password": "hunter2",
            },
            "SASL PLAIN mechanism handshake failed",
        ),
        "not Kafka": ({"bootstrap.servers": f"127.0.0.1:{_controller_port(address)}"}, ""),
    }

    def attempt(config: Mapping[str, Any]) -> tuple[str, float]:
        started = time.monotonic()
        with pytest.raises(ClusterError) as raised:
            identify(cluster(config))
        assert isinstance(raised.value, ClusterUnreachable)
        return str(raised.value), time.monotonic() - started

    with ThreadPoolExecutor(len(cases)) as pool:
        told = dict(zip(cases, pool.map(attempt, [config for config, _ in cases.values()]), strict=True))
    for name, (config, cause) in cases.items():
        text, seconds = told[name]
        assert cause in text, name
        assert f"the source cluster ({config['bootstrap.servers']})" in text, name
        assert "connection kafka_source" in text, name
        assert "hunter2" not in text
        assert seconds < 16, name  # 10 s, and what a loaded machine adds
    assert capfd.readouterr().err == ""


def test_dead_bootstrap_server_beside_a_living_one_does_no_harm(source: RunningCluster) -> None:
    servers = f"127.0.0.1:{_closed_port()},{source.bootstrap_servers}"
    assert identify(cluster({"bootstrap.servers": servers})).cluster_id == source.cluster_id


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"secrity.protocol": "SSL"}, "secrity.protocol"),
        ({"security.protocol": "SSL", "ssl.ca.location": "/no/such/file"}, "ssl.ca.location"),
    ],
)
def test_settings_that_make_no_client_are_told_with_the_connection(
    source: RunningCluster, settings: Mapping[str, str], told: str
) -> None:
    bad = cluster({"bootstrap.servers": source.bootstrap_servers, **settings})
    with pytest.raises(ClusterError, match=rf"the connection kafka_source of the source cluster[\s\S]*{told}"):
        identify(bad)
    with pytest.raises(ClusterError, match=told), bad.reader():
        pass


def test_settings_of_an_application_do_not_leak_from_a_shared_connection(source: RunningCluster) -> None:
    shared = cluster({"bootstrap.servers": source.bootstrap_servers, "socket.timeout.ms": 9000, **OF_AN_APPLICATION})
    assert shared.config.keys() & OF_AN_APPLICATION.keys() == set()
    assert shared.config["socket.timeout.ms"] == 9000
    assert identify(shared).cluster_id == source.cluster_id
    with shared.reader() as reader:
        assert reader.list_topics(timeout=10).cluster_id == source.cluster_id


def test_connections_own_error_callback_still_hears() -> None:
    heard: list[KafkaError] = []
    dead = cluster({"bootstrap.servers": f"127.0.0.1:{_closed_port()}", "error_cb": heard.append})
    dead.config["error_cb"](KafkaError(KafkaError._ALL_BROKERS_DOWN))
    assert [error.code() for error in heard] == [KafkaError._ALL_BROKERS_DOWN]
    assert len(dead.causes) == 1


def test_causes_are_told_once_however_often_they_come() -> None:
    dead = cluster({"bootstrap.servers": f"127.0.0.1:{_closed_port()}"})
    for milliseconds in (1, 20, 300):
        text = f"host:1/bootstrap: Connect failed: Connection refused (after {milliseconds}ms in state CONNECT)"
        dead.config["logger"].log(logging.ERROR, "%s %s", "FAIL [x] [thrd:main]:", text)
    assert dead.causes == ["host:1/bootstrap: Connect failed: Connection refused"]


def test_librdkafkas_lines_go_to_the_logger_and_not_to_stderr(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    log = logging.getLogger("tests.a-task")
    dead = cluster({"bootstrap.servers": f"127.0.0.1:{_closed_port()}"}, log=log)
    with caplog.at_level(logging.DEBUG, logger=log.name):
        with pytest.raises(KafkaException):
            dead.admin.list_topics(timeout=1)
        _await_refusal(caplog, log, lambda: dead.admin.poll(0.1))
        caplog.clear()
        with dead.reader() as reader:
            _await_refusal(caplog, log, lambda: reader.poll(0.1))
    levels = {record.levelno for record in caplog.records if record.name == log.name}
    assert levels == {logging.DEBUG}, "it repeats itself for ever: never above debug"
    assert capfd.readouterr().err == ""


def test_refusal_names_the_cluster_the_deed_and_the_reason() -> None:
    error = cluster({"bootstrap.servers": "a:1"}).error(KafkaError(KafkaError.POLICY_VIOLATION), "creating topic x")
    assert not isinstance(error, ClusterUnreachable)
    assert str(error).startswith("the source cluster (a:1) refused: creating topic x: ")
    assert "POLICY_VIOLATION" in str(error)


def test_each_side_is_told_by_its_addresses() -> None:
    target = Cluster(Side.TARGET, "kafka_target", {"bootstrap.servers": "b:1"})
    both = Clusters(cluster({"bootstrap.servers": "a:1"}), target)
    assert (both.of(Side.SOURCE).side, both.of(Side.TARGET)) == (Side.SOURCE, target)
    assert both.addresses.side_of("b:1") is Side.TARGET


def _await_refusal(caplog: pytest.LogCaptureFixture, log: logging.Logger, poll: Callable[[], object]) -> None:
    def heard() -> bool:
        poll()
        return any("Connection refused" in r.getMessage() for r in caplog.records if r.name == log.name)

    eventually(heard, "librdkafka's line on the refused connection")


def _closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _controller_port(_: str) -> int:
    """A port that takes connections and never answers, as another program's might."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    _LISTENERS.append(listener)
    return int(listener.getsockname()[1])


_LISTENERS: list[socket.socket] = []
