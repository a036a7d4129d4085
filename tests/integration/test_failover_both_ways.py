"""A mirror that copies both ways, used: the source is killed, services follow, it returns, and they come back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest
from tests.conftest import RunningCluster
from tests.integration.scene import Daemon, MirroredLife, Town, answers, found, until_done, verify
from tests.integration.workbench import Workbench, eventually

from demo.connect import ConnectWorker
from demo.kafka import KafkaCluster
from kafka_migration.errors import FindingsFailed
from kafka_migration.findings import Status
from kafka_migration.groups.commits import committed, set_commits
from kafka_migration.mirror import positions
from kafka_migration.mirror.legs import Legs
from kafka_migration.mirror.rest import Connect, ConnectAccess
from kafka_migration.offsets import OffsetRange, TopicPartition, Which, read_offsets
from kafka_migration.plan.model import Plan
from kafka_migration.purposes import DRILL, FAILBACK, FAILOVER, MIRROR, VERIFY
from kafka_migration.report import StepReport
from kafka_migration.run import Run
from kafka_migration.sides import Side
from kafka_migration.steps import (
    bringing,
    closing,
    drill,
    failover,
    handover,
    keeping,
    mirroring,
    switch,
)
from kafka_migration.steps.both_copied import copied
from kafka_migration.steps.common import FLOW
from kafka_migration.visible import each_visible


@pytest.fixture(scope="module")
def lost(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    """A source of these tests' own: it is killed."""
    with KafkaCluster("lost-ways", tmp_path_factory.mktemp("lost")) as one:
        yield one


@pytest.fixture(scope="module")
def worker(target: RunningCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConnectWorker]:
    with ConnectWorker("forth", target.bootstrap_servers, tmp_path_factory.mktemp("connect") / "forth") as one:
        yield one


@pytest.fixture(scope="module")
def back(lost: KafkaCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConnectWorker]:
    with ConnectWorker("home", lost.bootstrap_servers, tmp_path_factory.mktemp("connect") / "home") as one:
        yield one


class LifeOnBoth(MirroredLife):
    """The same where each side's own topics are copied to the other, beside its own: whoever reads one reads both."""

    def _read(self, group: str, tp: TopicPartition, side: Side) -> int:
        bench, told = self._town.bench(side), []
        for one in (tp, copy_of(side.other, tp)):
            start = committed(bench.cluster, [group])[group].get(one, 0)
            end = read_offsets(bench.cluster, [one], Which.STABLE)[one]
            each_visible(bench.cluster, [OffsetRange(one, start, end)], lambda _, m: told.append(int(m.value())))
            if start < end:
                set_commits(bench.cluster, {group: {one: end}})
        self.read[group, tp.topic] += told
        return len(told)


def copy_of(side: Side, tp: TopicPartition) -> TopicPartition:
    """Where the copies of that side's topic lie on the other."""
    return replace(tp, topic=f"{side}.{tp.topic}")


