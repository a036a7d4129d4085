"""A source of Kafka 3.3.1, from its own jars: copied by MirrorMaker of 4.3.1, and its groups handed over exactly."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import RunningCluster
from tests.integration.copying import Copied, visible
from tests.integration.scene import Daemon, Town, found, until_done

from demo.connect import ConnectWorker
from demo.kafka import KafkaCluster
from kafka_migration.findings import Status
from kafka_migration.groups.commits import committed, set_commits
from kafka_migration.mirror.placing import Verdict
from kafka_migration.mirror.rest import Connect, ConnectAccess
from kafka_migration.plan.graph import FIRST_STAGE
from kafka_migration.sides import Side
from kafka_migration.steps import content, handover, mirroring, preflight, topics
from kafka_migration.steps.cutover import cutover


@pytest.fixture
def town(target: RunningCluster, daemon: Daemon, tmp_path: Path) -> Iterator[Town]:
    with (
        KafkaCluster("old", tmp_path / "old", version="3.3.1") as old,
        ConnectWorker("from-old", target.bootstrap_servers, tmp_path / "worker") as worker,
        Town.of(old.bootstrap_servers, target.bootstrap_servers, daemon) as one,
    ):
        one.workers[Side.TARGET] = Connect(ConnectAccess(worker.url))
        yield one


def test_groups_of_an_old_broker_go_on_at_exactly_their_next_message(town: Town) -> None:
    chance = random.Random(3)
    [a] = town.topic(town.named("a"), retention_ms="-1")
    groups = {town.named(f"g{number}"): [a] for number in range(20)}
    plan = town.plan(
        [town.service("one", [a]), town.service("two", (), groups)],
        scheme="mirror_first",
        mirror={"connection": "connect", "properties": {"offset.lag.max": 100}},
    )
    run = town.run(plan)
    mirror = run.mirrors[Side.TARGET]
    copied = Copied(town.source, town.target, a, mirror.syncs_topic)
    copied.fill(1_200, chance, transactions=True)
    end = town.source.end(a)
    assert end > 1_400, "the origin must hold aborted messages"
    stands = {group: chance.randrange(end) for group in groups}
    set_commits(town.source.cluster, {group: {a: offset} for group, offset in stands.items()})
    try:
        assert found(preflight.preflight(run), "mirror-worker/all").status is Status.PASS
        topics.create(run)
        mirroring.start(run)
        until_done(mirroring.caught_up, run, timeout=120)
        handover.stop_writers(run)
        until_done(cutover, run, stage=FIRST_STAGE)
        until_done(mirroring.stop_mirror, run, timeout=60)
        handover.hand_over(run, unit="two")
        assert found(content.compare(run), f"content/{a.topic}").status is Status.PASS

        here, there = visible(town.source, a), visible(town.target, a)
        assert [m.value() for m in there] == [m.value() for m in here]
        copied.images = {m.offset(): [copy.offset()] for m, copy in zip(here, there, strict=True)}
        handed = committed(town.target.cluster, stands)
        for group, offset in stands.items():
            following = next((copies[0] for at, copies in sorted(copied.images.items()) if at >= offset), copied.end[1])
            assert handed[group][a] == following
        verdicts = copied.judged([0, end, *chance.choices(range(end), k=400)])
        assert set(verdicts) == {Verdict.EXACT, Verdict.AT_END}, verdicts
    finally:
        mirror.remove()
