"""The way back, from wherever a migration stands: no message is lost, none repeated, and with strict order none early.

The services are at work all the while (`Life`): they write and read where they really run, so that a group that goes on
at the source before it has read the target to its end shows at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from tests.integration.scene import (
    Life,
    Town,
    found,
    move,
    move_all,
    roll_back,
    stopping,
    to_the_cutover,
)
from tests.integration.workbench import eventually

from kafka_migration.checks.services import refuse_while_going_back
from kafka_migration.errors import FindingsFailed, Refused
from kafka_migration.findings import Status
from kafka_migration.groups.commits import committed, set_commits
from kafka_migration.offsets import TopicPartition
from kafka_migration.passes import current_pass
from kafka_migration.plan.graph import FIRST_STAGE
from kafka_migration.plan.model import Plan
from kafka_migration.run import Run
from kafka_migration.services.controller import State
from kafka_migration.sides import Side
from kafka_migration.steps import back, questions, seeds, switch, topics
from kafka_migration.steps.preflight import preflight, preflight_report


@dataclass(frozen=True)
class Shop:
    """Two writers, a processor of what the first writes, a reader of everything, and one of what the second writes.

    one -> orders -> three -> shipments; two -> payments; four reads all of them, five only payments.
    """

    town: Town
    plan: Plan
    life: Life
    orders: TopicPartition
    payments: TopicPartition
    shipments: TopicPartition
    groups: dict[str, str]

    def migration(self, run_id: str = "first", **keys: Any) -> Run:
        return self.town.run(self.plan, run_id, **keys)

    def rollback(self, run_id: str = "back", **keys: Any) -> Run:
        return self.town.run(self.plan, run_id, "rollback", **keys)

    def sides(self) -> dict[str, Side | None]:
        """Where each service runs; None where it does not."""
        run = self.rollback()
        return {name: one.observe().side for name, one in run.instances(s.name for s in self.plan.services).items()}

    def all_on_the_source(self) -> None:
        seconds = {name: None for name in self.sides() if name.endswith("(second)")}
        assert self.sides() == {s.name: Side.SOURCE for s in self.plan.services} | seconds

    def nothing_was_lost_or_repeated(self) -> None:
        self.life.turns(2)
        self.life.finish()
        assert {where: sorted(read) for where, read in self.life.read.items()} == {
            (group, topic): self.life.written[topic] for group, topic in self.life.read
        }
        assert all(self.life.written.values())

    def nothing_was_lost_repeated_or_early(self) -> None:
        self.nothing_was_lost_or_repeated()
        assert self.life.read == {(group, topic): self.life.written[topic] for group, topic in self.life.read}


@pytest.fixture
def open_shop(town: Town) -> Callable[..., Shop]:
    def opened(second: str = "", **keys: Any) -> Shop:
        [orders], [payments] = town.source.topic("orders"), town.source.topic("payments")
        [shipments] = town.source.topic("shipments")
        groups = {name: town.named(name) for name in ("three", "four", "five")}
        services = [
            town.service("one", produces=[orders]),
            town.service("two", produces=[payments]),
            town.service("three", produces=[shipments], reads={groups["three"]: [orders]}, second=second),
            town.service("four", reads={groups["four"]: [orders, payments, shipments]}, second=second),
        ]
        if not second:
            services.append(town.service("five", reads={groups["five"]: [payments]}))
        plan = town.plan(services, **keys)
        life = Life(town, plan)
        life.turns(3)
        return Shop(town, plan, life, orders, payments, shipments, groups)

    return opened


@pytest.fixture
def shop(open_shop: Callable[..., Shop]) -> Shop:
    return open_shop()


# -- strict order, from every point on


def test_before_the_producers_moved_nothing_is_touched_and_what_was_made_on_the_target_stays(shop: Shop) -> None:
    run = shop.migration()
    topics.create(run)
    seeds.seed(run)
    journal, there = shop.town.daemon.journal(), shop.life.committed(Side.TARGET)
    reports = roll_back(shop.rollback(), shop.life)
    assert shop.town.daemon.journal() == journal, "nobody was stopped"
    assert not [change for report in reports.values() for change in report.changes]
    assert shop.life.committed(Side.TARGET) == there
    assert set(reports["begin"].data["stays"]) == {"three", "four", "five"}
    shop.all_on_the_source()
    shop.nothing_was_lost_repeated_or_early()


def test_everybody_reads_the_target_to_its_end_before_anybody_goes_on_at_the_source(shop: Shop) -> None:
    """Producers moved, nobody else: who reads what they wrote there goes there for it."""
    to_the_cutover(shop.migration(), shop.life)
    shop.life.turns(2)
    assert shop.sides()["four"] is Side.SOURCE
    points = current_pass(shop.town.records).latest_points([FIRST_STAGE])
    reports = roll_back(shop.rollback(), shop.life)
    assert reports["begin"].data["stays"] == []
    shop.all_on_the_source()
    shop.nothing_was_lost_repeated_or_early()

    of_orders = [r for r in shop.life.ranges[shop.groups["four"]] if r[1] == shop.orders]
    on_target = [i for i, (side, *_) in enumerate(of_orders) if side is Side.TARGET]
    assert on_target, "what was written there was read there"
    first_there, last_there = on_target[0], on_target[-1]
    assert of_orders[first_there - 1][3] == points[shop.orders], "the source up to the cutover point"
    assert of_orders[first_there][2] == 0, "the target from its seed"
    assert of_orders[last_there][3] == shop.life.end(shop.orders.topic, Side.TARGET), "to its end"
    assert of_orders[last_there + 1][:3] == (Side.SOURCE, shop.orders, points[shop.orders]), "then behind the point"
    assert on_target == list(range(first_there, last_there + 1)), "there and back once"


def test_rolled_back_when_only_some_producers_had_moved(shop: Shop) -> None:
    """What still writes to the source stops until those that read both have been on the target."""
    run = shop.migration()
    topics.create(run)
    seeds.seed(run)
    switch.switch_producers(run, unit="one")
    shop.life.turns(2)
    reports = roll_back(shop.rollback(), shop.life)
    assert reports["begin"].data["stays"] == ["five"], "it has nothing to read there"
    assert [change.what for change in reports["begin"].changes] == ["service two"]
    assert [program for _, program, _ in shop.town.daemon.journal()].count("five") == 1, "never stopped"
    shop.all_on_the_source()
    shop.nothing_was_lost_repeated_or_early()


def test_rolled_back_when_some_consumers_had_moved(shop: Shop) -> None:
    run = shop.migration()
    to_the_cutover(run, shop.life)
    move(run, run.graph.unit("five"), shop.life)
    shop.life.turns(2)
    assert (shop.sides()["five"], shop.sides()["three"]) == (Side.TARGET, Side.SOURCE)
    roll_back(shop.rollback(), shop.life)
    shop.all_on_the_source()
    shop.nothing_was_lost_repeated_or_early()


def test_rolled_back_when_everything_had_moved_and_messages_are_unread_on_the_target(shop: Shop) -> None:
    move_all(shop.migration(), shop.life)
    shop.life.idle.add(shop.groups["four"])
    shop.life.turns(3)
    run = shop.rollback()
    ways = {way.service: way for way in back.ways(run)}
    assert ways["four"].unread > 0
    assert ways["four"].words == "drains the target, then returns to where it left the source"
    shop.life.idle.clear()
    reports = roll_back(run, shop.life)
    assert stopping(reports["coverage"]) == set()
    rows = {(r["group"], r["topic"]): r for r in reports["coverage"].data["coverage"]}
    row = rows[shop.groups["four"], shop.orders.topic]
    points = current_pass_before(shop).latest_points([FIRST_STAGE])
    assert row["seed"] == points[shop.orders]
    assert row["cutover"] == shop.life.end(shop.orders.topic, Side.TARGET) == row["origin_visible"]
    shop.all_on_the_source()
    shop.nothing_was_lost_repeated_or_early()


def current_pass_before(shop: Shop) -> Any:
    """The pass that was rolled back."""
    return shop.rollback().headed(Side.TARGET).current


def test_offset_on_the_source_that_is_short_of_the_cutover_point_or_gone_is_set_to_it_again(shop: Shop) -> None:
    """Else the group would read again what it had read before it left."""
    move_all(shop.migration(), shop.life)
    points = current_pass(shop.town.records).latest_points([FIRST_STAGE, "three"])
    cluster = shop.town.source.cluster
    set_commits(cluster, {shop.groups["four"]: {shop.orders: points[shop.orders] - 2}})
    cluster.admin.delete_consumer_groups([shop.groups["three"]])[shop.groups["three"]].result(timeout=30)
    reports = roll_back(shop.rollback(), shop.life)
    changed = {change.what for report in reports.values() for change in report.changes}
    for name in ("three", "four"):
        assert f"seed of group {shop.groups[name]} on the source" in changed
    shop.all_on_the_source()
    shop.nothing_was_lost_repeated_or_early()


def test_group_that_stays_and_is_active_with_an_empty_partition_keeps_nobody_from_going_back(town: Town) -> None:
    """It has no offset there, and none can be set while it is active; it needs none."""
    orders, empty = town.source.topic("orders", 2)
    group = town.named("billing")
    town.source.write(orders, 2)
    plan = town.plan([town.service("one", produces=[orders]), town.service("two", reads={group: [orders, empty]})])
    with town.source.member(group, orders.topic) as consumer:
        town.source.read_by(consumer, 2)
        consumer.commit(asynchronous=False)
        run = town.run(plan)
        topics.create(run)
        seeds.seed(run)
        before = town.state(plan)
        assert empty not in committed(town.source.cluster, [group])[group]
        rollback = town.run(plan, "back", "rollback")
        back.begin(rollback)
        for unit in rollback.graph.producers:
            switch.switch_producers(rollback, unit=unit.name)
        assert town.state(plan) == before


# -- producers that wait, stopped, for the processor of a topic that they write as well


@pytest.fixture
def held(town: Town) -> tuple[Plan, Life]:
    """one -> orders -> three -> shipments, which two writes too; four reads shipments."""
    [orders], [shipments] = town.source.topic("orders"), town.source.topic("shipments")
    plan = town.plan(
        [
            town.service("one", produces=[orders]),
            town.service("two", produces=[shipments]),
            town.service("three", produces=[shipments], reads={town.named("three"): [orders]}),
            town.service("four", reads={town.named("four"): [shipments]}),
        ]
    )
    life = Life(town, plan)
    life.turns(2)
    return plan, life


@pytest.mark.parametrize("stands", ["held", "everything moved"])
def test_held_producer_comes_back_with_its_processor_and_no_key_is_interleaved(
    town: Town, held: tuple[Plan, Life], stands: str
) -> None:
    plan, life = held
    if stands == "held":
        to_the_cutover(town.run(plan), life)
    else:
        move_all(town.run(plan), life)
    life.turns(2)
    run = town.run(plan, "back", "rollback")
    roll_back(run, life)
    assert {one.observe().side for one in run.controllers.values()} == {Side.SOURCE}
    life.turns(2)
    life.finish()
    assert life.read == {(group, topic): life.written[topic] for group, topic in life.read}


def test_producer_that_was_held_before_anybody_moved_is_started_again(town: Town, held: tuple[Plan, Life]) -> None:
    plan, life = held
    forward = town.run(plan)
    topics.create(forward)
    seeds.seed(forward)
    [unit] = [unit for unit in forward.graph.readers if unit.held]
    switch.hold(forward, unit=unit.name)
    run = town.run(plan, "back", "rollback")
    roll_back(run, life)
    assert {one.observe().side for one in run.controllers.values()} == {Side.SOURCE}
    stopped = [program for what, program, _ in town.daemon.journal() if what == "stop"]
    assert stopped == ["two"], "nobody else was touched"


# -- killed, repeated, and forth again


def test_rollback_that_has_finished_changes_nothing_when_it_is_run_again(shop: Shop) -> None:
    to_the_cutover(shop.migration(), shop.life)
    roll_back(shop.rollback(), shop.life)
    shop.life.finish()
    before = shop.town.state(shop.plan)
    assert questions.rollback(shop.rollback("again")) is None, "nobody is asked"
    reports = roll_back(shop.rollback("again"), shop.life)
    assert shop.town.state(shop.plan) == before
    assert not [change for report in reports.values() for change in report.changes]
    assert "run back has taken this migration back" in reports["begin"].summary


def test_producers_that_have_begun_to_return_send_nobody_to_the_target_again(shop: Shop) -> None:
    """Killed behind the switch of the producers: what they write to the source since is no straggler."""
    to_the_cutover(shop.migration(), shop.life)
    first = shop.rollback()
    back.look(first)
    back.begin(first)
    there = first.headed(Side.TARGET)
    for unit in first.graph.readers:
        move(there, unit, shop.life)
    for unit in first.graph.producers:
        switch.switch_producers(first, unit=unit.name)
    shop.life.turns(2)
    before = len(shop.town.daemon.journal())
    roll_back(shop.rollback("second"), shop.life)
    addresses = {address for what, _, address in shop.town.daemon.journal()[before:] if what == "start"}
    assert addresses == {shop.town.source.bootstrap_servers}
    shop.all_on_the_source()
    shop.nothing_was_lost_repeated_or_early()


def test_migration_after_a_rollback_is_a_new_pass_and_loses_nothing_either(shop: Shop) -> None:
    move_all(shop.migration(), shop.life)
    roll_back(shop.rollback(), shop.life)
    shop.life.turns(2)
    move_all(shop.migration("again"), shop.life)
    assert current_pass(shop.town.records).number == 2
    assert set(shop.sides().values()) == {Side.TARGET}
    shop.nothing_was_lost_repeated_or_early()


def test_migration_is_refused_while_a_rollback_has_not_finished(shop: Shop) -> None:
    to_the_cutover(shop.migration(), shop.life)
    refuse_while_going_back(shop.migration("cleared"))
    back.begin(shop.rollback())
    with pytest.raises(FindingsFailed) as caught:
        preflight(shop.migration("again"))
    assert "rollback-unfinished/all" in {f.id for f in caught.value.findings}
    with pytest.raises(Refused, match="being taken back"):  # as any later task of a run that is cleared
        refuse_while_going_back(shop.migration("cleared"))


# -- the other orders


def test_relaxed_producers_return_at_once_and_the_rest_is_read_on_the_target(open_shop: Callable[..., Shop]) -> None:
    shop = open_shop(order="relaxed")
    to_the_cutover(shop.migration(), shop.life)
    shop.life.turns(2)
    run = shop.rollback()
    roll_back(run, shop.life)
    returned = [program for _, program, _ in shop.town.daemon.journal() if program in ("one", "two", "four")]
    assert returned.index("four", returned.index("four") + 1) > returned.index("two"), "producers first"
    shop.all_on_the_source()
    shop.nothing_was_lost_or_repeated()


@pytest.mark.parametrize("stands", ["seconds started", "producers moved", "everything moved"])
def test_second_instances_drain_the_target_while_the_originals_read_the_source(
    open_shop: Callable[..., Shop], stands: str
) -> None:
    shop = open_shop(second="twin", scheme="producers_later", order="relaxed")
    run = shop.migration()
    if stands == "everything moved":
        move_all(run, shop.life)
    else:
        to_the_cutover(run, shop.life)
    shop.life.turns(2)
    roll_back(shop.rollback(), shop.life)
    shop.all_on_the_source()
    shop.nothing_was_lost_or_repeated()


# -- where consumers cannot run on the target


def test_disorder_leaves_consumers_where_they_are_and_says_in_numbers_what_stays_unread(shop: Shop) -> None:
    to_the_cutover(shop.migration(), shop.life)
    shop.life.turns(2)
    unread = shop.life.end(shop.payments.topic, Side.TARGET)
    assert unread > 0
    run = shop.rollback(disorder=True)
    asked = questions.rollback(run)
    assert asked is not None, "always, whatever the plan says"
    assert "**without** having read" in asked
    assert found(back.look(run), "rollback-disorder/five").seen.startswith(f"five stays on the source: {unread:,} ")
    reports = roll_back(run, shop.life)
    told = found(reports["coverage"], f"rollback-unread/{shop.groups['five']}")
    assert (told.status, told.accepted) == (Status.INCONCLUSIVE, "a return with disorder was approved")
    unread = shop.life.end(shop.payments.topic, Side.TARGET)  # they wrote there until they returned
    assert told.seen.startswith(f"group {shop.groups['five']} has {unread:,} unread messages on the target")
    assert [program for _, program, _ in shop.town.daemon.journal()].count("five") == 1, "never stopped"
    shop.all_on_the_source()

    refused = {f.id for f in preflight_report(shop.migration("again")).findings if f.status is Status.FAIL}
    assert f"target-unread/{shop.groups['five']}" in refused


def test_disorder_can_be_chosen_when_a_rollback_in_order_could_not_go_on(shop: Shop) -> None:
    """Who has not left the source by then stays there."""
    to_the_cutover(shop.migration(), shop.life)
    shop.life.turns(2)
    assert back.begin(shop.rollback()).data["stays"] == []
    roll_back(shop.rollback("another", disorder=True), shop.life)
    assert [program for _, program, _ in shop.town.daemon.journal()].count("five") == 1, "never stopped"
    shop.all_on_the_source()


# -- refused before anything is touched


def refused(shop: Shop, **keys: Any) -> dict[str, Status]:
    """The findings for which there is no way back; nothing is touched."""
    before = shop.town.state(shop.plan)
    with pytest.raises(FindingsFailed) as caught:
        back.look(shop.rollback(**keys))
    assert shop.town.state(shop.plan) == before
    return {f.id: f.status for f in caught.value.findings}


def test_where_nothing_was_migrated_there_is_nothing_to_take_back(shop: Shop) -> None:
    assert refused(shop) == {"rollback-nothing/all": Status.FAIL}


def test_source_that_is_shorter_than_the_cutover_point_has_no_place_to_go_on_from(shop: Shop) -> None:
    to_the_cutover(shop.migration(), shop.life)
    admin = shop.town.source.cluster.admin
    admin.delete_topics([shop.payments.topic])[shop.payments.topic].result(timeout=30)
    eventually(lambda: shop.payments.topic not in admin.list_topics(timeout=10).topics, "the topic to be gone")
    shop.town.topic(shop.payments.topic)
    assert refused(shop)[f"rollback-source/{shop.payments}"] is Status.FAIL


def test_messages_that_the_target_deleted_unread_stop_it_until_they_are_accepted(shop: Shop) -> None:
    move_all(shop.migration(), shop.life)
    shop.life.idle.add(shop.groups["four"])
    shop.life.turns(3)
    shop.town.target.delete_before(shop.orders, shop.life.end(shop.orders.topic, Side.TARGET))
    finding = f"rollback-expired/{shop.groups['four']}"
    assert refused(shop) == {finding: Status.INCONCLUSIVE}
    accepting = shop.plan.model_validate(
        {**shop.plan.model_dump(), "accept": [{"finding": finding, "reason": "test data"}]}
    )
    assert found(back.look(shop.town.run(accepting, "back", "rollback")), finding).accepted == "test data"


def test_messages_that_the_source_deleted_unread_are_named_as_well(shop: Shop) -> None:
    shop.life.idle.add(shop.groups["five"])
    shop.life.turn()
    to_the_cutover(shop.migration(), shop.life)
    shop.town.source.delete_before(shop.payments, shop.life.end(shop.payments.topic, Side.SOURCE))
    assert refused(shop) == {f"rollback-expired/{shop.groups['five']}-on-source": Status.INCONCLUSIVE}


def test_dry_run_shows_the_way_back_and_changes_nothing(shop: Shop) -> None:
    to_the_cutover(shop.migration(), shop.life)
    before = shop.town.state(shop.plan)
    run = shop.rollback(dry_run=True)
    back.look(run)
    report = back.begin(run)
    assert {row[0]: row[3] for row in report.tables[0].rows}[
        "four"
    ] == "goes to the target first, drains it, then returns"
    for unit in run.graph.producers:
        switch.switch_producers(run, unit=unit.name)
    assert shop.town.state(shop.plan) == before
    assert shop.rollback().way_back.note("stays") is None
    assert run.controllers["four"].observe().state is State.RUNNING
