"""Plans with a mirror: what they need, what they may not hold, how the graph of mirror_first is made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from kafka_migration.clusters.client import Cluster
from kafka_migration.errors import PlanError
from kafka_migration.mirror.canary import topic_of
from kafka_migration.mirror.flow import Flow, connector_config
from kafka_migration.plan.graph import FIRST_STAGE, Graph
from kafka_migration.plan.load import parse_plan
from kafka_migration.plan.model import Topics
from kafka_migration.services.registry import waits_for_person
from kafka_migration.sides import Side

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


def test_mirror_is_needed_where_stored_messages_are_copied() -> None:
    assert told(lambda d: d.pop("mirror")) == ["mirror: is needed by scheme mirror_first: the MirrorMaker that copies"]
    assert told(lambda d: d["mirror"].pop("connection")) == ["mirror: connection: is needed by kind connect"]


def test_canary_is_asked_for_and_belongs_to_what_copies_to_the_target() -> None:
    asked = parse_plan(TEXT, Path("orders.yaml")).plan
    assert topic_of(asked) == "kafka-migration.canary.orders"
    unasked = yaml.safe_load(TEXT)
    del unasked["mirror"]["canary"]
    plan = parse_plan(yaml.safe_dump(unasked), Path("orders.yaml")).plan
    assert topic_of(plan) is None, "the source is written to by nobody unasked"
    with pytest.raises(PlanError, match="mirror: canary: scheme producers_first copies nothing to the target"):
        parse_plan(yaml.safe_dump(with_mirror(SHOP, back="connect_source", canary=True)), Path("orders.yaml"))


def test_no_plan_moves_a_topic_of_this_product_itself() -> None:
    plan = parse_plan(TEXT, Path("orders.yaml")).plan
    own = "kafka-migration.canary.orders"
    for include in ((".*",), (own,)):
        assert not plan.model_copy(update={"topics": Topics(include=include)}).includes(own)


SHOP = (_PLANS.parents[1] / "plans" / "orders.yaml").read_text()


def with_mirror(text: str, **keys: Any) -> Data:
    data: Data = yaml.safe_load(text)
    return {**data, "mirror": keys}


@pytest.mark.parametrize("order", ["strict", "relaxed"])
def test_producers_first_may_name_a_mirror_that_only_brings_home(order: str) -> None:
    data = {**with_mirror(SHOP, back="connect_source"), "order": order}
    plan = parse_plan(yaml.safe_dump(data), Path("orders.yaml")).plan
    assert (plan.copies, plan.copied_back) == (False, True)
    without = parse_plan(SHOP, Path("orders.yaml")).plan
    assert (without.copies, without.copied_back) == (False, False)


def manual(data: Data) -> None:
    service(data, "billing").update(controller={"kind": "manual"})


def external(data: Data) -> None:
    service(data, "billing")["consumes"][0].update(offsets="external")


@pytest.mark.parametrize(
    ("mirror", "change", "problem"),
    [
        ({}, None, "mirror: back: is needed: scheme producers_first copies only what a rollback brings home"),
        (
            {"connection": "connect_target", "back": "connect_source"},
            None,
            "mirror: connection: scheme producers_first copies nothing to the target; say back alone",
        ),
        (
            {"back": "connect_source"},
            lambda d: d.update(scheme="producers_later", order="relaxed"),
            "mirror: has no use in scheme producers_later",
        ),
        (
            {"back": "connect_source", "properties": {"sync.topic.configs.enabled": True}},
            None,
            "mirror: properties: sync.topic.configs.enabled",
        ),
        (
            {"back": "connect_source"},
            manual,
            "services: billing: controller: kind: manual: not yet with mirror: back",
        ),
        (
            {"back": "connect_source"},
            external,
            "services: billing: group billing: offsets: external: not yet with mirror: back: its offsets on the source",
        ),
    ],
)
def test_mirror_that_only_brings_home_is_refused_where_it_could_not(
    mirror: Data, change: Callable[[Data], object] | None, problem: str
) -> None:
    data = with_mirror(SHOP, **mirror)
    if change is not None:
        change(data)
    with pytest.raises(PlanError) as refused:
        parse_plan(yaml.safe_dump(data), Path("orders.yaml"))
    assert any(line.startswith(problem) for line in refused.value.problems), refused.value.problems


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
        (
            dedicated(properties={"exactly.once.support": "requested"}),
            "mirror: properties: exactly.once.support: requested has no effect: a MirrorMaker of its own always copies",
        ),
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


@pytest.mark.parametrize(
    ("scheme", "mirror"),
    [
        ("producers_first", {"connection": "connect_target"}),
        ("producers_first", {"connection": "connect_target", "back": "connect_source"}),
        ("producers_later", {"connection": "connect_target"}),
    ],
)
def test_history_lies_beside_what_moves_without_it(scheme: str, mirror: Data) -> None:
    text = SHOP if scheme == "producers_first" else (_PLANS / "orders_producers_later.yaml").read_text()
    data = {**yaml.safe_load(text), "history": "prefixed", "mirror": mirror}
    plan = parse_plan(yaml.safe_dump(data), Path("orders.yaml")).plan
    assert (plan.scheme, plan.copies, plan.copied_back) == (scheme, False, "back" in mirror)


@pytest.mark.parametrize(
    ("text", "mirror", "problem"),
    [
        (SHOP, None, "history: prefixed is copied by a mirror; name it"),
        (SHOP, {"back": "connect_source"}, "history: prefixed is copied by a mirror; name it"),
        (TEXT, {"connection": "connect_target"}, "history: scheme mirror_first brings the stored messages along"),
        (SHOP, {"connection": "connect_target", "canary": True}, "mirror: canary: scheme producers_first"),
    ],
)
def test_history_needs_a_mirror_to_the_target_and_has_no_use_where_all_comes_along(
    text: str, mirror: Data | None, problem: str
) -> None:
    data = {**yaml.safe_load(text), "history": "prefixed", "mirror": mirror}
    with pytest.raises(PlanError) as refused:
        parse_plan(yaml.safe_dump(data), Path("orders.yaml"))
    assert any(problem in told for told in refused.value.problems), refused.value.problems


def test_copies_of_history_are_named_as_mirrormaker_names_them() -> None:
    cluster = Cluster(Side.SOURCE, "source", {"bootstrap.servers": "one:9092"})
    there = Cluster(Side.TARGET, "target", {"bootstrap.servers": "two:9092"})
    flow = Flow("orders", ["a.b"], cluster, there, prefixed=True, history=True)
    assert (flow.name, flow.copy_of("a.b")) == ("orders.history", "source.a.b")
    assert connector_config(flow, flow.topics)["replication.policy.class"].endswith("DefaultReplicationPolicy")
    other = Flow("orders", ["a.b"], cluster, there, properties={"replication.policy.separator": "_"}, prefixed=True)
    assert other.copy_of("a.b") == "source_a.b"
    moved = Flow("orders", ["a.b"], cluster, there)
    assert moved.copy_of("a.b") == "a.b"
    assert connector_config(moved, moved.topics)["replication.policy.class"].endswith("IdentityReplicationPolicy")
