"""What Java keeps of the start of a broker and of a Connect worker (`demo.aot`), recorded where it is missing.

A session of tests starts dozens of them, on few cores. Recorded once for a runtime and its jars.
"""

from __future__ import annotations

import json
import time
import urllib.request
from pathlib import Path

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from demo import aot
from demo.connect import ConnectWorker
from demo.kafka import KafkaCluster

_TOPIC = "recorded"
_MESSAGES = 1_000
_WITHIN = 120.0


def record_what_is_missing(folder: Path) -> None:
    """Start both and have them do what most tests do: Java keeps what it has loaded by then."""
    files = [aot.kept(program) for program in (aot.BROKER, aot.CONNECT)]
    if all(file.exists() for file in files):
        return
    for file in files:  # a run that uses one cannot be recorded
        file.unlink(missing_ok=True)
    cluster = _Broker("recorded", folder / "kafka")
    with cluster:
        worker = _Worker("recorded", cluster.bootstrap_servers, folder / "connect")
        with worker:
            _use(cluster.bootstrap_servers)
            _copy(cluster.bootstrap_servers, worker.url)
            worker.end()
        cluster.end()


class _Broker(KafkaCluster):
    def command(self, node: int) -> list[str]:
        java, *rest = super().command(node)
        return [java, *aot.recorded(aot.BROKER), *rest]

    def end(self) -> None:
        self._processes.pop(1).stop(_WITHIN)
        aot.keep(aot.BROKER)


class _Worker(ConnectWorker):
    def command(self) -> list[str]:
        java, *rest = super().command()
        return [java, *aot.recorded(aot.CONNECT), *rest]

    def end(self) -> None:
        assert self._process is not None
        self._process.stop(_WITHIN)
        aot.keep(aot.CONNECT)


def _use(servers: str) -> None:
    """A topic, messages in a transaction, and a group that reads them."""
    admin = AdminClient({"bootstrap.servers": servers})
    admin.create_topics([NewTopic(_TOPIC, 1, 1)])[_TOPIC].result()
    producer = Producer({"bootstrap.servers": servers, "transactional.id": _TOPIC})
    producer.init_transactions(60)
    producer.begin_transaction()
    for number in range(_MESSAGES):
        producer.produce(_TOPIC, str(number).encode())
    producer.commit_transaction(60)
    _read(servers, _TOPIC)


def _copy(servers: str, worker: str) -> None:
    """To the same cluster, under the name that MirrorMaker gives a copy where it is not told another."""
    config = {
        "connector.class": "org.apache.kafka.connect.mirror.MirrorSourceConnector",
        "source.cluster.alias": "copy",
        "target.cluster.alias": "original",
        "source.cluster.bootstrap.servers": servers,
        "target.cluster.bootstrap.servers": servers,
        "topics": _TOPIC,
        "exactly.once.support": "required",
        "source.consumer.isolation.level": "read_committed",
        "replication.factor": "1",
        "offset-syncs.topic.replication.factor": "1",
    }
    request = urllib.request.Request(
        f"{worker}/connectors/copy/config",
        json.dumps(config).encode(),
        {"Content-Type": "application/json"},
        method="PUT",
    )
    urllib.request.urlopen(request, timeout=60).close()
    _read(servers, f"copy.{_TOPIC}")


def _read(servers: str, topic: str) -> None:
    consumer = Consumer({"bootstrap.servers": servers, "group.id": topic, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    deadline, read = time.monotonic() + _WITHIN, 0
    while read < _MESSAGES:
        assert time.monotonic() < deadline, f"only {read} messages of {topic} were read"
        read += sum(message.error() is None for message in consumer.consume(_MESSAGES, 0.5))
    consumer.close()
