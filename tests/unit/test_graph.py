"""Which services move together, after which, and when a topic reaches its cutover point."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kafka_migration.errors import PlanError
from kafka_migration.plan.graph import FIRST_STAGE, Graph, Unit
from kafka_migration.plan.load import load_plan
from kafka_migration.plan.model import Plan

ROOT = Path(__file__).parents[2]


def plan(order: str = "strict", **services: dict[str, list[str]]) -> Plan:
    """Services by name: `writes` topics, `reads` topics with a group of the service's name, or `groups` to share."""
    return Plan.model_validate(
        {
            "plan": "p",
            "scheme": "producers_first",
            "order": order,
            "source": {"connection": "a"},
            "target": {"connection": "b"},
            "topics": {"include": [".*"]},
            "services": [
                {
                    "name": name.replace("_", "-"),
                    "produces": of.get("writes", []),
                    "consumes": [
                        {"group": group, "topics": of["reads"]} for group in of.get("groups", [name]) if of.get("reads")
                    ],
                    "controller": {"kind": "manual"},
                }
                for name, of in services.items()
            ],
        }
    )


def units(graph: Graph) -> dict[str, Unit]:
    return {unit.name: unit for unit in graph.units}


def test_shop_moves_producers_first_and_each_reader_behind_what_feeds_it() -> None:
    graph = load_plan(ROOT / "include" / "plans" / "orders.yaml").graph
    assert [u.name for u in graph.producers] == ["order-api", "payments"]
    readers = {u.name: u for u in graph.readers}
    assert readers.keys() == {"fulfilment", "billing", "shipping", "analytics", "audit"}
    assert readers["fulfilment"].settles == ("shipments",)
    assert readers["fulfilment"].after == ("order-api",)
    assert readers["shipping"].after == ("fulfilment",)
    assert set(readers["analytics"].after) == {"order-api", "payments", "fulfilment"}
    assert {u.name for u in graph.readers if u.settles} == {"fulfilment"}
    assert not any(u.held for u in graph.units)


def test_diamond_is_ordered_and_services_with_a_shared_group_are_one_unit() -> None:
    graph = load_plan(ROOT / "tests" / "data" / "plans" / "diamond.yaml").graph
    assert [u.name for u in graph.producers] == ["api_and_batch"], "both write audit, and the order is strict"
    order = [u.name for u in graph.readers]
    assert order[-1] == "report"
    assert set(order) == {"left", "right-one_and_right-two", "report"}
    assert graph.unit_of("right-two").settles == ("shop-right",)
    assert set(graph.unit_of("report").after) == {"left", "right-one_and_right-two"}


def test_relaxed_writers_of_one_topic_may_move_one_after_the_other() -> None:
    two = {"one": {"writes": ["t"]}, "two": {"writes": ["t"]}}
    assert [u.name for u in Graph.of(plan("strict", **two)).producers] == ["one_and_two"]
    assert [u.name for u in Graph.of(plan("relaxed", **two)).producers] == ["one", "two"]


def test_producer_that_shares_a_topic_with_a_processor_is_held_until_that_switches() -> None:
    graph = Graph.of(
        plan(api={"writes": ["in"]}, batch={"writes": ["out"]}, processor={"reads": ["in"], "writes": ["out"]})
    )
    [api], [unit] = graph.producers, graph.readers
    assert api.name == "api"
    assert (unit.services, unit.held, unit.settles, unit.after) == (
        ("batch", "processor"),
        ("batch",),
        ("out",),
        ("api",),
    )


def test_relaxed_producer_beside_a_processor_is_not_held_but_its_topic_waits_for_both() -> None:
    graph = Graph.of(
        plan(
            "relaxed",
            processor={"reads": ["in"], "writes": ["out"]},
            batch={"writes": ["out"]},
            api={"writes": ["in"]},
            sink={"reads": ["out"]},
        )
    )
    processor = graph.unit_of("processor")
    assert (processor.settles, processor.settles_after, processor.held) == (("out",), ("batch",), ())
    assert set(graph.unit_of("sink").after) == {"processor", "batch"}


