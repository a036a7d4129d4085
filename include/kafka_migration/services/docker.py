"""Services of a compose project: an env file holds their settings, a Docker engine's socket controls them.

A container's variables are those that it was created with: so it is created anew, with everything else as it was. The
env file is what compose reads (`env_file:`), so that the next `docker compose up` makes the same. Whoever may use the
engine's socket is as good as root on its host: this is for a demo, or for a host that Airflow may own.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from kafka_migration.errors import ControllerUnavailable, ServiceError, ServiceNotBack
from kafka_migration.plan.model import VARIABLE, Service
from kafka_migration.services.access import Access
from kafka_migration.services.controller import Connection, Observation, State
from kafka_migration.services.docker_engine import DockerEngine, EngineRefused, log_text
from kafka_migration.services.processes import weakest_acks
from kafka_migration.services.recreated import creation, environment, further_networks
from kafka_migration.services.settings_file import SettingsFile
from kafka_migration.sides import Addresses, Side

_NEXT = "-next"  # the name's end while the former container is still there
_WELL_WITHIN = 180.0
_LOOK_EVERY = 0.2


class DockerSettings(BaseModel):
    """What a plan says under `controller:` for `kind: docker`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    connection: str = Field(
        description="An Airflow connection, in its extra `socket` (the Docker engine's unix socket), `project` (the"
        " compose project) and `env_directory` (where relative env files lie)."
    )
    service: str = Field(min_length=1, description="The service's name in the compose file. It has one container.")
    env_file: str = Field(min_length=1, description="The file that the service names under `env_file:`.")
    variable: str = Field(
        default="KAFKA_BOOTSTRAP_SERVERS", pattern=VARIABLE, description="The variable that holds the address."
    )


