"""`<plan>.verify` on real clusters: what was moved is proved again, what has parted from it named, nothing changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from tests.conftest import RunningCluster
from tests.integration.scene import Daemon, Life, Town, move_all, roll_back

from kafka_migration.errors import FindingsFailed
from kafka_migration.findings import Status
from kafka_migration.offsets import TopicPartition
from kafka_migration.plan.model import Plan
from kafka_migration.records import Records
from kafka_migration.report import StepReport
from kafka_migration.run import VERIFY, Run
from kafka_migration.steps import closing, verifying
from kafka_migration.topics.create import set_settings


class _ReadOnly:
    """Records that nothing may be written to."""

    def __init__(self, records: Records) -> None:
        self.get = records.get

    def set(self, key: str, value: Any) -> None:
        raise AssertionError(f"a verification has written {key}")


class Moved:
    """A plan whose migration can be carried out, and what a verification says of it."""

    def __init__(self, town: Town, plan: Plan, life: Life, topic: TopicPartition, group: str) -> None:
        self.town, self.plan, self.life, self.topic, self.group = town, plan, life, topic, group

    def verify(self) -> Run:
        return replace(self.town.run(self.plan, "again", VERIFY), records=_ReadOnly(self.town.records))

    def drift(self) -> dict[str, Status]:
        try:
            report = verifying.drift(self.verify())
        except FindingsFailed as failed:
            report = failed.report or StepReport()
        return {f.id: f.status for f in report.findings}


@pytest.fixture
def moved(source: RunningCluster, target: RunningCluster, daemon: Daemon) -> Iterator[Moved]:
    with Town.of(source.bootstrap_servers, target.bootstrap_servers, daemon) as town:
        [topic] = town.topic(town.named("verified"))
        group = town.named("reader")
        services = [town.service("one", [topic]), town.service("two", (), {group: [topic]})]
        plan = town.plan(services)
        life = Life(town, plan)
        life.turns(3)
        yield Moved(town, plan, life, topic, group)


def test_before_a_migration_and_after_it_was_taken_back_there_is_nothing_to_verify(moved: Moved) -> None:
    assert verifying.drift(moved.verify()).summary == ("nothing to verify yet: no migration of this plan has finished")
    move_all(moved.town.run(moved.plan), moved.life)
    roll_back(moved.town.run(moved.plan, "back", "rollback"), moved.life)
    for step in (verifying.drift, verifying.proof):
        assert step(moved.verify()).summary == "nothing to verify yet: run back has taken it back"


def test_what_was_moved_stays_proved_and_nothing_is_changed(moved: Moved) -> None:
    move_all(moved.town.run(moved.plan), moved.life)
    before = moved.town.state(moved.plan)
    found = moved.drift()
    assert set(found.values()) == {Status.PASS}
    report = verifying.proof(moved.verify())
    assert {f.status for f in report.findings} == {Status.PASS}
    assert report.data["coverage"]
    closing.finish(moved.verify())
    assert moved.town.state(moved.plan) == before


def test_what_has_parted_is_named_and_says_that_the_source_cannot_be_given_up(moved: Moved) -> None:
    move_all(moved.town.run(moved.plan), moved.life)
    set_settings(moved.town.target.cluster, {moved.topic.topic: {"retention.ms": "777777777"}})
    assert {k: v for k, v in moved.drift().items() if v is not Status.PASS} == {
        f"topic-settings/{moved.topic.topic}": Status.WARN
    }, "settings are the operators' business"
    with moved.town.source.member(moved.group, moved.topic.topic):
        found = moved.drift()
    assert found[f"group-on-source/{moved.group}"] is Status.FAIL
    assert found["decommission/source"] is Status.WARN
    moved.town.source.write(moved.topic)
    found = moved.drift()
    assert found[f"straggler/{moved.topic}"] is Status.FAIL
    assert found["decommission/source"] is Status.WARN
    moved.town.target.cluster.admin.delete_topics([moved.topic.topic])[moved.topic.topic].result(30)
    assert moved.drift()[f"topic-gone/{moved.topic.topic}"] is Status.FAIL