@dataclass
class Ways:
    """`one` writes `a`; `two` reads `a` and writes `b`; `three` reads both. On the target others write `a`, too."""

    town: Town
    plan: Plan
    life: LifeOnBoth
    a: TopicPartition
    b: TopicPartition
    cluster: KafkaCluster

    def run(self, run_id: str, purpose: str, **keys: Any) -> Run:
        return self.town.run(self.plan, run_id, purpose, **keys)

    def others_write(self, count: int) -> None:
        """Into the target's own topic."""
        for _ in range(count):
            self.life._write(self.a.topic, Side.TARGET)

    def start(self) -> Run:
        """As `<plan>.mirror` does."""
        run = self.run("mirror", MIRROR)
        keeping.create_topics(run)
        keeping.start_mirror(run)
        return run

    def copied(self, *sides: Side) -> None:
        """Until all of these sides' own messages are on the other."""
        for side in sides or tuple(Side):
            for tp in (self.a, self.b):
                eventually(partial(self.is_copied, tp, side), f"copies of {tp} of the {side}", 60)

    def is_copied(self, tp: TopicPartition, side: Side) -> bool:
        return set(self.values(tp, side)) <= set(self.values(copy_of(side, tp), side.other))

    def note(self) -> None:
        """What the watch of the mirror notes with each look."""
        source, topic = self.town.source.cluster, positions.topic_of(self.plan)
        ends = read_offsets(source, [self.a, self.b], Which.END)
        copied = self.town.workers[Side.TARGET].positions(self.run("note", MIRROR).mirrors[Side.TARGET].name)
        positions.note(self.town.target.cluster, topic, committed(source, self.plan.groups), ends, copied, 1.0)

    def dies_with_a_tail(self, turns: int = 4) -> None:
        """The mirror to the target is held up, services go on, and then the source is killed while it runs."""
        mirror = self.run("hold", MIRROR).mirrors[Side.TARGET]
        mirror.stop()
        self.life.turns(turns)
        self.cluster.kill()
        mirror.resume()

    def returns(self) -> None:
        self.cluster.start()
        self.cluster.wait_ready()
        self.town.source = Workbench(self.cluster.bootstrap_servers)  # each task of a run has clients of its own
        eventually(lambda: answers(self.town.workers[Side.SOURCE]), "its Connect worker to be back", 120)

    def values(self, tp: TopicPartition, side: Side) -> list[int]:
        cluster, told = self.town.bench(side).cluster, []
        end = read_offsets(cluster, [tp], Which.STABLE)[tp]
        each_visible(cluster, [OffsetRange(tp, 0, end)], lambda _, m: told.append(int(m.value())))
        return told

    def repeated(self, group: str) -> int:
        """Messages that the group has read more than once."""
        return sum(n - 1 for topic in self.plan.groups[group].topics for n in self.times(group, topic).values())

    def times(self, group: str, topic: str) -> Counter[int]:
        return Counter(self.life.read[group, topic])


@pytest.fixture
def ways(
    lost: KafkaCluster, target: RunningCluster, daemon: Daemon, worker: ConnectWorker, back: ConnectWorker
) -> Iterator[Ways]:
    if not lost.running:
        lost.start()
        lost.wait_ready()
    with Town.of(lost.bootstrap_servers, target.bootstrap_servers, daemon) as town:
        town.workers[Side.TARGET] = Connect(ConnectAccess(worker.url))
        town.workers[Side.SOURCE] = Connect(ConnectAccess(back.url))
        [a], [b] = town.topic(town.named("a")), town.topic(town.named("b"))
        services = [
            town.service("one", [a]),
            town.service("two", [b], {town.named("g2"): [a]}),
            town.service("three", (), {town.named("g3"): [a, b]}),
        ]
        for service in services:
            for consumes in service.get("consumes", ()):
                consumes["subscription"] = rf"((source|target)\.)?[ab]-{town.suffix}"
        mirror = {"connection": "c", "back": "b", "ways": "both_ways", "properties": {"offset.lag.max": 3}}
        plan = town.plan(services, scheme="mirror", mirror=mirror)
        ways = Ways(town, plan, LifeOnBoth(town, plan), a, b, lost)
        ways.start()
        yield ways
        if not lost.running:
            lost.start()
            lost.wait_ready()
        for one in town.run(plan).mirrors.values():
            one.remove()


def fail_over(run: Run) -> dict[str, StepReport]:
    """The steps of the DAG, in its order."""
    reports = {"look": failover.look(run), "stop": failover.stop(run), "groups": failover.set_groups(run)}
    for unit in run.graph.producers:
        switch.switch_producers(run, unit=unit.name)
    for unit in run.graph.readers:
        handover.start(run, unit=unit.name)
    reports["end"] = closing.closing_look(run)
    assert [f.id for f in reports["end"].findings if f.stops] == []
    closing.finish(run)
    return reports


