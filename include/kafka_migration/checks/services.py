"""Do the controllers answer, and does every service run with the source's address, or where this plan has moved it?"""

from __future__ import annotations

from collections.abc import Iterable

from kafka_migration.checks.scene import Scene
from kafka_migration.errors import Refused, ServiceError
from kafka_migration.findings import Finding, Status
from kafka_migration.plan.model import ControllerSpec
from kafka_migration.purposes import FAILBACK, ROLLBACK
from kafka_migration.run import Run
from kafka_migration.services.controller import Observation, State
from kafka_migration.services.registry import is_idle
from kafka_migration.sides import Side


def check_services(scene: Scene) -> list[Finding]:
    return [
        *_controllers(scene),
        *_where(scene),
        *_seconds(scene),
        *_idle(scene),
        *_in_two_plans(scene),
        *_going_back(scene),
    ]


def _controllers(scene: Scene) -> Iterable[Finding]:
    for label, controller in scene.run.instances(scene.run.controllers).items():
        name = label.replace(" (second)", "-second")
        for number, problem in enumerate(controller.check()):
            yield Finding(
                f"controller/{name}" + (f"-{number + 1}" if number else ""),
                Status.FAIL,
                problem,
                "a controller that answers",
                "nothing can be switched before this is mended",
            )


def _where(scene: Scene) -> Iterable[Finding]:
    addresses = scene.run.clusters.addresses
    for name in scene.run.controllers:
        seen = scene.services[name]
        if isinstance(seen, ServiceError):
            continue  # its controller's own finding says so
        problem = _problem(scene, name, seen)
        yield Finding(
            f"service-address/{name}",
            Status.FAIL if problem else Status.PASS,
            problem or f"{seen} ({seen.how})",
            "" if not problem else f"running with the source's address ({addresses.source})",
            ""
            if not problem
            else "start it as it should be, or correct the connection's bootstrap.servers, then run again",
        )


def _problem(scene: Scene, name: str, seen: Observation) -> str:
    if seen.state is State.UNSEEN:
        return ""
    if seen.state is State.STOPPED:
        return "" if name in scene.moved else f"{name} does not run ({seen.how})"
    if seen.address is None:
        return f"{name} runs, but the address it uses cannot be seen ({seen.how})"
    if seen.side is None:
        return f"{name} runs with {seen.address}, which is neither cluster's address"
    if seen.side is Side.SOURCE and scene.current.switched(name):
        by = scene.current.switched(name) or {}
        return f"{name} runs with the source's address again, though run {by.get('run_id')} had moved it"
    if seen.side is Side.TARGET and name not in scene.moved:
        return f"{name} runs with the target's address already ({seen.address}), and this plan has not moved it"
    return ""


def _seconds(scene: Scene) -> Iterable[Finding]:
    """A second instance must not run before it is started in its turn: its group would read what it must not."""
    for name in scene.run.seconds:
        seen = scene.services[f"{name} (second)"]
        if isinstance(seen, Observation) and seen.state is State.RUNNING and name not in scene.moved:
            yield Finding(
                f"second-running/{name}",
                Status.FAIL,
                f"the second instance of {name} runs already: {seen}",
                "stopped until the run starts it",
                "stop it, then run again",
            )


def _idle(scene: Scene) -> Iterable[Finding]:
    """A group that the plan calls idle and somebody uses: its offsets would move under the handover."""
    for service in scene.run.plan.services:
        if not is_idle(service):
            continue
        used = [g for g in service.groups if (d := scene.source.groups.get(g)) is not None and d.active]
        for group in used:
            yield Finding(
                f"service-idle/{group}",
                Status.FAIL,
                f"group {group} of service {service.name}, which the plan calls idle, has members on the source",
                "no member",
                "stop whoever uses it, or give the service a controller",
            )


def refuse_while_going_back(run: Run) -> None:
    """Raise `Refused` where a task of a migration is cleared whose rollback has begun and not finished."""
    if not run.returning and is_going_back(run):
        raise Refused(
            "this migration is being taken back, and the rollback has not finished; nothing was done. Finish it first:"
            f" run {run.plan.plan}.{FAILBACK if run.plan.keeps_mirror else ROLLBACK}"
        )


def is_going_back(run: Run) -> bool:
    """Whether a rollback of the pass that this run works in has begun and not finished."""
    back = run.way_back
    return back.number == run.current.number and back.note("stays") is not None and not back.finished


def _going_back(scene: Scene) -> Iterable[Finding]:
    """A migration that is being taken back cannot be gone on with."""
    if is_going_back(scene.run):
        yield Finding(
            "rollback-unfinished/all",
            Status.FAIL,
            "this migration is being taken back, and the rollback has not finished",
            "a rollback that has finished, or none",
            f"finish it first: run {scene.run.plan.plan}.rollback",
        )


def _in_two_plans(scene: Scene) -> Iterable[Finding]:
    """The same program in two plans: each would move it under the other's feet."""
    mine = {_key(service.controller): service.name for service in scene.run.plan.services}
    for other in scene.run.other_plans:
        for service in other.services:
            if _key(service.controller) in mine and service.controller.kind not in ("manual", "idle"):
                name = mine[_key(service.controller)]
                yield Finding(
                    f"service-in-two-plans/{name}",
                    Status.FAIL,
                    f"service {name} is also service {service.name} of plan {other.plan}",
                    "a service in one plan only",
                    "take it out of one of the two plans",
                )


def _key(spec: ControllerSpec) -> str:
    return f"{spec.kind} {sorted(spec.settings.items())}"
