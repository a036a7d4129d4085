"""A dedicated MirrorMaker under a real supervisord: exactly a declared range comes, once, and no more once it ended."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import RunningCluster
from tests.integration.copying import visible
from tests.integration.mirror_maker import MirrorMaker, add_mirror_maker
from tests.integration.scene import Daemon, MirroredLife, Town, found, until_done
from tests.integration.workbench import eventually

from demo.connect import ConnectWorker
from kafka_migration.findings import Status
from kafka_migration.mirror.rest import Connect, ConnectAccess
from kafka_migration.mirror.runner import MirrorRunner
from kafka_migration.mirror.stored_offsets import read_positions
from kafka_migration.offsets import TopicPartition
from kafka_migration.plan.graph import FIRST_STAGE
from kafka_migration.run import ROLLBACK, Run
from kafka_migration.sides import Side
from kafka_migration.steps import bringing, closing, content, handover, holding, mirroring, preflight, switch, topics
from kafka_migration.steps.cutover import cutover


@dataclass
class Pair:
    """A topic on both clusters, and the MirrorMaker between them."""

    town: Town
    maker: MirrorMaker
    tp: TopicPartition

    def mirror(self, **keys: Any) -> MirrorRunner:
        services = [self.town.service("one", [self.tp], running=False)]
        plan = self.town.plan(services, scheme="mirror_first", mirror=self.maker.spec(**keys))
        return self.town.run(plan).mirrors[Side.TARGET]

    def position(self, mirror: MirrorRunner) -> int | None:
        return read_positions(self.town.target.cluster, mirror.watched.alias).get(self.tp)

    def copies(self) -> list[bytes | None]:
        return [m.value() for m in visible(self.town.target, self.tp)]

    def write(self, *numbers: int) -> None:
        for number in numbers:
            self.town.source.write(self.tp, value=str(number).encode())


@pytest.fixture
def pair(town: Town, daemon: Daemon) -> Pair:
    [tp] = town.topic(town.named("a"))
    town.topic(tp.topic, side=Side.TARGET)
    return Pair(town, add_mirror_maker(daemon, town.named("mm"), MIRROR_PROTOCOL="PLAINTEXT"), tp)


def test_exactly_the_declared_range_is_copied_also_where_it_is_killed(pair: Pair) -> None:
    pair.write(*range(100))
    mirror = pair.mirror(clients={"source": {"security.protocol": "${env:MIRROR_PROTOCOL}"}})
    assert not [f for f in mirror.check() if f.stops]
    mirror.create({pair.tp: 60})
    assert stat.S_IMODE(pair.maker.properties_file.stat().st_mode) == 0o600
    assert pair.position(mirror) == 60
    mirror.resume()
    eventually(lambda: pair.position(mirror) == 100, "the copies", 120)
    assert mirror.create({pair.tp: 60}) == []
    pid = pair.maker.pid
    os.kill(pid, signal.SIGKILL)
    pair.write(*range(100, 150))
    eventually(lambda: pair.position(mirror) == 150, "the copies behind the kill", 120)
    mirror.stop()
    assert pair.copies() == [str(n).encode() for n in range(60, 150)]


@pytest.fixture
def back(source: RunningCluster, tmp_path: Path) -> Iterator[ConnectWorker]:
    with ConnectWorker("back", source.bootstrap_servers, tmp_path / "back") as one:
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
    mirror = maker.spec(back="connect_back", properties={"offset.lag.max": 10})
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