def test_topic_of_a_held_producer_alone_is_settled_in_the_first_stage() -> None:
    """`api` also writes the audit topic of its processor: no circle, since it is stopped before that has to drain."""
    graph = Graph.of(
        plan(
            api={"writes": ["in", "audit"]},
            processor={"reads": ["in"], "writes": ["out", "audit"]},
            other={"reads": ["in"]},
        )
    )
    unit = graph.unit_of("processor")
    assert (unit.services, unit.held, unit.settles) == (("api", "processor"), ("api",), ("audit", "out"))
    assert unit.after == ()
    assert graph.unit_of("other").after == (), "it need not wait for the processor"


@pytest.mark.parametrize(
    ("services", "named"),
    [
        ({"a": {"reads": ["x"], "writes": ["y"]}, "b": {"reads": ["y"], "writes": ["x"]}}, "a, b"),
        ({"retry": {"reads": ["t"], "writes": ["t"]}}, "retry"),
        (
            {
                "a": {"reads": ["x"], "writes": ["y"]},
                "b": {"reads": ["y"], "writes": ["z"]},
                "c": {"reads": ["z"], "writes": ["x"]},
                "sink": {"reads": ["z"]},
                "api": {"writes": ["x"]},
            },
            "a, api, b, c",  # api writes x as well, so it is in one unit with c
        ),
        # one unit by a shared topic, and one of them feeds the other
        ({"a": {"reads": ["x"], "writes": ["y", "log"]}, "b": {"reads": ["y"], "writes": ["log"]}}, "b"),
    ],
)
def test_circle_is_refused_by_name(services: dict[str, Any], named: str) -> None:
    with pytest.raises(PlanError, match="wait for one another in a circle") as told:
        Graph.of(plan(**services), "shop.yaml")
    assert f"services: {named} wait" in str(told.value)
    assert told.value.file == "shop.yaml"


def test_topic_that_nobody_writes_is_settled_in_the_first_stage() -> None:
    graph = Graph.of(plan(sink={"reads": ["idle"]}))
    assert (graph.readers[0].after, graph.readers[0].settles) == ((), ())


def test_stages_are_the_first_and_one_for_each_unit_that_settles_topics_in_their_order() -> None:
    assert load_plan(ROOT / "include" / "plans" / "orders.yaml").graph.stages == (FIRST_STAGE, "fulfilment")
    diamond = load_plan(ROOT / "tests" / "data" / "plans" / "diamond.yaml").graph
    assert diamond.stages == (FIRST_STAGE, "left", "right-one_and_right-two")
    assert Graph.of(plan(sink={"reads": ["idle"]})).stages == (FIRST_STAGE,)


topics = st.lists(st.sampled_from("abcdef"), max_size=3, unique=True)
service = st.fixed_dictionaries(
    {"writes": topics, "reads": topics, "groups": st.lists(st.sampled_from(["g1", "g2", "own"]), max_size=1)}
).filter(lambda s: s["writes"] or (s["reads"] and s["groups"]))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["strict", "relaxed"]), st.lists(service, min_size=1, max_size=6))
def test_each_unit_comes_after_those_that_it_depends_on(order: str, services: list[dict[str, list[str]]]) -> None:
    named = {
        f"s{i}": {**s, "groups": [f"own{i}" if g == "own" else g for g in s["groups"]]} for i, s in enumerate(services)
    }
    of = plan(order, **named)
    try:
        graph = Graph.of(of)
    except PlanError:
        return
    place = {unit.name: i for i, unit in enumerate((*graph.producers, *graph.readers))}
    settled = [topic for unit in graph.readers for topic in unit.settles]
    assert sorted(s for u in graph.units for s in u.services) == sorted(s.name for s in of.services)
    assert len(settled) == len(set(settled)), "a topic is settled once"
    for unit in graph.units:
        assert all(place[name] < place[unit.name] for name in (*unit.after, *unit.settles_after)), unit
        for topic in unit.settles:
            settlers = {unit.name, *unit.settles_after}
            assert {graph.unit_of(w.name).name for w in of.writers(topic)} <= settlers
        for one in unit.services:
            for topic in of.service(one).reads:
                for writer in of.writers(topic):
                    behind = graph.unit_of(writer.name)
                    stopped_before = writer.name in behind.held and topic not in settled
                    assert stopped_before or behind.name in unit.after, (unit, topic, writer.name)
    for a in of.services:
        for b in of.services:
            if set(a.groups) & set(b.groups) or (order == "strict" and set(a.produces) & set(b.produces)):
                assert graph.unit_of(a.name) == graph.unit_of(b.name)
