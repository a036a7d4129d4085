"""The clusters that the demo and the tests stand on."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from tests.conftest import RunningCluster
from tests.integration.workbench import eventually

from demo import aot, paths
from demo.jars import java, kafka_classpath
from demo.kafka import KafkaCluster, KafkaClusterError


def test_source_and_target_are_two_clusters(source: RunningCluster, target: RunningCluster) -> None:
    ids = {_cluster_id(source.bootstrap_servers), _cluster_id(target.bootstrap_servers)}
    assert ids == {source.cluster_id, target.cluster_id}
    assert len(ids) == 2


@pytest.mark.parametrize("program", [aot.BROKER, aot.CONNECT])
def test_what_java_has_kept_of_a_start_can_be_used_by_the_next(source: RunningCluster, program: str) -> None:
    """It goes on without, and is slow: here it may not."""
    options = ["-XX:+UseSerialGC", "-XX:AOTMode=on", *aot.used(program)]
    command = [str(java()), *options, "-cp", kafka_classpath(), "kafka.Kafka", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert any("AOTCache" in option for option in options)


def test_topics_are_never_made_by_a_mere_look(source: RunningCluster, unique: Callable[[str], str]) -> None:
    topic = unique("looked-at")
    admin = AdminClient({"bootstrap.servers": source.bootstrap_servers})
    admin.list_topics(topic, timeout=10)
    assert topic not in admin.list_topics(timeout=10).topics


def test_what_was_acknowledged_is_there_after_a_broker_was_killed(tmp_path: Path) -> None:
    with KafkaCluster("killed", tmp_path) as cluster:
        admin = AdminClient({"bootstrap.servers": cluster.bootstrap_servers})
        admin.create_topics([NewTopic("kept", 1)])["kept"].result(timeout=60)
        producer = Producer({"bootstrap.servers": cluster.bootstrap_servers, "acks": "all"})
        producer.produce("kept", b"value")
        assert producer.flush(60) == 0

        cluster.kill_broker(1)
        assert cluster.running == ()
        cluster.start_broker(1)
        cluster.wait_ready()

        assert _end(cluster.bootstrap_servers, "kept") == 1


def test_three_brokers_go_on_when_one_is_killed(tmp_path: Path) -> None:
    with KafkaCluster("three", tmp_path, brokers=3) as cluster:
        admin = AdminClient({"bootstrap.servers": cluster.bootstrap_servers})
        admin.create_topics([NewTopic("spread", 3, 3)])["spread"].result(timeout=60)
        cluster.kill_broker(3)
        producer = Producer({"bootstrap.servers": cluster.bootstrap_servers, "acks": "all"})
        for partition in range(3):
            producer.produce("spread", b"value", partition=partition)
        assert producer.flush(120) == 0
        cluster.start_broker(3)
        cluster.wait_ready()


def test_an_older_kafka_runs_from_packages_as_well(tmp_path: Path) -> None:
    with KafkaCluster("older", tmp_path, version="3.3.1") as cluster:
        assert _cluster_id(cluster.bootstrap_servers) == cluster.cluster_id


def test_broker_that_cannot_start_is_named_with_the_reason(tmp_path: Path) -> None:
    cluster = KafkaCluster("refused", tmp_path, settings={"num.io.threads": "0"})
    with pytest.raises(KafkaClusterError, match=r"refused[\s\S]*num\.io\.threads"):
        cluster.__enter__()
    assert cluster.running == ()


def test_no_broker_outlives_an_owner_that_was_killed(tmp_path: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", _OWNER, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(paths.include_folder())},
    )
    assert owner.stdout is not None
    port = int(owner.stdout.readline())
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()

    eventually(lambda: not _listens(port), f"nothing to listen on {port} any more", 60)


_OWNER = """
import sys, time
from pathlib import Path
from tests.integration.workbench import eventually
from demo.kafka import KafkaCluster
cluster = KafkaCluster("owned", Path(sys.argv[1]))
cluster.format()
cluster.start()
cluster.wait_ready()
print(cluster.addresses[0].client_port, flush=True)
time.sleep(600)
"""


def _cluster_id(bootstrap_servers: str) -> str:
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    return str(admin.describe_cluster(request_timeout=10).result().cluster_id)


def _end(bootstrap_servers: str, topic: str) -> int:
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": "looks", "enable.auto.commit": False})
    try:
        return int(consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=20)[1])
    finally:
        consumer.close()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
