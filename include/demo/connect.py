"""One Kafka Connect distributed worker on this machine's loopback address, from the jars that the brokers run from.

Starts and kills it. Never makes a connector.
"""

from __future__ import annotations

import http
import shutil
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

from demo import aot
from demo.jars import java, kafka_classpath
from demo.ports import free_ports
from demo.processes import OwnedProcess
from demo.waiting import patience

LOG4J2 = """\
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d %p %m (%c{1})%n
rootLogger.level = info
rootLogger.appenderRef.console.ref = console
logger.config.name = org.apache.kafka
logger.config.level = warn
logger.connect.name = org.apache.kafka.connect
logger.connect.level = info
"""


class ConnectError(Exception):
    """A worker does not do what it was asked for; the message ends with the last lines of its log."""


class ConnectWorker:
    """A worker whose own cluster is at `bootstrap_servers`; what it copies there it can write exactly once.

    `replicas`: of its own topics. As a context manager: start, wait until ready; killed at the end, since to stop
    takes it seconds. The process ends with this one.
    """

    def __init__(
        self,
        name: str,
        bootstrap_servers: str,
        directory: Path,
        *,
        exactly_once: bool = True,
        heap: str = "640m",
        replicas: int = 1,
    ) -> None:
        self.name = name
        self.directory = directory
        (self.port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{self.port}"
        self._bootstrap_servers = bootstrap_servers
        self._exactly_once = exactly_once
        self._heap = heap
        self._replicas = replicas
        self._process: OwnedProcess | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self._process.running else None

    def prepare(self) -> None:
        """Make its folder anew. What it knows of connectors lies in topics of its cluster."""
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        (self.directory / "log4j2.properties").write_text(LOG4J2, encoding="utf-8")
        options = [
            f"-Xmx{self._heap}",
            "-XX:+UseSerialGC",
            # Measured on two busy cores: ready after 4 s instead of 18 s, and 400,000 messages copied in half the time.
            "-XX:TieredStopAtLevel=1",
            *aot.used(aot.CONNECT),
            f"-Dlog4j2.configurationFile={self.directory / 'log4j2.properties'}",
            "-cp",
            kafka_classpath(),
        ]
        (self.directory / "java.options").write_text("".join(f'"{one}"\n' for one in options), encoding="utf-8")
        lines = [f"{key}={value}" for key, value in self._settings().items()]
        (self.directory / "worker.properties").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def command(self) -> list[str]:
        """What runs it in the foreground."""
        return [
            str(java()),
            f"@{self.directory / 'java.options'}",
            "org.apache.kafka.connect.cli.ConnectDistributed",
            str(self.directory / "worker.properties"),
        ]

    def start(self) -> None:
        """Returns at once; nothing where it runs."""
        if self._process is None or not self._process.running:
            self._process = OwnedProcess(self.command(), log=self.directory / "worker.log")

    def wait_ready(self, timeout: float = 120.0) -> None:
        """Return when it takes connectors; raise when it has died."""
        timeout *= patience()
        deadline = time.monotonic() + timeout
        assert self._process is not None
        while not self._healthy():
            if not self._process.running:
                raise ConnectError(
                    f"The Connect worker {self.name} ended with exit code {self._process.exit_code}. Its log"
                    f" {self._process.log} ends with:\n{self._process.log_tail()}"
                )
            if time.monotonic() > deadline:
                raise ConnectError(
                    f"The Connect worker {self.name} ({self.url}) was not ready within {timeout:.0f} s. Its log"
                    f" {self._process.log} ends with:\n{self._process.log_tail()}"
                )
            time.sleep(0.1)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process = None

    def __enter__(self) -> Self:
        self.prepare()
        self.start()
        try:
            self.wait_ready()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def _healthy(self) -> bool:
        """Whether it has joined its group and read what it shall run (KIP-1017).

        Before that it lists connectors already, and has none: it answers from what it has read so far (measured).
        """
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=2) as answer:
                return bool(answer.status == http.HTTPStatus.OK)
        except (urllib.error.URLError, OSError):
            return False

    def _settings(self) -> dict[str, str]:
        stores = {
            f"{what}.storage.{key}": value
            for what in ("config", "offset", "status")
            for key, value in (("topic", f"connect-{what}-{self.name}"), ("replication.factor", str(self._replicas)))
        }
        return {
            "bootstrap.servers": self._bootstrap_servers,
            "group.id": f"connect-{self.name}",
            "listeners": self.url,
            "rest.advertised.host.name": "127.0.0.1",
            "key.converter": "org.apache.kafka.connect.converters.ByteArrayConverter",
            "value.converter": "org.apache.kafka.connect.converters.ByteArrayConverter",
            "plugin.discovery": "service_load",
            "connector.client.config.override.policy": "All",
            "exactly.once.source.support": "enabled" if self._exactly_once else "disabled",
            "offset.flush.interval.ms": "1000",
            "offset.storage.partitions": "1",
            "status.storage.partitions": "1",
            # A worker that comes back after it was killed need not wait long for its own former self: as a member of
            # its group, and for the end of what it had begun to write, before which it reads no offsets (measured).
            "session.timeout.ms": "6000",
            "producer.transaction.timeout.ms": "20000",
            "heartbeat.interval.ms": "2000",
            "scheduled.rebalance.max.delay.ms": "0",
            **stores,
        }
