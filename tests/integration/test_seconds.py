"""Scheme producers_later: consumers on both clusters for a while, and neither a message nor an instance too many."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest.mock import Mock

import pytest
from confluent_kafka.admin import NewPartitions
from tests.integration.scene import (
    Daemon,
    Life,
    Town,
    found,
    look_once,
    move_all,
    stopping,
    to_the_cutover,
    until_done,
)

from kafka_migration.errors import FindingsFailed, Refused, ServiceError
from kafka_migration.findings import Status
from kafka_migration.groups.commits import committed, set_commits
from kafka_migration.offsets import TopicPartition
from kafka_migration.passes import current_pass
from kafka_migration.plan.graph import FIRST_STAGE
from kafka_migration.run import Run
from kafka_migration.services.controller import State
from kafka_migration.services.program_files import find_section
from kafka_migration.sides import Side
from kafka_migration.steps import seconds, seeds, switch, topics
from kafka_migration.steps.consuming import keeping_up, ready
from kafka_migration.steps.drain import drained
from kafka_migration.steps.preflight import preflight
from kafka_migration.topics.describe import await_topics
from kafka_migration.waiting import Outcome


@dataclass(frozen=True)
class Shop:
    """`one` writes orders, `two` reads them, and has a program `two-twin` for its second instance."""

    town: Town
    run: Run
    orders: TopicPartition
    group: str

    @property
    def original(self) -> State:
        return self.run.controllers["two"].observe().state

    @property
    def second(self) -> tuple[State, Side | None]:
        seen = self.run.seconds["two"].observe()
        return seen.state, seen.side

    def points(self) -> list[int]:
        return [p.offsets[self.orders] for p in current_pass(self.run.records).points(FIRST_STAGE)]

    def again(self) -> Run:
        return self.town.run(self.run.plan, run_id="second")

    def seed(self) -> None:
        topics.create(self.run)
        seeds.seed(self.run)

    def to_the_cutover(self) -> None:
        to_the_cutover(self.run)
        self.town.read_all(self.group, [self.orders])

    def to_the_close(self) -> None:
        self.to_the_cutover()
        until_done(drained, self.run, service="two")


@pytest.fixture
def open_shop(town: Town) -> Callable[..., Shop]:
    def opened(**variables: str) -> Shop:
        [orders] = town.source.topic("orders")
        group = town.named("billing")
        town.source.write(orders, 3)
        set_commits(town.source.cluster, {group: {orders: 1}})
        two = town.service("two", reads={group: [orders]}, second="twin")
        town.daemon.env("two-twin", KAFKA_BOOTSTRAP_SERVERS=town.source.bootstrap_servers, **variables)
        plan = town.plan([town.service("one", produces=[orders]), two], scheme="producers_later", order="relaxed")
        return Shop(town, town.run(plan), orders, group)

    return opened


@pytest.fixture
def shop(open_shop: Callable[..., Shop]) -> Shop:
    return open_shop()


# -- start


def test_second_is_not_started_before_its_groups_have_seeds(shop: Shop) -> None:
    topics.create(shop.run)
    with pytest.raises(Refused, match=shop.group):
        seconds.start(shop.run, unit="two")
    assert shop.second[0] is State.STOPPED


def test_seed_that_has_gone_is_there_again_before_the_second_starts(open_shop: Callable[..., Shop], town: Town) -> None:
    """Seen at one that dies with the target's address, at once or a moment after it was seen: the seed is there."""
    shop = open_shop(DIES_WITH=town.target.bootstrap_servers)
    shop.seed()
    cluster = town.target.cluster
    cluster.admin.delete_consumer_groups([shop.group])[shop.group].result(timeout=30)
    with contextlib.suppress(ServiceError):
        seconds.start(shop.run, unit="two")
    assert committed(cluster, [shop.group]) == {shop.group: {shop.orders: 0}}
    assert shop.original is State.RUNNING


@pytest.mark.parametrize("at", ["stopped", "on the source"])
def test_second_runs_on_the_target_in_the_end_and_the_original_is_left_alone(shop: Shop, at: str) -> None:
    shop.seed()
    if at == "on the source":
        shop.town.start("two-twin")
    before = [entry for entry in shop.town.daemon.journal() if entry[1] == "two"]
    report = seconds.start(shop.run, unit="two")
    assert shop.second == (State.RUNNING, Side.TARGET)
    assert report.data["started"] == ["two"]
    assert [entry for entry in shop.town.daemon.journal() if entry[1] == "two"] == before
    assert shop.run.controllers["two"].observe().side is Side.SOURCE


def test_second_that_runs_where_it_should_is_left_alone_and_is_no_finding(shop: Shop) -> None:
    shop.seed()
    seconds.start(shop.run, unit="two")
    before = shop.town.state(shop.run.plan)
    report = seconds.start(shop.again(), unit="two")
    assert not report.changes
    assert "nothing to do" in report.summary
    assert stopping(preflight(shop.again())) == set()
    assert shop.town.state(shop.run.plan) == before


