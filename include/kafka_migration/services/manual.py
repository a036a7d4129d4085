"""Services that a person changes: it says exactly what to do, and leaves the seeing to Kafka. It touches nothing."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from kafka_migration.errors import ServiceError
from kafka_migration.plan.model import Service
from kafka_migration.services.controller import Connection, Observation, State
from kafka_migration.sides import Addresses, Side


class ManualSettings(BaseModel):
    """What a plan says under `controller:` for `kind: manual`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    how: str = Field(
        default="", description="How this service is reconfigured and restarted, for the person who does it."
    )


class ManualController:
    """A service in a person's hands."""

    manual = True

    def __init__(
        self, service: Service, settings: ManualSettings, addresses: Addresses, connection: Connection
    ) -> None:
        self.service = service
        self._settings = settings
        self._addresses = addresses

    def identity(self) -> str:
        return f"manual:{self.service.name}"

    def check(self) -> list[str]:
        return []

    def observe(self) -> Observation:
        return Observation(State.UNSEEN, how="in a person's hands; Kafka is asked")

    def configured_for(self, side: Side) -> list[str]:
        return [f"bootstrap servers: -> {self._addresses.of(side)} (by hand)"]

    def configure(self, side: Side) -> list[str]:
        raise self._by_hand()

    def stop(self) -> None:
        raise self._by_hand()

    def start(self) -> None:
        raise self._by_hand()

    def await_running(self) -> None:
        raise self._by_hand()

    def start_at_boot(self, start: bool) -> list[str]:
        return []

    def instructions(self, side: Side) -> str:
        address = self._addresses.of(side)
        return f"Set the bootstrap servers of {self.service.name} to {address}." + (
            f" {self._settings.how}" if self._settings.how else ""
        )

    def _by_hand(self) -> ServiceError:
        return ServiceError(f"service {self.service.name} is changed by hand; no step changes it")
