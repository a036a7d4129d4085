"""A Docker engine's API over its unix socket: one call, one connection, an answer in time. It decides nothing."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from kafka_migration.errors import ControllerUnavailable

_ANSWER_WITHIN = 130.0  # it answers a stop only when the container has stopped


class EngineRefused(Exception):
    """The engine answered that it will not, and why."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class DockerEngine:
    """One engine, by the path of its socket."""

    def __init__(self, path: str) -> None:
        self.path = path

    def call(
        self, method: str, path: str, query: Mapping[str, str] | None = None, body: Mapping[str, Any] | None = None
    ) -> Any:
        """What the engine answers, None where it says nothing. Raises `EngineRefused`, else `ControllerUnavailable`."""
        content = self.raw(method, path, query, body)
        return json.loads(content) if content else None

    def raw(
        self, method: str, path: str, query: Mapping[str, str] | None = None, body: Mapping[str, Any] | None = None
    ) -> bytes:
        connection = _UnixConnection(self.path)
        try:
            target = f"{path}?{urlencode(query)}" if query else path
            payload = None if body is None else json.dumps(body)
            connection.request(method, target, payload, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "strerror", None) or error or type(error).__name__
            raise ControllerUnavailable(
                f"the Docker engine at {self.path} does not answer ({reason}); is it running, and may this user use"
                " its socket?"
            ) from None
        finally:
            connection.close()
        if answer.status >= http.HTTPStatus.BAD_REQUEST:
            raise EngineRefused(answer.status, _message(content))
        return content


def log_text(content: bytes) -> str:
    """A container's log as text: without a terminal each piece has a head of eight bytes that tells its length."""
    text = bytearray()
    rest = content
    while len(rest) >= 8 and rest[0] in (0, 1, 2) and rest[1:4] == b"\0\0\0":
        length = int.from_bytes(rest[4:8], "big")
        text += rest[8 : 8 + length]
        rest = rest[8 + length :]
    return (bytes(text) or content).decode(errors="replace")


def _message(content: bytes) -> str:
    try:
        return str(json.loads(content)["message"])
    except (ValueError, KeyError, TypeError):
        return content.decode(errors="replace")[:300]


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_ANSWER_WITHIN)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_ANSWER_WITHIN)
        self.sock.connect(self._path)