def test_second_that_runs_before_its_turn_is_a_finding(shop: Shop) -> None:
    shop.town.start("two-twin")
    with pytest.raises(FindingsFailed) as caught:
        preflight(shop.run)
    assert {f.id for f in caught.value.findings} == {"second-running/two"}


def test_dry_run_starts_and_closes_nothing(shop: Shop) -> None:
    before = shop.town.state(shop.run.plan)
    dry = shop.town.run(shop.run.plan, dry_run=True)
    report = seconds.start(dry, unit="two")
    assert [change.what for change in report.changes] == ["instance of two", "settings of two"]
    assert not [change for change in report.changes if change.done]
    assert [change.what for change in seconds.close(dry, unit="two").changes] == ["instance of two"]
    assert shop.town.state(shop.run.plan) == before


# -- ready, and keeping up


def test_second_is_ready_when_its_group_owns_every_partition_though_nothing_is_there_to_read(shop: Shop) -> None:
    shop.seed()
    brief = ready.prepare(shop.run, {"service": "two"})
    waiting = look_once(ready, shop.run, brief, {})
    assert waiting.outcome is Outcome.WAITING
    assert "no member there yet" in waiting.lines[0]
    with shop.town.target.member(shop.group, shop.orders.topic):
        until_done(ready, shop.run, service="two")


def test_group_that_does_not_read_as_fast_as_is_written_is_said_to_fall_behind(shop: Shop) -> None:
    shop.seed()
    target = shop.town.target
    brief = keeping_up.prepare(shop.run, {"service": "two"})
    with target.member(shop.group, shop.orders.topic) as consumer:
        target.write(shop.orders, 10)
        target.read_by(consumer, 1)
        consumer.commit(asynchronous=False)
        began = keeping_up.look(shop.run.clusters, brief, {}, 100.0)
        assert (began.outcome, began.lines) == (
            Outcome.WAITING,
            (f"{shop.group}: reads; whether it keeps up is not known yet",),
        )
        target.write(shop.orders, 40)
        behind = keeping_up.look(shop.run.clusters, brief, began.memory, 104.0)
        assert behind.outcome is Outcome.WAITING
        assert behind.lines == (f"{shop.group}: falls behind: 10 offsets/s are written, 0 read",)
        target.read_by(consumer, 49)
        consumer.commit(asynchronous=False)
        reads = keeping_up.look(shop.run.clusters, brief, behind.memory, 108.0)
        assert (reads.outcome, reads.lines) == (Outcome.DONE, (f"{shop.group}: consumes from the target",))


# -- partitions and topics that the source has gained meanwhile


def test_partitions_added_while_seconds_run_are_seeded_with_them_stopped_and_they_run_again(shop: Shop) -> None:
    shop.seed()
    seconds.start(shop.run, unit="two")
    admin = shop.town.source.cluster.admin
    admin.create_partitions([NewPartitions(shop.orders.topic, 3)])[shop.orders.topic].result(timeout=30)
    await_topics(shop.town.source.cluster, {shop.orders.topic: 3})
    before = len(shop.town.daemon.journal())
    report = topics.parity(shop.run)
    new = {TopicPartition(shop.orders.topic, number): 0 for number in range(3)}
    assert committed(shop.town.target.cluster, [shop.group]) == {shop.group: new}
    assert current_pass(shop.run.records).seeds == {shop.group: new}
    assert shop.second == (State.RUNNING, Side.TARGET)
    moved = [(what, program) for what, program, _ in shop.town.daemon.journal()[before:]]
    assert moved[:1] == [("stop", "two-twin")]
    assert {program for _, program in moved} == {"two-twin"}, "the original reads on"
    assert report.notes == ["two: stopped while the new partitions were seeded, and started again"]


