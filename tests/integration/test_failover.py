"""A mirror that is kept, used: the source is killed, services follow, it returns with its tail, and they come back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from confluent_kafka import Producer
from tests.conftest import RunningCluster
from tests.integration.copying import visible
from tests.integration.scene import Daemon, MirroredLife, Town, answers, found, until_done
from tests.integration.workbench import Workbench, eventually

from demo.connect import ConnectWorker
from demo.kafka import KafkaCluster
from demo.waiting import patience
from kafka_migration.errors import FindingsFailed, Refused
from kafka_migration.findings import Status
from kafka_migration.groups.commits import committed
from kafka_migration.mirror import positions
from kafka_migration.mirror.legs import Legs
from kafka_migration.mirror.rest import Connect, ConnectAccess
from kafka_migration.offsets import TopicPartition, Which, read_offsets
from kafka_migration.plan.model import Plan
from kafka_migration.purposes import DRILL, FAILBACK, FAILOVER, MIRROR
from kafka_migration.report import StepReport
from kafka_migration.run import Run
from kafka_migration.sides import Side
from kafka_migration.steps import (
    bringing,
    closing,
    content,
    drill,
    failover,
    handover,
    mirroring,
    questions,
    switch,
    tail,
    topics,
)
from kafka_migration.steps.common import FLOW
from kafka_migration.steps.cutover import cutover
from kafka_migration.topics.create import add_partitions


@pytest.fixture(scope="module")
def lost(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    """A source of these tests' own: it is killed."""
    with KafkaCluster("lost", tmp_path_factory.mktemp("lost")) as one:
        yield one


@pytest.fixture(scope="module")
def worker(target: RunningCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConnectWorker]:
    with ConnectWorker("kept", target.bootstrap_servers, tmp_path_factory.mktemp("connect") / "kept") as one:
        yield one


@pytest.fixture(scope="module")
def back(lost: KafkaCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConnectWorker]:
    with ConnectWorker("lost", lost.bootstrap_servers, tmp_path_factory.mktemp("connect") / "lost") as one:
        yield one


@dataclass
class Kept:
    """`one` writes `a`; `two` reads `a` and writes `b`; `three` reads both, and may be idle."""

    town: Town
    plan: Plan
    life: MirroredLife
    a: TopicPartition
    b: TopicPartition
    cluster: KafkaCluster

    def run(self, run_id: str, purpose: str, **keys: Any) -> Run:
        return self.town.run(self.plan, run_id, purpose, **keys)

    def with_tail(self, what: str) -> None:
        assert self.plan.mirror is not None
        mirror = self.plan.mirror.model_copy(update={"tail": what})
        self.plan = self.plan.model_copy(update={"mirror": mirror})

    def mirror(self, run_id: str = "mirror") -> Run:
        """Start it and wait until everything is copied."""
        run = self.run(run_id, MIRROR)
        topics.create(run)
        mirroring.start(run)
        until_done(mirroring.caught_up, run)
        self.copied()
        positions.make(self.town.target.cluster, positions.topic_of(self.plan))
        return run

    def copied(self) -> None:
        for tp in (self.a, self.b):
            eventually(
                lambda tp=tp: (
                    {m.value() for m in visible(self.town.source, tp)}
                    <= {m.value() for m in visible(self.town.target, tp)}
                ),
                f"copies of {tp}",
                60,
            )

    def note(self) -> None:
        """What the watch of the mirror notes with each look."""
        source, topic = self.town.source.cluster, positions.topic_of(self.plan)
        run = self.run("note", MIRROR)
        ends = read_offsets(source, [self.a, self.b], Which.END)
        copied = self.town.workers[Side.TARGET].positions(run.mirrors[Side.TARGET].name)
        positions.note(self.town.target.cluster, topic, committed(source, self.plan.groups), ends, copied, run.now())

    def dies_with_a_tail(self, turns: int = 4) -> None:
        """The mirror is held up, services go on, and then the source is killed while the mirror runs."""
        mirror = self.run("hold", MIRROR).mirrors[Side.TARGET]
        mirror.stop()
        self.life.turns(turns)
        opened = _open_transaction(self.town.source, self.a)
        self.cluster.kill()
        del opened
        mirror.resume()

    def returns(self) -> None:
        self.cluster.start()
        self.cluster.wait_ready()
        self.town.source = Workbench(self.cluster.bootstrap_servers)  # each task of a run has clients of its own
        eventually(lambda: answers(self.town.workers[Side.SOURCE]), "its Connect worker to be back", 120)

    def values(self, tp: TopicPartition, side: Side) -> list[int]:
        return [int(m.value()) for m in visible(self.town.bench(side), tp)]


def _open_transaction(bench: Workbench, tp: TopicPartition) -> Producer:
    """One that is never ended: whoever wrote it dies with the cluster."""
    settings = {"transactional.id": f"dies-{tp.topic}", "transaction.timeout.ms": 5000}
    producer = Producer({"bootstrap.servers": bench.bootstrap_servers, **settings})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(tp.topic, b"-1", partition=tp.partition)
    producer.flush(30)
    return producer


