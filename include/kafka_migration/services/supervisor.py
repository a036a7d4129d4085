"""Services that run under supervisord on this host: an env file holds their settings, its XML-RPC socket controls them.

What a service uses is read from the environment of its running process, never from the file: a file that was changed
and not yet picked up is not a move. Only the address and the variables that the plan names are ever written.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import time
import xmlrpc.client
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from kafka_migration.errors import ControllerUnavailable, ServiceError, ServiceNotBack
from kafka_migration.plan.model import VARIABLE, Service
from kafka_migration.services.access import Access
from kafka_migration.services.controller import Connection, Observation, State
from kafka_migration.services.env_file import read_content, replace_content
from kafka_migration.services.processes import acks_in_use, variable_in_use
from kafka_migration.services.program_files import alone, find_section
from kafka_migration.services.settings_file import SettingsFile
from kafka_migration.services.supervisord import Refusal, Supervisord
from kafka_migration.sides import Addresses, Side

# In BACKOFF no process lives, but supervisord is about to start the next: such a service is not stopped.
_ALIVE = {"RUNNING", "STARTING", "STOPPING", "BACKOFF", "UNKNOWN"}
_SEEN_WITHIN = 15.0
_STOPPED_WITHIN = 120.0
_RESTARTED_WITHIN = 2.0  # an exited program may be restarted by supervisord, which looks once a second
_LOG_TAIL = 800


class SupervisorSettings(BaseModel):
    """What a plan says under `controller:` for `kind: supervisor`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    connection: str = Field(
        description="An Airflow connection: login, password, and in its extra `socket` (supervisord's unix socket),"
        " `env_directory` (where relative env files lie), and where programs are copied or kept from starting at boot"
        " `configuration` (supervisord's file) and `program_directory` (a folder that it includes)."
    )
    program: str = Field(min_length=1, description="The program's name in supervisord, `group:name` if it has a group.")
    env_file: str = Field(
        min_length=1, description="The file with NAME=value lines that the program reads when it starts."
    )
    variable: str = Field(
        default="KAFKA_BOOTSTRAP_SERVERS", pattern=VARIABLE, description="The variable that holds the address."
    )


