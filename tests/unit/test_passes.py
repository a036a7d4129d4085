"""A pass keeps seeds and points for every run of a migration, and a finished rollback opens the next one."""

from __future__ import annotations

import pytest

from kafka_migration.groups.drain import Proof
from kafka_migration.offsets import TopicPartition
from kafka_migration.passes import Pass, current_pass, open_pass, some, when
from kafka_migration.plan.graph import FIRST_STAGE
from kafka_migration.records import MemoryRecords

ORDERS = TopicPartition("orders", 0)
SHIPMENTS = TopicPartition("shipments", 1)


@pytest.fixture
def records() -> MemoryRecords:
    return MemoryRecords()


def test_seeds_and_beginnings_are_reused_by_every_run(records: MemoryRecords) -> None:
    first = open_pass(records)
    first.keep_begins({"billing": {ORDERS: 3}, "fresh": {}})
    first.keep_seeds({"billing": {ORDERS: 5, SHIPMENTS: 0}})
    first.keep_uncommitted({"billing": ["shipments/1"]})
    again = open_pass(records)
    assert again.number == 1
    assert again.begins == {"billing": {ORDERS: 3}, "fresh": {}}
    assert again.seeds == {"billing": {ORDERS: 5, SHIPMENTS: 0}}
    assert again.uncommitted == {"billing": ["shipments/1"]}


def test_nothing_is_recorded_by_a_look(records: MemoryRecords) -> None:
    current = current_pass(records)
    assert (current.seeds, current.begins, current.uncommitted, current.points(FIRST_STAGE)) == ({}, {}, {}, [])
    assert records.get("pass") is None


def test_every_point_of_a_stage_is_kept_and_the_last_counts(records: MemoryRecords) -> None:
    current = open_pass(records)
    current.freeze(FIRST_STAGE, {ORDERS: 10}, "run-1", 100.0)
    current.freeze(FIRST_STAGE, {ORDERS: 12}, "run-2", 200.0)
    current.freeze("fulfilment", {SHIPMENTS: 7}, "run-2", 300.0)
    points = current_pass(records).points(FIRST_STAGE)
    assert [(p.number, p.at, p.run_id, p.offsets) for p in points] == [
        (1, 100.0, "run-1", {ORDERS: 10}),
        (2, 200.0, "run-2", {ORDERS: 12}),
    ]
    assert current.latest_points([FIRST_STAGE, "fulfilment"]) == {ORDERS: 12, SHIPMENTS: 7}


def test_stage_without_a_point_is_not_taken_for_an_empty_one(records: MemoryRecords) -> None:
    with pytest.raises(KeyError, match="fulfilment"):
        open_pass(records).latest_points(["fulfilment"])


def test_finished_migration_stays_in_its_pass(records: MemoryRecords) -> None:
    open_pass(records).finish("migrate", "run-1", 1.0)
    assert open_pass(records).number == 1
    assert current_pass(records).finished == {"purpose": "migrate", "run_id": "run-1", "at": 1.0}


def test_finished_rollback_opens_the_next_pass_with_nothing_in_it(records: MemoryRecords) -> None:
    first = open_pass(records)
    first.keep_seeds({"billing": {ORDERS: 5}})
    first.set_switched("billing", "run-1", 1.0)
    first.finish("rollback", "run-2", 2.0)
    second = current_pass(records)
    assert (second.number, second.seeds, second.switched("billing")) == (2, {}, None)
    assert records.get("pass") == 1, "a look opens nothing"
    assert open_pass(records).number == records.get("pass") == 2
    assert Pass(records, 1).seeds == {"billing": {ORDERS: 5}}, "the former pass stays as evidence"


def test_what_is_known_of_a_service_is_kept_by_its_name(records: MemoryRecords) -> None:
    current = open_pass(records)
    assert not current.leaving("billing")
    assert current.switched("billing") is None
    assert current.drained("billing") == {}
    current.set_leaving("billing", True)
    current.set_switched("billing", "run-1", 5.0)
    proof = Proof({ORDERS: 9}, {ORDERS: 10})
    current.set_drained("billing", {"billing": proof})
    again = current_pass(records)
    assert again.leaving("billing")
    assert again.switched("billing") == {"run_id": "run-1", "at": 5.0}
    assert again.drained("billing") == {"billing": proof}
    assert not again.leaving("shipping")
    current.set_leaving("billing", False)
    assert not again.leaving("billing")


def test_times_are_told_in_utc() -> None:
    assert when(0) == "1970-01-01 00:00:00 UTC"


def test_long_lists_are_cut_and_say_so() -> None:
    assert some([1, 2, 3]) == "1, 2, 3"
    assert some(list(range(8)), most=3) == "0, 1, 2 and 5 more"
    assert some([]) == ""
