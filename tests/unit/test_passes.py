"""A pass keeps seeds and points for every run of a migration, and a finished rollback opens the next one."""

from __future__ import annotations

import pytest

from kafka_migration.groups.drain import Proof
from kafka_migration.offsets import TopicPartition
from kafka_migration.passes import Pass, WayBack, current_pass, open_pass, some, when
from kafka_migration.plan.graph import FIRST_STAGE
from kafka_migration.plan.model import Plan
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
    current.set_leaving("billing", 100.0)
    current.set_switched("billing", "run-1", 5.0)
    proof = Proof({ORDERS: 9}, {ORDERS: 10})
    current.set_drained("billing", {"billing": proof})
    again = current_pass(records)
    assert again.leaving("billing")
    assert again.switched("billing") == {"run_id": "run-1", "at": 5.0}
    assert again.drained("billing") == {"billing": proof}
    assert not again.leaving("shipping")
    current.set_staying("billing")
    assert not again.leaving("billing")


# -- the way back


@pytest.fixture
def shop() -> Plan:
    return Plan.model_validate(
        {
            "plan": "p",
            "scheme": "producers_first",
            "source": {"connection": "a"},
            "target": {"connection": "b"},
            "topics": {"include": ["orders", "shipments"]},
            "services": [
                {
                    "name": name,
                    "consumes": [{"group": name, "topics": ["orders", "shipments"], "offsets": offsets}],
                    "controller": {"kind": "manual"},
                }
                for name, offsets in (("billing", "group"), ("audit", "group"), ("ledger", "external"))
            ],
        }
    )


@pytest.fixture
def there(records: MemoryRecords) -> Pass:
    """A pass as its seeding leaves it: `ledger` keeps its offsets itself."""
    current = open_pass(records)
    current.keep("topics", ["orders", "shipments"])
    current.keep("target_starts", {"orders/0": 50, "shipments/1": 60})
    current.keep_begins({group: {ORDERS: 3, SHIPMENTS: 4} for group in ("billing", "audit", "ledger")})
    current.keep_seeds({"billing": {ORDERS: 50, SHIPMENTS: 60}, "audit": {ORDERS: 51, SHIPMENTS: 61}})
    return current


def test_group_that_had_left_goes_on_at_the_source_at_the_cutover_point(
    records: MemoryRecords, there: Pass, shop: Plan
) -> None:
    there.freeze(FIRST_STAGE, {ORDERS: 10}, "run-1", 1.0)
    there.freeze(FIRST_STAGE, {ORDERS: 12}, "run-1", 2.0)
    there.freeze("fulfilment", {SHIPMENTS: 7}, "run-1", 3.0)
    back = WayBack(records, 1, shop, [FIRST_STAGE, "fulfilment"])
    assert back.seeds["billing"] == {ORDERS: 12, SHIPMENTS: 7}


def test_group_goes_on_where_it_began_on_what_has_no_cutover_point_yet(
    records: MemoryRecords, there: Pass, shop: Plan
) -> None:
    there.freeze(FIRST_STAGE, {ORDERS: 10}, "run-1", 1.0)
    assert WayBack(records, 1, shop, [FIRST_STAGE, "fulfilment"]).seeds["billing"] == {ORDERS: 10, SHIPMENTS: 4}


def test_group_that_stays_is_seeded_where_it_began_and_so_never_moved(
    records: MemoryRecords, there: Pass, shop: Plan
) -> None:
    """It may be anywhere behind that: whatever it has committed since counts."""
    there.freeze(FIRST_STAGE, {ORDERS: 10, SHIPMENTS: 7}, "run-1", 1.0)
    back = WayBack(records, 1, shop, [FIRST_STAGE])
    back.keep("stays", ["audit"])
    assert back.stays == frozenset({"audit"})
    assert back.seeds == {"billing": {ORDERS: 10, SHIPMENTS: 7}, "audit": {ORDERS: 3, SHIPMENTS: 4}}


def test_group_has_to_read_the_target_from_its_seed_on(records: MemoryRecords, there: Pass, shop: Plan) -> None:
    assert WayBack(records, 1, shop, [FIRST_STAGE]).begins == {
        "billing": {ORDERS: 50, SHIPMENTS: 60},
        "audit": {ORDERS: 51, SHIPMENTS: 61},
        "ledger": {ORDERS: 50, SHIPMENTS: 60},  # it has none: it was told to go on from the target's ends of then
    }


def test_group_that_keeps_its_offsets_itself_gets_no_seed_on_the_way_back_either(
    records: MemoryRecords, there: Pass, shop: Plan
) -> None:
    there.freeze(FIRST_STAGE, {ORDERS: 10, SHIPMENTS: 7}, "run-1", 1.0)
    back = WayBack(records, 1, shop, [FIRST_STAGE])
    assert "ledger" not in back.seeds
    assert back.note_offsets("target_starts") == {ORDERS: 10, SHIPMENTS: 7}, "a person is told the source's offsets"


def test_way_back_has_the_topics_of_the_way_there_and_records_of_its_own(
    records: MemoryRecords, there: Pass, shop: Plan
) -> None:
    there.freeze(FIRST_STAGE, {ORDERS: 10}, "run-1", 1.0)
    there.set_switched("billing", "run-1", 1.0)
    there.finish("migrate", "run-1", 2.0)
    back = WayBack(records, 1, shop, [FIRST_STAGE])
    assert back.note("topics") == ["orders", "shipments"]
    assert (back.points(FIRST_STAGE), back.switched("billing"), back.finished) == ([], None, None)
    back.freeze(FIRST_STAGE, {ORDERS: 99}, "run-2", 3.0)
    back.finish("rollback", "run-2", 4.0)
    assert there.latest_points([FIRST_STAGE]) == {ORDERS: 10}
    assert (there.finished or {})["purpose"] == "migrate"
    assert back.seeds["billing"][ORDERS] == 10, "a seed is no point of the target"


def test_times_are_told_in_utc() -> None:
    assert when(0) == "1970-01-01 00:00:00 UTC"


def test_long_lists_are_cut_and_say_so() -> None:
    assert some([1, 2, 3]) == "1, 2, 3"
    assert some(list(range(8)), most=3) == "0, 1, 2 and 5 more"
    assert some([]) == ""
