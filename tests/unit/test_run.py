"""Which instance of a service arrives and which departs, and who stays where it is in a rollback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kafka_migration.clusters.client import Cluster, Clusters
from kafka_migration.passes import open_pass
from kafka_migration.plan.load import load_plan
from kafka_migration.records import MemoryRecords
from kafka_migration.run import Run
from kafka_migration.services.registry import build_controllers, build_seconds
from kafka_migration.sides import Side

INCLUDE = Path(__file__).parents[2] / "include"
FIRST = INCLUDE / "plans" / "orders.yaml"
LATER = INCLUDE / "demo" / "plans" / "orders_producers_later.yaml"


def a_run(purpose: str, heading: Side, file: Path = FIRST, records: MemoryRecords | None = None) -> Run:
    plan = load_plan(file).plan
    clusters = Clusters(
        *(Cluster(side, side.value, {"bootstrap.servers": f"{side.value}:9092"}) for side in Side), heading
    )

    def unreachable(name: str) -> dict[str, Any]:
        raise AssertionError(f"{name} was asked for")

    return Run(
        plan,
        purpose,
        "run-1",
        clusters,
        build_controllers(plan, clusters.addresses, unreachable),
        records or MemoryRecords(),
        build_seconds(plan, clusters.addresses, unreachable),
    )


@pytest.mark.parametrize("purpose", ["migrate", "rollback"])
def test_second_instance_is_the_one_on_the_target_whichever_way_the_run_goes(purpose: str) -> None:
    there = a_run(purpose, Side.TARGET, LATER)
    assert there.arriving("billing") is there.seconds["billing"]
    assert there.departing("billing") is there.controllers["billing"]
    back = there.headed(Side.SOURCE)
    assert back.arriving("billing") is there.controllers["billing"]
    assert back.departing("billing") is there.seconds["billing"]


@pytest.mark.parametrize("heading", Side)
def test_service_without_a_second_arrives_and_departs_as_the_same(heading: Side) -> None:
    for run, name in ((a_run("rollback", heading), "billing"), (a_run("rollback", heading, LATER), "order-api")):
        assert run.arriving(name) is run.departing(name) is run.controllers[name]


def test_every_instance_has_a_name_of_its_own() -> None:
    run = a_run("migrate", Side.TARGET, LATER)
    assert list(run.instances(["order-api", "billing"])) == ["order-api", "billing", "billing (second)"]
    assert list(a_run("migrate", Side.TARGET).instances(["billing"])) == ["billing"]


def test_service_stays_only_in_a_rollback_that_has_decided_so() -> None:
    records = MemoryRecords()
    open_pass(records)
    back = a_run("rollback", Side.SOURCE, records=records)
    assert not back.stays("billing"), "nothing was decided yet"
    back.way_back.keep("stays", ["billing"])
    assert back.stays("billing")
    assert back.headed(Side.TARGET).stays("billing")
    assert not back.stays("shipping")
    assert not a_run("migrate", Side.TARGET, records=records).stays("billing")


@pytest.mark.parametrize("begun", ["leaving", "switched"])
def test_service_that_has_begun_to_return_is_not_sent_to_the_target_again(begun: str) -> None:
    records = MemoryRecords()
    open_pass(records)
    back = a_run("rollback", Side.SOURCE, records=records)
    if begun == "leaving":
        back.way_back.set_leaving("billing", 1.0)
    else:
        back.way_back.set_switched("billing", "run-1", 1.0)
    assert back.headed(Side.TARGET).stays("billing")
    assert not back.stays("billing"), "it still has to be moved, and proven to have drained"


def test_service_with_a_second_instance_never_counts_as_one_that_stays() -> None:
    """Its second drains the target in its stead, and that is proven as for all others."""
    back = a_run("rollback", Side.SOURCE, LATER)
    back.way_back.keep("stays", ["billing"])
    assert not back.stays("billing")


def test_rollback_works_in_the_pass_that_it_takes_back_each_leg_with_its_own_records() -> None:
    records = MemoryRecords()
    open_pass(records).set_switched("billing", "run-0", 1.0)
    back = a_run("rollback", Side.SOURCE, records=records)
    assert back.headed(Side.TARGET).current.switched("billing") is not None
    assert back.current.switched("billing") is None
    back.current.set_switched("billing", "run-1", 2.0)
    assert (back.headed(Side.TARGET).current.switched("billing") or {})["run_id"] == "run-0"
    assert back.leaving is Side.TARGET
    assert (back.clusters.origin.side, back.clusters.destination.side) == (Side.TARGET, Side.SOURCE)


def test_migration_after_a_rollback_works_in_a_pass_of_its_own_and_the_rollback_still_in_the_former() -> None:
    records = MemoryRecords()
    open_pass(records).finish("rollback", "run-1", 2.0)
    assert a_run("migrate", Side.TARGET, records=records).current.number == 2
    assert a_run("rollback", Side.SOURCE, records=records).current.number == 1
