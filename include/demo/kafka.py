"""Real Kafka clusters (KRaft) on this machine's loopback address, from Python packages alone.

Makes, starts, stops and kills brokers. Never creates a topic and never looks at what clients do.
"""

from __future__ import annotations

import base64
import logging
import shutil
import subprocess
import time
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from demo import aot
from demo.jars import DEFAULT_VERSION, java, kafka_classpath
from demo.ports import free_ports
from demo.processes import OwnedProcess
from demo.waiting import patience

_STOP_WITHIN = 15.0
_WARM_WITHIN = 10.0
_LOG4J2 = """\
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d %p %m (%c{1})%n
rootLogger.level = info
rootLogger.appenderRef.console.ref = console
logger.config.name = org.apache.kafka.common.config
logger.config.level = warn
logger.tool.name = kafka.server.KafkaConfig
logger.tool.level = warn
"""
_LOG4J1 = """\
log4j.rootLogger=INFO, console
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.layout=org.apache.log4j.PatternLayout
log4j.appender.console.layout.ConversionPattern=%d %p %m (%c{1})%n
log4j.logger.kafka.server.KafkaConfig=WARN
log4j.logger.org.apache.kafka.common.config=WARN
"""


class KafkaClusterError(Exception):
    """A broker does not do what it was asked for; the message ends with the last lines of its log."""


@dataclass(frozen=True)
class BrokerAddress:
    """Where one node listens: for clients, and for the other controllers."""

    node: int
    client_port: int
    controller_port: int