class DockerController:
    """The one container of one service of one compose project."""

    manual = False

    def __init__(
        self, service: Service, settings: DockerSettings, addresses: Addresses, connection: Connection
    ) -> None:
        self.service = service
        self._settings = settings
        self._addresses = addresses
        self._access = Access(service.name, settings.connection, connection)
        self._file = SettingsFile(service, settings, addresses, connection, self._access)

    def identity(self) -> str:
        socket = os.path.realpath(self._access.extra("socket"))
        return f"docker:{socket}:{self._access.extra('project')}:{self._settings.service}"

    def check(self) -> list[str]:
        problems: list[str] = []
        looks: list[Callable[[], object]] = [self._check_container, self._file.check]
        looks += [partial(self._file.changes, side) for side in Side]
        for look in looks:
            try:
                look()
            except ServiceError as error:
                problems.append(str(error))
        return list(dict.fromkeys(problems))

    def observe(self) -> Observation:
        found = self._described()
        state = found["State"]
        configured = self._file.address()
        said = f"the Docker engine says {state['Status']}"
        if not _lives(state):
            return Observation(State.STOPPED, configured=configured, how=said)
        own = environment(found)
        used = own.get(self._settings.variable)
        how = f"environment of container {_name(found)}"
        return Observation(State.RUNNING, self._addresses.side_of(used), used, configured, how, weakest_acks([own]))

    def configured_for(self, side: Side) -> list[str]:
        return self._file.changes(side)

    def configure(self, side: Side) -> list[str]:
        return self._file.change(side)

    def stop(self) -> None:
        if _lives(self._described()["State"]):
            self._call("stop", "POST", f"/containers/{self._described()['Id']}/stop")
        if _lives(state := self._described()["State"]):
            raise ServiceError(f"{self._named()} was told to stop, and the Docker engine still says {state['Status']}")

    def start(self) -> None:
        found = self._described()
        if not _lives(found["State"]):
            wanted = self._file.variables()
            has = environment(found)
            if any(has.get(name) != value for name, value in wanted.items()):
                found = self._created_anew(found, wanted)
            self._call("start", "POST", f"/containers/{found['Id']}/start")
        self.await_running()

    def await_running(self) -> None:
        deadline = time.monotonic() + _WELL_WITHIN
        while True:
            found = self._described()
            state = found["State"]
            health = (state.get("Health") or {}).get("Status", "healthy")
            if state["Status"] == "running" and health == "healthy":
                return
            reason = f"the Docker engine says {state['Status']}, {health}"
            if health == "unhealthy" or not _lives(state) or time.monotonic() > deadline:
                raise ServiceNotBack(
                    f"{self._named()} did not come back: {reason}. The end of its log:\n{self._log_tail(found)}\n"
                    f"To go back: in {self._file.path} put the former content again (kept in"
                    f" {self._file.previous.name}) and run `docker compose up --detach {self._settings.service}`."
                    " To go on: mend the service and run this task again."
                )
            time.sleep(_LOOK_EVERY)

    def start_at_boot(self, start: bool) -> list[str]:
        return []  # what was stopped through the engine stays stopped, unless it is to be started always: see `check`

    def instructions(self, side: Side) -> str:
        return (
            f"In {self._file.path} set {self._settings.variable}={self._addresses.of(side)}, then run:"
            f" docker compose up --detach {self._settings.service}"
        )

    # -- below: the engine

    def _created_anew(self, found: Mapping[str, Any], wanted: Mapping[str, str]) -> Mapping[str, Any]:
        """The former container goes when the new one is there: killed in between, the next start goes on from there."""
        name = _name(found)
        created = self._call(
            "create", "POST", "/containers/create", {"name": f"{name}{_NEXT}"}, creation(found, wanted)
        )
        for network, endpoint in further_networks(found).items():
            body = {"Container": created["Id"], "EndpointConfig": endpoint}
            self._call("connect", "POST", f"/networks/{network}/connect", body=body)
        self._call("remove", "DELETE", f"/containers/{found['Id']}")
        return self._described()

    def _described(self) -> Mapping[str, Any]:
        """The service's container as the engine describes it; what a start that was cut short left is put right."""
        labels = {"project": self._access.extra("project"), "service": self._settings.service, "oneoff": "False"}
        filters = json.dumps({"label": [f"com.docker.compose.{key}={value}" for key, value in labels.items()]})
        listed = self._call("look for", "GET", "/containers/json", {"all": "1", "filters": filters})
        found = [self._look(str(entry["Id"])) for entry in listed]
        half_made = [each for each in found if _name(each).endswith(_NEXT)]
        whole = [each for each in found if not _name(each).endswith(_NEXT)]
        if not whole and len(half_made) == 1:
            (made,) = half_made
            name = _name(made).removesuffix(_NEXT)
            self._call("rename", "POST", f"/containers/{made['Id']}/rename", {"name": name})
            return self._look(made["Id"])
        for each in half_made:
            self._call("remove", "DELETE", f"/containers/{each['Id']}")
        if len(whole) != 1:
            raise ServiceError(
                f"{self._named()}: the compose project {self._access.extra('project')} has {len(whole)} containers of"
                " it, and this controller changes exactly one; `docker compose ps --all` lists them"
            )
        return whole[0]

    def _look(self, container: str) -> Mapping[str, Any]:
        described: Mapping[str, Any] = self._call("look at", "GET", f"/containers/{container}/json")
        return described

    def _call(
        self,
        doing: str,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Any:
        try:
            return DockerEngine(self._access.extra("socket")).call(method, path, query, body)
        except EngineRefused as error:
            raise ServiceError(f"{self._named()}: could not {doing} its container: {error}") from None
        except ControllerUnavailable as error:
            raise ControllerUnavailable(
                f"cannot {doing} service {self.service.name}: {error} (connection {self._settings.connection})"
            ) from None

    def _log_tail(self, found: Mapping[str, Any]) -> str:
        query = {"stdout": "1", "stderr": "1", "tail": "8"}
        try:
            content = DockerEngine(self._access.extra("socket")).raw("GET", f"/containers/{found['Id']}/logs", query)
        except (EngineRefused, ControllerUnavailable) as error:
            return f"    (it cannot be read: {error})"
        text = self._file.masked(log_text(content).strip())
        return "    " + "\n    ".join(text.splitlines()) if text else "    (nothing was logged)"

    def _check_container(self) -> None:
        policy = self._described()["HostConfig"].get("RestartPolicy", {}).get("Name")
        if policy == "always":
            raise ServiceError(
                f"{self._named()}: its container is started with `restart: always`, also after it was stopped here and"
                " the engine starts anew; say `restart: unless-stopped` in the compose file"
            )

    def _named(self) -> str:
        return f"service {self.service.name} (compose service {self._settings.service})"


def _lives(state: Mapping[str, Any]) -> bool:
    """A container that is about to be started again counts: it is not stopped."""
    return bool(state["Running"] or state.get("Restarting"))


def _name(described: Mapping[str, Any]) -> str:
    return str(described["Name"]).lstrip("/")
