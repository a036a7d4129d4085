"""Services that run under supervisord on this host: an env file holds their settings, its XML-RPC socket controls them.

What a service uses is read from the environment of its running process, never from the file: a file that was changed
and not yet picked up is not a move. Only the address and the variables that the plan names are ever written.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import stat
import time
import xmlrpc.client
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from kafka_migration.errors import ControllerUnavailable, ServiceError, ServiceNotBack, SettingMissing
from kafka_migration.plan.model import VARIABLE, Service, Value
from kafka_migration.services.controller import Connection, Observation, State
from kafka_migration.services.env_file import assign, read_content, replace_content, variables
from kafka_migration.services.processes import acks_in_use, variable_in_use
from kafka_migration.services.program_files import alone, find_section
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
        self._connection = connection
        self._access: Mapping[str, Any] | None = None

    def identity(self) -> str:
        return f"supervisor:{os.path.realpath(self._extra('socket'))}:{self._settings.program}"

    def check(self) -> list[str]:
        problems: list[str] = []
        looks: list[Callable[[], object]] = [self._info, self._check_file, self._check_section]
        looks += [partial(self._changes, side) for side in Side]
        for look in looks:
            try:
                look()
            except ServiceError as error:
                problems.append(str(error))
        return list(dict.fromkeys(problems))

    def observe(self) -> Observation:
        info = self._info()
        configured = variables(self._read_file()).get(self._settings.variable)
        said = f"supervisord says {info['statename']}"
        if info["statename"] not in _ALIVE:
            return Observation(State.STOPPED, configured=configured, how=said)
        if not info["pid"]:
            return Observation(State.RUNNING, configured=configured, how=f"{said}: it is about to start it again")
        used = variable_in_use(int(info["pid"]), self._settings.variable)
        side, acks = self._addresses.side_of(used.value), acks_in_use(int(info["pid"]))
        return Observation(State.RUNNING, side, used.value, configured, used.how, acks)

    def configured_for(self, side: Side) -> list[str]:
        return self._changes(side)[0]

    def configure(self, side: Side) -> list[str]:
        changes, content = self._changes(side)
        if changes:
            try:
                replace_content(self._previous, self._read_file(), like=self._file)
                replace_content(self._file, content, like=self._file)
            except OSError as error:
                raise ServiceError(
                    f"service {self.service.name}: {self._file} could not be replaced ({error.strerror or error});"
                    " it is as it was. This user needs to write its folder and to keep its owner and mode."
                ) from None
        return changes

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
        if not self._parts().get("configuration"):
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
            f"In {self._file} set {self._settings.variable}={address}, then run:"
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
            f"To go back: in {self._file} put the former content again (kept in {self._previous.name}) and run"
            f" `supervisorctl start {self._settings.program}`. To go on: mend the service and run this task again."
        )

    def _log_tail(self) -> str:
        for method in ("tailProcessStderrLog", "tailProcessStdoutLog"):
            with contextlib.suppress(xmlrpc.client.Fault, ServiceError):
                text = str(self._call("read the log of", method, self._settings.program, 0, _LOG_TAIL)[0]).strip()
                for secret in self._secrets():
                    text = text.replace(secret, "***")
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
                        f"service {self.service.name}: supervisord at {self._extra('socket')} has no program"
                        f" {self._settings.program!r}; `supervisorctl status` lists them"
                    ) from None
                raise ControllerUnavailable(f"{self._named()}: supervisord answers: {fault.faultString}") from None
            if info["statename"] != "EXITED" or info["now"] - info["stop"] > _RESTARTED_WITHIN:
                return info
            time.sleep(0.1)

    def _call(self, doing: str, method: str, *args: Any) -> Any:
        connection = self._parts()
        daemon = Supervisord(self._extra("socket"), connection.get("login"), connection.get("password"))
        try:
            return daemon.call(method, *args)
        except ControllerUnavailable as error:
            raise ControllerUnavailable(
                f"cannot {doing} service {self.service.name}: {error} (connection {self._settings.connection})"
            ) from None

    def _changes(self, side: Side) -> tuple[list[str], str]:
        """What configuring for a side would change, one line each with secrets masked, and the content then."""
        content = self._read_file()
        now = variables(content)
        if self._settings.variable not in now:
            raise SettingMissing(
                f"service {self.service.name}: {self._file} does not set {self._settings.variable};"
                " name the variable that holds the bootstrap servers in the plan (controller: variable)"
            )
        own = self._variables(side)
        wanted = {name: self._resolve(value) for name, value in own.items()}
        if self._addresses.side_of(now[self._settings.variable]) is not side:
            # else it names servers of this cluster, perhaps fewer or in another order: left as it is
            wanted = {self._settings.variable: self._addresses.of(side)} | wanted
        changes = []
        for name, value in wanted.items():
            if now.get(name) == value:
                continue
            before: str | None = now.get(name)
            if not isinstance(own.get(name, ""), str):
                self._refuse_readable(name)
                before, value = before and "***", "***"
            content = assign(content, name, wanted[name])
            changes.append(f"{name}: {'(unset)' if before is None else before} -> {value}")
        return changes, content

    def _variables(self, side: Side) -> Mapping[str, Value]:
        spec = self.service.controller
        return (spec.source if side is Side.SOURCE else spec.target).variables

    def _secrets(self) -> list[str]:
        values = [value for side in Side for value in self._variables(side).values()]
        return [self._resolve(value) for value in values if not isinstance(value, str)]

    def _resolve(self, value: Value) -> str:
        if isinstance(value, str):
            return value
        parts = self._connection(value.from_connection.id)
        if parts.get(value.from_connection.field) in (None, ""):
            raise SettingMissing(
                f"service {self.service.name}: the connection {value.from_connection.id} has no field"
                f" {value.from_connection.field!r}"
            )
        return str(parts[value.from_connection.field])

    def _refuse_readable(self, name: str) -> None:
        if stat.S_IMODE(self._file.stat().st_mode) & stat.S_IROTH:
            raise ServiceError(
                f"service {self.service.name}: {self._file} can be read by every user of its host, so the secret"
                f" {name} is not written to it; take that right away first (chmod o-r)"
            )

    def _check_file(self) -> None:
        self._read_file()
        if not os.access(self._file, os.W_OK) or not os.access(self._file.parent, os.W_OK):
            raise ServiceError(
                f"service {self.service.name}: {self._file} cannot be written from here (the file and its folder must"
                " be writable)"
            )

    def _check_section(self) -> None:
        """Where the connection names supervisord's file, it must be there: closing a program changes its section."""
        if self._parts().get("configuration"):
            try:
                find_section(self._configuration(), self._settings.program.rpartition(":")[2])
            except OSError as error:
                raise ServiceError(
                    f"service {self.service.name}: {self._configuration()}, `configuration` in the connection"
                    f" {self._settings.connection}, cannot be read: {error.strerror}"
                ) from None

    def _read_file(self) -> str:
        try:
            return read_content(self._file)
        except OSError as error:
            raise ServiceError(
                f"service {self.service.name}: its env file {self._file} cannot be read: {error.strerror}"
            ) from None

    @property
    def _file(self) -> Path:
        """The file itself, also where a link leads to it: a rename must not replace the link."""
        path = Path(self._settings.env_file)
        return (path if path.is_absolute() else Path(self._extra("env_directory")) / path).resolve()

    @property
    def env_path(self) -> Path:
        """The env file as the plan names it."""
        return self._file

    def _configuration(self) -> Path:
        """supervisord's own configuration file, where the connection names it."""
        return Path(self._extra("configuration"))

    @property
    def _previous(self) -> Path:
        return self._file.with_name(self._file.name + ".previous")

    def _extra(self, key: str) -> str:
        value = self._parts().get(key)
        if not value:
            raise ControllerUnavailable(
                f"service {self.service.name}: the connection {self._settings.connection} has no {key!r} in its extra"
            )
        return str(value)

    def _parts(self) -> Mapping[str, Any]:
        if self._access is None:
            self._access = self._connection(self._settings.connection)
        return self._access

    def _named(self) -> str:
        return f"service {self.service.name} (supervisord program {self._settings.program})"
