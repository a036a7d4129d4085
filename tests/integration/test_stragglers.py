"""Messages behind the cutover point: read by everybody while nobody has left, an error afterwards, and never silent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from tests.conftest import RunningCluster
from tests.integration.scene import Daemon, Town, found, look_once, stopping, supervised, to_the_cutover, until_done

from kafka_migration.errors import StragglerFound
from kafka_migration.findings import Status
from kafka_migration.offsets import TopicPartition
from kafka_migration.passes import current_pass
from kafka_migration.plan.graph import FIRST_STAGE
from kafka_migration.run import Run
from kafka_migration.sides import Side
from kafka_migration.steps.closing import closing_look
from kafka_migration.steps.cutover import cutover
from kafka_migration.steps.drain import drained
from kafka_migration.steps.switch import switch_consumers
from kafka_migration.stragglers import find_stragglers
from kafka_migration.waiting import Outcome


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with supervised(tmp_path_factory.mktemp("sd")) as one:
        yield one


@dataclass(frozen=True)
class Frozen:
    """A writer that has moved, the point of its topic, and two readers that are still on the source."""

    town: Town
    run: Run
    orders: TopicPartition
    billing: str
    audit: str

    def points(self) -> list[int]:
        return [p.offsets[self.orders] for p in current_pass(self.run.records).points(FIRST_STAGE)]

    def read_all(self, group: str) -> None:
        self.town.read_all(group, [self.orders])


@pytest.fixture
def frozen(source: RunningCluster, target: RunningCluster, daemon: Daemon) -> Iterator[Frozen]:
    with Town.of(source.bootstrap_servers, target.bootstrap_servers, daemon) as town:
        [orders] = town.source.topic("orders")
        billing, audit = town.named("billing"), town.named("audit")
        town.source.write(orders, 3)
        run = town.run(
            town.plan(
                [
                    town.service("one", produces=[orders]),
                    town.service("two", reads={billing: [orders]}),
                    town.service("three", reads={audit: [orders]}),
                ]
            )
        )
        town.read_all(billing, [orders])
        town.read_all(audit, [orders])
        to_the_cutover(run)
        yield Frozen(town, run, orders, billing, audit)


def test_straggler_before_anybody_has_left_freezes_the_point_anew_and_both_are_kept(frozen: Frozen) -> None:
    frozen.town.source.write(frozen.orders, 2)
    brief = drained.prepare(frozen.run, {"service": "two"})
    assert frozen.points() == [3, 5]
    look = look_once(drained, frozen.run, brief, {})
    assert look.outcome is Outcome.WAITING, "the group owes the straggler"
    frozen.read_all(frozen.billing)
    until_done(drained, frozen.run, service="two")
    numbers = [p.number for p in current_pass(frozen.run.records).points(FIRST_STAGE)]
    assert numbers == [1, 2]


def test_straggler_in_the_middle_of_a_drain_makes_it_go_on_to_the_new_point(frozen: Frozen) -> None:
    frozen.town.source.write(frozen.orders, 1)
    brief = drained.prepare(frozen.run, {"service": "two"})
    waiting = look_once(drained, frozen.run, brief, {})
    assert waiting.outcome is Outcome.WAITING

    frozen.town.source.write(frozen.orders, 2)
    frozen.read_all(frozen.billing)
    moved = look_once(drained, frozen.run, brief, waiting.memory)
    assert moved.outcome is Outcome.AGAIN
    assert str(frozen.orders) in moved.why
    until_done(drained, frozen.run, service="two")
    assert frozen.points() == [3, 4, 6]


def test_straggler_right_before_the_switch_is_waited_for_and_not_left_behind(frozen: Frozen) -> None:
    until_done(drained, frozen.run, service="two")
    frozen.town.source.write(frozen.orders, 2)
    frozen.read_all(frozen.billing)
    switch_consumers(frozen.run, unit="two")
    assert frozen.points() == [3, 5]
    assert current_pass(frozen.run.records).drained("two")[frozen.billing].commits == {frozen.orders: 5}


def test_straggler_after_a_reader_has_left_is_an_error_that_names_the_range_and_the_group(frozen: Frozen) -> None:
    until_done(drained, frozen.run, service="two")
    switch_consumers(frozen.run, unit="two")
    frozen.town.source.write(frozen.orders, 2)
    with pytest.raises(StragglerFound) as caught:
        drained.prepare(frozen.run, {"service": "three"})
    told = str(caught.value)
    assert f"{frozen.orders}: 2 message(s) from offset 3, past the point 3" in told
    assert f"Groups that will miss them: {frozen.billing}." in told
    assert frozen.points() == [3]


def test_straggler_after_a_reader_has_left_stops_the_next_switch_and_nothing_moves(frozen: Frozen) -> None:
    for service in ("two", "three"):
        until_done(drained, frozen.run, service=service)
    switch_consumers(frozen.run, unit="two")
    frozen.town.source.write(frozen.orders, 1)
    before = frozen.town.state(frozen.run.plan)
    with pytest.raises(StragglerFound):
        switch_consumers(frozen.run, unit="three")
    assert frozen.town.state(frozen.run.plan) == before
    assert frozen.run.controllers["three"].observe().side is Side.SOURCE


def test_cutover_run_again_freezes_anew_only_while_nobody_has_left(frozen: Frozen) -> None:
    frozen.town.source.write(frozen.orders, 1)
    until_done(cutover, frozen.run, stage=FIRST_STAGE)
    assert frozen.points() == [3, 4]
    frozen.read_all(frozen.billing)
    until_done(drained, frozen.run, service="two")
    switch_consumers(frozen.run, unit="two")
    frozen.town.source.write(frozen.orders, 1)
    with pytest.raises(StragglerFound):
        until_done(cutover, frozen.run, stage=FIRST_STAGE)
    assert frozen.points() == [3, 4]


def test_transaction_markers_and_aborted_messages_past_the_point_are_no_stragglers(frozen: Frozen) -> None:
    until_done(drained, frozen.run, service="two")
    switch_consumers(frozen.run, unit="two")
    frozen.town.source.abort_transaction(frozen.orders, 2)
    assert frozen.town.source.end(frozen.orders) > 3
    assert find_stragglers(frozen.run, current_pass(frozen.run.records), [FIRST_STAGE]) == []
    until_done(drained, frozen.run, service="three")
    switch_consumers(frozen.run, unit="three")
    assert frozen.points() == [3]
    assert stopping(closing_look(frozen.run)) == set()


def test_open_transaction_past_the_point_is_never_taken_for_nothing(frozen: Frozen) -> None:
    """What it holds may yet be committed, and then some group would miss it."""
    for service in ("two", "three"):
        until_done(drained, frozen.run, service=service)
    switch_consumers(frozen.run, unit="two")
    switch_consumers(frozen.run, unit="three")
    with frozen.town.source.open_transaction(frozen.orders, 2):
        report = closing_look(frozen.run)
    assert stopping(report) == {f"straggler/{frozen.orders}"}
    assert found(report, f"straggler/{frozen.orders}").status is Status.INCONCLUSIVE


def test_straggler_at_the_closing_look_fails_and_names_the_range(frozen: Frozen) -> None:
    for service in ("two", "three"):
        until_done(drained, frozen.run, service=service)
        switch_consumers(frozen.run, unit=service)
    assert stopping(closing_look(frozen.run)) == set()
    frozen.town.source.write(frozen.orders, 4)
    finding = found(closing_look(frozen.run), f"straggler/{frozen.orders}")
    assert finding.status is Status.FAIL
    assert "4 message(s) from offset 3" in finding.seen
