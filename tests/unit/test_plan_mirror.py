"""Plans of scheme mirror_first: what they need, what they may not hold, how their graph is made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from kafka_migration.errors import PlanError
from kafka_migration.plan.graph import FIRST_STAGE, Graph
from kafka_migration.plan.load import parse_plan
from kafka_migration.services.registry import waits_for_person

_PLANS = Path(__file__).parents[2] / "include" / "demo" / "plans"
TEXT = (_PLANS / "orders_mirror_first.yaml").read_text()

Data = dict[str, Any]


def told(change: Callable[[Data], object]) -> list[str]:
    data = yaml.safe_load(TEXT)
    change(data)
    with pytest.raises(PlanError) as refused:
        parse_plan(yaml.safe_dump(data), Path("orders.yaml"))
    return list(refused.value.problems)


def service(data: Data, name: str) -> Data:
    found: Data = next(one for one in data["services"] if one["name"] == name)
    return found


def dedicated(**changed: Any) -> Callable[[Data], None]:
    """A plan whose mirror is a process of its own, with these keys of it, or of its controller, changed; None: none."""

    def change(data: Data) -> None:
        program = {"kind": "supervisor", "connection": "shop_supervisor", "program": "mm", "env_file": "mm.env"}
        mirror: Data = {"kind": "dedicated", "properties_file": "/etc/mm.properties", "controller": program}
        for key, value in changed.items():
            part = program if key in (*program.keys() - {"connection"}, "source") else mirror
            part[key] = value
            if value is None:
                del part[key]
        data["mirror"] = mirror

    return change


def test_mirror_may_be_a_process_of_its_own() -> None:
    data = yaml.safe_load(TEXT)
    dedicated()(data)
    plan = parse_plan(yaml.safe_dump(data), Path("orders.yaml")).plan
    assert plan.mirror is not None
    assert (plan.mirror.kind, plan.mirror.listener) == ("dedicated", "http://127.0.0.1:8083")


def test_demo_has_one_such_plan() -> None:
    plan = parse_plan(TEXT, Path("orders.yaml")).plan
    assert plan.copies
    assert plan.mirror is not None
    assert (plan.mirror.connection, plan.mirror.back) == ("connect_target", "connect_source")


def test_mirror_is_needed_and_belongs_to_this_scheme_alone() -> None:
    assert told(lambda d: d.pop("mirror")) == ["mirror: is needed by scheme mirror_first: the MirrorMaker that copies"]

    def other_scheme(data: Data) -> None:
        data.update(scheme="producers_first", approvals=[])

    assert "mirror: scheme producers_first copies nothing; it belongs to mirror_first" in told(other_scheme)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            lambda d: service(d, "payments").update(controller={"kind": "idle"}),
            "services: payments: controller: kind: idle: a service that writes cannot be idle",
        ),
        (
            lambda d: d["mirror"].update(clients={"source": {"sasl.jaas.config": "password=geheim"}}),
            "mirror: clients: source: sasl.jaas.config holds a secret",
        ),
        (
            lambda d: d["mirror"].update(properties={"producer.override.sasl.jaas.config": "password=geheim"}),
            "mirror: properties: producer.override.sasl.jaas.config holds a secret",
        ),
        (
            lambda d: d["mirror"].update(properties={"sync.topic.configs.enabled": True}),
            "mirror: properties: sync.topic.configs.enabled",
        ),
        (
            lambda d: d["mirror"].update(properties={"refresh.topics.interval.second": 5}),
            "mirror: properties: refresh.topics.interval.second",
        ),
        (lambda d: d["mirror"].pop("connection"), "mirror: connection: is needed by kind connect"),
        (lambda d: d["mirror"].update(listener="http://127.0.0.1:1"), "mirror: listener: belongs to kind dedicated"),
        (dedicated(connection="c"), "mirror: connection: belongs to kind connect"),
        (dedicated(controller=None), "mirror: controller: is needed by kind dedicated"),
        (dedicated(properties_file=None), "mirror: properties_file: is needed by kind dedicated"),
        (dedicated(properties_file="mm.properties"), "mirror: properties_file: allowed are texts that match ^/"),
        (dedicated(archive="/opt/kafka.tgz"), "mirror: archive and sha512: the one is nothing without the other"),
        (dedicated(controller={"kind": "manual"}), "mirror: controller: kind: unknown value"),
        (dedicated(program=None), "mirror: controller: program: this key is missing"),
        (dedicated(source={"variables": {"A": "b"}}), "mirror: controller: source: has no effect"),
        (dedicated(program="billing"), "mirror: controller: program: is that of service billing"),
        (lambda d: d["approvals"].append("producers"), "approvals: producers: scheme mirror_first has no such step"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_place(change: Callable[[Data], object], problem: str) -> None:
    [line] = told(change)
    assert line.startswith(problem), line
    assert "geheim" not in line


def test_person_may_have_a_part_in_it() -> None:
    data = yaml.safe_load(TEXT)
    service(data, "order-api")["controller"] = {"kind": "manual"}
    service(data, "payments").update(produces=["orders"])  # two writers, strict: all stop before one starts
    service(data, "billing")["consumes"][0]["offsets"] = "external"
    plan = parse_plan(yaml.safe_dump(data), Path("orders.yaml")).plan
    assert {s.name for s in plan.services if waits_for_person(s)} == {"order-api", "billing"}


def test_nobody_waits_for_anybody_so_that_circles_are_no_hindrance() -> None:
    data = yaml.safe_load(TEXT)
    service(data, "billing")["produces"] = ["shipments"]
    service(data, "shipping")["produces"] = ["orders"]  # shipping reads what billing writes, and the other way round
    graph = Graph.of(parse_plan(yaml.safe_dump(data), Path("orders.yaml")).plan)
    assert all(not unit.after and not unit.settles and not unit.held for unit in graph.units)
    assert graph.stages == (FIRST_STAGE,)
    assert {unit.name for unit in graph.producers} == {"order-api", "payments"}
