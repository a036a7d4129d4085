"""A rollback of producers_first by a mirror to the source, on a real Connect worker: nobody has to run on the target.

From wherever the migration stands each group reads every message once and in the order in which it was written: on the
source what was there, then what was produced on the target meanwhile, then what the returned producers write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from tests.conftest import RunningCluster
from tests.integration.scene import Daemon, MirroredLife, Town, found, move, move_all, to_the_cutover, until_done
from tests.integration.workbench import eventually

from demo.connect import ConnectWorker
from kafka_migration.errors import FindingsFailed, Refused
from kafka_migration.findings import Status
from kafka_migration.mirror.legs import Legs
from kafka_migration.mirror.rest import Connect, ConnectAccess
from kafka_migration.offsets import TopicPartition
from kafka_migration.passes import last_pass
from kafka_migration.plan.model import Plan
from kafka_migration.purposes import ROLLBACK
from kafka_migration.report import StepReport
from kafka_migration.run import Run
from kafka_migration.services.controller import State
from kafka_migration.sides import Side
from kafka_migration.steps import back as drained_back
from kafka_migration.steps import bringing, closing, content, handover, mirroring, questions, seeds, switch, topics
from kafka_migration.steps.cutover import cutover
from kafka_migration.steps.preflight import preflight_report


@pytest.fixture(scope="module")
def worker(source: RunningCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConnectWorker]:
    with ConnectWorker("home", source.bootstrap_servers, tmp_path_factory.mktemp("connect") / "home") as one:
        yield one


@dataclass
class Shop:
    """Two writers, a processor of what the first writes, a reader of everything, and one of what the second writes.

    one -> orders -> three -> shipments; two -> payments; four reads all of them, five only payments.
    """

    town: Town
    plan: Plan
    life: MirroredLife
    orders: TopicPartition
    payments: TopicPartition

    def migration(self, run_id: str = "first") -> Run:
        return self.town.run(self.plan, run_id)

    def rollback(self, run_id: str = "back", dry_run: bool = False) -> Run:
        return self.town.run(self.plan, run_id, ROLLBACK, dry_run=dry_run)

    def without_mirror(self) -> Plan:
        return self.plan.model_validate({**self.plan.model_dump(exclude_unset=True), "mirror": None})

    def sides(self) -> dict[str, Side | None]:
        return {name: one.observe().side for name, one in self.rollback().controllers.items()}

    def starts(self, program: str) -> int:
        return [(what, name) for what, name, _ in self.town.daemon.journal()].count(("start", program))

    def everything_was_read_once_and_in_order(self) -> None:
        self.life.turns(2)
        self.life.finish()
        assert self.life.read == {(group, topic): self.life.written[topic] for group, topic in self.life.read}
        assert all(self.life.written.values())


@pytest.fixture
def shop(source: RunningCluster, target: RunningCluster, daemon: Daemon, worker: ConnectWorker) -> Iterator[Shop]:
    with Town.of(source.bootstrap_servers, target.bootstrap_servers, daemon) as town:
        town.workers[Side.SOURCE] = Connect(ConnectAccess(worker.url))
        [orders], [payments] = town.topic(town.named("orders")), town.topic(town.named("payments"))
        [shipments] = town.topic(town.named("shipments"))
        services = [
            town.service("one", produces=[orders]),
            town.service("two", produces=[payments]),
            town.service("three", produces=[shipments], reads={town.named("three"): [orders]}),
            town.service("four", reads={town.named("four"): [orders, payments, shipments]}),
            town.service("five", reads={town.named("five"): [payments]}),
        ]
        plan = town.plan(services, mirror={"back": "connect", "properties": {"offset.lag.max": 10}})
        life = MirroredLife(town, plan)
        life.turns(3)
        yield Shop(town, plan, life, orders, payments)
        for mirror in town.run(plan).mirrors.values():
            mirror.remove()


def until_the_mirror_has_ended(run: Run, life: MirroredLife) -> dict[str, StepReport]:
    reports = {"preflight": bringing.look(run), "begin": bringing.begin(run), "start_mirror": mirroring.start(run)}
    until_done(mirroring.caught_up, run, meanwhile=life.turn)
    handover.rehearse(run)
    handover.stop_writers(run)
    for stage in run.graph.stages:
        until_done(cutover, run, meanwhile=life.turn, stage=stage)
    reports["stop_mirror"] = until_done(mirroring.stop_mirror, run, meanwhile=life.turn)
    return reports


def bring_home(run: Run, life: MirroredLife) -> dict[str, StepReport]:
    """The whole way back with the services at work, its steps in the order of the DAG. It ends with PASS."""
    reports = until_the_mirror_has_ended(run, life)
    for unit in run.graph.producers:
        switch.switch_producers(run, unit=unit.name)
        life.turn()
    for unit in run.graph.readers:
        reports[unit.name] = handover.hand_over(run, unit=unit.name)
        life.turn()
    reports["compare_content"] = content.compare(run)
    assert all(not finding.stops for finding in closing.closing_look(run).findings)
    closing.finish(run)
    life.turn()
    return reports


def nothing(shop: Shop) -> None:
    topics.create(shop.migration())
    seeds.seed(shop.migration())


def some_producers(shop: Shop) -> None:
    nothing(shop)
    switch.switch_producers(shop.migration(), unit="one")


def producers(shop: Shop) -> None:
    to_the_cutover(shop.migration(), shop.life)


def some_consumers(shop: Shop) -> None:
    """One of them far behind on the target, and idle there."""
    producers(shop)
    run = shop.migration()
    for name in ("three", "five"):
        move(run, run.graph.unit(name), shop.life)
        shop.life.turn()
    shop.life.idle.add(shop.town.named("five"))


def everything(shop: Shop) -> None:
    move_all(shop.migration(), shop.life)


@pytest.mark.parametrize("moved", [nothing, some_producers, some_consumers, everything])
def test_taken_back_from_anywhere(shop: Shop, moved: Callable[[Shop], None]) -> None:
    moved(shop)
    shop.life.turns(3)
    bring_home(shop.rollback(), shop.life)
    assert set(shop.sides().values()) == {Side.SOURCE}
    shop.everything_was_read_once_and_in_order()


def test_consumers_that_have_not_left_read_on_and_nobody_touches_them(shop: Shop) -> None:
    producers(shop)
    shop.life.turns(2)
    there = shop.life.committed(Side.TARGET)
    run = shop.rollback()
    brought = shop.life.end(shop.payments.topic, Side.TARGET)
    assert brought > 0
    asked = questions.bring_back(shop.town.run(approving(shop.plan), "back", ROLLBACK))
    assert asked is not None
    assert "The plan names a mirror to the source (`mirror: back`)" in asked
    assert "| five | running on the source" in asked
    reports = bring_home(run, shop.life)
    assert reports["begin"].data["stays"] == ["five", "four", "three"]
    assert {name: shop.starts(name) for name in ("three", "four", "five")} == {"three": 1, "four": 1, "five": 1}
    assert shop.life.committed(Side.TARGET) == there
    assert reports["compare_content"].data["compared"]["messages"] > 0
    assert set(shop.sides().values()) == {Side.SOURCE}
    # Seeded and never used there: what was brought home is not unread for the next migration, and no more than that.
    assert not [f for f in preflight_report(shop.migration("again")).findings if f.id.startswith("target-unread")]
    shop.everything_was_read_once_and_in_order()
    shop.town.target.write(shop.payments)
    told = {f.id: f.status for f in preflight_report(shop.migration("again")).findings}
    assert told[f"target-unread/{shop.town.named('five')}"] is Status.FAIL


def test_second_rollback_brings_home_only_what_its_own_pass_has_written(shop: Shop) -> None:
    """Also of a topic that was deleted on the target in between, and made anew; and where the pass has written nothing.

    What the target has of the first pass is then not the last that the source has.
    """
    producers(shop)
    shop.life.turns(3)
    bring_home(shop.rollback(), shop.life)
    shop.life.turns(2)
    admin = shop.town.target.cluster.admin
    admin.delete_topics([shop.payments.topic])[shop.payments.topic].result(timeout=30)
    eventually(lambda: shop.payments.topic not in admin.list_topics(timeout=10).topics, "the topic to be gone")
    shop.life.silent.add("one")
    move_all(shop.migration("again"), shop.life)
    shop.life.turns(2)
    shop.life.idle.add(shop.town.named("four"))
    first = Legs(shop.town.records).last()
    starts = last_pass(shop.town.records).note_offsets("target_starts")
    bring_home(shop.rollback("back again"), shop.life)
    leg = Legs(shop.town.records).last()
    assert first is not None
    assert leg is not None
    assert (first.number, leg.number) == (0, 1)
    assert leg.begin == starts
    assert leg.begin[shop.payments] == 0
    assert leg.begin[shop.orders] > first.begin[shop.orders]
    shop.life.idle.clear()
    shop.everything_was_read_once_and_in_order()


def test_repeated_and_finished_it_changes_nothing(shop: Shop) -> None:
    some_consumers(shop)
    shop.life.idle.clear()
    until_the_mirror_has_ended(shop.rollback(), shop.life)  # and killed there
    for unit in ("one", "two"):
        switch.switch_producers(shop.rollback(), unit=unit)
    shop.life.turn()
    reports = bring_home(shop.rollback("second"), shop.life)
    assert not reports["begin"].changes, "who has returned is not stopped again"
    shop.life.finish()
    before = shop.town.state(shop.plan)
    reports = bring_home(shop.rollback("third"), shop.life)
    assert shop.town.state(shop.plan) == before
    assert "run second has taken this migration back" in reports["begin"].summary
    shop.everything_was_read_once_and_in_order()


def test_dry_run_shows_the_way_and_changes_nothing(shop: Shop) -> None:
    producers(shop)
    before = shop.town.state(shop.plan)
    run = shop.rollback(dry_run=True)
    report = bringing.look(run)
    rows = {row[0]: row[2] for row in report.tables[0].rows}
    assert rows["one"] == "stops, and starts on the source when all is brought home"
    assert rows["four"] == "stays, and reads there what is brought home"
    bringing.begin(run)
    mirroring.start(run)
    for step in (mirroring.caught_up, mirroring.stop_mirror):
        until_done(step, run)
    handover.rehearse(run)
    handover.stop_writers(run)
    for unit in run.graph.producers:
        switch.switch_producers(run, unit=unit.name)
    for unit in run.graph.readers:
        handover.hand_over(run, unit=unit.name)
    content.compare(run)
    assert shop.town.state(shop.plan) == before
    assert shop.rollback().way_back.note("stays") is None
    assert not shop.town.workers[Side.SOURCE].connectors()


def test_service_that_comes_to_life_on_the_target_behind_the_back_of_the_rollback_leaves_nothing_behind(
    shop: Shop,
) -> None:
    some_producers(shop)
    shop.life.turns(2)
    run = shop.rollback()
    assert bringing.begin(run).data["brought"] == [shop.orders.topic]
    mirroring.start(run)
    shop.life._write(shop.payments.topic, Side.TARGET)
    handover.stop_writers(run)
    for stage in run.graph.stages:
        until_done(cutover, run, stage=stage)
    with pytest.raises(Refused, match=r"they would be left behind\. Clear the task `begin`"):
        until_done(mirroring.stop_mirror, run)
    assert bringing.begin(run).data["brought"] == sorted([shop.orders.topic, shop.payments.topic])
    assert run.controllers["two"].observe().state is State.STOPPED, "its topic must end before the copies come"
    bring_home(run, shop.life)
    shop.everything_was_read_once_and_in_order()


def test_way_that_was_begun_is_the_way_to_the_end(shop: Shop) -> None:
    """Who reads on the target what was copied home would read it twice."""
    producers(shop)
    shop.life.turns(2)
    with_mirror = shop.rollback()
    bringing.begin(with_mirror)
    with pytest.raises(FindingsFailed) as refused:
        drained_back.look(shop.town.run(shop.without_mirror(), "other", ROLLBACK))
    assert found(refused.value.report, "rollback-mirror/begun").status is Status.FAIL


def test_drained_way_that_has_sent_producers_home_is_not_ended_by_a_mirror(shop: Shop) -> None:
    producers(shop)
    without = shop.town.run(shop.without_mirror(), "back", ROLLBACK)
    drained_back.begin(without)
    for unit in without.graph.producers:
        switch.switch_producers(without, unit=unit.name)
    with pytest.raises(FindingsFailed) as refused:
        bringing.look(shop.rollback("other"))
    assert found(refused.value.report, "rollback-mirror/begun").status is Status.FAIL


def test_mirror_that_is_named_when_consumers_could_not_go_forth_takes_it_from_there(shop: Shop) -> None:
    """One had gone to the target for what is there, the others had not, and are behind on the source."""
    shop.life.idle |= {shop.town.named("four"), shop.town.named("three")}
    shop.life.turn()
    producers(shop)
    shop.life.turns(2)
    without = shop.town.run(shop.without_mirror(), "back", ROLLBACK)
    assert drained_back.begin(without).data["stays"] == []
    move(without.headed(Side.TARGET), without.graph.unit("five"), shop.life)
    shop.life.turn()
    reports = bring_home(shop.rollback("with a mirror"), shop.life)
    assert reports["begin"].data["stays"] == ["four", "three"]
    shop.everything_was_read_once_and_in_order()


def test_without_a_mirror_the_way_back_says_what_one_would_do(shop: Shop) -> None:
    producers(shop)
    shop.life.turns(1)
    report = drained_back.look(shop.town.run(shop.without_mirror(), "back", ROLLBACK))
    [note] = [note for note in report.notes if "mirror" in note]
    assert note.startswith("three, four, five has to run on the target")


def approving(plan: Plan) -> Plan:
    return plan.model_validate({**plan.model_dump(exclude_unset=True), "approvals": ["rollback"]})