def test_partitions_that_a_killed_attempt_had_added_and_not_seeded_are_seeded_by_the_next(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.seed()
    admin = shop.town.source.cluster.admin
    admin.create_partitions([NewPartitions(shop.orders.topic, 3)])[shop.orders.topic].result(timeout=30)
    await_topics(shop.town.source.cluster, {shop.orders.topic: 3})
    with monkeypatch.context() as killed:
        killed.setattr(topics, "seed", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            topics.parity(shop.run)
    topics.parity(shop.run)
    new = {TopicPartition(shop.orders.topic, number): 0 for number in range(3)}
    assert committed(shop.town.target.cluster, [shop.group]) == {shop.group: new}


# -- close


def closed(shop: Shop) -> None:
    assert shop.original is State.STOPPED
    assert shop.second == (State.RUNNING, Side.TARGET)
    assert current_pass(shop.run.records).switched("two") is not None


def starts_at_boot(daemon: Daemon, program: str) -> str | None:
    section = find_section(daemon.configuration, program)
    assert section is not None
    return section.value("autostart")


def test_original_is_closed_and_kept_from_starting_at_boot_and_never_deleted(shop: Shop, daemon: Daemon) -> None:
    text = daemon.configuration.read_text()
    section = find_section(daemon.configuration, "two")
    assert section is not None
    daemon.configuration.write_text(text.replace(section.text, section.with_value("autostart", "true")))
    try:
        shop.to_the_close()
        report = seconds.close(shop.run, unit="two")
        assert (starts_at_boot(daemon, "two"), starts_at_boot(daemon, "two-twin")) == ("false", "true")
    finally:
        daemon.configuration.write_text(text)
    closed(shop)
    assert {change.what for change in report.changes} == {"instance of two", "start of two at boot"}
    assert daemon.content("two").startswith(f"KAFKA_BOOTSTRAP_SERVERS={shop.town.source.bootstrap_servers}")


def test_original_is_not_closed_while_the_other_instance_does_not_run(shop: Shop) -> None:
    shop.to_the_close()
    shop.town.daemon.control("stopProcess", "two-twin")
    before = shop.town.state(shop.run.plan)
    with pytest.raises(Refused, match="nothing was closed"):
        seconds.close(shop.run, unit="two")
    assert shop.town.state(shop.run.plan) == before
    assert shop.original is State.RUNNING
    assert not current_pass(shop.run.records).leaving("two")


def test_original_that_has_not_drained_after_all_is_not_closed(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(switch, "_LATE_DRAIN", 0.3)
    shop.to_the_close()
    set_commits(shop.town.source.cluster, {shop.group: {shop.orders: 2}})  # its owner has set it back, to read again
    before = shop.town.state(shop.run.plan)
    with pytest.raises(Refused, match="not drained to the cutover point"):
        seconds.close(shop.run, unit="two")
    assert shop.town.state(shop.run.plan) == before
    assert shop.original is State.RUNNING
    assert not current_pass(shop.run.records).leaving("two")


def test_straggler_right_before_the_close_is_waited_for_and_not_left_behind(shop: Shop) -> None:
    shop.to_the_close()
    shop.town.source.write(shop.orders, 2)
    shop.town.read_all(shop.group, [shop.orders])
    seconds.close(shop.run, unit="two")
    assert shop.points() == [3, 5]
    assert current_pass(shop.run.records).drained("two")[shop.group].commits == {shop.orders: 5}
    closed(shop)


def test_straggler_that_nobody_has_read_keeps_the_original_open(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(switch, "_LATE_DRAIN", 0.3)
    shop.to_the_close()
    shop.town.source.write(shop.orders, 2)
    with pytest.raises(Refused, match="not drained"):
        seconds.close(shop.run, unit="two")
    assert shop.points() == [3, 5]
    assert shop.original is State.RUNNING


def test_close_killed_between_stop_and_record_is_finished_by_the_next_run(shop: Shop) -> None:
    shop.to_the_close()
    current = current_pass(shop.run.records)
    current.set_leaving("two", shop.run.now())
    shop.run.departing("two").stop()
    assert stopping(preflight(shop.again())) == set(), "it is stopped by this plan"
    seconds.close(shop.again(), unit="two")
    closed(shop)
    assert (current.switched("two") or {})["run_id"] == "second"
    before = shop.town.state(shop.run.plan)
    report = seconds.close(shop.again(), unit="two")
    assert not report.changes
    assert shop.town.state(shop.run.plan) == before


# -- the whole scheme


def test_whole_scheme_loses_and_repeats_nothing_and_repeated_changes_nothing(town: Town) -> None:
    """A processor, a copy, and a reader of two topics; consumers work on both clusters for a while."""
    [orders], [shipments] = town.source.topic("orders"), town.source.topic("shipments")
    fulfilment, billing = town.named("fulfilment"), town.named("billing")
    services: list[dict[str, Any]] = [
        town.service("one", produces=[orders]),
        town.service("three", produces=[shipments], reads={fulfilment: [orders]}, second="twin"),
        town.service("four", reads={billing: [orders, shipments]}, second="copy"),
    ]
    plan = town.plan(services, scheme="producers_later", order="relaxed")
    life = Life(town, plan)
    life.turns(2)
    run = town.run(plan)
    reports = move_all(run, life)
    seen = {name: one.observe() for name, one in run.instances(["three", "four"]).items()}
    assert {name: (o.state, o.side) for name, o in seen.items()} == {
        "three": (State.STOPPED, None),
        "three (second)": (State.RUNNING, Side.TARGET),
        "four": (State.STOPPED, None),
        "four (second)": (State.RUNNING, Side.TARGET),
    }
    assert found(reports["evidence"], "service-on-target/all").status is Status.PASS
    assert stopping(reports["coverage"]) == set()
    life.turns(2)
    life.finish()
    assert {where: sorted(numbers) for where, numbers in life.read.items()} == {
        (group, topic): life.written[topic] for group, topic in life.read
    }
    assert {side for side, *_ in life.ranges[billing]} == set(Side)

    before = town.state(plan)
    again = move_all(town.run(plan, run_id="second"), life)
    assert town.state(plan) == before
    assert not [change for report in again.values() for change in report.changes]
