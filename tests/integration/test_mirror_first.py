"""Scheme mirror_first on real clusters and a real Connect worker: what is stored comes along, groups go on exactly."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Timer
from typing import Any

import pytest
from confluent_kafka import KafkaException
from tests.conftest import RunningCluster
from tests.integration.copying import visible
from tests.integration.scene import Daemon, MirroredLife, Town, found, look_once, until_done, verify
from tests.integration.workbench import Workbench, eventually

from demo.connect import ConnectWorker
from demo.waiting import patience
from kafka_migration import visible as visible_messages
from kafka_migration.clusters.client import Cluster
from kafka_migration.errors import FindingsFailed, Refused, ServiceError
from kafka_migration.evidence.bundle import Bundle
from kafka_migration.findings import Status
from kafka_migration.groups import describe
from kafka_migration.groups.commits import committed, set_commits
from kafka_migration.mirror.legs import Legs
from kafka_migration.mirror.rest import Connect, ConnectAccess
from kafka_migration.offsets import OffsetRange, TopicPartition
from kafka_migration.plan.graph import FIRST_STAGE
from kafka_migration.plan.model import Accepted, Plan, Verify
from kafka_migration.purposes import ROLLBACK, VERIFY
from kafka_migration.report import StepReport
from kafka_migration.run import Run
from kafka_migration.services.controller import Observation, State
from kafka_migration.sides import Side
from kafka_migration.steps import (
    bringing,
    closing,
    content,
    copies,
    exporting,
    handover,
    holding,
    mirroring,
    preflight,
    questions,
    switch,
    topics,
)
from kafka_migration.steps.common import handover_key
from kafka_migration.steps.consuming import consuming
from kafka_migration.steps.cutover import cutover
from kafka_migration.steps.synchronisation import verify_synchronisation
from kafka_migration.topics.create import add_partitions, set_settings
from kafka_migration.topics.describe import describe_topics, partitions_of
from kafka_migration.verification import content as content_of
from kafka_migration.verification.content import RangePair, compare_content
from kafka_migration.verification.proved import Proved
from kafka_migration.visible import each_visible
from kafka_migration.waiting import Outcome


@pytest.fixture(scope="module")
def worker(target: RunningCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConnectWorker]:
    with ConnectWorker("tests", target.bootstrap_servers, tmp_path_factory.mktemp("connect") / "worker") as one:
        yield one


@pytest.fixture(scope="module")
def back(source: RunningCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConnectWorker]:
    with ConnectWorker("back", source.bootstrap_servers, tmp_path_factory.mktemp("connect") / "back") as one:
        yield one


@dataclass
class Move:
    """A small migration: `one` writes `a`; `two` reads `a` and writes `b`; `three` reads both; nobody runs `four`."""

    town: Town
    plan: Plan
    life: MirroredLife
    a: TopicPartition
    b: TopicPartition

    def run(self, run_id: str = "first", purpose: str = "migrate") -> Run:
        return self.town.run(self.plan, run_id, purpose)

    def everything_was_read_once_and_in_order(self) -> None:
        self.life.finish()
        idle = self.town.named("g4")
        for (group, topic), read in self.life.read.items():
            assert read == ([] if group == idle else self.life.written[topic]), f"{group} on {topic}"
        self.life._read(idle, self.a, Side.TARGET)  # whoever runs it later
        assert self.life.read[idle, self.a.topic] == self.life.written[self.a.topic][5:]


@pytest.fixture
def move(
    source: RunningCluster, target: RunningCluster, daemon: Daemon, worker: ConnectWorker, back: ConnectWorker
) -> Iterator[Move]:
    with Town.of(source.bootstrap_servers, target.bootstrap_servers, daemon) as town:
        town.workers[Side.TARGET] = Connect(ConnectAccess(worker.url))
        town.workers[Side.SOURCE] = Connect(ConnectAccess(back.url))
        [a], [b] = town.topic(town.named("a"), retention_ms="86400000"), town.topic(town.named("b"))
        services = [
            town.service("one", [a]),
            town.service("two", [b], {town.named("g2"): [a]}),
            town.service("three", (), {town.named("g3"): [a, b]}),
            {
                "name": "four",
                "produces": [],
                "consumes": [{"group": town.named("g4"), "topics": [a.topic]}],
                "controller": {"kind": "idle"},
            },
        ]
        plan = town.plan(
            services,
            scheme="mirror_first",
            mirror={"connection": "connect", "properties": {"offset.lag.max": 10}},
        )
        life = MirroredLife(town, plan)
        life.turns(12)
        set_commits(town.source.cluster, {town.named("g4"): {a: 5}})
        yield Move(town, plan, life, a, b)
        for mirror in town.run(plan).mirrors.values():
            mirror.remove()


def to_caught_up(run: Run) -> None:
    """The mirror runs, and has copied what there is."""
    preflight.preflight(run)
    topics.create(run)
    mirroring.start(run)
    until_done(mirroring.caught_up, run)


def to_the_image(run: Run, life: MirroredLife | None = None) -> None:
    """Everything up to the stopped mirror."""
    preflight.preflight(run)
    topics.create(run)
    holding.hold(run)
    mirroring.start(run)
    until_done(mirroring.caught_up, run, meanwhile=life and life.turn)
    handover.rehearse(run)
    topics.parity(run)
    handover.stop_writers(run)
    until_done(cutover, run, stage=FIRST_STAGE)
    until_done(mirroring.stop_mirror, run)


def to_the_end(run: Run, life: MirroredLife) -> None:
    for unit in run.graph.producers:
        switch.switch_producers(run, unit=unit.name)
    for unit in run.graph.readers:
        handover.hand_over(run, unit=unit.name)
        life.turn()
    content.compare(run)
    assert all(not f.stops for f in closing.closing_look(run).findings)
    closing.finish(run)
    holding.lift(run)


def test_every_group_reads_every_message_once_and_in_order(move: Move) -> None:
    move.life.idle.add(move.town.named("g3"))  # far behind, and idle while it is moved
    move.life.turns(3)
    run = move.run()
    to_the_image(run, move.life)
    to_the_end(run, move.life)
    move.everything_was_read_once_and_in_order()
    held = describe_topics(move.town.target.cluster, [move.a.topic])[move.a.topic]
    assert held.settings["retention.ms"] == "86400000", "lifted after the gate"


def with_canary(move: Move) -> str:
    """Let the plan have a canary, and choose its topics by a pattern; the canary's topic."""
    assert move.plan.mirror is not None
    mirror = move.plan.mirror.model_copy(update={"canary": True})
    everything = move.plan.topics.model_copy(update={"include": (f".*{move.town.suffix}",)})
    move.plan = move.plan.model_copy(update={"mirror": mirror, "topics": everything})
    return f"kafka-migration.canary.{move.plan.plan}"