@pytest.fixture
def kept(
    lost: KafkaCluster, target: RunningCluster, daemon: Daemon, worker: ConnectWorker, back: ConnectWorker
) -> Iterator[Kept]:
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
        plan = town.plan(
            services,
            scheme="mirror",
            mirror={"connection": "c", "back": "b", "tail": "copy", "properties": {"offset.lag.max": 3}},
        )
        life = MirroredLife(town, plan)
        life.turns(6)
        yield Kept(town, plan, life, a, b, lost)
        for mirror in town.run(plan).mirrors.values():
            mirror.remove()


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


def come_back(run: Run, life: MirroredLife) -> dict[str, StepReport]:
    """The steps of the DAG, in its order."""
    reports = {"look": bringing.look(run), "begin": bringing.begin(run)}
    reports["tail"] = until_done(tail.tail, run.headed(Side.TARGET), 60, life.turn)
    tail.start_mirror(run)
    until_done(mirroring.caught_up, run, 60, life.turn)
    until_done(tail.past_failover, run, 60, life.turn)
    reports["rehearse"] = handover.rehearse(run)
    handover.stop_writers(run)
    for stage in run.graph.stages:
        until_done(cutover, run, 60, stage=stage)
    reports["mirror"] = until_done(mirroring.stop_mirror, run, 60)
    for unit in run.graph.producers:
        switch.switch_producers(run, unit=unit.name)
    for unit in run.graph.readers:
        handover.hand_over(run, unit=unit.name)
    reports["content"] = content.compare(run)
    reports["before"] = content.compare_followed(run.headed(Side.TARGET))
    reports["end"] = closing.closing_look(run)
    assert [f.id for f in reports["end"].findings if f.stops] == []
    closing.finish(run)
    return reports


def test_nothing_is_lost_over_a_failover_and_the_way_back_and_no_more_is_repeated_than_was_told(kept: Kept) -> None:
    g2, g3 = kept.town.named("g2"), kept.town.named("g3")
    kept.mirror()
    kept.life.idle.add(g3)  # far behind when the source dies
    kept.life.turns(3)
    kept.copied()
    kept.note()
    kept.life.turns(2)  # what groups read from here on nobody has noted
    kept.copied()
    kept.dies_with_a_tail()
    before = {key: len(read) for key, read in kept.life.read.items()}
    run = kept.run("over", FAILOVER)
    reports = fail_over(run)
    assert found(reports["look"], "failover-source/all").status is Status.PASS
    assert run.mirrors[Side.TARGET].state() == "STOPPED", "it would go on when the source returns"
    kept.life.idle.clear()
    kept.life.turns(3)
    told = reports["groups"].data["announced"]
    for group in (g2, g3):
        again = sum(
            n - 1 for topic in kept.plan.groups[group].topics for n in Counter(kept.life.read[group, topic]).values()
        )
        assert again <= told[group]
    assert kept.life.read[g2, kept.a.topic][before[g2, kept.a.topic] :][0] == 9, "the first that was not noted as read"

    kept.returns()
    lost_there = kept.values(kept.a, Side.SOURCE)
    assert run.mirrors[Side.TARGET].state() == "STOPPED"
    assert kept.values(kept.a, Side.TARGET)[:11] == list(range(11)), "nothing was mixed in"
    reports = come_back(kept.run("back", FAILBACK), kept.life)
    assert reports["tail"].data["tail"]["messages"] == 4 + 4
    assert reports["before"].data["compared"]["messages"] == 11 + 11, "all that was copied until the failover"
    told = {f.id for f in reports["look"].findings if f.id.startswith("tail/")}
    assert told - {"tail/open"} == {f"tail/{kept.a}", f"tail/{kept.b}"}, "whether its transaction is open still or not"
    kept.life.turns(2)
    kept.life.finish()
    for (group, topic), read in kept.life.read.items():
        assert set(read) == set(kept.life.written[topic]), f"{group} on {topic}"
    here, there = kept.values(kept.a, Side.SOURCE), kept.values(kept.a, Side.TARGET)
    assert here[: len(lost_there)] == lost_there, "the source keeps what it had"
    followed = there[11:]  # what was written on the target, the copied tail among it
    assert here[len(lost_there) :][: len(followed)] == followed, "and nothing older has come back"
    assert kept.run("x", MIRROR).records.get(FLOW) is None

    kept.mirror("again")
    assert kept.values(kept.a, Side.TARGET)[: len(there)] == there, "what came home is not copied once more"
    assert sorted(set(kept.values(kept.a, Side.TARGET))) == kept.life.written[kept.a.topic]
    assert [leg.heading for leg in Legs(run.records).all()] == [Side.TARGET, Side.SOURCE, Side.TARGET]


