"""Services that run under supervisord on this host: an env file holds their settings, its XML-RPC socket controls them.

What a service uses is read from the environment of its running process, never from the file: a file that was changed
and not yet picked up is not a move. Only the address and the variables that the plan names are ever written.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import stat
import tempfile
import time
import xmlrpc.client
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from supervisor.xmlrpc import Faults, SupervisorTransport

from kafka_migration.errors import ControllerUnavailable, ServiceError, ServiceNotBack, SettingMissing
from kafka_migration.plan.model import Service, Value
from kafka_migration.services.controller import Connection, Observation, State
from kafka_migration.sides import Addresses, Side

_ASSIGNMENT = re.compile(r"^(?P<lead>\s*(?:export\s+)?)(?P<name>[A-Za-z_][A-Za-z0-9_]*)=(?P<value>.*)$")
_RUNNING_STATES = {"RUNNING", "STARTING", "STOPPING"}
_SEEN_WITHIN = 15.0
_LOG_TAIL = 800


class SupervisorSettings(BaseModel):
    """What a plan says under `controller:` for `kind: supervisor`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    connection: str = Field(
        description="An Airflow connection: login, password, and in its extra `socket` (supervisord's unix socket) and"
        " `env_directory` (where relative env files lie)."
    )
    program: str = Field(description="The program's name in supervisord, `group:name` if it has a group.")
    env_file: str = Field(description="The file with NAME=value lines that the program reads when it starts.")
    variable: str = Field(default="KAFKA_BOOTSTRAP_SERVERS", description="The variable that holds the address.")


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
        return f"supervisor:{self._extra('socket')}:{self._settings.program}"

    def check(self) -> list[str]:
        problems: list[str] = []
        try:
            self._info()
        except ServiceError as error:
            problems.append(str(error))
        try:
            content = self._read_file()
            if self._settings.variable not in _variables(content):
                problems.append(str(self._missing()))
            elif not os.access(self._file, os.W_OK) or not os.access(self._file.parent, os.W_OK):
                problems.append(f"{self._file} cannot be written from here (the file and its folder must be writable)")
        except ServiceError as error:
            problems.append(str(error))
        return problems

    def observe(self) -> Observation:
        info = self._info()
        configured = _variables(self._read_file()).get(self._settings.variable)
        if info["statename"] not in _RUNNING_STATES:
            return Observation(State.STOPPED, configured=configured, how=f"supervisord says {info['statename']}")
        address = _from_environment(int(info["pid"]), self._settings.variable)
        return Observation(
            State.RUNNING,
            side=self._addresses.side_of(address),
            address=address,
            configured=configured,
            how=f"environment of process {info['pid']}"
            if address
            else f"process {info['pid']}, environment not readable",
        )

    def configured_for(self, side: Side) -> list[str]:
        return self._changes(side)[0]

    def configure(self, side: Side) -> list[str]:
        changes, content = self._changes(side)
        if changes:
            mode = stat.S_IMODE(self._file.stat().st_mode) & 0o660
            _replace(self._file.with_name(self._file.name + ".previous"), self._read_file(), mode)
            _replace(self._file, content, mode)
        return changes

    def stop(self) -> None:
        try:
            self._call("stop", lambda rpc: rpc.stopProcess(self._settings.program, True))
        except xmlrpc.client.Fault as fault:
            if fault.faultCode != Faults.NOT_RUNNING:
                raise ServiceError(f"{self._named()} could not be stopped: {fault.faultString}") from None
        if self._info()["statename"] in _RUNNING_STATES:
            raise ServiceError(
                f"{self._named()} was told to stop and still runs; look at its log, then run the task again"
            )

    def start(self) -> None:
        # A first start that does not wait: the process is there at once, and is watched from here on.
        with contextlib.suppress(_AlreadyStarted):
            try:
                self._call("start", lambda rpc: rpc.startProcess(self._settings.program, False))
            except xmlrpc.client.Fault as fault:
                if fault.faultCode == Faults.ALREADY_STARTED:
                    raise _AlreadyStarted from None
                if fault.faultCode not in (Faults.SPAWN_ERROR, Faults.ABNORMAL_TERMINATION):
                    raise ServiceNotBack(f"{self._named()} could not be started: {fault.faultString}") from None
        self._await_running()

    def instructions(self, side: Side) -> str:
        address = self._addresses.of(side)
        return (
            f"In {self._file} set {self._settings.variable}={address}, then run:"
            f" supervisorctl restart {shlex.quote(self._settings.program)}"
        )

    # -- below: supervisord, the file, the process

    def _await_running(self) -> None:
        deadline = time.monotonic() + _SEEN_WITHIN
        info = self._info()
        while time.monotonic() < deadline:
            if info["statename"] == "RUNNING" and _from_environment(int(info["pid"]), self._settings.variable):
                return
            if info["statename"] in ("FATAL", "EXITED", "STOPPED", "UNKNOWN"):
                break
            time.sleep(0.05)
            info = self._info()
        raise ServiceNotBack(
            f"{self._named()} did not come back: supervisord says {info['statename']}"
            f" ({info.get('spawnerr') or info.get('description') or 'no reason given'})."
            f" The end of its log:\n{self._log_tail()}\n"
            f"To go back: in {self._file} put the former content again (kept in {self._file.name}.previous) and run"
            f" `supervisorctl start {self._settings.program}`. To go on: mend the service and run this task again."
        )

    def _log_tail(self) -> str:
        try:
            for tail in (
                self._call(
                    "read the log of", lambda rpc: rpc.tailProcessStderrLog(self._settings.program, 0, _LOG_TAIL)
                ),
                self._call(
                    "read the log of", lambda rpc: rpc.tailProcessStdoutLog(self._settings.program, 0, _LOG_TAIL)
                ),
            ):
                if tail and str(tail[0]).strip():
                    return "    " + "\n    ".join(str(tail[0]).strip().splitlines()[-8:])
        except (xmlrpc.client.Fault, ServiceError):
            pass
        return "    (nothing was logged)"

    def _info(self) -> dict[str, Any]:
        try:
            info: dict[str, Any] = self._call("look at", lambda rpc: rpc.getProcessInfo(self._settings.program))
        except xmlrpc.client.Fault as fault:
            if fault.faultCode == Faults.BAD_NAME:
                raise ServiceError(
                    f"service {self.service.name}: supervisord at {self._extra('socket')} has no program"
                    f" {self._settings.program!r}; `supervisorctl status` lists them"
                ) from None
            raise ControllerUnavailable(f"{self._named()}: supervisord answers: {fault.faultString}") from None
        return info

    def _call(self, doing: str, call: Callable[[Any], Any]) -> Any:
        socket = self._extra("socket")
        connection = self._parts()
        transport = SupervisorTransport(
            connection.get("login") or None, connection.get("password") or None, f"unix://{socket}"
        )
        try:
            with xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport) as proxy:
                return call(proxy.supervisor)
        except xmlrpc.client.Fault:
            raise
        except xmlrpc.client.ProtocolError as error:
            raise ControllerUnavailable(
                f"cannot {doing} service {self.service.name}: supervisord at {socket} answers {error.errcode}"
                f" {error.errmsg}; check login and password of the connection {self._settings.connection}"
            ) from None
        except OSError as error:
            raise ControllerUnavailable(
                f"cannot {doing} service {self.service.name}: supervisord at {socket} does not answer"
                f" ({error.strerror or error}); is it running, and may this user use its socket?"
            ) from None

    def _changes(self, side: Side) -> tuple[list[str], str]:
        content = self._read_file()
        now = _variables(content)
        wanted = {self._settings.variable: self._addresses.of(side)}
        spec = self.service.controller.source if side is Side.SOURCE else self.service.controller.target
        secret = {name for name, value in spec.variables.items() if not isinstance(value, str)}
        wanted |= {name: self._resolve(value) for name, value in spec.variables.items()}
        if self._settings.variable not in now:
            raise self._missing()
        if self._addresses.side_of(now[self._settings.variable]) is side:
            wanted.pop(self._settings.variable)  # it names fewer or reordered servers of the same cluster: leave it
        changes = []
        for name, value in wanted.items():
            if now.get(name) == value:
                continue
            before = now.get(name)
            if name in secret:
                changes.append(f"{name}: {'(unset)' if before is None else '***'} -> ***")
            else:
                changes.append(f"{name}: {'(unset)' if before is None else before} -> {value}")
            content = _assign(content, name, value)
        return changes, content

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

    def _missing(self) -> SettingMissing:
        return SettingMissing(
            f"service {self.service.name}: {self._file} does not set {self._settings.variable};"
            " name the variable that holds the bootstrap servers in the plan (controller: variable)"
        )

    def _read_file(self) -> str:
        try:
            return self._file.read_text(encoding="utf-8")
        except OSError as error:
            raise ServiceError(
                f"service {self.service.name}: its env file {self._file} cannot be read: {error.strerror}"
            ) from None

    @property
    def _file(self) -> Path:
        path = Path(self._settings.env_file)
        return path if path.is_absolute() else Path(self._extra("env_directory")) / path

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