class SupervisorController:
    """One program of one supervisord."""

    manual = False

    def __init__(
        self, service: Service, settings: SupervisorSettings, addresses: Addresses, connection: Connection
    ) -> None:
        self.service = service
        self._settings = settings
        self._addresses = addresses
        self._access = Access(service.name, settings.connection, connection)
        self._file = SettingsFile(service, settings, addresses, connection, self._access)

    def identity(self) -> str:
        return f"supervisor:{os.path.realpath(self._access.extra('socket'))}:{self._settings.program}"

    def check(self) -> list[str]:
        problems: list[str] = []
        looks: list[Callable[[], object]] = [self._info, self._file.check, self._check_section]
        looks += [partial(self._file.changes, side) for side in Side]
        for look in looks:
            try:
                look()
            except ServiceError as error:
                problems.append(str(error))
        return list(dict.fromkeys(problems))

    def observe(self) -> Observation:
        info = self._info()
        configured = self._file.address()
        said = f"supervisord says {info['statename']}"
        if info["statename"] not in _ALIVE:
            return Observation(State.STOPPED, configured=configured, how=said)
        if not info["pid"]:
            return Observation(State.RUNNING, configured=configured, how=f"{said}: it is about to start it again")
        used = variable_in_use(int(info["pid"]), self._settings.variable)
        side, acks = self._addresses.side_of(used.value), acks_in_use(int(info["pid"]))
        return Observation(State.RUNNING, side, used.value, configured, used.how, acks)

    def configured_for(self, side: Side) -> list[str]:
        return self._file.changes(side)

    def configure(self, side: Side) -> list[str]:
        return self._file.change(side)

    def stop(self) -> None:
        deadline = time.monotonic() + _STOPPED_WITHIN
        while (info := self._info())["statename"] in _ALIVE:
            if info["statename"] != "STOPPING":
                try:
                    # Not waited for inside the call: one supervisord answers for all that are stopped at once.
                    self._call("stop", "stopProcess", self._settings.program, False)
                except xmlrpc.client.Fault as fault:
                    if fault.faultCode != Refusal.NOT_RUNNING:
                        raise ServiceError(f"{self._named()} could not be stopped: {fault.faultString}") from None
            if time.monotonic() > deadline:
                raise ServiceError(
                    f"{self._named()} was told to stop {_STOPPED_WITHIN:.0f} s ago, and supervisord still says"
                    f" {info['statename']}; look at its log, then run the task again"
                )
            time.sleep(0.02)

    def start(self) -> None:
        try:
            self._call("start", "startProcess", self._settings.program, False)
        except xmlrpc.client.Fault as fault:
            # What died at once is started again by supervisord as often as its settings say: that is waited for.
            waited_for = (Refusal.ALREADY_STARTED, Refusal.SPAWN_ERROR, Refusal.ABNORMAL_TERMINATION)
            if fault.faultCode not in waited_for:
                raise self._not_back(fault.faultString) from None
        self.await_running()

    def start_at_boot(self, start: bool) -> list[str]:
        word = "true" if start else "false"
        if not self._access.parts.get("configuration"):
            return []
        program = self._settings.program.rpartition(":")[2]
        try:
            with alone(self._configuration()):
                section = find_section(self._configuration(), program)
                if section is None or (section.value("autostart") or "true") == word:
                    return []
                content = read_content(section.file)
                changed = content.replace(section.text, section.with_value("autostart", word), 1)
                replace_content(section.file.with_name(section.file.name + ".previous"), content, like=section.file)
                replace_content(section.file, changed, like=section.file)
        except OSError as error:
            raise ServiceError(
                f"{self._named()}: its section in {self._configuration()} could not be changed"
                f" ({error.strerror or error}); set autostart={word} there by hand, then run the task again"
            ) from None
        return [f"autostart of {program}: {'false' if start else 'true'} -> {word}"]

    def instructions(self, side: Side) -> str:
        address = self._addresses.of(side)
        return (
            f"In {self._file.path} set {self._settings.variable}={address}, then run:"
            f" supervisorctl restart {shlex.quote(self._settings.program)}"
        )

    # -- below: supervisord, the file

    def await_running(self) -> None:
        deadline = time.monotonic() + _SEEN_WITHIN
        while True:
            info = self._info()
            reason = f"supervisord says {info['statename']} ({info['spawnerr'] or info['description'] or 'no reason'})"
            if info["statename"] == "RUNNING":
                used = variable_in_use(int(info["pid"]), self._settings.variable)
                if used.value is not None:
                    return
                reason = f"it runs, but {used.how}"
            elif info["statename"] not in _ALIVE:
                raise self._not_back(reason)
            if time.monotonic() > deadline:
                raise self._not_back(f"{reason} after {_SEEN_WITHIN:.0f} s")
            time.sleep(0.05)

    def _not_back(self, reason: str) -> ServiceNotBack:
        return ServiceNotBack(
            f"{self._named()} did not come back: {reason}. The end of its log:\n{self._log_tail()}\n"
            f"To go back: in {self._file.path} put the former content again (kept in {self._file.previous.name}) and"
            f" run `supervisorctl start {self._settings.program}`. To go on: mend the service and run this task again."
        )

    def _log_tail(self) -> str:
        for method in ("tailProcessStderrLog", "tailProcessStdoutLog"):
            with contextlib.suppress(xmlrpc.client.Fault, ServiceError):
                text = str(self._call("read the log of", method, self._settings.program, 0, _LOG_TAIL)[0]).strip()
                text = self._file.masked(text)
                if text:
                    return "    " + "\n    ".join(text.splitlines()[-8:])
        return "    (nothing was logged)"

    def _info(self) -> dict[str, Any]:
        """supervisord's word on the program; of one that has just exited, what becomes of it."""
        while True:
            try:
                info: dict[str, Any] = self._call("look at", "getProcessInfo", self._settings.program)
            except xmlrpc.client.Fault as fault:
                if fault.faultCode == Refusal.BAD_NAME:
                    raise ServiceError(
                        f"service {self.service.name}: supervisord at {self._access.extra('socket')} has no program"
                        f" {self._settings.program!r}; `supervisorctl status` lists them"
                    ) from None
                raise ControllerUnavailable(f"{self._named()}: supervisord answers: {fault.faultString}") from None
            if info["statename"] != "EXITED" or info["now"] - info["stop"] > _RESTARTED_WITHIN:
                return info
            time.sleep(0.1)

    def _call(self, doing: str, method: str, *args: Any) -> Any:
        connection = self._access.parts
        daemon = Supervisord(self._access.extra("socket"), connection.get("login"), connection.get("password"))
        try:
            return daemon.call(method, *args)
        except ControllerUnavailable as error:
            raise ControllerUnavailable(
                f"cannot {doing} service {self.service.name}: {error} (connection {self._settings.connection})"
            ) from None

    def _check_section(self) -> None:
        """Where the connection names supervisord's file, it must be there: closing a program changes its section."""
        if self._access.parts.get("configuration"):
            try:
                find_section(self._configuration(), self._settings.program.rpartition(":")[2])
            except OSError as error:
                raise ServiceError(
                    f"service {self.service.name}: {self._configuration()}, `configuration` in the connection"
                    f" {self._settings.connection}, cannot be read: {error.strerror}"
                ) from None

    def _configuration(self) -> Path:
        """supervisord's own configuration file, where the connection names it."""
        return Path(self._access.extra("configuration"))

    def _named(self) -> str:
        return f"service {self.service.name} (supervisord program {self._settings.program})"