def come_home(run: Run, ways: Ways, meanwhile: Callable[[], object] | None = None) -> dict[str, StepReport]:
    """The steps of the DAG, in its order. `meanwhile`: what goes on while services are handed over."""
    there, turn = run.headed(Side.TARGET), None if run.dry_run else ways.life.turn
    reports = {"look": bringing.look(run), "begin": bringing.begin(run)}
    mirroring.start(run)
    for way in (run, there):
        until_done(mirroring.caught_up, way, 60, turn)
    reports["rehearse"] = handover.rehearse(run)
    handover.stop_writers(run)
    for way in (run, there):
        until_done(copied, way, 60)
    for unit in run.graph.producers:
        switch.switch_producers(run, unit=unit.name)
    for unit in run.graph.readers:
        if meanwhile:
            meanwhile()
        reports[unit.name] = handover.hand_over(run, unit=unit.name)
    reports["end"] = closing.closing_look(run)
    assert [f.id for f in reports["end"].findings if f.stops] == []
    closing.finish(run)
    return reports


def test_groups_of_both_names_skip_nothing_over_a_failover_and_repeat_no_more_than_was_told(ways: Ways) -> None:
    g2, g3 = ways.town.named("g2"), ways.town.named("g3")
    ways.life.turns(6)
    ways.others_write(5)
    ways.copied()
    ways.life.turns(2)
    ways.copied()
    ways.note()
    ways.others_write(2)
    ways.copied()
    ways.life.turns(2)  # what groups read from here on nobody has noted
    ways.copied()
    ways.dies_with_a_tail()
    ways.others_write(3)
    dry = ways.run("dry", FAILOVER, dry_run=True)
    for step in (failover.look, failover.stop, failover.set_groups):
        step(dry)
    assert not committed(ways.town.target.cluster, [g2])[g2]
    assert dry.records.get(FLOW) is None
    run = ways.run("over", FAILOVER)
    reports = fail_over(run)
    assert found(reports["look"], "failover-source/all").status is Status.PASS
    assert run.mirrors[Side.TARGET].state() == "STOPPED"
    there = committed(ways.town.target.cluster, [g2])[g2]
    assert there.keys() == {ways.a, copy_of(Side.SOURCE, ways.a)}, "it goes on in both"
    ways.others_write(2)
    ways.life.turns(3)
    told = reports["groups"].data["announced"]
    for group in (g2, g3):
        for tp in (ways.a, ways.b):
            if tp.topic in ways.plan.groups[group].topics:
                everything = {*ways.values(tp, Side.TARGET), *ways.values(copy_of(Side.SOURCE, tp), Side.TARGET)}
                assert everything <= set(ways.life.read[group, tp.topic]), "nothing is skipped"
        assert 0 < ways.repeated(group) <= told[group]
    stood = committed(ways.town.target.cluster, [g2, g3]), ways.town.daemon.journal()
    fail_over(ways.run("again", FAILOVER))
    assert (committed(ways.town.target.cluster, [g2, g3]), ways.town.daemon.journal()) == stood

    before_return = ways.values(copy_of(Side.SOURCE, ways.a), Side.TARGET)
    ways.returns()
    ways.copied(Side.TARGET)  # the way back goes on by itself: names keep it apart
    assert run.mirrors[Side.TARGET].state() == "STOPPED"
    assert ways.values(copy_of(Side.SOURCE, ways.a), Side.TARGET) == before_return, "nothing is mixed in"
    assert "stands back" in keeping.start_mirror(ways.run("kept", MIRROR)).summary
    assert run.records.get(FLOW)

    before = ways.town.state(ways.plan)
    come_home(ways.run("dry", FAILBACK, dry_run=True), ways)
    assert (ways.town.state(ways.plan), run.mirrors[Side.TARGET].state()) == (before, "STOPPED")
    repeated = {group: ways.repeated(group) for group in (g2, g3)}
    reports = come_home(ways.run("back", FAILBACK), ways)
    tails = {f.id: f.seen for f in reports["look"].findings if f.id.startswith("tail/")}
    assert tails.keys() == {f"tail/{ways.a}", f"tail/{ways.b}"}
    assert reports["begin"].data["tail"]["messages"] == 4 + 4
    assert not [f for key in ("two", "three") for f in reports[key].findings if f.status is not Status.PASS]
    before = ways.town.state(ways.plan)
    come_home(ways.run("home again", FAILBACK), ways)
    assert ways.town.state(ways.plan) == before
    ways.others_write(2)
    ways.life.turns(3)
    ways.copied()
    ways.life.finish()
    for (group, topic), read in ways.life.read.items():
        assert set(read) == set(ways.life.written[topic]), f"{group} on {topic}: also what had not been copied"
    again = reports["begin"].data["announced"]
    for group in (g2, g3):  # of what they had read before the source was lost; coming home itself repeats nothing
        assert ways.repeated(group) - repeated[group] <= again[group]
    assert run.records.get(FLOW) is None
    states = {side: run.mirrors[side].state() for side in Side}
    assert states == dict.fromkeys(Side, "RUNNING"), "both are kept"
    for side in Side:  # as the verification that a failback with PASS sets off, before the mirror's next run
        report = verify(ways.run("verify", VERIFY).headed(side))
        assert found(report, f"content/{copy_of(side.other, ways.a).topic}").status is Status.PASS
        assert report.data["compared"]["messages"] > 0
    assert ways.run("mirror", MIRROR).current.number == 2
    ways.start()
    for side in Side:
        own = ways.values(ways.a, side)
        assert ways.values(copy_of(side, ways.a), side.other) == own, "copied once, in order, under its own name"
    assert [leg.heading for leg in Legs(run.records).all()] == [Side.TARGET, Side.SOURCE, Side.TARGET]


