"""Reading plan files: YAML to `Plan`, every problem named with file, key, what was found and what is allowed.

It reads files only: no network, so that Airflow's parser may call it at any time.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
from collections.abc import Hashable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from kafka_migration.errors import PlanError
from kafka_migration.mirror.properties import at_least_once, check_client_properties, check_properties
from kafka_migration.plan.graph import Graph
from kafka_migration.plan.model import NAME, Mirror, Plan
from kafka_migration.plan.problems import problems_of
from kafka_migration.services.registry import check_controller, check_spec, is_idle, is_manual

if TYPE_CHECKING:
    from yaml import SafeLoader as _SafeLoader
else:  # libyaml's parser where PyYAML was built with it: many times faster, the same answers
    _SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_KEPT = 1000  # plans


@dataclass(frozen=True)
class LoadedPlan:
    """A plan and the text that it was read from."""

    plan: Plan
    graph: Graph
    file: Path
    text: str

    @property
    def digest(self) -> str:
        return digest(self.text)

    @property
    def suites(self) -> Path:
        """The folder of the suites that it names."""
        return self.file.parent / "suites"


@dataclass(frozen=True)
class BrokenPlan:
    """A plan file that does not load: `name` is its DAGs' name, `error` says why."""

    name: str
    file: Path
    error: PlanError


def plans_folders() -> list[Path]:
    """Where plans lie: the folders of `KAFKA_MIGRATION_PLANS`, or `plans/` beside this package."""
    named = [Path(one) for one in os.environ.get("KAFKA_MIGRATION_PLANS", "").split(os.pathsep) if one]
    return named or [Path(__file__).resolve().parents[2] / "plans"]


def load_plans(folder: Path | None = None) -> list[LoadedPlan | BrokenPlan]:
    """Every `*.yaml` and `*.yml` of each folder, in the order of their names; broken ones among them."""
    where = [folder] if folder else plans_folders()
    found: list[LoadedPlan | BrokenPlan] = []
    taken: dict[str, Path] = {}
    for file in (file for each in where for file in sorted([*each.glob("*.yaml"), *each.glob("*.yml")])):
        try:
            loaded = load_plan(file)
            if loaded.plan.plan in taken:
                other = taken[loaded.plan.plan]
                where_it_is = other.name if other.parent == file.parent else other
                raise PlanError(
                    file.name, [f"plan: {loaded.plan.plan!r} is already the name of the plan in {where_it_is}"]
                )
            taken[loaded.plan.plan] = file
            found.append(loaded)
        except PlanError as error:
            found.append(BrokenPlan(_dag_name(file), file, error))
        except Exception as error:  # a file that finds a fault in this loader must not take the other plans with it
            told = f"the file cannot be judged ({type(error).__name__}: {error}); this is a fault of the loader"
            found.append(BrokenPlan(_dag_name(file), file, PlanError(file.name, [told])))
    return _with_names_of_their_own(found)


def _with_names_of_their_own(found: list[LoadedPlan | BrokenPlan]) -> list[LoadedPlan | BrokenPlan]:
    """A broken plan goes by its file's name; where that is another's name already, a number makes it its own."""
    taken = {entry.plan.plan for entry in found if isinstance(entry, LoadedPlan)}
    named: list[LoadedPlan | BrokenPlan] = []
    for entry in found:
        if isinstance(entry, BrokenPlan):
            name, number = entry.name, 2
            while name in taken:
                name, number = f"{entry.name}-{number}", number + 1
            taken.add(name)
            named.append(replace(entry, name=name))
        else:
            named.append(entry)
    return named


def load_plan(file: Path) -> LoadedPlan:
    """One plan file. Raises `PlanError`."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PlanError(file.name, [f"the file cannot be read: {error}"]) from None
    return parse_plan(text, file)


@lru_cache(maxsize=_KEPT)
def parse_plan(text: str, file: Path) -> LoadedPlan:
    """The plan in `text`, which came from `file`. Raises `PlanError`.

    The same text is read once in a process: a DAG file asks for all plans once for each purpose, a task three times.
    """
    try:
        data = yaml.load(text, Loader=_UniqueKeys)  # a safe loader
    except yaml.YAMLError as error:
        raise PlanError(file.name, [_yaml_problem(error)]) from None
    if not isinstance(data, dict):
        found = "the file is empty" if data is None else f"found {type(data).__name__} {str(data)[:40]!r}"
        raise PlanError(file.name, [f"a plan is a mapping of keys to values; {found}"])
    try:
        plan = Plan.model_validate(data)
    except ValidationError as error:
        raise PlanError(file.name, problems_of(error, Plan, data)) from None
    problems = [problem for service in plan.services for problem in check_spec(service)]
    problems += _kinds_that_do_not_fit(plan)
    problems += _mirror_problems(plan)
    if problems:
        raise PlanError(file.name, problems)
    graph = Graph.of(plan, file.name)
    if mixed := _mixed_writers(plan):
        raise PlanError(file.name, mixed)
    return LoadedPlan(plan, graph, file, text)


def find_plan(name: str, folder: Path | None = None) -> LoadedPlan:
    """The plan of that name. Raises `PlanError` when it is not there or does not load."""
    for entry in load_plans(folder):
        if isinstance(entry, BrokenPlan) and entry.name == name:
            raise entry.error
        if isinstance(entry, LoadedPlan) and entry.plan.plan == name:
            return entry
    where = ", ".join(map(str, [folder] if folder else plans_folders()))
    raise PlanError(f"{name}.yaml", [f"no plan file in {where} has `plan: {name}` any more"])


def digest(text: str) -> str:
    """The SHA-256 of a plan's text, by which a run knows its plan again."""
    return hashlib.sha256(text.encode()).hexdigest()


