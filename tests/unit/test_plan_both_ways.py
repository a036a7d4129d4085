"""Plans whose mirror copies both ways: what they need, how copies are called, and that no copy is ever copied on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from kafka_migration.clusters.client import Cluster, Clusters
from kafka_migration.errors import PlanError
from kafka_migration.mirror.flow import Flow, connector_config
from kafka_migration.mirror.registry import build_mirrors
from kafka_migration.mirror.rest import Connect, ConnectAccess
from kafka_migration.plan.load import parse_plan
from kafka_migration.plan.model import Plan
from kafka_migration.sides import Side

Data = dict[str, Any]

_CONTROLLER = {"kind": "supervisor", "connection": "daemon", "program": "api", "env_file": "api.env"}


def data() -> Data:
    reads = {"group": "billing", "topics": ["orders"], "subscription": r"((source|target)\.)?orders"}
    return {
        "plan": "orders",
        "scheme": "mirror",
        "source": {"connection": "from"},
        "target": {"connection": "to"},
        "topics": {"include": ["orders", "par.*"]},
        "services": [
            {"name": "api", "produces": ["orders"], "controller": _CONTROLLER},
            {"name": "billing", "consumes": [reads], "controller": {**_CONTROLLER, "program": "billing"}},
        ],
        "mirror": {"connection": "connect_target", "back": "connect_source", "ways": "both_ways"},
    }


def parsed(change: Callable[[Data], object] = lambda _: None) -> Plan:
    told = data()
    change(told)
    return parse_plan(yaml.safe_dump(told), Path("orders.yaml")).plan


def subscribed(pattern: str | None) -> Callable[[Data], None]:
    return lambda d: d["services"][1]["consumes"][0].update(subscription=pattern)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda d: d["mirror"].pop("back"), "mirror: back: is needed by both_ways"),
        (lambda d: d["mirror"].update(tail="keep"), "mirror: tail: has no use with both_ways"),
        (
            subscribed(None),
            "services: billing: consumes: billing: subscription: must match orders, source.orders, target.orders as"
            " well: with both_ways copies have names of their own, and it would not read them",
        ),
        (subscribed(r"(target\.)?orders"), "billing: subscription: must match source.orders as well"),
        (
            lambda d: d["mirror"].update(properties={"replication.policy.separator": "_"}),
            "subscription: must match source_orders, target_orders as well",
        ),
        (
            lambda d: d["topics"].update(include=["orders", "target.orders"]),
            "topics: include: target.orders: with both_ways this is the name of a copy, and no copy is copied on",
        ),
        (
            lambda d: (d["topics"].update(include=[".*"]), d["services"][0].update(produces=["source.orders"])),
            "services: api: source.orders: with both_ways this is the name of a copy",
        ),
        (
            lambda d: d["mirror"].update(
                properties={
                    "replication.policy.class": "org.apache.kafka.connect.mirror.IdentityReplicationPolicy",
                }
            ),
            "mirror: properties: replication.policy.class: is said by mirror: ways",
        ),
        (
            lambda d: d["mirror"].update(properties={"heartbeats.replication.enabled": True}),
            "mirror: properties: heartbeats.replication.enabled: must be false",
        ),
    ],
)
def test_what_both_ways_need_is_told(change: Callable[[Data], object], problem: str) -> None:
    with pytest.raises(PlanError) as refused:
        parsed(change)
    assert any(problem in one for one in refused.value.problems), refused.value.problems


def test_no_entry_of_topics_chooses_a_copy_though_it_matches_its_name() -> None:
    everything = parsed(lambda d: d["topics"].update(include=[".*"]))
    assert [name for name in ("orders", "source.orders", "target.orders") if everything.includes(name)] == ["orders"]
    one_way = parsed(lambda d: (d["topics"].update(include=[".*"]), d["mirror"].update(ways="one_way")))
    assert one_way.includes("source.orders"), "where nothing gets another name it is a name like any other"


def test_both_connectors_have_names_of_their_own_and_copy_no_heartbeats() -> None:
    plan = parsed()
    clusters = Clusters(
        Cluster(Side.SOURCE, "from", {"bootstrap.servers": "here:9092"}),
        Cluster(Side.TARGET, "to", {"bootstrap.servers": "there:9092"}),
        workers={side: Connect(ConnectAccess("http://nowhere")) for side in Side},
    )
    mirrors = build_mirrors(plan, clusters, lambda _: {})
    assert {side: (mirror.name, mirror.copy_of("orders")) for side, mirror in mirrors.items()} == {
        Side.TARGET: ("orders.source-to-target", "source.orders"),
        Side.SOURCE: ("orders.target-to-source", "target.orders"),
    }
    config = connector_config(Flow("orders", ["orders"], clusters.target, clusters.source, prefixed=True), ["orders"])
    told = {key: config[key] for key in ("replication.policy.class", "heartbeats.replication.enabled", "topics")}
    assert told == {
        "replication.policy.class": "org.apache.kafka.connect.mirror.DefaultReplicationPolicy",
        "heartbeats.replication.enabled": "false",
        "topics": "orders",
    }
    one_way = build_mirrors(parsed(lambda d: d["mirror"].update(ways="one_way")), clusters, lambda _: {})
    assert one_way[Side.TARGET].copy_of("orders") == "orders"