def to_the_rehearsal(move: Move, run: Run) -> None:
    """What little there is counts as nearly copied before any of it is: that is awaited."""
    topics.create(run)
    holding.hold(run)
    mirroring.start(run)
    until_done(mirroring.caught_up, run)
    for tp in (move.a, move.b):
        stored = len(visible(move.town.source, tp))
        eventually(lambda tp=tp, stored=stored: len(visible(move.town.target, tp)) == stored, f"copies of {tp}", 60)
    handover.rehearse(run)


def test_canary_arrives_and_every_group_is_seen_on_the_target_and_is_no_part_of_what_moves(move: Move) -> None:
    topic = with_canary(move)
    move.life.idle.add(move.town.named("g3"))
    move.life.turns(3)
    run = move.run()
    assert found(preflight.preflight(run), "canary-topic/all").status is Status.PASS
    to_the_rehearsal(move, run)
    before = committed(move.town.source.cluster, move.plan.groups)
    for attempt in (1, 2):
        report = until_done(verify_synchronisation, run)
        assert {f.id: f.status for f in report.findings} == {
            f"canary/{topic}": Status.PASS,
            "listed/all": Status.PASS,
            **{f"progress/{group}": Status.PASS for group in move.plan.groups},
        }
        assert 0 < report.data["canary"]["seconds"] < 30 * patience()
        sent = visible(move.town.source, TopicPartition(topic, 0))
        assert len(sent) == attempt, "each attempt sends one of its own"
        assert [m.value() for m in visible(move.town.target, TopicPartition(topic, 0))] == [m.value() for m in sent]
    listed, progress = report.tables
    assert listed.rows == tuple((name, 1, 1) for name in sorted({move.a.topic, move.b.topic}))
    end = move.town.source.end(move.a)
    idle = next(row for row in progress.rows if row[0] == move.town.named("g4"))
    told = found(report, f"progress/{move.town.named('g4')}").seen
    assert told == f"{end - 5} offsets left on the source; 1 of 1 positions have their place on the target"
    assert idle[:4] == (move.town.named("g4"), str(move.a), 5, end - 5)
    value = visible(move.town.source, move.a)[5].value()
    assert next(m.value() for m in visible(move.town.target, move.a) if m.offset() >= idle[4]) == value
    assert committed(move.town.source.cluster, move.plan.groups) == before, "it sets nothing"
    assert mirroring.start(run).changes == [], "the canary's topic is there, and copied already"
    topics.parity(run)
    handover.stop_writers(run)
    until_done(cutover, run, stage=FIRST_STAGE)
    until_done(mirroring.stop_mirror, run)
    assert until_done(verify_synchronisation, run).summary.startswith("nothing to look at"), "and no canary is sent"
    to_the_end(run, move.life)
    move.everything_was_read_once_and_in_order()
    compared, consumed = content.compare(move.run("again")), closing.closing_look(run).tables[-1]
    assert compared.data["compared"]["partitions"] == 2, "not the canary's"
    assert {row[:2]: (row[2], row[5]) for row in consumed.rows}[move.town.named("g3"), str(move.a)] == (
        move.town.target.end(move.a),
        "read to the end",
    )


