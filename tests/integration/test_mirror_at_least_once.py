"""A plan that asks for at least once, on a worker that can do no better and is killed while it copies.

Nothing is lost, what is repeated is counted and located, and a group goes on behind the last copy of what it has read.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from tests.conftest import RunningCluster
from tests.integration.copying import Copied, visible
from tests.integration.scene import Daemon, Town, found, until_done
from tests.integration.workbench import eventually

from demo.connect import ConnectWorker
from kafka_migration.findings import Status
from kafka_migration.groups.commits import committed, set_commits
from kafka_migration.mirror.placing import Verdict
from kafka_migration.mirror.rest import Connect, ConnectAccess
from kafka_migration.plan.graph import FIRST_STAGE
from kafka_migration.run import Run
from kafka_migration.sides import Side
from kafka_migration.steps import content, handover, mirroring, preflight, repeats, topics
from kafka_migration.steps.cutover import cutover

SLOW = {"source.consumer.max.poll.records": 20, "offset.lag.max": 100}
KILLS = 2


@pytest.fixture
def worker(target: RunningCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConnectWorker]:
    folder = tmp_path_factory.mktemp("connect") / "worker"
    with ConnectWorker("at-least-once", target.bootstrap_servers, folder, exactly_once=False) as one:
        yield one


@pytest.fixture
def town(source: RunningCluster, target: RunningCluster, daemon: Daemon, worker: ConnectWorker) -> Iterator[Town]:
    with Town.of(source.bootstrap_servers, target.bootstrap_servers, daemon) as one:
        one.workers[Side.TARGET] = Connect(ConnectAccess(worker.url))
        yield one


def test_killed_worker_repeats_what_is_counted_and_groups_go_on_behind_it(town: Town, worker: ConnectWorker) -> None:
    chance = random.Random(7)
    [a] = town.topic(town.named("a"), retention_ms="-1")
    begun, inside, done = (town.named(name) for name in ("begun", "inside", "done"))
    services = [town.service("one", [a]), town.service("two", (), {begun: [a], inside: [a], done: [a]})]
    properties = {"exactly.once.support": "requested", **SLOW}
    plan = town.plan(services, scheme="mirror_first", mirror={"connection": "connect", "properties": properties})
    run = town.run(plan)
    mirror = run.mirrors[Side.TARGET]
    copied = Copied(town.source, town.target, a, mirror.syncs_topic)
    copied.fill(1_000, chance, transactions=True)
    set_commits(town.source.cluster, {group: {a: 5} for group in (begun, inside, done)})

    report = preflight.preflight(run)
    assert found(report, "mirror-worker/at-least-once").status is Status.WARN
    assert "copies at least once" in found(report, "mirror-worker/all").seen
    topics.create(run)
    try:
        mirroring.start(run)
        last = town.source.visible_offsets(a)[-1]
        eventually(lambda: town.workers[Side.TARGET].positions(mirror.name).get(a) == last + 1, "what is there", 90)
        mirror.stop()  # that much is stored, and copied once
        copied.fill(12_000, chance)
        copied.fill(1_000, chance, transactions=True)
        mirroring.start(run)
        kills = kill_while_it_copies(copied, worker, chance)
        set_commits(town.source.cluster, {done: {a: town.source.end(a)}})
        until_done(mirroring.caught_up, run, timeout=120)
        until_done(mirroring.stop_mirror, stopped_writers(run), timeout=60)
        leg = mirroring.leg_of(run)
        assert leg is not None
        there = {m.value(): [] for m in visible(town.source, a)}
        for message in visible(town.target, a):
            there[message.value()].append(message.offset())
        copied.images = {m.offset(): there[m.value()] for m in visible(town.source, a)}
        assert all(copied.images.values()), "nothing is lost"
        twice = {offset: copies for offset, copies in copied.images.items() if len(copies) > 1}
        repeated = sum(len(copies) - 1 for copies in twice.values())
        assert repeated > 0, "killed between two flushes, it must repeat"
        again = repeats.rewinds_of(run, leg)[a]
        assert len(again) <= kills
        assert repeated <= sum(r.again for r in again)
        assert min(again, key=lambda r: r.up).up > last
        first = min(copies[1] for copies in twice.values())
        assert again[0].down >= first, "a mirror that was killed at once has told nothing"

        verdicts = copied.judged([0, copied.end[0], *chance.choices(range(copied.end[0]), k=400)])
        assert set(verdicts) <= {Verdict.EXACT, Verdict.AT_END, Verdict.REPEATS}, verdicts
        assert verdicts[Verdict.EXACT] > 300, verdicts

        stands = max(twice)  # has read all but the last of what came twice
        set_commits(town.source.cluster, {inside: {a: stands}})
        report = handover.hand_over(run, unit="two")
        set_at = committed(town.target.cluster, [begun, inside, done])
        assert set_at[begun][a] == copied.images[next(o for o in sorted(copied.images) if o >= 5)][-1]
        assert set_at[inside][a] == twice[stands][-1], "not in an earlier copy"
        assert set_at[done][a] == copied.end[1]
        before = found(report, f"handover/{begun}/{a}")
        assert before.status is Status.WARN
        assert f"repeats at most {sum(r.again for r in again):,} messages and skips none" in before.advice
        assert found(report, f"handover/{done}").status is Status.PASS

        report = content.compare(run)
        compared = found(report, f"content/{a.topic}")
        assert compared.status is Status.WARN
        assert f"{repeated:,} messages are there more than once, first {a}@{first}:repeated" in compared.seen
        assert report.data["compared"]["repeated"] == repeated
    finally:
        mirror.remove()


def kill_while_it_copies(copied: Copied, worker: ConnectWorker, chance: random.Random) -> int:
    """How often it was killed: a kill that came when all had been copied shows nothing, and is made again."""
    kills = hits = 0
    while hits < KILLS:
        before = copied.end[1]
        eventually(lambda seen=before: copied.end[1] > seen + 300, "some to be copied", 120)
        worker.kill()
        kills += 1
        if visible(copied.target, copied.tp)[-1].value() == visible(copied.source, copied.tp)[-1].value():
            copied.fill(12_000, chance)
        else:
            hits += 1
        worker.start()
        worker.wait_ready()
    return kills


def stopped_writers(run: Run) -> Run:
    handover.stop_writers(run)
    until_done(cutover, run, stage=FIRST_STAGE)
    return run
