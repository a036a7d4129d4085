"""What every controller can do, and what it tells of a running service. It decides nothing about the migration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from kafka_migration.plan.model import Service
from kafka_migration.sides import Side


class State(StrEnum):
    """RUNNING, STOPPED, or UNSEEN: the controller cannot see it and Kafka must be asked."""

    RUNNING = "running"
    STOPPED = "stopped"
    UNSEEN = "unseen"


@dataclass(frozen=True)
class Observation:
    """What a service really does now.

    `address` is the bootstrap servers that its running process was started with (None: not running, or not seen);
    `side` the cluster that this address belongs to, if any; `configured` the address that it would start with;
    `how` names where this was seen, for the evidence. `acks`: how many brokers must have a message before its producer
    takes it for stored, where the process was started with a word on that (`0`, `1` or `all`); None: nothing seen.
    """

    state: State
    side: Side | None = None
    address: str | None = None
    configured: str | None = None
    how: str = ""
    acks: str | None = None

    def __str__(self) -> str:
        where = (
            f" on the {self.side.value} ({self.address})"
            if self.side
            else f" with {self.address}"
            if self.address
            else ""
        )
        return f"{self.state.value}{where}"


class Controller(Protocol):
    """How one service is observed and changed. Every call can be repeated."""

    service: Service
    manual: bool

    def check(self) -> list[str]:
        """What is wrong with this controller's settings as the world is now; empty when ready. Changes nothing."""

    def identity(self) -> str:
        """The same text for the same real service in whichever plan it is named."""

    def observe(self) -> Observation:
        """What the service really does. Raises `ControllerUnavailable`."""

    def configured_for(self, side: Side) -> list[str]:
        """What would be changed to configure it for that side: one line each, secrets masked; empty when nothing."""

    def configure(self, side: Side) -> list[str]:
        """Make it start with that side's address from now on; what was changed, one line each, secrets masked."""

    def stop(self) -> None:
        """Stop it and return when it has stopped. Stopped already: nothing."""

    def start(self) -> None:
        """Start it and return when its process is seen. Raises `ServiceNotBack`. Running already: nothing."""

    def await_running(self) -> None:
        """Return when its process is seen to run. Raises `ServiceNotBack` with what it last said."""

    def start_at_boot(self, start: bool) -> list[str]:
        """Whether its host starts it when it boots; what was changed for that, one line each. Empty: not its to say."""

    def instructions(self, side: Side) -> str:
        """What a person must do to move it to that side."""


Controllers = Mapping[str, Controller]
Connection = Callable[[str], Mapping[str, Any]]
"""From an Airflow connection's id to its parts: host, port, login, password and what its extra holds."""