def test_tail_that_is_kept_stays_on_the_source_and_is_told_and_no_group_reads_it(kept: Kept) -> None:
    kept.with_tail("keep")
    kept.mirror()
    kept.note()
    written = {topic: len(all_of) for topic, all_of in kept.life.written.items()}
    kept.life.idle |= set(kept.plan.groups)
    kept.dies_with_a_tail()
    kept.life.idle.clear()
    fail_over(kept.run("over", FAILOVER))
    kept.life.turns(2)
    kept.returns()
    reports = come_back(kept.run("back", FAILBACK), kept.life)
    [row] = reports["tail"].data["tail"]["ranges"]
    assert (row["topic"], row["messages"], row["target_start"]) == (kept.a.topic, 4, None)
    kept.life.finish()
    lost = set(range(written[kept.a.topic], written[kept.a.topic] + 4))
    for (group, topic), read in kept.life.read.items():
        assert set(read) == set(kept.life.written[topic]) - (lost if topic == kept.a.topic else set()), group
    assert lost < set(kept.values(kept.a, Side.SOURCE)), "it is still there"
    assert not lost & set(kept.values(kept.a, Side.TARGET)), "and never silently mixed in"


def test_partition_that_came_since_the_mirror_was_looked_after_is_read_from_its_start(kept: Kept) -> None:
    kept.mirror()
    kept.note()
    for side in Side:
        add_partitions(kept.town.bench(side).cluster, {kept.a.topic: 2})
    new = TopicPartition(kept.a.topic, 1)
    groups = {m.group: (m.known, m.offset) for m in failover._mapped(kept.run("over", FAILOVER)) if m.partition == new}
    assert groups == {kept.town.named(name): (None, 0) for name in ("g2", "g3")}, "wherever `auto.offset.reset` points"


def test_failover_run_again_changes_nothing_and_a_source_that_answers_is_asked_about(kept: Kept) -> None:
    with pytest.raises(FindingsFailed, match="nothing is mirrored yet"):
        failover.look(kept.run("early", FAILOVER))
    kept.mirror()
    kept.note()
    dry = kept.run("dry", FAILOVER, dry_run=True)
    before = kept.town.state(kept.plan)
    for step in (failover.look, failover.stop, failover.set_groups):
        step(dry)
    assert kept.town.state(kept.plan) == before
    assert dry.mirrors[Side.TARGET].state() == "RUNNING"
    run = kept.run("over", FAILOVER)
    asked = questions.failover(run)
    assert asked is not None
    assert "The source answers" in asked
    assert found(failover.look(run), "failover-source/all").status is Status.WARN
    with pytest.raises(Refused, match="has not been stopped yet"):
        failover.set_groups(run)
    fail_over(run)
    kept.life.turns(2)
    before = kept.town.state(kept.plan)
    fail_over(kept.run("again", FAILOVER))
    assert kept.town.state(kept.plan) == before
    come_back(kept.run("back", FAILBACK), kept.life)
    kept.life.finish()
    for (group, topic), read in kept.life.read.items():
        assert read == kept.life.written[topic], f"{group} on {topic}: nobody was lost, so nothing is repeated"


def test_drill_reads_as_a_failover_would_and_leaves_no_trace(kept: Kept) -> None:
    g2 = kept.town.named("g2")
    kept.mirror()
    kept.note()
    kept.life.turns(3)
    kept.copied()
    before = kept.town.state(kept.plan)
    run = kept.run("drill", DRILL)
    assert not any(f.stops for f in drill.look(run).findings)
    report = drill.drill(run)
    told = report.data["drill"]
    assert told["unmirrored"] == 0
    assert told["again"][g2] == 3, "it has read three messages since it was noted"
    assert 0 < told["recovery_seconds"] < 30 * patience()
    assert found(report, "drill-skips/none").status is Status.PASS
    assert not closing.closing_look(run).findings, "every service is where it was, as it should be"
    assert kept.town.state(kept.plan) == before
    listed = kept.town.target.cluster.admin.list_consumer_groups().result().valid
    assert not [g.group_id for g in listed if "drill" in g.group_id and kept.plan.plan in g.group_id]


def test_drill_finds_a_group_that_would_skip(kept: Kept) -> None:
    kept.mirror()
    kept.life.turns(1)
    kept.copied()
    topic, ahead = positions.topic_of(kept.plan), {kept.town.named("g2"): {kept.a: 6}}
    kept.life.idle |= set(kept.plan.groups)
    source = kept.town.source.cluster
    positions.note(kept.town.target.cluster, topic, ahead, {}, {}, 1.0)
    from kafka_migration.groups.commits import set_commits

    set_commits(source, {kept.town.named("g2"): {kept.a: 2}})  # somebody has wound it back since
    with pytest.raises(FindingsFailed, match="drill-skips"):
        drill.drill(kept.run("drill", DRILL))