def test_canary_that_a_stopped_mirror_does_not_bring_is_a_failure_and_a_late_one_is_told_as_late(move: Move) -> None:
    topic = with_canary(move)
    run = move.run()
    preflight.preflight(run)
    to_the_rehearsal(move, run)
    mirror = run.mirrors[Side.TARGET]
    mirror.stop()
    brief = verify_synchronisation.prepare(run, {})
    look = look_once(verify_synchronisation, run, brief, {})
    assert look.outcome is Outcome.WAITING
    told = found(verify_synchronisation.seen(brief, look), f"canary/{topic}")
    assert told.status is Status.FAIL
    assert "has not arrived yet" in told.seen
    mirror.resume()
    eventually(lambda: look_once(verify_synchronisation, run, brief, {}).outcome is Outcome.DONE, "the canary", 60)
    late = verify_synchronisation.look(run.clusters, brief, {}, brief["canary"]["sent_at"] + 90)
    again = verify_synchronisation.look(run.clusters, brief, late.memory, brief["canary"]["sent_at"] + 900)
    assert 90 <= late.memory["seconds"] < 90 + 10 * patience()
    assert again.memory == late.memory, "what a trigger has seen is not seen later by the worker that it wakes"
    add_partitions(move.town.source.cluster, {move.a.topic: 2})
    listed = found(verify_synchronisation.settle(run, brief, late), f"listed/{move.a.topic}")
    assert listed.status is Status.WARN, "the next comparison of topics makes it"
    eventually(lambda: len(partitions_of(move.town.target.cluster, [move.a.topic])) == 2, "MirrorMaker to see it")
    add_partitions(move.town.target.cluster, {move.a.topic: 3})
    with pytest.raises(FindingsFailed, match=f"listed/{move.a.topic}: has 2 partitions on the source, 3 on the target"):
        verify_synchronisation.settle(run, brief, late)


def test_hold_that_somebody_takes_back_is_set_again_by_the_next_step(move: Move) -> None:
    def retention() -> str:
        return describe_topics(move.town.target.cluster, [move.a.topic])[move.a.topic].settings["retention.ms"]

    def take_back() -> None:
        set_settings(move.town.target.cluster, {move.a.topic: {"retention.ms": "604800000"}})
        eventually(lambda: retention() == "604800000", "what the controller has taken to be what a broker tells")

    def warned(report: StepReport) -> list[tuple[str, Status]]:
        eventually(lambda: retention() == "-1", "the hold to be what a broker tells")
        return [(f.id, f.status) for f in report.findings if f.id.startswith("hold-renewed")]

    run = move.run()
    expected = [(f"hold-renewed/{move.a.topic}", Status.WARN)]
    preflight.preflight(run)
    topics.create(run)
    holding.hold(run)
    take_back()
    assert warned(mirroring.start(run)) == expected
    take_back()
    assert warned(until_done(mirroring.caught_up, run)) == expected
    handover.stop_writers(run)
    until_done(cutover, run, stage=FIRST_STAGE)
    take_back()
    assert warned(until_done(mirroring.stop_mirror, run)) == expected
    take_back()
    assert warned(handover.hand_over(run, unit="three")) == expected
    take_back()
    report = content.compare(run)
    assert warned(report) == expected
    assert warned(content.compare(run)) == [], "held already"
    holding.lift(run)
    eventually(lambda: retention() == "86400000", "the lifted hold to be what a broker tells")


def test_a_finished_migration_run_again_changes_nothing(move: Move) -> None:
    run = move.run()
    to_the_image(run, move.life)
    to_the_end(run, move.life)
    before = move.town.state(move.plan)
    again = move.run("again")
    to_the_image(again)
    for unit in again.graph.units:
        (handover.hand_over if unit.reads else switch.switch_producers)(again, unit=unit.name)
    content.compare(again)
    assert move.town.state(move.plan) == before


def test_message_written_to_the_copy_is_found(move: Move) -> None:
    run = move.run()
    to_the_image(run, move.life)
    move.town.target.write(move.a, value=b"x")
    legs = Legs(run.records)
    leg = legs.last()
    assert leg is not None
    assert leg.image is not None
    legs.keep(replace(leg, image={**leg.image, move.a: move.town.target.end(move.a)}))
    with pytest.raises(FindingsFailed) as refused:
        content.compare(run)
    assert {f.id for f in refused.value.findings} == {
        f"content/{move.a.topic}",
        *(f"content-{rule}/{move.a}" for rule in ("extra", "surplus")),
    }
    assert refused.value.findings[0].status is Status.FAIL
    assert refused.value.report is not None
    shown = next(table for table in refused.value.report.tables if table.title.startswith("The first differences"))
    assert shown.rows[0][-1] == "key 'k', value 'x'", "the evidence tells what lies there"


def test_head_that_the_source_has_deleted_is_told_and_all_that_is_kept_is_compared(move: Move) -> None:
    run = move.run()
    to_the_image(run, move.life)
    total = len(visible(move.town.source, move.a))
    move.town.source.delete_before(move.a, 4)
    with pytest.raises(FindingsFailed) as refused:
        content.compare(run)
    [told] = refused.value.findings
    assert (told.id, told.status) == (f"content/{move.a.topic}", Status.INCONCLUSIVE)
    assert f"{move.a}: offsets 0 to 4; all {total - 4:,} messages that are kept are equal" in told.seen
    # What is kept is compared indeed: a message too many behind the head is found.
    move.town.target.write(move.a, value=b"x")
    legs = Legs(run.records)
    [leg] = legs.all()
    assert leg.image is not None
    legs.keep(replace(leg, image={**leg.image, move.a: move.town.target.end(move.a)}))
    with pytest.raises(FindingsFailed) as refused:
        content.compare(run)
    assert refused.value.findings[0].status is Status.FAIL
    assert "1 extra" in refused.value.findings[0].seen
    legs.keep(leg)
    accepted = move.plan.model_copy(update={"accept": (Accepted(finding=told.id, reason="nobody needed them"),)})
    assert content.compare(move.town.run(accepted)).data["compared"]["differences"] == 0


