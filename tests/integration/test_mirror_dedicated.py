"""A dedicated MirrorMaker under a real supervisord: exactly a declared range comes, once, and no more once it ended."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import RunningCluster
from tests.integration.copying import Content, producer, send, visible
from tests.integration.mirror_maker import MirrorMaker, add_mirror_maker
from tests.integration.scene import Daemon, MirroredLife, Town, found, until_done
from tests.integration.workbench import Workbench, eventually

from demo.connect import ConnectWorker
from kafka_migration.errors import MirrorError
from kafka_migration.findings import Status
from kafka_migration.mirror.rest import Connect, ConnectAccess
from kafka_migration.mirror.runner import MirrorRunner
from kafka_migration.mirror.stored_offsets import read_positions, shut_out
from kafka_migration.offsets import TopicPartition
from kafka_migration.passes import open_pass
from kafka_migration.plan.graph import FIRST_STAGE
from kafka_migration.purposes import ROLLBACK
from kafka_migration.run import Run
from kafka_migration.sides import Side
from kafka_migration.steps import bringing, closing, content, handover, holding, mirroring, preflight, switch, topics
from kafka_migration.steps.cutover import cutover
from kafka_migration.steps.synchronisation import verify_synchronisation
from kafka_migration.waiting import Outcome


@dataclass
class Pair:
    """A topic on both clusters, and the MirrorMaker between them."""

    town: Town
    maker: MirrorMaker
    tp: TopicPartition

    def run(self, **keys: Any) -> Run:
        services = [self.town.service("one", [self.tp], running=False)]
        return self.town.run(self.town.plan(services, scheme="mirror_first", mirror=self.maker.spec(**keys)))

    def mirror(self, **keys: Any) -> MirrorRunner:
        return self.run(**keys).mirrors[Side.TARGET]

    def position(self, mirror: MirrorRunner) -> int | None:
        return read_positions(self.town.target.cluster, mirror.watched.alias).get(self.tp)

    def write(self, *numbers: int) -> None:
        for number in numbers:
            self.town.source.write(self.tp, value=str(number).encode())


def contents(bench: Workbench, tp: TopicPartition) -> list[tuple[object, ...]]:
    """All of each message that a copy must keep."""
    return [(m.key(), m.value(), tuple(m.headers() or ()), m.timestamp()) for m in visible(bench, tp)]


def topics_of(bench: Workbench) -> set[str]:
    return set(bench.cluster.admin.list_topics(timeout=10).topics)


@pytest.fixture
def pair(town: Town, daemon: Daemon) -> Pair:
    [tp] = town.topic(town.named("a"))
    town.topic(tp.topic, side=Side.TARGET)
    return Pair(town, add_mirror_maker(daemon, town.named("mm"), MIRROR_PROTOCOL="PLAINTEXT"), tp)


def test_exactly_the_declared_range_is_copied_byte_for_byte_also_where_it_is_killed_and_no_more_once_it_ended(
    pair: Pair,
) -> None:
    tp = pair.tp
    pair.write(*range(60))
    odd: list[Content] = [
        (b"gone", None, [("n", b"1"), ("n", b"2"), ("null", None)], 10**12),
        (None, bytes(range(256)), [("quoted", b'"12"'), ("\u00fc", b"\xff")], 10**12),
    ]
    send(producer(pair.town.source), tp, odd)
    pair.town.source.abort_transaction(tp, 3)
    pair.town.source.commit_transaction(tp, 2)
    pair.write(*range(60, 70))
    secret = {"security.protocol": "${env:MIRROR_PROTOCOL}"}
    mirror = pair.mirror(clients={"source": secret, "target": secret})
    assert not [f for f in mirror.check() if f.stops]

    [change] = mirror.create({tp: 55})
    assert change.before == "absent"
    assert stat.S_IMODE(pair.maker.properties_file.stat().st_mode) == 0o600
    assert (pair.position(mirror), mirror.state()) == (55, "STOPPED")
    mirror.resume()
    end = pair.town.source.end(tp)
    eventually(lambda: pair.position(mirror) == end, "the copies", 120)
    assert mirror.create({tp: 55}) == [], "one that runs is not stopped for nothing"
    os.kill(pair.maker.pid, signal.SIGKILL)
    pair.write(*range(70, 90))
    eventually(lambda: pair.position(mirror) == end + 20, "the copies behind the kill", 120)
    assert contents(pair.town.target, tp) == contents(pair.town.source, tp)[55:]

    settings_have_their_effect(pair.maker, mirror)
    mirror.stop()
    assert mirror.state() == "STOPPED"
    plan = mirror.syncs_topic.removeprefix("mm2-offset-syncs.").removesuffix("-source.internal")
    # By its names: other tests make topics there meanwhile.
    assert not [t for t in topics_of(pair.town.source) if plan in t], "the origin is only read"
    assert [t for t in topics_of(pair.town.target) if plan in t]

    pair.write(90)
    stopped = pair.town.target.end(tp)
    logged = len(pair.maker.log)
    pair.maker.daemon.control("startProcess", pair.maker.name, False)
    eventually(
        lambda: "No source->target replication flows" in pair.maker.log[logged:], "what somebody started to end", 60
    )
    mirror.stop()
    assert pair.town.target.end(tp) == stopped


def settings_have_their_effect(maker: MirrorMaker, mirror: MirrorRunner) -> None:
    """As MirrorMaker itself tells of what it was made with."""
    worker = maker.settings("DistributedConfig")
    assert worker["exactly.once.source.support"] == "enabled"
    assert {worker[f"{store}.storage.replication.factor"] for store in ("offset", "status", "config")} == {"-1"}
    task = f"transactional.id = {mirror.watched.alias}-mm2-MirrorSourceConnector-0"
    writer = maker.settings("ProducerConfig", task)
    assert (writer["batch.size"], writer["linger.ms"], writer["acks"]) == ("524288", "20", "-1")
    reader = maker.settings("ConsumerConfig", "max.poll.records = 20000")
    assert (reader["isolation.level"], reader["fetch.min.bytes"]) == ("read_committed", "262144")


def test_process_that_lives_and_copies_nothing_is_looked_at_and_fails_the_wait(pair: Pair) -> None:
    run = pair.run()
    open_pass(run.records).keep("topics", [pair.tp.topic])
    pair.write(1)
    mirroring.start(run)
    until_done(mirroring.caught_up, run, 120)
    mirror = run.mirrors[Side.TARGET]
    shut_out(pair.town.target.cluster, mirror.watched.alias, 1)  # its task fails, and the process tells nobody
    pair.write(2, 3)
    eventually(lambda: "Task threw an uncaught and unrecoverable exception" in pair.maker.log, "the task to fail", 60)
    brief, now = mirroring.caught_up.prepare(run, {}), run.now()
    memory: Mapping[str, Any] = {}
    seen = []
    for after in (0, 50, 61, 62, 122, 299, 301):
        look = mirroring.caught_up.look(run.clusters, brief, memory, now + after)
        memory = look.memory
        seen.append(look.outcome)
    again, waiting = Outcome.AGAIN, Outcome.WAITING
    assert seen == [waiting, waiting, again, waiting, again, again, Outcome.FAILED]
    assert "has copied nothing for 301 s: 2 offsets left" in look.why
    pair.maker.daemon.control("stopProcess", pair.maker.name, False)
    eventually(lambda: not pair.maker.pid, "the mirror to end", 60)
    mirroring.caught_up.prepare(run, {})
    until_done(mirroring.caught_up, run, 120)
    assert len(contents(pair.town.target, pair.tp)) == 3
    mirror.stop()


def test_files_and_offsets_of_somebody_else_are_never_taken_over(pair: Pair) -> None:
    mirror = pair.mirror()
    pair.maker.properties_file.write_text("clusters=A,B\n")
    assert {f.id for f in mirror.check() if f.stops} == {"mirror-worker/properties_file"}
    with pytest.raises(MirrorError, match="was not written for this plan"):
        mirror.create({pair.tp: 0})
    mirror.stop()
    assert pair.maker.properties_file.read_text() == "clusters=A,B\n"
    pair.maker.properties_file.unlink()
    mirror.create({pair.tp: 7})
    pair.maker.properties_file.unlink()
    with pytest.raises(MirrorError, match=f"behind what shall be copied, on {pair.tp}"):
        mirror.create({pair.tp: 0})
    mirror.remove()
    mirror.create({pair.tp: 0})
    assert pair.position(mirror) is None


@pytest.fixture
def back(source: RunningCluster, tmp_path: Path) -> Iterator[ConnectWorker]:
    with ConnectWorker("home-again", source.bootstrap_servers, tmp_path / "back") as one:
        yield one


def test_moved_taken_back_and_moved_again_every_message_is_read_once_and_in_order(
    town: Town, daemon: Daemon, back: ConnectWorker
) -> None:
    maker = add_mirror_maker(daemon, town.named("mm"))
    town.workers[Side.SOURCE] = Connect(ConnectAccess(back.url))
    [a], [b] = town.topic(town.named("a")), town.topic(town.named("b"))
    services = [
        town.service("one", [a]),
        town.service("two", [b], {town.named("g2"): [a]}),
        town.service("three", (), {town.named("g3"): [a, b]}),
    ]
    mirror = maker.spec(back="connect_back", canary=True, properties={"offset.lag.max": 10})
    plan = town.plan(services, scheme="mirror_first", mirror=mirror)
    life = MirroredLife(town, plan)
    life.turns(12)
    life.idle.add(town.named("g3"))  # far behind
    life.turns(3)
    first = town.run(plan)
    report = preflight.preflight(first)
    assert found(report, "mirror-worker/all").status is Status.PASS
    move(first, life)
    life.turns(3)
    take_back = town.run(plan, "back", ROLLBACK)
    bringing.look(take_back)
    bringing.begin(take_back)
    move(take_back, life)
    life.turns(3)
    again = town.run(plan, "again")
    preflight.preflight(again)
    move(again, life)
    life.finish()
    for (group, topic), read in life.read.items():
        assert read == life.written[topic], f"{group} on {topic}"
    for one in again.mirrors.values():
        one.remove()


def move(run: Run, life: MirroredLife) -> None:
    """The steps of the scheme behind its preflight, to where the run goes."""
    if run.purpose != ROLLBACK:
        topics.create(run)
        holding.hold(run)
    mirroring.start(run)
    until_done(mirroring.caught_up, run, 120, meanwhile=life.turn)
    handover.rehearse(run)
    in_step = until_done(verify_synchronisation, run, 120)
    assert any(f.id.startswith("canary/") for f in in_step.findings) is (run.purpose != ROLLBACK), "one way only"
    handover.stop_writers(run)
    until_done(cutover, run, stage=FIRST_STAGE)
    until_done(mirroring.stop_mirror, run)
    for unit in run.graph.producers:
        switch.switch_producers(run, unit=unit.name)
    for unit in run.graph.readers:
        handover.hand_over(run, unit=unit.name)
        life.turn()
    content.compare(run)
    assert all(not f.stops for f in closing.closing_look(run).findings)
    closing.finish(run)
    holding.lift(run)
