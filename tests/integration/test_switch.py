"""The switch: who stops before whom, what a killed or failed one leaves to the next run, and what it refuses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.integration.scene import Town, stopping, to_the_cutover, until_done
from tests.integration.workbench import eventually

from kafka_migration.errors import OffsetsRefused, OutsideWindow, Refused, ServiceNotBack
from kafka_migration.groups.commits import committed, set_commits
from kafka_migration.passes import current_pass
from kafka_migration.plan.graph import FIRST_STAGE
from kafka_migration.run import Run
from kafka_migration.services.controller import State
from kafka_migration.sides import Side
from kafka_migration.steps import seeds, switch, topics
from kafka_migration.steps.consuming import consuming
from kafka_migration.steps.coverage import coverage
from kafka_migration.steps.cutover import cutover
from kafka_migration.steps.drain import drained
from kafka_migration.steps.preflight import preflight
from kafka_migration.topics.describe import topic_names

Journal = list[tuple[str, str, str]]


def seeded(town: Town, services: list[dict[str, Any]], **keys: Any) -> Run:
    """Everything before the switch of the producers."""
    run = town.run(town.plan(services, **keys))
    topics.create(run)
    seeds.seed(run)
    return run


def side_of(run: Run, service: str) -> Side | None:
    return run.controllers[service].observe().side


def running_on_target(run: Run, *services: str) -> None:
    for service in services:
        seen = run.controllers[service].observe()
        assert (seen.state, seen.side) == (State.RUNNING, Side.TARGET), service


def moves(town: Town) -> Journal:
    """The journal from the first stop on: what the migration did."""
    whole = town.daemon.journal()
    first = next(i for i, (what, *_) in enumerate(whole) if what == "stop")
    return whole[first:]


# -- order


def test_strict_no_writer_starts_on_the_target_before_all_of_its_topic_have_stopped(town: Town) -> None:
    orders = town.source.topic("orders")
    run = seeded(
        town,
        [town.service("one", produces=orders), town.service("two", produces=orders, LINGER="0.5")],
        order="strict",
    )
    [unit] = run.graph.producers
    assert unit.services == ("one", "two")
    switch.switch_producers(run, unit=unit.name)
    running_on_target(run, "one", "two")
    eventually(lambda: len(moves(town)) == 4, "both to say that they have started")
    assert [what for what, *_ in moves(town)] == ["stop", "stop", "start", "start"]


def test_relaxed_writers_of_a_topic_move_one_after_the_other_and_one_always_runs(town: Town) -> None:
    orders = town.source.topic("orders")
    run = seeded(
        town,
        [town.service("one", produces=orders), town.service("two", produces=orders)],
        order="relaxed",
    )
    for unit in run.graph.producers:
        switch.switch_producers(run, unit=unit.name)
        eventually(lambda: moves(town)[-1][0] == "start", "the service to say that it has started")
    running_on_target(run, "one", "two")
    assert [(what, program) for what, program, _ in moves(town)] == [
        ("stop", "one"),
        ("start", "one"),
        ("stop", "two"),
        ("start", "two"),
    ]


def test_services_that_share_a_group_move_as_one_and_none_reads_two_clusters(town: Town) -> None:
    orders, returns = town.source.topic("orders"), town.source.topic("returns")
    group = town.named("billing")
    services = [
        town.service("one", produces=[*orders, *returns]),
        town.service("two", reads={group: orders}, LINGER="0.3"),
        town.service("three", reads={group: [*orders, *returns]}),
    ]
    run = town.run(town.plan(services))
    town.source.write(orders[0], 3)
    town.read_all(group, [*orders, *returns])
    to_the_cutover(run)
    [unit] = run.graph.readers
    assert unit.services == ("two", "three")
    for service in unit.services:
        until_done(drained, run, service=service)
    before = len(town.daemon.journal())
    switch.switch_consumers(run, unit=unit.name)
    running_on_target(run, "two", "three")
    eventually(lambda: len(town.daemon.journal()) == before + 4, "both to say that they have started")
    assert [what for what, *_ in town.daemon.journal()[before:]] == ["stop", "stop", "start", "start"]

    report = coverage(run)
    assert stopping(report) == set()
    assert len(report.data["coverage"]) == 2, "one row for each partition and group, whoever reads it"


def test_producer_that_shares_a_topic_with_a_processor_waits_stopped_until_that_has_drained(town: Town) -> None:
    orders, shipments = town.source.topic("orders"), town.source.topic("shipments")
    group = town.named("fulfilment")
    services = [
        town.service("one", produces=orders),
        town.service("two", produces=shipments),
        town.service("three", produces=shipments, reads={group: orders}),
    ]
    town.source.write(orders[0], 2)
    run = town.run(town.plan(services))
    to_the_cutover(run)
    [unit] = run.graph.readers
    assert (unit.held, unit.settles) == (("two",), (shipments[0].topic,))
    assert run.controllers["two"].observe().state is State.STOPPED
    assert side_of(run, "three") is Side.SOURCE

    town.source.write(shipments[0], 2)  # the processor's last
    town.read_all(group, orders)
    until_done(drained, run, service="three")
    switch.switch_consumers(run, unit=unit.name)
    running_on_target(run, "one", "two", "three")
    until_done(cutover, run, stage=unit.name)
    assert current_pass(run.records).points(unit.name)[-1].offsets == {shipments[0]: 2}

    # The same again finds everything done: a held producer that runs is not stopped a second time.
    before = town.state(run.plan)
    switch.hold(run, unit=unit.name)
    switch.switch_consumers(run, unit=unit.name)
    assert town.state(run.plan) == before


def test_held_producer_is_no_finding_of_the_next_preflight_and_stays_held(town: Town) -> None:
    orders, shipments = town.source.topic("orders"), town.source.topic("shipments")
    group = town.named("fulfilment")
    services = [
        town.service("one", produces=orders),
        town.service("two", produces=shipments),
        town.service("three", produces=shipments, reads={group: orders}),
    ]
    town.read_all(group, orders)
    run = town.run(town.plan(services))
    to_the_cutover(run)
    assert stopping(preflight(run)) == set()
    to_the_cutover(run)
    assert run.controllers["two"].observe().state is State.STOPPED


# -- killed or failed in between


def test_switch_killed_between_stop_configuration_and_start_is_finished_by_the_next_run(town: Town) -> None:
    orders = town.source.topic("orders")
    services = [town.service("one", produces=orders)]
    run = seeded(town, services)
    current = current_pass(run.records)
    one = run.controllers["one"]
    current.set_leaving("one", run.now())
    one.stop()
    one.configure(Side.TARGET)

    again = town.run(run.plan, run_id="second")
    assert stopping(preflight(again)) == set(), "it is stopped by this plan"
    switch.switch_producers(again, unit="one")
    running_on_target(again, "one")
    assert (current.switched("one") or {})["run_id"] == "second"


def test_file_that_was_changed_and_not_picked_up_is_no_move(town: Town) -> None:
    orders = town.source.topic("orders")
    run = seeded(town, [town.service("one", produces=orders)])
    run.controllers["one"].configure(Side.TARGET)
    assert side_of(run, "one") is Side.SOURCE
    switch.switch_producers(run, unit="one")
    running_on_target(run, "one")
    # The service itself writes it, a moment after it runs.
    eventually(lambda: [what for what, *_ in moves(town)] == ["stop", "start"], "the service to have started once")


def test_switched_service_is_left_alone_by_the_next_run(town: Town) -> None:
    orders = town.source.topic("orders")
    run = seeded(town, [town.service("one", produces=orders)])
    switch.switch_producers(run, unit="one")
    before = town.state(run.plan)
    report = switch.switch_producers(town.run(run.plan, run_id="second"), unit="one")
    assert not report.changes
    assert "nothing to do" in report.summary
    assert town.state(run.plan) == before
    assert (current_pass(run.records).switched("one") or {})["run_id"] == "first"


def test_service_that_does_not_come_back_stops_there_and_the_next_run_goes_on_when_it_is_mended(town: Town) -> None:
    orders = town.source.topic("orders")
    group = town.named("billing")
    services = [
        town.service("one", produces=orders, DIES_WITH=town.target.bootstrap_servers),
        town.service("two", reads={group: orders}),
    ]
    town.read_all(group, orders)
    run = seeded(town, services)
    with pytest.raises(ServiceNotBack) as caught:
        switch.switch_producers(run, unit="one")
    told = str(caught.value)
    assert "no route to" in told, "the end of its log"
    assert "To go back" in told
    assert "The next step does not start" in told
    assert current_pass(run.records).switched("one") is None
    assert side_of(run, "two") is Side.SOURCE

    town.daemon.env("one", KAFKA_BOOTSTRAP_SERVERS=town.target.bootstrap_servers)
    again = town.run(run.plan, run_id="second")
    assert stopping(preflight(again)) == set()
    switch.switch_producers(again, unit="one")
    running_on_target(again, "one")
    until_done(cutover, again, stage=FIRST_STAGE)


# -- seeds


def test_seed_deleted_before_the_consumers_switch_is_set_again_to_the_recorded_offset(town: Town) -> None:
    """What was written to the target meanwhile is read: nobody starts at the end of that moment."""
    [orders] = town.source.topic("orders")
    group = town.named("billing")
    town.source.write(orders, 3)
    town.read_all(group, [orders])
    run = town.run(
        town.plan(
            [town.service("one", produces=[orders]), town.service("two", reads={group: [orders]}, reset="latest")]
        )
    )
    to_the_cutover(run)
    written = town.target.write(orders, 4)
    town.target.cluster.admin.delete_consumer_groups([group])[group].result(timeout=30)
    assert committed(town.target.cluster, [group]) == {group: {}}

    until_done(drained, run, service="two")
    report = switch.switch_consumers(run, unit="two")
    assert f"seed of group {group} on the target" in {change.what for change in report.changes}
    with town.target.member(group, orders.topic, auto_offset_reset="latest") as consumer:
        read = [message.offset() for message in town.target.read_by(consumer, len(written))]
        consumer.commit(asynchronous=False)
        until_done(consuming, run, service="two")
    assert read == written
    assert stopping(coverage(run)) == set()


def test_group_that_is_active_on_the_target_is_not_switched_to_where_its_seed_cannot_be_set(town: Town) -> None:
    [orders] = town.source.topic("orders")
    group = town.named("billing")
    town.read_all(group, [orders])
    run = town.run(town.plan([town.service("one", produces=[orders]), town.service("two", reads={group: [orders]})]))
    to_the_cutover(run)
    until_done(drained, run, service="two")
    town.target.cluster.admin.delete_consumer_groups([group])[group].result(timeout=30)
    with town.target.member(group, orders.topic):
        before = town.state(run.plan)
        with pytest.raises(OffsetsRefused, match="active"):
            switch.switch_consumers(run, unit="two")
        assert town.state(run.plan) == before
    assert not current_pass(run.records).leaving("two")


def test_producers_do_not_move_before_every_group_has_its_seed(town: Town) -> None:
    orders = town.source.topic("orders")
    group = town.named("billing")
    run = town.run(town.plan([town.service("one", produces=orders), town.service("two", reads={group: orders})]))
    topics.create(run)
    with pytest.raises(Refused, match=group):
        switch.switch_producers(run, unit="one")
    assert side_of(run, "one") is Side.SOURCE


# -- refused


def test_group_that_has_not_drained_after_all_is_not_switched_and_nothing_is_changed(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(switch, "_LATE_DRAIN", 0.5)
    [orders] = town.source.topic("orders")
    group = town.named("billing")
    town.source.write(orders, 5)
    run = town.run(town.plan([town.service("one", produces=[orders]), town.service("two", reads={group: [orders]})]))
    to_the_cutover(run)
    town.read_all(group, [orders])
    until_done(drained, run, service="two")
    set_commits(town.source.cluster, {group: {orders: 2}})  # its owner has set it back, to read again
    before = town.state(run.plan)
    with pytest.raises(Refused, match="not drained to the cutover point") as caught:
        switch.switch_consumers(run, unit="two")
    assert group in str(caught.value)
    assert town.state(run.plan) == before
    assert side_of(run, "two") is Side.SOURCE
    assert not current_pass(run.records).leaving("two")

    town.read_all(group, [orders])
    switch.switch_consumers(run, unit="two")
    running_on_target(run, "two")


def test_consumers_are_not_switched_before_their_topics_have_a_cutover_point(town: Town) -> None:
    orders = town.source.topic("orders")
    group = town.named("billing")
    town.read_all(group, orders)
    run = seeded(town, [town.service("one", produces=orders), town.service("two", reads={group: orders})])
    before = town.state(run.plan)
    with pytest.raises(Refused, match="cutover"):
        switch.switch_consumers(run, unit="two")
    assert town.state(run.plan) == before


@pytest.mark.parametrize("closed", ["not_before", "not_after"])
def test_outside_the_change_window_no_step_moves_anything(town: Town, closed: str) -> None:
    orders, shipments = town.source.topic("orders"), town.source.topic("shipments")
    group = town.named("fulfilment")
    services = [
        town.service("one", produces=orders),
        town.service("two", produces=shipments),
        town.service("three", produces=shipments, reads={group: orders}),
    ]
    town.read_all(group, orders)
    ahead = timedelta(hours=1 if closed == "not_before" else -1)
    run = town.run(town.plan(services, window={closed: (datetime.now(UTC) + ahead).isoformat()}))
    before = town.state(run.plan)
    with pytest.raises(OutsideWindow, match="nothing was changed"):
        topics.create(run)
    assert not {t for t in topic_names(town.target.cluster) if run.plan.includes(t)}
    within = town.run(town.plan(services))
    topics.create(within)
    with pytest.raises(OutsideWindow):
        seeds.seed(run)
    assert town.state(run.plan)["target"]["commits"] == before["target"]["commits"] == {}
    seeds.seed(within)
    [unit] = run.graph.readers
    before = town.state(run.plan)
    with pytest.raises(OutsideWindow):
        switch.switch_producers(run, unit="one")
    with pytest.raises(OutsideWindow):
        switch.hold(run, unit=unit.name)
    assert town.state(run.plan) == before
    to_the_cutover(within)
    until_done(drained, within, service="three")
    before = town.state(run.plan)
    with pytest.raises(OutsideWindow):
        switch.switch_consumers(run, unit=unit.name)
    assert town.state(run.plan) == before
    assert side_of(run, "three") is Side.SOURCE