def told_by(run: Run) -> StepReport:
    """What a verification tells, whatever it comes to."""
    try:
        return verify(run)
    except FindingsFailed as failed:
        return failed.report or StepReport()


def test_what_is_proved_while_the_mirror_runs_is_not_read_again(move: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    run = move.run()
    preflight.preflight(run)
    topics.create(run)
    holding.hold(run)
    mirroring.start(run)
    until_done(mirroring.caught_up, run)
    connect, name = move.town.workers[Side.TARGET], run.mirrors[Side.TARGET].name
    ends = {tp: move.town.source.end(tp) for tp in (move.a, move.b)}
    eventually(lambda: ends.items() <= connect.positions(name).items(), "all to be copied", 90)
    live = move.town.run(move.plan, "live", VERIFY)
    total = len(visible(move.town.source, move.a))
    leg = Legs(run.records).last()
    assert leg is not None

    def killed(here: Cluster, there: Cluster, pairs: Sequence[RangePair], progress: Any, remember: Any) -> Any:
        def once(known: Mapping[TopicPartition, Proved]) -> None:
            remember(known)
            if known:
                _killed()

        return compare_content(here, there, pairs, progress, once)

    with monkeypatch.context() as patch:
        patch.setattr(content_of, "REMEMBER_EVERY", 0.0)
        patch.setattr(visible_messages, "_BATCH", 3)
        patch.setattr(copies, "compare_content", killed)
        with pytest.raises(KeyboardInterrupt):
            verify(live)
    known = copies.known(run, leg)
    assert known, "who is killed leaves what was proved until then"
    assert all(0 < proved.equal <= proved.origin - leg.begin[tp] for tp, proved in known.items())

    def proved() -> int:
        report = verify(live)
        assert {f.status for f in report.findings} == {Status.PASS}
        return int(next(row["equal"] for row in report.data["content"] if row["topic"] == move.a.topic))

    eventually(lambda: proved() == total, "all that was copied to be proved")  # its offsets are stored a little later
    read: list[int] = []

    def counting(here: Cluster, there: Cluster, pairs: Sequence[RangePair], *args: Any) -> Any:
        read.append(sum(p.origin_end - p.origin_start for p in pairs if p.partition == move.a))
        return compare_content(here, there, pairs, *args)

    monkeypatch.setattr(copies, "compare_content", counting)
    assert proved() == total
    assert read == [0]
    assert "needs" in verify(move.town.run(move.plan, "live", VERIFY, level="counts")).summary
    before = move.town.source.end(move.a)
    move.life.turns(3)
    handover.stop_writers(run)
    until_done(cutover, run, stage=FIRST_STAGE)
    until_done(mirroring.stop_mirror, run)
    read.clear()
    to_the_end(run, move.life)
    assert read == [move.town.source.end(move.a) - before], "what came since, and nothing else"
    assert read > [0]
    compared = move.town.run(move.plan).current.note("compared")
    assert compared["differences"] == 0


def test_verification_reads_again_what_both_still_keep_where_it_shall(move: Move) -> None:
    run = move.run()
    to_the_image(run, move.life)
    to_the_end(run, move.life)
    total = len(visible(move.town.source, move.a))
    known = found(verify(move.town.run(move.plan, "known", VERIFY)), f"content/{move.a.topic}")
    assert f"{total:,} messages of 1 partitions are equal" in known.seen
    again = move.town.run(move.plan, "again", VERIFY, full=True)
    assert f"{total:,} messages of 1 partitions are equal" in found(verify(again), f"content/{move.a.topic}").seen
    counting = verify(move.town.run(move.plan, "counts", VERIFY, full=True, level="counts"))
    assert f"{total:,} messages of 1 partitions were counted" in found(counting, f"content/{move.a.topic}").seen
    by_offsets = found(verify(move.town.run(move.plan, "offsets", VERIFY, level="offsets")), f"spans/{move.a.topic}")
    assert "by offsets alone at most" in by_offsets.seen
    small = verify(move.town.run(move.plan, "small", VERIFY, level="sample", seed=7))
    assert "1 of 2 blocks were compared, chosen by chance with seed 7" in found(small, "sample/all").seen
    plan = move.plan.model_copy(update={"verify": Verify(share=1.0)})
    sample = verify(move.town.run(plan, "sample", VERIFY, level="sample"))
    assert "none of them holds a difference" in found(sample, "sample/all").seen
    assert found(sample, f"content/{move.a.topic}").seen.endswith(", in the sample")
    # What either has deleted since was proved by the migration: whichever has kept less tells where it begins.
    leg = Legs(run.records).last()
    assert leg is not None
    assert leg.image is not None
    offsets = [m.offset() for m in visible(move.town.target, move.a) if m.offset() < leg.image[move.a]]
    move.town.source.delete_before(move.a, 2)
    move.town.target.delete_before(move.a, offsets[5])
    told = found(verify(again), f"content/{move.a.topic}")
    assert told.status is Status.PASS
    assert f"{len(offsets) - 5:,} messages of 1 partitions are equal; proved by run first, and not kept" in told.seen
    # Damage is found all the same, on each level that looks at messages.
    legs = Legs(run.records)
    move.town.target.write(move.a, value=b"x")
    legs.keep(replace(leg, image={**leg.image, move.a: move.town.target.end(move.a)}))
    for level in ("content", "counts", "sample"):
        broken = told_by(move.town.run(plan, level, VERIFY, full=True, level=level))
        assert found(broken, f"content/{move.a.topic}").status is Status.FAIL, level
        told = found(told_by(move.town.run(plan, "next", VERIFY)), f"content/{move.a.topic}")
        assert told.status is Status.FAIL, "what one run has found the next does not forget"


def test_copies_that_are_deleted_after_they_were_proved_are_not_handed_to_anybody_as_proved(move: Move) -> None:
    run = move.run()
    to_the_image(run, move.life)
    verify(move.town.run(move.plan, "live", VERIFY))
    leg = Legs(run.records).last()
    assert leg is not None
    assert move.a in copies.trusted(run, leg)
    move.town.target.delete_before(move.a, move.town.target.end(move.a))
    assert move.a in copies.known(run, leg)
    assert move.a not in copies.trusted(run, leg)
    with pytest.raises(FindingsFailed) as refused:
        content.compare(run)
    assert refused.value.report is not None
    told = found(refused.value.report, f"content/{move.a.topic}")
    assert told.status is Status.INCONCLUSIVE
    assert "not kept any more" in told.seen


def take_back(run: Run, life: MirroredLife) -> None:
    bringing.look(run)
    bringing.begin(run)
    mirroring.start(run)
    until_done(mirroring.caught_up, run, meanwhile=life.turn)
    handover.rehearse(run)
    handover.stop_writers(run)
    until_done(cutover, run, stage=FIRST_STAGE)
    until_done(mirroring.stop_mirror, run)
    to_the_end(run, life)


@pytest.mark.parametrize("moved", ["nothing", "the mirror has ended", "producers", "some consumers", "everything"])
def test_taken_back_and_migrated_again(move: Move, moved: str) -> None:
    run, life = move.run(), move.life
    life.idle.add(move.town.named("g3"))
    life.turns(3)
    if moved == "nothing":
        preflight.preflight(run)
        topics.create(run)
        holding.hold(run)
        mirroring.start(run)
        until_done(mirroring.caught_up, run, meanwhile=life.turn)
    else:
        to_the_image(run, life)
    if moved in ("producers", "some consumers"):
        for unit in run.graph.producers:
            switch.switch_producers(run, unit=unit.name)
    if moved == "some consumers":
        handover.hand_over(run, unit="two")
    if moved == "everything":
        to_the_end(run, life)
    life.turns(3)
    back = move.run("back", ROLLBACK)
    take_back(back, life)
    assert {c.observe().side for name, c in back.controllers.items() if name != "four"} == {Side.SOURCE}
    life.turns(3)
    again = move.run("again")
    to_the_image(again, life)
    to_the_end(again, life)
    move.everything_was_read_once_and_in_order()


def test_attempt_that_was_killed_before_it_set_anything_is_finished_by_the_next(
    move: Move, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = move.run()
    to_the_image(run, move.life)
    with monkeypatch.context() as killed:
        killed.setattr(handover, "_set", _killed)
        with pytest.raises(KeyboardInterrupt):
            handover.hand_over(run, unit="two")
    assert run.controllers["two"].observe().state is State.STOPPED
    assert not committed(move.town.target.cluster, [move.town.named("g2")])[move.town.named("g2")]
    to_the_end(move.run("second"), move.life)
    move.everything_was_read_once_and_in_order()


def test_group_that_somebody_else_uses_is_not_handed_over(move: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    run = move.run()
    to_the_image(run, move.life)
    monkeypatch.setattr(describe, "_LEAVES_WITHIN", 0.5)
    with move.town.source.member(move.town.named("g3"), move.a.topic), pytest.raises(Refused) as refused:
        handover.hand_over(run, unit="three")
    assert "still have members on the source" in str(refused.value)
    assert not committed(move.town.target.cluster, [move.town.named("g3")])[move.town.named("g3")]


def test_group_that_has_members_where_it_goes_though_nobody_has_started_it_is_set_when_they_have_gone(
    move: Move, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a cluster that was lost and has returned: it still counts the members that died with it."""
    group = move.town.named("g3")
    run = move.run()
    to_the_image(run, move.life)
    with ExitStack() as member:
        member.enter_context(move.town.target.member(group, move.a.topic))
        with monkeypatch.context() as hasty:
            hasty.setattr(describe, "_LEAVES_WITHIN", 0.5)
            with pytest.raises(Refused, match=f"{group} should have no members on the target yet"):
                handover.hand_over(run, unit="three")
        assert not committed(move.town.target.cluster, [group])[group]
        assert run.controllers["three"].observe().state is State.STOPPED
        Timer(3.0, member.pop_all().close).start()
        handover.hand_over(run, unit="three")
    wanted = run.current.note_offsets(handover_key(group))
    assert committed(move.town.target.cluster, [group])[group] == wanted
    to_the_end(move.run("second"), move.life)
    move.everything_was_read_once_and_in_order()


@dataclass
class Hands:
    """A migration in which persons have a part: `hand` writes `b`, `man` reads it, both are started and stopped by one.

    `one` writes `a`; `ext` reads it with offsets that it keeps itself, and joins no group for that.
    """

    town: Town
    plan: Plan
    a: TopicPartition
    b: TopicPartition
    evidence: Path

    def run(self, run_id: str = "first", purpose: str = "migrate") -> Run:
        bundle = Bundle(self.evidence, self.plan.plan, purpose, run_id)
        return self.town.run(self.plan, run_id, purpose, leave=bundle.leave)

    def file(self, run: Run) -> Path:
        return Path(exporting.exported(run.current, self.town.named("ge"))["file"])

    def every_offset_leads_to_its_next_message(self, run: Run) -> None:
        """Looked up in the file that the run has left, for whatever offset `ext` may have stored."""
        here, there = ([(o, v) for o, v in self._messages(side)] for side in (run.leaving, run.heading))
        leg = mirroring.leg_of(run)
        assert leg is not None
        assert leg.end is not None
        assert leg.image is not None
        with self.file(run).open(newline="") as lines:
            rows = [
                {k.replace(run.leaving, "from").replace(run.heading, "to"): v for k, v in r.items()}
                for r in csv.DictReader(lines)
            ]
        for offset in range(leg.end[self.a] + 1):
            row = next(r for r in rows if offset <= int(r["from_last"]))
            at = int(row["to_first"]) + max(0, offset - int(row["from_first"]))
            wanted = [v for o, v in here if offset <= o < leg.end[self.a]]
            assert [v for o, v in there if at <= o < leg.image[self.a]] == wanted, offset

    def _messages(self, side: Side) -> list[tuple[int, bytes]]:
        cluster, found = self.town.bench(side).cluster, []
        end = self.town.bench(side).end(self.a)
        each_visible(cluster, [OffsetRange(self.a, 0, end)], lambda _, m: found.append((m.offset(), m.value())))
        return found


@pytest.fixture
def hands(
    source: RunningCluster,
    target: RunningCluster,
    daemon: Daemon,
    worker: ConnectWorker,
    back: ConnectWorker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Hands]:
    monkeypatch.setattr(describe, "_LEAVES_WITHIN", 0.5)
    monkeypatch.setattr(switch, "_BY_HAND", 2.0)
    with Town.of(source.bootstrap_servers, target.bootstrap_servers, daemon) as town:
        town.workers[Side.TARGET] = Connect(ConnectAccess(worker.url))
        town.workers[Side.SOURCE] = Connect(ConnectAccess(back.url))
        [a], [b] = town.topic(town.named("a")), town.topic(town.named("b"))
        ext = town.service("two", (), {town.named("ge"): [a]})
        ext["consumes"][0]["offsets"] = "external"
        services = [
            town.service("one", [a]),
            ext,
            {"name": "hand", "produces": [b.topic], "consumes": [], "controller": {"kind": "manual"}},
            {
                "name": "man",
                "produces": [],
                "consumes": [{"group": town.named("gm"), "topics": [b.topic]}],
                "controller": {"kind": "manual", "how": "Ask the ledger team."},
            },
        ]
        plan = town.plan(
            services,
            scheme="mirror_first",
            mirror={"connection": "connect", "back": "connect_back"},
            accept=[{"finding": f"group-exists/{town.named('ge')}", "reason": "it joins no group"}],
        )
        for number in range(5):
            town.source.write(a, 1, value=f"plain {number}".encode())
            town.source.commit_transaction(a, 2)
            town.source.abort_transaction(a, 1)
        town.source.write(b, 8)
        set_commits(town.source.cluster, {town.named("gm"): {b: 5}})
        yield Hands(town, plan, a, b, tmp_path / "evidence")
        for mirror in town.run(plan).mirrors.values():
            mirror.remove()


def moved_by_hand(hands: Hands, run: Run) -> None:
    """From the stopped mirror to the end; the persons do what they are asked."""
    origin, destination = hands.town.bench(run.leaving), hands.town.bench(run.heading)
    man, b = hands.town.named("gm"), hands.b.topic
    for unit in run.graph.producers:
        switch.switch_producers(run, unit=unit.name)
    report = exporting.export(run, unit="two")
    assert str(hands.file(run)) in "\n".join(report.lines())
    assert run.controllers["two"].observe().state is State.RUNNING, "it runs while the table is made"
    with pytest.raises(Refused, match="was not handed over yet"):
        handover.start(run, unit="two")
    handover.hand_over(run, unit="two")
    assert run.controllers["two"].observe().state is State.STOPPED, "a person sets its offsets first"
    asked = questions.external_offsets(run, "two")
    assert asked is not None
    assert str(hands.file(run)) in asked
    hands.every_offset_leads_to_its_next_message(run)
    handover.start(run, unit="two")
    assert run.controllers["two"].observe().side is run.heading
    until_done(consuming, run, service="two")

    assert questions.stop_by_hand(run, "man") is not None
    with origin.member(man, b), pytest.raises(Refused, match="still have members"):
        handover.hand_over(run, unit="man")
    handover.hand_over(run, unit="man")
    asked = questions.by_hand(run, "man")
    assert asked is not None
    assert "Ask the ledger team." in asked
    with pytest.raises(ServiceError, match="has not moved"):
        handover.start(run, unit="man")
    with destination.member(man, b) as member:
        handover.start(run, unit="man")
        [message, *_] = destination.read_by(member, 3)
        member.commit(message=message, asynchronous=False)
        until_done(consuming, run, service="man")
    content.compare(run)
    assert all(not f.stops for f in closing.closing_look(run).findings)
    closing.finish(run)
    holding.lift(run)
    for service in ("hand", "man"):
        assert questions.by_hand(run, service) is None, "done"
        assert questions.stop_by_hand(run, service) is None, "done"
    assert questions.external_offsets(run, "two") is None, "done"


def test_persons_stop_start_and_set_offsets_there_and_back(hands: Hands) -> None:
    run, man = hands.run(), hands.town.named("gm")
    assert questions.stop_by_hand(run, "hand") is not None
    to_the_image(run)
    moved_by_hand(hands, run)
    assert committed(hands.town.target.cluster, [man])[man] == {hands.b: 6}
    before = hands.town.state(hands.plan)
    for again in (hands.run(), hands.run("again")):
        exporting.export(again, unit="two")
        for unit in ("two", "man"):
            handover.hand_over(again, unit=unit)
            handover.start(again, unit=unit)
    assert hands.town.state(hands.plan) == before
    assert [str(hands.file(run))] == [str(f) for f in hands.evidence.rglob("offsets-*.csv")], "written once"

    hands.town.target.write(hands.a, 3, value=b"there")
    hands.town.target.write(hands.b, 2)
    home = hands.run("back", ROLLBACK)
    bringing.look(home)
    bringing.begin(home)
    mirroring.start(home)
    until_done(mirroring.caught_up, home)
    handover.stop_writers(home)
    until_done(cutover, home, stage=FIRST_STAGE)
    until_done(mirroring.stop_mirror, home)
    moved_by_hand(hands, home)
    assert hands.town.source.end(hands.b) > 8, "brought home"


@pytest.mark.parametrize("started", ["the writer", "the reader"])
def test_what_a_person_has_started_on_the_target_is_brought_home_though_no_step_has_seen_it(
    hands: Hands, started: str
) -> None:
    run = hands.run()
    to_the_image(run)
    assert not bringing.must_copy(hands.run("back", ROLLBACK), observed(run)), "nobody has gone there yet"
    if started == "the writer":
        hands.town.target.write(hands.b)
    else:
        handover.hand_over(run, unit="man")
        man = hands.town.named("gm")
        with hands.town.target.member(man, hands.b.topic) as member:
            [message] = hands.town.target.read_by(member, 1)
            member.commit(message=message, asynchronous=False)
    home = hands.run("back", ROLLBACK)
    bringing.begin(home)
    assert home.way_back.note("copies") is True
    who = "hand" if started == "the writer" else "man"
    assert questions.stop_by_hand(home, who) is not None
    other = questions.by_hand(home, "man" if who == "hand" else "hand")
    assert other is not None
    assert "See that it runs" in other


def observed(run: Run) -> dict[str, Observation]:
    return {name: controller.observe() for name, controller in run.controllers.items()}


def test_deletion_that_overtakes_the_mirror_fails_it_and_names_the_range(move: Move) -> None:
    run = move.run()
    to_caught_up(run)
    mirror = run.mirrors[Side.TARGET]
    mirror.stop()
    at = move.town.workers[Side.TARGET].positions(mirror.name).get(move.a, 0)
    move.life.turns(4)
    move.town.source.delete_before(move.a, at + 2)
    brief = mirroring.caught_up.prepare(run, {})
    look = look_once(mirroring.caught_up, run, brief, {})
    assert look.outcome is Outcome.FAILED
    assert f"{move.a}: offsets {at:,} to {at + 2:,}" in look.why


def test_mark_of_a_transaction_that_is_deleted_behind_its_copies_is_no_loss(move: Move) -> None:
    run = move.run()
    preflight.preflight(run)
    topics.create(run)
    mirroring.start(run)
    move.town.source.commit_transaction(move.a, 2)
    end, mirror = move.town.source.end(move.a), run.mirrors[Side.TARGET]
    at = move.town.workers[Side.TARGET].positions
    eventually(lambda: at(mirror.name).get(move.a) == end - 1, "all but the mark to be copied", 90)
    brief, memory = mirroring.caught_up.prepare(run, {}), {}
    for _ in range(2):  # what stands where it stood is read
        memory = mirroring.caught_up.look(run.clusters, brief, memory, run.now()).memory
    move.town.source.delete_before(move.a, end)
    look = mirroring.caught_up.look(run.clusters, brief, memory, run.now())
    assert look.outcome is Outcome.DONE, look


def test_mirror_that_does_not_run_has_not_caught_up_however_little_is_left(move: Move) -> None:
    run = move.run()
    to_caught_up(run)
    mirror = run.mirrors[Side.TARGET]
    mirror.stop()
    assert look_once(mirroring.caught_up, run, mirroring.caught_up.prepare(run, {}), {}).outcome is Outcome.WAITING
    mirror.resume()
    until_done(mirroring.caught_up, run)


@pytest.mark.parametrize(
    ("partitions", "filled", "finding"), [(2, False, "topic-partitions"), (1, True, "topic-foreign-data")]
)
def test_topic_of_the_target_that_cannot_hold_the_copies_stops_the_preflight(
    move: Move, partitions: int, filled: bool, finding: str
) -> None:
    [tp, *_] = move.town.topic(move.a.topic, partitions, Side.TARGET, retention_ms="86400000")
    if filled:
        move.town.target.write(tp)
    with pytest.raises(FindingsFailed) as refused:
        preflight.preflight(move.run())
    assert [(f.id, f.status) for f in refused.value.findings] == [(f"{finding}/{move.a.topic}", Status.FAIL)]


def _killed(*_: object) -> None:
    raise KeyboardInterrupt


def test_partition_that_comes_while_the_mirror_runs_is_copied(move: Move) -> None:
    run = move.run()
    preflight.preflight(run)
    topics.create(run)
    holding.hold(run)
    mirroring.start(run)
    until_done(mirroring.caught_up, run)
    add_partitions(move.town.source.cluster, {move.a.topic: 2})
    later = TopicPartition(move.a.topic, 1)
    Workbench(move.town.source.bootstrap_servers).write(later, 7, value=b"0")  # whose client has not known the topic
    topics.parity(run)
    handover.stop_writers(run)
    until_done(cutover, run, stage=FIRST_STAGE)
    until_done(mirroring.stop_mirror, run)
    assert len(move.town.target.visible_offsets(later)) == 7
    for unit in run.graph.readers:
        handover.hand_over(run, unit=unit.name)
    content.compare(run)


def make_anew(town: Town, tp: TopicPartition, side: Side) -> None:
    """Delete a topic and make one of the same name, as who wants to empty it does."""
    admin = town.bench(side).cluster.admin
    admin.delete_topics([tp.topic])[tp.topic].result(timeout=30)

    def made() -> bool:
        try:
            return bool(town.topic(tp.topic, side=side))
        except KafkaException:  # the former one is still on its way out
            return False

    eventually(made, f"topic {tp.topic} to be made anew")


@pytest.mark.parametrize("side", Side)
def test_topic_that_is_made_anew_while_the_mirror_copies_fails_it_at_once(move: Move, side: Side) -> None:
    """The mirror itself says RUNNING: old and new messages would stand in one topic."""
    run = move.run()
    to_caught_up(run)
    waits = [(step, step.prepare(run, {})) for step in (mirroring.caught_up, mirroring.stop_mirror)]
    make_anew(move.town, move.a, side)
    Workbench(move.town.bench(side).bootstrap_servers).write(move.a, 1, value=b"0")
    for step, brief in waits:
        look = look_once(step, run, brief, {})
        assert look.outcome is Outcome.FAILED
        assert f"mirror-topic/{move.a.topic}: on the {side}" in look.why
        assert move.b.topic not in look.why
        with pytest.raises(FindingsFailed, match=f"mirror-topic/{move.a.topic}"):
            step.prepare(run, {})
    for again in (mirroring.start, handover.rehearse):
        with pytest.raises(FindingsFailed, match=f"mirror-topic/{move.a.topic}"):
            again(move.run("again"))
    with pytest.raises(FindingsFailed, match=f"mirror-topic/{move.a.topic}"):
        mirroring._stopped(run)
    leg = mirroring.leg_of(run)
    assert leg is not None
    assert not leg.ended, "nothing is taken for the image"


def test_topic_that_is_made_anew_after_the_mirror_has_ended_hands_nobody_over(move: Move) -> None:
    """Its groups' offsets went with it: an empty topic would look as if they had read everything."""
    move.life.idle.add(move.town.named("g3"))
    move.life.turns(3)
    run = move.run()
    to_the_image(run, move.life)
    make_anew(move.town, move.a, Side.SOURCE)
    with pytest.raises(FindingsFailed, match=f"mirror-topic/{move.a.topic}"):
        handover.hand_over(run, unit="three")
    assert run.controllers["three"].observe().state is State.RUNNING
    assert not committed(move.town.target.cluster, [move.town.named("g3")])[move.town.named("g3")]
    with pytest.raises(FindingsFailed, match=f"mirror-topic/{move.a.topic}"):
        content.compare(run)


def test_topic_that_is_made_anew_after_the_mirror_has_ended_gets_no_table_of_offsets(hands: Hands) -> None:
    run = hands.run()
    to_the_image(run)
    make_anew(hands.town, hands.a, Side.SOURCE)
    with pytest.raises(FindingsFailed, match=f"mirror-topic/{hands.a.topic}"):
        exporting.export(run, unit="two")
    assert not list(hands.evidence.rglob("offsets-*.csv"))


def test_mirror_that_says_running_and_copies_nothing_fails_its_wait(move: Move) -> None:
    run = move.run()
    preflight.preflight(run)
    topics.create(run)
    mirroring.start(run)
    end, mirror = move.town.source.end(move.a), run.mirrors[Side.TARGET]
    eventually(lambda: move.town.workers[Side.TARGET].positions(mirror.name).get(move.a) == end, "all to be copied", 90)
    with move.town.source.open_transaction(move.a):
        move.town.source.write(move.a, 1_500)
        brief = mirroring.caught_up.prepare(run, {})
        now = run.now()
        look = mirroring.caught_up.look(run.clusters, brief, {}, now)
        assert look.outcome is Outcome.WAITING
        look = mirroring.caught_up.look(run.clusters, brief, look.memory, now + 301)
    assert look.outcome is Outcome.FAILED
    assert "the mirror says RUNNING and has copied nothing for 301 s" in look.why
