"""supervisord's XML-RPC over its unix socket: one call, one connection, an answer in time. It decides nothing."""

from __future__ import annotations

import base64
import http.client
import socket
import xmlrpc.client
from enum import IntEnum
from typing import Any

from kafka_migration.errors import ControllerUnavailable

_ANSWER_WITHIN = 20.0


class Refusal(IntEnum):
    """The faults of supervisord that mean something here (`supervisor.xmlrpc.Faults`)."""

    BAD_NAME = 10
    SPAWN_ERROR = 50
    ABNORMAL_TERMINATION = 40
    ALREADY_STARTED = 60
    NOT_RUNNING = 70
    ALREADY_ADDED = 90


class Supervisord:
    """One supervisord, by the path of its socket."""

    def __init__(self, path: str, login: str | None, password: str | None) -> None:
        self.path = path
        token = base64.b64encode(f"{login or ''}:{password or ''}".encode()).decode()
        self._headers = [("Authorization", f"Basic {token}")] if login or password else []

    def call(self, method: str, *args: Any) -> Any:
        """What supervisord answers. Raises `xmlrpc.client.Fault` when it refuses, else `ControllerUnavailable`."""
        proxy = xmlrpc.client.ServerProxy("http://localhost", transport=_UnixTransport(self.path, self._headers))
        try:
            with proxy:
                return getattr(proxy.supervisor, method)(*args)
        except xmlrpc.client.ProtocolError as error:
            hint = "; check login and password" if error.errcode == http.HTTPStatus.UNAUTHORIZED else ""
            raise ControllerUnavailable(
                f"supervisord at {self.path} answers {error.errcode} {error.errmsg}{hint}"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "strerror", None) or error or type(error).__name__
            raise ControllerUnavailable(
                f"supervisord at {self.path} does not answer ({reason}); is it running, and may this user use its"
                " socket?"
            ) from None


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: str, headers: list[tuple[str, str]]) -> None:
        super().__init__(headers=headers)
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        return _UnixConnection(self._path)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_ANSWER_WITHIN)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_ANSWER_WITHIN)
        self.sock.connect(self._path)