def difference(before: str, after: str) -> str:
    """What was changed between two texts of a plan, as a unified diff."""
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), "the plan this run started with", "the plan now", lineterm=""
    )
    return "\n".join(lines)


def _mirror_problems(plan: Plan) -> list[str]:
    """Properties of MirrorMaker that are unknown, without effect where they stand, or not the plan's to choose."""
    if plan.mirror is None:
        return []
    clients = {"source": plan.mirror.clients.source, "target": plan.mirror.clients.target}
    return [
        *_mirror_program(plan, plan.mirror),
        *(f"mirror: properties: {line}" for line in check_properties(plan.mirror.properties, scheme=plan.scheme)),
        *(f"mirror: clients: {s}: {line}" for s, client in clients.items() for line in check_client_properties(client)),
    ]


def _mirror_program(plan: Plan, mirror: Mirror) -> list[str]:
    """What is wrong with the controller of a dedicated MirrorMaker."""
    where, spec = "mirror: controller", mirror.controller
    if spec is None:
        return []
    problems = check_controller(where, spec)
    if at_least_once(mirror.properties):
        told = "requested has no effect: a MirrorMaker of its own always copies exactly once; leave it out"
        problems.append(f"mirror: properties: exactly.once.support: {told}")
    keys = ("connection", "program")
    return problems or [
        f"{where}: program: is that of service {service.name}; a mirror needs one of its own"
        for service in plan.services
        if service.controller.kind == spec.kind
        and all(service.controller.settings[key] == spec.settings[key] for key in keys)
    ]


def _kinds_that_do_not_fit(plan: Plan) -> list[str]:
    """Controllers that the plan's scheme cannot work with."""
    found = []
    for service in plan.services:
        where = f"services: {service.name}: controller: kind: {service.controller.kind}"
        if plan.copied_back and not plan.copies:
            if is_manual(service):
                found.append(f"{where}: not yet with mirror: back: it stops and starts services by itself")
            found += [
                f"services: {service.name}: group {c.group}: offsets: external: not yet with mirror: back: its offsets"
                " on the source are other ones, and only the application could set them"
                for c in service.external
            ]
        if is_idle(service) and not plan.copies:
            found.append(f"{where}: scheme {plan.scheme} waits for what its groups read; leave the service out")
        if is_idle(service) and service.produces:
            found.append(f"{where}: a service that writes cannot be idle")
    return found


def _mixed_writers(plan: Plan) -> list[str]:
    """Topics of a strict plan whose writers cannot all be stopped before one starts: a person restarts in one go.

    Where the stored messages come along a person stops a service in one task and starts it in another.
    """
    if plan.order != "strict" or plan.copies:
        return []
    topics = sorted({topic for service in plan.services for topic in service.produces})
    return [
        f"services: {', '.join(s.name for s in writers)} all write {topic}, and {', '.join(by_hand)} is moved by hand:"
        " with order: strict all must be stopped before one starts on the target, which cannot be done for"
        " a person. Give every writer of the topic a controller, or use order: relaxed"
        for topic in topics
        if len(writers := plan.writers(topic)) > 1 and (by_hand := [s.name for s in writers if is_manual(s)])
    ]


class _UniqueKeys(_SafeLoader):
    """YAML says that keys are unique; PyYAML silently keeps the last. Here a second one is an error."""


def _mapping(loader: _UniqueKeys, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":
            continue  # `<<: *anchor`: what stands here itself goes before what is merged in
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, Hashable):
            raise yaml.constructor.ConstructorError(None, None, "a key must be a text", key_node.start_mark)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"key {key!r} stands twice", key_node.start_mark)
        seen.add(key)
    found: dict[Any, Any] = loader.construct_mapping(node, deep=True)
    return found


_UniqueKeys.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def _yaml_problem(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        said = "; ".join(part for part in (error.context, error.problem) if part)
        return f"line {mark.line + 1}, column {mark.column + 1}: not YAML: {said}"
    return f"not YAML: {' '.join(str(error).split())}"


def _dag_name(file: Path) -> str:
    stem = re.sub(r"[^a-z0-9_-]+", "-", file.stem.lower()).strip("-_")
    return stem if re.fullmatch(NAME, stem) else "plan"
