"""The Airflow connection that a controller's settings name: looked up once, and only when it is needed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from kafka_migration.errors import ControllerUnavailable
from kafka_migration.services.controller import Connection


class Access:
    """What one service's controller finds in one connection."""

    def __init__(self, service: str, connection_id: str, connection: Connection) -> None:
        self._service = service
        self._id = connection_id
        self._connection = connection

    @cached_property
    def parts(self) -> Mapping[str, Any]:
        return self._connection(self._id)

    def extra(self, key: str) -> str:
        """Raises `ControllerUnavailable` where the connection's extra does not hold it."""
        value = self.parts.get(key)
        if not value:
            raise ControllerUnavailable(
                f"service {self._service}: the connection {self._id} has no {key!r} in its extra"
            )
        return str(value)