class _AlreadyStarted(Exception):
    """It runs already."""


def _variables(content: str) -> dict[str, str]:
    """The assignments of an env file; the last of a name counts, as in a shell."""
    found: dict[str, str] = {}
    for line in content.splitlines():
        match = _ASSIGNMENT.match(line)
        if match:
            try:
                words = shlex.split(match["value"], comments=True)
            except ValueError:
                words = [match["value"]]
            found[match["name"]] = words[0] if words else ""
    return found


def _assign(content: str, name: str, value: str) -> str:
    """The content with every assignment of `name` changed, or one added; all else stays to the letter."""
    lines = content.splitlines(keepends=True)
    done = False
    for i, line in enumerate(lines):
        match = _ASSIGNMENT.match(line.rstrip("\r\n"))
        if match and match["name"] == name:
            ending = line[len(line.rstrip("\r\n")) :]
            lines[i] = f"{match['lead']}{name}={shlex.quote(value)}{ending}"
            done = True
    if not done:
        if lines and not lines[-1].endswith("\n"):
            lines[-1] += "\n"
        lines.append(f"{name}={shlex.quote(value)}\n")
    return "".join(lines)


def _replace(path: Path, content: str, mode: int) -> None:
    """Write a file by rename: a reader sees the old or the new content, whole, also after a crash."""
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        os.chmod(part, mode)
        if path.exists():
            with contextlib.suppress(PermissionError):
                os.chown(part, path.stat().st_uid, path.stat().st_gid)
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _from_environment(pid: int, variable: str) -> str | None:
    """The variable in the environment of a process or, where a shell stands between, of its descendants."""
    for process in _with_descendants(pid):
        try:
            environment = Path(f"/proc/{process}/environ").read_bytes()
        except OSError:
            continue
        for entry in environment.split(b"\0"):
            name, _, value = entry.partition(b"=")
            if name.decode(errors="replace") == variable:
                return value.decode(errors="replace")
    return None


def _with_descendants(pid: int) -> list[int]:
    found = [pid]
    for process in found:
        for task in Path(f"/proc/{process}/task").glob("*/children"):
            with contextlib.suppress(OSError, ValueError):
                found += [int(child) for child in task.read_text().split()]
    return found
