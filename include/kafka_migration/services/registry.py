"""The kinds of controllers. A new kind is one file and one line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from kafka_migration.plan.model import ControllerSpec, Plan, Service
from kafka_migration.plan.problems import problems_of, unknown
from kafka_migration.services.controller import Connection, Controller
from kafka_migration.services.docker import DockerController, DockerSettings
from kafka_migration.services.idle import IdleController, IdleSettings
from kafka_migration.services.manual import ManualController, ManualSettings
from kafka_migration.services.supervisor import SupervisorController, SupervisorSettings
from kafka_migration.services.supervisor_copy import CopySettings, SupervisorCopy
from kafka_migration.sides import Addresses

_KINDS: Mapping[str, tuple[type[BaseModel], Any]] = {
    "supervisor": (SupervisorSettings, SupervisorController),
    "manual": (ManualSettings, ManualController),
    "idle": (IdleSettings, IdleController),
    "docker": (DockerSettings, DockerController),
}


# How a second instance comes to be: its settings, and its controller; those of a program are filled up from the
# service's own, those of a copy taken from it whole.
_SECONDS: Mapping[str, tuple[type[BaseModel], Any]] = {
    **{kind: parts for kind, parts in _KINDS.items() if kind not in ("idle", "docker")},
    "copy": (CopySettings, SupervisorCopy),
}


def build_controllers(plan: Plan, addresses: Addresses, connection: Connection) -> dict[str, Controller]:
    """The controller of each service of the plan, by the service's name. Nothing is contacted yet."""
    return {service.name: build_controller(service, addresses, connection) for service in plan.services}


def build_seconds(plan: Plan, addresses: Addresses, connection: Connection) -> dict[str, Controller]:
    """The controller of each second instance that the plan names, by the service's name. Nothing is contacted yet."""
    built: dict[str, Controller] = {}
    for service in plan.services:
        if service.second is not None:
            settings, controller = _SECONDS[service.second.kind]
            if service.second.kind == "copy":
                settings = _KINDS[service.controller.kind][0]
            filled = settings.model_validate(_filled(service))
            built[service.name] = controller(service, filled, addresses, connection)
    return built


def check_controller(where: str, spec: ControllerSpec) -> list[str]:
    """What is wrong with a controller's part of a plan, one line each; `where` names it."""
    return _check(where, spec.kind, spec.settings, _KINDS)


def check_spec(service: Service) -> list[str]:
    """What is wrong with the controller part of a service in the plan, and with its second's, one line each."""
    spec = service.controller
    problems = check_controller(f"services: {service.name}: controller", spec)
    if service.second is None or problems:
        return problems
    where = f"services: {service.name}: second"
    if service.second.kind == "copy":
        problems = _check(where, "copy", service.second.settings, _SECONDS)
        if spec.kind != "supervisor":
            problems.append(f"{where}: kind: copy needs a controller of kind supervisor, this one is {spec.kind}")
        return problems
    problems = _check(where, service.second.kind, _filled(service), _SECONDS)
    if not problems and service.second.kind == spec.kind == "supervisor":
        mine, other = spec.settings, _filled(service)
        problems = [
            f"{where}: {key}: is the original's own ({mine[key]}); a second instance needs another"
            for key in ("program", "env_file")
            if mine[key] == other[key]
        ]
    return problems


def _filled(service: Service) -> dict[str, Any]:
    """The settings of a second instance: its own, and what it has in common with the service's controller."""
    spec, second = service.controller, service.second
    if second is None or second.kind not in (spec.kind, "copy"):
        return dict(second.settings) if second else {}
    return {**spec.settings, **second.settings}


def _check(where: str, kind: str, settings: Mapping[str, Any], kinds: Mapping[str, tuple[Any, Any]]) -> list[str]:
    if kind not in kinds:
        return [f"{where}: kind: {unknown(f'kind {kind!r}', kind, kinds)}"]
    model = kinds[kind][0]
    try:
        model.model_validate(settings)
    except ValidationError as error:
        return [f"{where}: {problem}" for problem in problems_of(error, model, settings)]
    return []


def is_manual(service: Service) -> bool:
    """Whether a person, not this product, changes the service."""
    return service.controller.kind == "manual"


def waits_for_person(service: Service) -> bool:
    """Whether, between its stop and its start, a person has something to do that no controller can."""
    return is_manual(service) or bool(service.external)


def is_idle(service: Service) -> bool:
    """Whether nobody runs the service while its groups are moved."""
    return service.controller.kind == "idle"


def is_manual_second(service: Service) -> bool:
    """Whether a person starts and stops the second instance."""
    return service.second is not None and service.second.kind == "manual"


def second_schemas() -> dict[str, dict[str, Any]]:
    """The JSON schema of each kind of second instance; what it takes from the service's controller need not be said."""
    schemas = {kind: model.model_json_schema() for kind, (model, _) in _SECONDS.items()}
    schemas["supervisor"]["required"] = ["program", "env_file"]
    return schemas


def settings_schemas() -> dict[str, dict[str, Any]]:
    """The JSON schema of each kind's own settings."""
    return {kind: settings.model_json_schema() for kind, (settings, _) in _KINDS.items()}


def build_controller(service: Service, addresses: Addresses, connection: Connection) -> Controller:
    """The controller of one service. Nothing is contacted yet."""
    settings, controller = _KINDS[service.controller.kind]
    built: Controller = controller(service, settings.model_validate(service.controller.settings), addresses, connection)
    return built
