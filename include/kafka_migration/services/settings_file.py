"""One service's settings in its env file: what a move to a side changes there, and that change made as a whole.

Only the address and the variables that the plan names are ever written. Secrets are masked in whatever is told, and
none is written to a file that every user of its host may read. It starts and stops nothing.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from kafka_migration.errors import ServiceError, SettingMissing
from kafka_migration.plan.model import Service, Value
from kafka_migration.services.access import Access
from kafka_migration.services.controller import Connection
from kafka_migration.services.env_file import assign, read_content, replace_content, variables
from kafka_migration.sides import Addresses, Side


class FileSettings(Protocol):
    """What a plan says of the file; a relative one lies in the connection's `env_directory`."""

    @property
    def env_file(self) -> str: ...

    @property
    def variable(self) -> str:
        """The variable that holds the address."""


class SettingsFile:
    """The env file of one service."""

    def __init__(
        self, service: Service, settings: FileSettings, addresses: Addresses, connection: Connection, access: Access
    ) -> None:
        self._service = service
        self._settings = settings
        self._addresses = addresses
        self._connection = connection
        self._access = access

    @property
    def path(self) -> Path:
        """The file itself, also where a link leads to it: a rename must not replace the link."""
        path = Path(self._settings.env_file)
        return (path if path.is_absolute() else Path(self._access.extra("env_directory")) / path).resolve()

    @property
    def previous(self) -> Path:
        """Where the former content is kept."""
        return self.path.with_name(self.path.name + ".previous")

    def check(self) -> None:
        """Raises `ServiceError` where the file cannot be read or replaced from here."""
        self._read()
        if not os.access(self.path, os.W_OK) or not os.access(self.path.parent, os.W_OK):
            raise ServiceError(
                f"service {self._service.name}: {self.path} cannot be written from here (the file and its folder must"
                " be writable)"
            )

    def variables(self) -> dict[str, str]:
        return variables(self._read())

    def address(self) -> str | None:
        """The address that the service would start with."""
        return self.variables().get(self._settings.variable)

    def changes(self, side: Side) -> list[str]:
        """What a move to that side would change: one line each, secrets masked; empty when nothing."""
        return self._changed(side)[0]

    def change(self, side: Side) -> list[str]:
        """Make those changes, and keep the former content; what was changed."""
        changes, content = self._changed(side)
        if changes:
            try:
                replace_content(self.previous, self._read(), like=self.path)
                replace_content(self.path, content, like=self.path)
            except OSError as error:
                raise ServiceError(
                    f"service {self._service.name}: {self.path} could not be replaced ({error.strerror or error});"
                    " it is as it was. This user needs to write its folder and to keep its owner and mode."
                ) from None
        return changes

    def masked(self, text: str) -> str:
        """The text without the secrets that the plan has written to the file on either side."""
        for value in (value for side in Side for value in self._own(side).values() if not isinstance(value, str)):
            text = text.replace(self._resolve(value), "***")
        return text

    def _changed(self, side: Side) -> tuple[list[str], str]:
        """The changes, and the whole content with them."""
        content = self._read()
        now = variables(content)
        if self._settings.variable not in now:
            raise SettingMissing(
                f"service {self._service.name}: {self.path} does not set {self._settings.variable};"
                " name the variable that holds the bootstrap servers in the plan (controller: variable)"
            )
        own = self._own(side)
        wanted = {name: self._resolve(value) for name, value in own.items()}
        if self._addresses.side_of(now[self._settings.variable]) is not side:
            # else it names servers of this cluster, perhaps fewer or in another order: left as it is
            wanted = {self._settings.variable: self._addresses.of(side)} | wanted
        changes = []
        for name, value in wanted.items():
            before = now.get(name)
            if before == value:
                continue
            content = assign(content, name, value)
            if not isinstance(own.get(name, ""), str):
                self._refuse_readable(name)
                before, value = before and "***", "***"
            changes.append(f"{name}: {'(unset)' if before is None else before} -> {value}")
        return changes, content

    def _own(self, side: Side) -> Mapping[str, Value]:
        """The variables that the plan names for that side."""
        spec = self._service.controller
        return (spec.source if side is Side.SOURCE else spec.target).variables

    def _resolve(self, value: Value) -> str:
        if isinstance(value, str):
            return value
        parts = self._connection(value.from_connection.id)
        if parts.get(value.from_connection.field) in (None, ""):
            raise SettingMissing(
                f"service {self._service.name}: the connection {value.from_connection.id} has no field"
                f" {value.from_connection.field!r}"
            )
        return str(parts[value.from_connection.field])

    def _refuse_readable(self, name: str) -> None:
        if stat.S_IMODE(self.path.stat().st_mode) & stat.S_IROTH:
            raise ServiceError(
                f"service {self._service.name}: {self.path} can be read by every user of its host, so the secret"
                f" {name} is not written to it; take that right away first (chmod o-r)"
            )

    def _read(self) -> str:
        try:
            return read_content(self.path)
        except OSError as error:
            raise ServiceError(
                f"service {self._service.name}: its env file {self.path} cannot be read: {error.strerror}"
            ) from None
