"""A second instance of a program under supervisord, made as a copy: its section and its env file under another name.

The copy reads the same settings but for the address, and runs beside the original. Nothing of the original is changed,
and a copy that was made once is used again.
"""

from __future__ import annotations

import fnmatch
import re
import xmlrpc.client
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from kafka_migration.errors import ServiceError
from kafka_migration.plan.model import Service
from kafka_migration.services.controller import Connection, Observation, State
from kafka_migration.services.env_file import read_content, replace_content
from kafka_migration.services.program_files import Section, find_section, include_patterns
from kafka_migration.services.settings_file import SettingsFile
from kafka_migration.services.supervisor import SupervisorController, SupervisorSettings
from kafka_migration.services.supervisord import Refusal
from kafka_migration.sides import Addresses, Side

_SUFFIX = "-second"
_LOGS = ("stdout_logfile", "stderr_logfile")


class CopySettings(BaseModel):
    """What a plan says under `second:` for `kind: copy`: nothing more, all is taken from the service's controller."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SupervisorCopy(SupervisorController):
    """The copy of one program of one supervisord."""

    def __init__(
        self, service: Service, settings: SupervisorSettings, addresses: Addresses, connection: Connection
    ) -> None:
        self._of = settings
        env_file = Path(settings.env_file)
        copied = settings.model_copy(
            update={
                "program": settings.program.rpartition(":")[2] + _SUFFIX,
                "env_file": str(env_file.with_name(f"{env_file.stem}{_SUFFIX}{env_file.suffix}")),
            }
        )
        super().__init__(service, copied, addresses, connection)
        self._original = SettingsFile(service, settings, addresses, connection, self._access)

    def check(self) -> list[str]:
        try:
            self._copied_section()
            self._place()
            return super().check() if self._there() else []
        except ServiceError as error:
            return [str(error)]

    def observe(self) -> Observation:
        if not self._there():
            return Observation(State.STOPPED, how=f"supervisord has no program {self._settings.program} yet")
        return super().observe()

    def configured_for(self, side: Side) -> list[str]:
        if not self._there():
            return [
                f"program {self._settings.program}: -> a copy of {self._of.program} with {self._file.path.name},"
                f" on the {side}"
            ]
        return super().configured_for(side)

    def configure(self, side: Side) -> list[str]:
        changes = []
        try:
            if not self._file.path.exists():
                replace_content(self._file.path, read_content(self._original.path), like=self._original.path)
                changes.append(f"{self._file.path.name}: -> a copy of {self._original.path.name}")
            changes += super().configure(side)
            section = self._copied_section()
            if not self._place().exists():
                replace_content(self._place(), section, like=self._file.path)
                changes.append(f"{self._place().name}: -> a copy of the section of {self._of.program}")
        except OSError as error:
            raise ServiceError(
                f"{self._named()}: the copy of {self._of.program} could not be written: {error.strerror or error};"
                " the original is as it was"
            ) from None
        if not self._there():
            self._call("reread the configuration for", "reloadConfig")
            try:
                self._call("add", "addProcessGroup", self._settings.program)
            except xmlrpc.client.Fault as fault:
                if fault.faultCode != Refusal.ALREADY_ADDED:
                    raise ServiceError(
                        f"{self._named()}: supervisord does not take the copy of {self._of.program}:"
                        f" {fault.faultString}. Does its [include] name {self._place().parent}?"
                    ) from None
            changes.append(f"program {self._settings.program}: -> known to supervisord")
        return changes

    def stop(self) -> None:
        if self._there():
            super().stop()

    def start_at_boot(self, start: bool) -> list[str]:
        return super().start_at_boot(start) if self._there() else []

    def _there(self) -> bool:
        """Whether supervisord knows the copy."""
        return any(one["name"] == self._settings.program for one in self._call("look for", "getAllProcessInfo"))

    def _copied_section(self) -> str:
        """The original's section under the copy's name, with the copy's env file and logs of its own."""
        program = self._of.program.rpartition(":")[2]
        section = find_section(self._configuration(), program)
        if section is None:
            raise ServiceError(
                f"service {self.service.name}: {self._configuration()} has no section [program:{program}], so it"
                " cannot be copied; name a second program in the plan instead"
            )
        own, copy = self._original.path.name, self._file.path.name
        command = section.value("command") or ""
        if own not in command:
            raise ServiceError(
                f"service {self.service.name}: the command of {program} does not name its env file {own}, so a copy"
                " would read the original's; name a second program in the plan instead"
            )
        text = section.text.replace(f"[program:{program}]", f"[program:{self._settings.program}]", 1)
        text = Section(section.file, text).with_value("command", command.replace(own, copy))
        for key in _LOGS:
            log = Section(section.file, text).value(key)
            if log and log.upper() not in ("AUTO", "NONE") and not log.startswith("/dev/") and "%(" not in log:
                path = Path(log)
                text = Section(section.file, text).with_value(
                    key, str(path.with_name(f"{path.stem}{_SUFFIX}{path.suffix}"))
                )
        # It is started when its turn has come, never by being made known.
        return re.sub(r"\n*\Z", "\n", Section(section.file, text).with_value("autostart", "false"))

    def _place(self) -> Path:
        """The file of the copy's section, in a folder that supervisord includes."""
        place = Path(self._access.extra("program_directory")) / f"{self._settings.program}.conf"
        if not any(fnmatch.fnmatch(str(place), pattern) for pattern in include_patterns(self._configuration())):
            raise ServiceError(
                f"service {self.service.name}: {self._configuration()} does not include {place}; add the folder under"
                " [include] files, or correct `program_directory` in the connection"
            )
        return place