class KafkaCluster:
    """One cluster whose nodes are broker and controller at once.

    As a context manager: format, start, wait until ready; stop at the end. `settings` are broker settings
    that replace the defaults here; `racks` holds each node's own. Nodes are counted from 1. The processes
    end with this one; whoever lets another program own them takes `command(i)` after `format()`.
    """

    def __init__(
        self,
        name: str,
        directory: Path,
        *,
        brokers: int = 1,
        racks: Sequence[str] = (),
        settings: Mapping[str, str] | None = None,
        version: str = DEFAULT_VERSION,
        heap: str = "384m",
    ) -> None:
        self.name = name
        self.directory = directory
        self.version = version
        self.cluster_id = _new_cluster_id()
        ports = free_ports(2 * brokers)
        self.addresses = tuple(
            BrokerAddress(node, ports[2 * node - 2], ports[2 * node - 1]) for node in range(1, brokers + 1)
        )
        self._settings = dict(settings or {})
        self._racks = dict(enumerate(racks, 1))
        self._heap = heap
        self._processes: dict[int, OwnedProcess] = {}

    @property
    def bootstrap_servers(self) -> str:
        return ",".join(f"127.0.0.1:{address.client_port}" for address in self.addresses)

    @property
    def running(self) -> tuple[int, ...]:
        """The nodes whose process runs."""
        return tuple(node for node, process in sorted(self._processes.items()) if process.running)

    def format(self) -> None:
        """Make each node's folder anew: settings, and an empty storage that knows the cluster's id."""
        with ThreadPoolExecutor(len(self.addresses)) as pool:
            list(pool.map(self._format_node, self.addresses))

    def command(self, node: int) -> list[str]:
        """What runs this node in the foreground."""
        return [*self._java(node), "kafka.Kafka", str(self._folder(node) / "server.properties")]

    def start(self) -> None:
        """Start every node that does not run; returns at once."""
        for address in self.addresses:
            self.start_broker(address.node)

    def start_broker(self, node: int) -> None:
        process = self._processes.get(node)
        if process is None or not process.running:
            self._processes[node] = OwnedProcess(self.command(node), log=self._log(node))

    def wait_ready(self, timeout: float = 120.0) -> None:
        """Return when all started nodes take part and groups can be used; raise when one has died."""
        timeout *= patience()
        deadline = time.monotonic() + timeout
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers}, logger=silent_logger())
        while True:
            self._raise_if_one_died()
            try:
                nodes = admin.describe_cluster(request_timeout=2).result().nodes
                if len(nodes) >= len(self._processes):
                    self._warm_up()
                    return
            except KafkaException as error:
                last = str(error)
            else:
                last = f"{len(nodes)} of {len(self._processes)} brokers have joined"
            if time.monotonic() > deadline:
                raise KafkaClusterError(
                    f"Cluster {self.name} ({self.bootstrap_servers}) was not ready within {timeout:.0f} s: "
                    f"{last}.\n" + self._log_tails()
                )
            time.sleep(0.03)

    def _warm_up(self) -> None:
        """The first look at a group makes Kafka create its internal topic: better now than in use.

        Asked by a consumer, and by a new one each time. An admin client may wait for ever for the coordinator that it
        was told there is none of (measured: of two brokers that had just started), and ends the process some time
        after such a request has timed out.
        """
        consumer = Consumer(
            {"bootstrap.servers": self.bootstrap_servers, "group.id": "warm-up"}, logger=silent_logger()
        )
        try:
            consumer.committed([TopicPartition("warm-up", 0)], timeout=_WARM_WITHIN)
        finally:
            consumer.close()

    def stop(self) -> None:
        """Stop all nodes cleanly, side by side; one that does not end in time is killed."""
        with ThreadPoolExecutor(len(self.addresses)) as pool:
            list(pool.map(self.stop_broker, list(self._processes)))

    def stop_broker(self, node: int) -> None:
        process = self._processes.pop(node, None)
        if process is not None:
            process.stop(_STOP_WITHIN)

    def kill(self) -> None:
        for node in list(self._processes):
            self.kill_broker(node)

    def kill_broker(self, node: int) -> None:
        """End this node as a machine that loses its power would."""
        process = self._processes.pop(node, None)
        if process is not None:
            process.kill()

    def __enter__(self) -> Self:
        try:
            self.format()
            self.start()
            self.wait_ready()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def log_directory(self, node: int) -> Path:
        """Where the node keeps its partitions."""
        return self._folder(node) / "data"

    def _folder(self, node: int) -> Path:
        return self.directory / f"broker-{node}"

    def _log(self, node: int) -> Path:
        return self._folder(node) / "server.log"

    def _format_node(self, address: BrokerAddress) -> None:
        folder = self._folder(address.node)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "log4j2.properties").write_text(_LOG4J2, encoding="utf-8")
        (folder / "log4j.properties").write_text(_LOG4J1, encoding="utf-8")
        (folder / "java.options").write_text(self._java_options(folder), encoding="utf-8")
        settings = folder / "server.properties"
        lines = [f"{key}={value}" for key, value in self._node_settings(address).items()]
        settings.write_text("\n".join(lines) + "\n", encoding="utf-8")
        formatted = subprocess.run(
            [
                *self._java(address.node),
                "kafka.tools.StorageTool",
                "format",
                "-t",
                self.cluster_id,
                "-c",
                str(settings),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if formatted.returncode != 0:
            raise KafkaClusterError(
                f"The storage of broker {address.node} of cluster {self.name} in {folder} could not be made "
                f"(exit code {formatted.returncode}):\n{formatted.stdout}{formatted.stderr}"
            )

    def _node_settings(self, address: BrokerAddress) -> dict[str, str]:
        count = len(self.addresses)
        replicas = str(min(3, count))
        in_sync = str(max(1, min(3, count) - 1))
        return {
            "process.roles": "broker,controller",
            "node.id": str(address.node),
            "listeners": f"PLAINTEXT://127.0.0.1:{address.client_port},"
            f"CONTROLLER://127.0.0.1:{address.controller_port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{address.client_port}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "controller.quorum.voters": ",".join(
                f"{one.node}@127.0.0.1:{one.controller_port}" for one in self.addresses
            ),
            "log.dirs": str(self.log_directory(address.node)),
            "auto.create.topics.enable": "false",
            "group.initial.rebalance.delay.ms": "0",
            "default.replication.factor": replicas,
            "offsets.topic.num.partitions": "5",
            "offsets.topic.replication.factor": replicas,
            "transaction.state.log.num.partitions": "5",
            "transaction.state.log.replication.factor": replicas,
            "transaction.state.log.min.isr": in_sync,
            "share.coordinator.state.topic.num.partitions": "5",
            "share.coordinator.state.topic.replication.factor": replicas,
            "share.coordinator.state.topic.min.isr": in_sync,
            "log.cleaner.dedupe.buffer.size": "16777216",
            "num.network.threads": "2",
            "num.io.threads": "4",
            **({"broker.rack": self._racks[address.node]} if address.node in self._racks else {}),
            **self._settings,
        }

    def _java(self, node: int) -> list[str]:
        return [str(java()), f"@{self._folder(node) / 'java.options'}"]

    def _java_options(self, folder: Path) -> str:
        """In a file, since the names of a hundred jars make no readable command line."""
        options = [
            f"-Xmx{self._heap}",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",  # a demo lives for minutes: the second compiler never earns its keep
            *(aot.used(aot.BROKER) if self.version == DEFAULT_VERSION else ()),
            f"-Dlog4j2.configurationFile={folder / 'log4j2.properties'}",
            f"-Dlog4j.configuration=file:{folder / 'log4j.properties'}",
            "-cp",
            kafka_classpath(self.version),
        ]
        return "".join(f'"{option}"\n' for option in options)

    def _raise_if_one_died(self) -> None:
        for node, process in self._processes.items():
            if not process.running:
                raise KafkaClusterError(
                    f"Broker {node} of cluster {self.name} ended with exit code {process.exit_code}. "
                    f"Its log {process.log} ends with:\n{process.log_tail()}"
                )

    def _log_tails(self) -> str:
        return "\n".join(
            f"Broker {node}, end of {process.log}:\n{process.log_tail()}" for node, process in self._processes.items()
        )


def _new_cluster_id() -> str:
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode("ascii").rstrip("=")
        if not text.startswith("-"):  # Kafka's tools would take it for an option
            return text


def silent_logger() -> logging.Logger:
    """librdkafka reports every refused connection of a broker that is still starting, and each end of a client."""
    logger = logging.getLogger("demo.kafka.silent")
    logger.propagate = False
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    return logger
