"""The kinds of controllers. A new kind is one file and one line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from kafka_migration.plan.model import Plan, Service
from kafka_migration.plan.problems import problems_of, unknown
from kafka_migration.services.controller import Connection, Controller
from kafka_migration.services.manual import ManualController, ManualSettings
from kafka_migration.services.supervisor import SupervisorController, SupervisorSettings
from kafka_migration.sides import Addresses

_KINDS: Mapping[str, tuple[type[SupervisorSettings] | type[ManualSettings], Any]] = {
    "supervisor": (SupervisorSettings, SupervisorController),
    "manual": (ManualSettings, ManualController),
}


def build_controllers(plan: Plan, addresses: Addresses, connection: Connection) -> dict[str, Controller]:
    """The controller of each service of the plan, by the service's name. Nothing is contacted yet."""
    return {service.name: _build(service, addresses, connection) for service in plan.services}


def check_spec(service: Service) -> list[str]:
    """What is wrong with the controller part of a service in the plan, one line each."""
    spec = service.controller
    where = f"services: {service.name}: controller"
    if spec.kind not in _KINDS:
        return [f"{where}: kind: {unknown(f'kind {spec.kind!r}', spec.kind, _KINDS)}"]
    settings = _KINDS[spec.kind][0]
    try:
        settings.model_validate(spec.settings)
    except ValidationError as error:
        return [f"{where}: {problem}" for problem in problems_of(error, settings, spec.settings)]
    return []


def is_manual(service: Service) -> bool:
    """Whether a person, not this product, changes the service."""
    return service.controller.kind == "manual"


def settings_schemas() -> dict[str, dict[str, Any]]:
    """The JSON schema of each kind's own settings."""
    return {kind: settings.model_json_schema() for kind, (settings, _) in _KINDS.items()}


def _build(service: Service, addresses: Addresses, connection: Connection) -> Controller:
    settings, controller = _KINDS[service.controller.kind]
    built: Controller = controller(service, settings.model_validate(service.controller.settings), addresses, connection)
    return built
