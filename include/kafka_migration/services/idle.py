"""Groups whose service nobody runs now: only their offsets are handed over. Whoever starts it later does so there."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from kafka_migration.errors import ServiceError
from kafka_migration.plan.model import Service
from kafka_migration.services.controller import Connection, Observation, State
from kafka_migration.sides import Addresses, Side


class IdleSettings(BaseModel):
    """What a plan says under `controller:` for `kind: idle`: nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class IdleController:
    """A service that does not run while its groups are moved."""

    manual = False

    def __init__(self, service: Service, settings: IdleSettings, addresses: Addresses, connection: Connection) -> None:
        self.service = service
        self._addresses = addresses

    def identity(self) -> str:
        return f"idle:{self.service.name}"

    def check(self) -> list[str]:
        return []

    def observe(self) -> Observation:
        return Observation(State.UNSEEN, how="does not run; its groups must have no members")

    def configured_for(self, side: Side) -> list[str]:
        return []

    def configure(self, side: Side) -> list[str]:
        raise self._idle()

    def stop(self) -> None:
        raise self._idle()

    def start(self) -> None:
        raise self._idle()

    def await_running(self) -> None:
        raise self._idle()

    def start_at_boot(self, start: bool) -> list[str]:
        return []

    def instructions(self, side: Side) -> str:
        return f"When {self.service.name} is started again, set its bootstrap servers to {self._addresses.of(side)}."

    def _idle(self) -> ServiceError:
        return ServiceError(f"service {self.service.name} is idle in the plan; no step starts or stops it")
