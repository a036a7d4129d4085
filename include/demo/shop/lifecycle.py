"""Opens and closes the shop: its topics, its env files, its processes in the right order.

Every operation can be called from any process that knows the shop's folder. Knows nothing of a migration.
"""

from __future__ import annotations

import json
import secrets
import shutil
import sys
import xmlrpc.client
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from confluent_kafka.admin import AdminClient, NewTopic

from demo.processes import OwnedProcess
from demo.shop.catalogue import PLAIN, Catalogue, ShopService, ShopTopic
from demo.shop.reader import ASSIGNED, READING
from demo.shop.supervisor import SupervisorConnection, write_configuration, write_env_file, write_private
from demo.waiting import wait_until

_USER = "shop"
_RUNNING = "RUNNING"
_STOPPED = {"STOPPED", "EXITED", "FATAL", "UNKNOWN"}
_FAULTS_OF_A_START = {60}  # already started
_FAULTS_OF_A_STOP = {70}  # not running


class ShopError(Exception):
    """A service of the shop does not do what it was asked for; the message says which, and where its log is."""


@dataclass(frozen=True)
class ServiceStatus:
    """As supervisor sees it: `state` is its word, `pid` None where no process runs."""

    name: str
    state: str
    pid: int | None


class Shop:
    """The shop in one folder. `sockets` holds supervisor's socket: unix socket paths must be short."""

    def __init__(self, directory: Path, sockets: Path, catalogue: Catalogue = PLAIN) -> None:
        self.directory = directory
        self.catalogue = catalogue
        self.witness_directory = directory / "witness"
        self.log_directory = directory / "logs"
        self._sockets = sockets
        self._supervisord: OwnedProcess | None = None

    @property
    def connection(self) -> SupervisorConnection:
        """Known once the shop has been prepared."""
        file = self.directory / "connection.json"
        if not file.exists():
            raise ShopError(f"The shop in {self.directory} has not been prepared: there is no {file.name}.")
        known = json.loads(file.read_text(encoding="utf-8"))
        return SupervisorConnection(
            Path(known["socket"]),
            known["user"],
            known["password"],
            Path(known["env_directory"]),
            Path(known["configuration"]),
            Path(known["program_directory"]),
        )

    @property
    def command(self) -> list[str]:
        """What runs the shop's supervisor in the foreground, for whoever wants to own it."""
        return [sys.executable, "-m", "supervisor.supervisord", "--configuration", str(self.connection.configuration)]

    def prepare(self, bootstrap_servers: str) -> None:
        """Make the topics there, and the shop's folder anew with every service set to that cluster."""
        shutil.rmtree(self.directory, ignore_errors=True)
        connection = SupervisorConnection(
            self._sockets / "shop.sock",
            _USER,
            secrets.token_urlsafe(24),
            self.directory / "env",
            self.directory / "supervisord.conf",
            self.directory / "programs",
        )
        write_private(self.directory / "connection.json", json.dumps(asdict(connection), default=str))
        for service in self._all:
            write_env_file(self._env_file(service.name), self._settings_of(service.name, bootstrap_servers))
        write_configuration(connection, self.log_directory, self.directory, self._all)
        _create_topics(bootstrap_servers, self.catalogue.topics)

    def start(self, timeout: float = 60.0) -> None:
        """Run the shop as a child of this process, and open it."""
        self._supervisord = OwnedProcess(self.command, log=self.log_directory / "supervisor-output.log")
        self.open(timeout)

    def open(self, timeout: float = 60.0) -> None:
        """Start the services of a running supervisor: who reads first, and who only writes once all read."""
        wait_until(self._has_come_up, timeout=timeout, what=f"supervisor on {self.connection.socket}")
        reading = [service for service in self._opening if not service.only_writes]
        said_before = {service.name: len(self._said(service.name)) for service in reading}
        self._start([service.name for service in reading])
        for service in reading:
            sign = ASSIGNED if service.far_behind else READING
            self._wait_for(service.name, sign, said_before[service.name], timeout)
        writing = [service.name for service in self._opening if service.only_writes]
        self._start(writing)
        wait_until(
            lambda: all(self.status()[service.name].state == _RUNNING for service in self._opening),
            timeout=timeout,
            what="all services of the shop to run",
        )

    def status(self) -> dict[str, ServiceStatus]:
        """Of each program that supervisor knows, second instances and copies as well, by its name."""
        return {
            one["name"]: ServiceStatus(one["name"], one["statename"], one["pid"] or None)
            for one in self._supervisor().getAllProcessInfo()
        }

    def start_late(self, name: str, bootstrap_servers: str, timeout: float = 60.0) -> None:
        """Start a reader that did not open with the shop, on that cluster; return when it has its partitions."""
        write_env_file(self._env_file(name), self._settings_of(name, bootstrap_servers))
        said_before = len(self._said(name))
        self._start([name])
        self._wait_for(name, ASSIGNED, said_before, timeout)

    def hurry(self, name: str, timeout: float = 60.0) -> None:
        """Take away a reader's limit of messages a second, as its owner would: by its env file and a restart.

        Returns when it has its partitions again.
        """
        file = self._env_file(name)
        kept = [line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("SHOP_RATE=")]
        write_private(file, "\n".join([*kept, "SHOP_RATE=0"]) + "\n")
        said_before = len(self._said(name))
        self.restart(name)
        self._wait_for(name, ASSIGNED, said_before, timeout)

    def restart(self, name: str) -> None:
        """Stop one service and start it again, as its owner would in daily work; return when it runs."""
        supervisor = self._supervisor()
        _call(supervisor.stopProcess, name, _FAULTS_OF_A_STOP, wait=True)
        _call(supervisor.startProcess, name, _FAULTS_OF_A_START, wait=True)

    def stop_producers(self, timeout: float = 30.0) -> None:
        """Stop those that only write, and wait until they have: what they sent is acknowledged then."""
        self._stop([service.name for service in self._opening if service.only_writes], timeout)

    def stop(self, timeout: float = 40.0) -> None:
        """Stop all that runs cleanly, and supervisor with it. Nothing happens where none runs."""
        if self._answers():
            # All side by side: left to its shutdown, supervisor stops them one after the other.
            self._stop(list(self.status()), timeout)
            self._supervisor().shutdown()
        if self._supervisord is not None:
            self._supervisord.stop(timeout)
            self._supervisord = None
        wait_until(lambda: not self._answers(), timeout=timeout, what="the shop's supervisor to end")

    @property
    def _all(self) -> tuple[ShopService, ...]:
        return (*self.catalogue.services, *self.catalogue.seconds)

    @property
    def _opening(self) -> tuple[ShopService, ...]:
        return tuple(service for service in self.catalogue.services if service.opens)

    def _settings_of(self, name: str, bootstrap_servers: str) -> dict[str, str]:
        service = next(one for one in self._all if one.name == name)
        return {
            "KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
            "SHOP_SERVICE": name,
            "SHOP_WITNESS": str(self.witness_directory / f"{name}.tsv"),
            **service.settings,
        }

    def _env_file(self, service: str) -> Path:
        return self.connection.env_directory / f"{service}.env"

    def _log(self, service: str) -> Path:
        return self.log_directory / f"{service}.log"

    def _supervisor(self) -> Any:
        from supervisor.xmlrpc import SupervisorTransport  # the services import this module's neighbours only

        connection = self.connection
        transport = SupervisorTransport(connection.user, connection.password, f"unix://{connection.socket}")
        return xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport).supervisor

    def _has_come_up(self) -> bool:
        if self._supervisord is not None and not self._supervisord.running:
            raise ShopError(
                f"The shop's supervisor ended with exit code {self._supervisord.exit_code}:\n"
                f"{self._supervisord.log_tail()}"
            )
        return self._answers()

    def _answers(self) -> bool:
        try:
            return bool(self._supervisor().getState()["statename"] == _RUNNING)
        except (OSError, xmlrpc.client.Error, ShopError):
            return False

    def _start(self, names: list[str]) -> None:
        supervisor = self._supervisor()
        for name in names:
            _call(supervisor.startProcess, name, _FAULTS_OF_A_START)

    def _stop(self, names: list[str], timeout: float) -> None:
        supervisor = self._supervisor()
        for name in names:
            _call(supervisor.stopProcess, name, _FAULTS_OF_A_STOP)
        wait_until(
            lambda: all(self.status()[name].state in _STOPPED for name in names),
            timeout=timeout,
            what=f"{', '.join(names)} to stop",
        )

    def _said(self, name: str) -> str:
        log = self._log(name)
        return log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""

    def _wait_for(self, name: str, sign: str, said_before: int, timeout: float) -> None:
        wait_until(
            partial(self._says, name, sign, said_before),
            timeout=timeout,
            what=f"{name} to say '{sign}' (see {self._log(name)})",
        )

    def _says(self, name: str, sign: str, said_before: int) -> bool:
        said = self._said(name)[said_before:]
        if self.status()[name].state == "FATAL":
            raise ShopError(f"{name} does not start. Its log {self._log(name)} ends with:\n{said[-2000:]}")
        return sign in said


def _call(method: Any, name: str, harmless: set[int], *, wait: bool = False) -> None:
    try:
        method(name, wait)
    except xmlrpc.client.Fault as fault:
        if fault.faultCode not in harmless:
            raise ShopError(f"supervisor could not do it with {name}: {fault.faultString}") from fault


def _create_topics(bootstrap_servers: str, topics: Sequence[ShopTopic]) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    wanted = [NewTopic(one.name, one.partitions, config=dict(one.settings)) for one in topics]
    for future in admin.create_topics(wanted, request_timeout=30).values():
        future.result()
    names = {one.name for one in topics}
    wait_until(
        lambda: names <= set(admin.list_topics(timeout=10).topics), timeout=30, what="the shop's topics to be visible"
    )