def test_services_come_home_while_others_go_on_writing_there_and_by_attempts_that_were_interrupted(ways: Ways) -> None:
    ways.life.turns(4)
    ways.others_write(3)
    ways.copied()
    ways.life.turns(1)
    ways.copied()
    ways.note()
    told = fail_over(ways.run("over", FAILOVER))["groups"].data["announced"]  # declared lost: it answers
    ways.life.turns(2)
    repeated = {group: ways.repeated(group) for group in ways.plan.groups}
    assert all(again <= told[group] for group, again in repeated.items())
    first = ways.run("back", FAILBACK)
    bringing.look(first)
    bringing.begin(first)
    mirroring.start(first)
    with pytest.raises(FindingsFailed, match="a failback has begun"):
        failover.look(ways.run("over again", FAILOVER))
    handover.stop_writers(first)
    ways.life.idle |= set(ways.plan.groups)  # they stand in the middle of what is there
    ways.others_write(4)
    come_home(ways.run("back again", FAILBACK), ways, lambda: ways.others_write(1))
    ways.life.idle.clear()
    ways.life.turns(2)
    ways.copied()
    ways.life.finish()
    for (group, topic), read in ways.life.read.items():
        assert set(read) == set(ways.life.written[topic]), f"{group} on {topic}"
    assert {group: ways.repeated(group) for group in ways.plan.groups} == repeated, "coming home repeats nothing"


def test_drill_of_both_names_is_judged_by_the_source_and_leaves_no_trace(ways: Ways) -> None:
    g2 = ways.town.named("g2")
    ways.life.turns(4)
    ways.others_write(4)
    ways.copied()
    ways.life.turns(2)
    ways.copied()
    ways.note()
    ways.life.turns(3)
    ways.others_write(3)
    ways.copied()
    before = ways.town.state(ways.plan)
    run = ways.run("drill", DRILL)
    assert not any(f.stops for f in drill.look(run).findings)
    report = drill.drill(run)
    told = report.data["drill"]
    assert told["unmirrored"] == 0
    skips = found(report, "drill-skips/none")
    assert (skips.status, skips.seen) == (Status.PASS, "of 5 positions that the source could prove none skips")
    assert 3 <= told["again"][g2] <= report.data["announced"][g2], "it has read three messages since it was noted"
    assert ways.town.state(ways.plan) == before
    topic, ahead = positions.topic_of(ways.plan), {g2: {copy_of(Side.TARGET, ways.a): 4, ways.a: 0}}
    positions.note(ways.town.target.cluster, topic, ahead, {}, {}, 1.0)
    set_commits(ways.town.source.cluster, {g2: {copy_of(Side.TARGET, ways.a): 0}})  # somebody has wound it back since
    with pytest.raises(FindingsFailed, match=f"drill-skips/{g2}/{ways.a}"):
        drill.drill(ways.run("wound back", DRILL))
