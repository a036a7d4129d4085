"""Kafka Connect's REST API: one call, one answer in time. It decides nothing.

Connect answers 409 while its workers agree anew who does what (a rebalance): that passes, and is waited for a little.
A worker that is about to join, or whose leader is gone, answers 500 to what it would do a little later.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import requests

from kafka_migration.errors import MirrorError, MirrorUnreachable
from kafka_migration.mirror.runner import Progress
from kafka_migration.offsets import Offsets, TopicPartition

HALTED = ("PAUSED", "STOPPED")
"""The states of a connector that somebody has told to halt."""

_ANSWER_WITHIN = 30.0
_REBALANCE_WITHIN = 60.0
_GATEWAY = (HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT)
# The second: "Request cannot be completed because a rebalance is expected" (seen with 4.3.1 right after a start).
_BUSY = (HTTPStatus.CONFLICT, HTTPStatus.INTERNAL_SERVER_ERROR)
_PASSING = ("rebalance", "momentarily")  # a 409 with neither is a real conflict: there is such a connector already
_ABSENT_WORKER = ("timed out", "forward rest request")


@dataclass(frozen=True)
class ConnectAccess:
    """Where the REST listens and who may use it. `verify`: False, True, or the path of a CA bundle."""

    url: str
    login: str | None = None
    password: str | None = field(default=None, repr=False)
    verify: bool | str = True


class Connect:
    """One Kafka Connect cluster, by the address of one of its workers."""

    def __init__(self, access: ConnectAccess) -> None:
        self._access = access
        self._session = requests.Session()
        if access.login is not None:
            self._session.auth = (access.login, access.password or "")

    def __str__(self) -> str:
        return f"Kafka Connect at {self._access.url}"

    def cluster_id(self) -> str:
        """The id of the Kafka cluster that its workers belong to."""
        return str(self._get("/")["kafka_cluster_id"])

    def version(self) -> str:
        return str(self._get("/")["version"])

    def plugins(self) -> set[str]:
        """The classes of the connectors that it can run."""
        return {str(plugin["class"]) for plugin in self._get("/connector-plugins")}

    def validate(self, config: Mapping[str, str]) -> dict[str, list[str]]:
        """What Connect finds wrong with a connector's configuration, by key. It does not find all that is wrong."""
        kind = quote(config["connector.class"].rpartition(".")[2])
        told = self._call("PUT", f"/connector-plugins/{kind}/config/validate", dict(config))
        return {
            str(one["value"]["name"]): [str(error) for error in one["value"]["errors"]]
            for one in told["configs"]
            if one["value"]["errors"]
        }

    def connectors(self) -> dict[str, dict[str, str]]:
        """The configuration of every connector, by its name. Raises `MirrorUnreachable` while a worker starts.

        A worker lists none before it has read which there are (measured); its health tells that (KIP-1017, Kafka 3.9).
        """
        self._call("GET", "/health", absent=None)
        told = self._call("GET", "/connectors?expand=info")
        return {name: dict(one["info"]["config"]) for name, one in told.items()}

    def config(self, name: str) -> dict[str, str] | None:
        """The configuration of a connector; None where there is none of that name."""
        found = self._call("GET", f"/connectors/{quote(name)}/config", absent=None)
        return None if found is None else dict(found)

    def create_stopped(self, name: str, config: Mapping[str, str]) -> None:
        """Create a connector that does not run yet (KIP-980)."""
        self._call("POST", "/connectors", {"name": name, "config": dict(config), "initial_state": "STOPPED"})

    def configure(self, name: str, config: Mapping[str, str]) -> None:
        self._call("PUT", f"/connectors/{quote(name)}/config", dict(config))

    def progress(self, name: str) -> Progress:
        """The state of a connector, what its tasks have failed of, and how far it has come."""
        told = self._status(name)
        failures = {
            f"task {task['id']} of {name}": str(task.get("trace", "no trace")).strip()
            for task in told["tasks"]
            if task["state"] == "FAILED"
        }
        if told["connector"]["state"] == "FAILED":
            failures[f"connector {name}"] = str(told["connector"].get("trace", "no trace")).strip()
        return Progress(str(told["connector"]["state"]), len(told["tasks"]), failures, self.positions(name))

    def state(self, name: str) -> tuple[str, int]:
        """Connect's word for the state of a connector, and how many tasks it has."""
        told = self._status(name)
        return str(told["connector"]["state"]), len(told["tasks"])

    def _status(self, name: str) -> Any:
        told = self._call("GET", f"/connectors/{quote(name)}/status", absent=None)
        if told is None:
            # There is none either while a worker starts, and for a moment after the connector was created.
            state = "ABSENT" if self.config(name) is None else "UNASSIGNED"
            told = {"connector": {"state": state}, "tasks": []}
        return told

    def positions(self, name: str) -> dict[TopicPartition, int]:
        """The offset that is copied next of each partition. What is stored is the last that was copied (measured)."""
        told = self._call("GET", f"/connectors/{quote(name)}/offsets", absent={"offsets": []})
        return {
            TopicPartition(entry["partition"]["topic"], int(entry["partition"]["partition"])): int(
                entry["offset"]["offset"]
            )
            + 1
            for entry in told["offsets"]
            if entry["offset"] is not None
        }

    def set_positions(self, name: str, cluster: str, positions: Offsets) -> None:
        """Let a stopped connector go on at these offsets. From 0 it goes on by itself, and Connect takes no less."""
        entries = [
            {
                "partition": {"cluster": cluster, "topic": tp.topic, "partition": tp.partition},
                "offset": {"offset": offset - 1},
            }
            for tp, offset in sorted(positions.items())
            if offset > 0
        ]
        if entries:
            self._call("PATCH", f"/connectors/{quote(name)}/offsets", {"offsets": entries})

    def fence(self, name: str, cluster: str) -> None:
        """Shut out the tasks of a stopped connector that its workers gave up to end in time: they could still write.

        Connect does so before it changes offsets (KIP-618 and KIP-875), also those of a partition that cannot be.
        """
        nothing = {"partition": {"cluster": cluster, "topic": ".", "partition": 0}, "offset": None}
        self._call("PATCH", f"/connectors/{quote(name)}/offsets", {"offsets": [nothing]})

    def resume(self, name: str) -> None:
        self._call("PUT", f"/connectors/{quote(name)}/resume")

    def stop(self, name: str) -> None:
        self._call("PUT", f"/connectors/{quote(name)}/stop")

    def restart_failed(self, name: str) -> None:
        self._call("POST", f"/connectors/{quote(name)}/restart?includeTasks=true&onlyFailed=true")

    def forget(self, name: str) -> None:
        """Delete a connector. Its offsets outlive it, and one of its name begins there (measured)."""
        self._call("DELETE", f"/connectors/{quote(name)}", absent=None)

    def remove(self, name: str) -> None:
        """Delete a stopped connector and its offsets."""
        if self.config(name) is not None:
            self._call("DELETE", f"/connectors/{quote(name)}/offsets", absent=None)
            self.forget(name)

    def _get(self, path: str) -> Any:
        return self._call("GET", path)

    def _call(self, method: str, path: str, body: Any = None, **absent: Any) -> Any:
        """The answer as JSON. `absent`: what a 404 means, where it means something."""
        doing = f"{method} {path.partition('?')[0]}"
        deadline = time.monotonic() + _REBALANCE_WITHIN
        while True:
            try:
                answer = self._session.request(
                    method,
                    f"{self._access.url}{path}",
                    json=body,
                    timeout=_ANSWER_WITHIN,
                    verify=self._access.verify,  # said of the session, REQUESTS_CA_BUNDLE would win
                )
            except requests.RequestException as error:
                raise MirrorUnreachable(
                    f"{self} does not answer ({doing}): {_cause(error)}."
                    " Check the Airflow connection, and that a worker runs there."
                ) from None
            text = answer.text.lower()
            busy = answer.status_code in _BUSY and any(word in text for word in _PASSING)
            if busy and time.monotonic() < deadline:
                time.sleep(0.25)
                continue
            if answer.status_code == HTTPStatus.NOT_FOUND and absent:
                return absent["absent"]
            if answer.status_code in _GATEWAY or (answer.status_code >= 500 and any(w in text for w in _ABSENT_WORKER)):
                raise MirrorUnreachable(
                    f"{self} cannot answer now ({doing}, {answer.status_code}): {_said(answer)}."
                    " Look whether its workers run and reach their own Kafka cluster."
                )
            if not answer.ok:
                hint = "; check login and password" if answer.status_code == HTTPStatus.UNAUTHORIZED else ""
                raise MirrorError(f"{self} refused ({doing}, {answer.status_code}{hint}): {_said(answer)}")
            return answer.json() if answer.content else None


def _said(answer: requests.Response) -> str:
    try:
        return str(answer.json().get("message", answer.text))
    except ValueError:
        return answer.text[:500]


def _cause(error: requests.RequestException) -> str:
    return str(getattr(error.args[0] if error.args else error, "reason", None) or error)
