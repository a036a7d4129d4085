"""`<plan>.verify` on real clusters: what was moved is proved again, what has parted from it named, nothing changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from confluent_kafka.admin import NewTopic
from tests.conftest import RunningCluster
from tests.integration.scene import Daemon, Life, Town, found, move_all, roll_back, verify
from tests.integration.workbench import eventually

from kafka_migration.errors import FindingsFailed, Refused
from kafka_migration.findings import Finding, Status
from kafka_migration.groups.commits import set_commits
from kafka_migration.offsets import TopicPartition
from kafka_migration.plan.model import Level, Plan
from kafka_migration.purposes import VERIFY
from kafka_migration.records import Records
from kafka_migration.report import StepReport
from kafka_migration.run import Run
from kafka_migration.steps import closing, proving, verifying
from kafka_migration.steps.decommission import decommission
from kafka_migration.topics.create import set_settings
from kafka_migration.topics.describe import await_topics, topic_names


class _OnlyItsOwn:
    """Records of which a verification may write what it remembers itself, and nothing of the pass."""

    def __init__(self, records: Records) -> None:
        self.get = records.get
        self._set = records.set

    def set(self, key: str, value: Any) -> None:
        assert key.startswith("verified/"), f"a verification has written {key}"
        assert json.loads(json.dumps(value)) == value, f"Airflow keeps nothing but JSON as it is: {key}"
        self._set(key, value)


class Moved:
    """A plan whose migration can be carried out, and what a verification says of it."""

    def __init__(self, town: Town, plan: Plan, life: Life, topic: TopicPartition, group: str) -> None:
        self.town, self.plan, self.life, self.topic, self.group = town, plan, life, topic, group

    def verify(self, run_id: str = "again", **how: Any) -> Run:
        run = self.town.run(self.plan, run_id, VERIFY, **how)
        return replace(run, records=_OnlyItsOwn(self.town.records))

    def proof(self, **how: Any) -> StepReport:
        try:
            return verify(self.verify(**how))
        except FindingsFailed as failed:
            return failed.report or StepReport()

    def counted(self) -> list[tuple[int, int, int]]:
        """By row what was counted: from where on, read, to read."""
        rows = self.proof(level="counts").data["coverage"]
        return [(row["counted_from"], row["destination_consumed"], row["destination_left"]) for row in rows]

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
    assert verifying.drift(moved.verify()).summary == "nothing to verify yet: run back has taken it back"
    assert verify(moved.verify()).summary == "nothing to verify: run back has taken it back"


def test_what_was_moved_stays_proved_and_nothing_is_changed(moved: Moved) -> None:
    move_all(moved.town.run(moved.plan), moved.life)
    before = moved.town.state(moved.plan)
    found = moved.drift()
    assert set(found.values()) == {Status.PASS}
    for level in ("offsets", "counts", "content"):
        report = verify(moved.verify(level=level))
        assert {f.status for f in report.findings} == {Status.PASS}
        assert bool(report.data.get("coverage")) is (level != "offsets")
    closing.finish(moved.verify())
    assert moved.town.state(moved.plan) == before


def test_source_can_be_given_up_only_by_all_that_was_found(moved: Moved) -> None:
    move_all(moved.town.run(moved.plan), moved.life)
    lost = Finding("content/orders", Status.FAIL, "1 missing")

    def told(*found: Finding, whole: bool = True, level: Level = "content") -> tuple[Status, str]:
        [finding] = decommission(moved.verify(level=level), found, whole).findings
        return finding.status, finding.seen

    assert told() == (Status.PASS, told()[1])
    assert told()[1].startswith("safe to decommission the source: nothing was written to the source since")
    assert told(lost) == (
        Status.WARN,
        "not shown to be safe to decommission the source, because of content/orders",
    )
    assert told(whole=False)[0] is Status.WARN
    assert told(level="sample")[0] is Status.WARN


def test_what_has_parted_is_named(moved: Moved) -> None:
    move_all(moved.town.run(moved.plan), moved.life)
    set_settings(moved.town.target.cluster, {moved.topic.topic: {"retention.ms": "777777777"}})
    assert {k: v for k, v in moved.drift().items() if v is not Status.PASS} == {
        f"topic-settings/{moved.topic.topic}": Status.WARN
    }, "settings are the operators' business"
    with moved.town.source.member(moved.group, moved.topic.topic):
        found = moved.drift()
    assert found[f"group-on-source/{moved.group}"] is Status.FAIL
    moved.town.source.write(moved.topic)
    found = moved.drift()
    assert found[f"straggler/{moved.topic}"] is Status.FAIL
    moved.town.target.cluster.admin.delete_topics([moved.topic.topic])[moved.topic.topic].result(30)
    eventually(lambda: moved.topic.topic not in topic_names(moved.town.target.cluster), "the topic to be gone")
    assert moved.drift()[f"topic-gone/{moved.topic.topic}"] is Status.FAIL


def test_what_was_counted_before_is_not_counted_again(moved: Moved) -> None:
    move_all(moved.town.run(moved.plan), moved.life)
    target, tp = moved.town.target, moved.topic
    begin = target.end(tp)
    assert moved.counted() == [(0, begin, 0)], "the migration counted when the group had read nothing there yet"
    assert moved.counted() == [(begin, begin, 0)]
    target.write(tp)
    target.write(tp)
    set_commits(target.cluster, {moved.group: {tp: begin + 1}})
    assert moved.counted() == [(begin, begin + 1, 1)], "only what came since is read"
    # What the target deletes is proved once it was counted ...
    target.delete_before(tp, begin + 1)
    assert moved.counted() == [(begin + 1, begin + 1, 1)]
    assert found(moved.proof(level="counts"), "coverage-destination-kept/all").status is Status.PASS
    # ... what it deletes that nobody has looked at leaves a doubt ...
    key = f"{tp.topic}/{tp.partition}/{moved.group}"
    set_commits(target.cluster, {moved.group: {tp: begin + 2}})
    assert moved.counted() == [(begin + 1, begin + 2, 0)]
    target.write(tp)
    target.delete_before(tp, begin + 3)
    report = moved.proof(level="counts")
    assert found(report, f"coverage-destination-kept/{key}").status is Status.INCONCLUSIVE
    assert found(report, f"group-onward/{moved.group}").status is Status.INCONCLUSIVE
    set_commits(target.cluster, {moved.group: {tp: begin + 3}})
    assert moved.proof(level="counts", full=True).data["coverage"]
    # ... and what it deletes that was seen to be unread is lost to the group.
    target.write(tp)
    moved.proof(level="content")
    target.delete_before(tp, begin + 4)
    lost = found(moved.proof(level="counts"), f"group-onward/{moved.group}")
    assert lost.status is Status.FAIL
    assert f"offsets {begin + 3:,} to {begin + 4:,} of {tp}" in lost.seen


def test_marker_that_nobody_commits_behind_is_deleted_and_nothing_is_lost(moved: Moved) -> None:
    move_all(moved.town.run(moved.plan), moved.life)
    target, tp = moved.town.target, moved.topic
    read = target.commit_transaction(tp, 2)[-1] + 1
    set_commits(target.cluster, {moved.group: {tp: read}})
    assert target.end(tp) == read + 1, "the marker"
    assert found(moved.proof(), f"group-onward/{moved.group}").status is Status.PASS
    target.delete_before(tp, read + 1)
    report = moved.proof()
    assert found(report, f"group-onward/{moved.group}").status is Status.PASS
    assert not [f for f in report.findings if f.stops]


def test_topic_of_the_target_that_is_made_anew_or_gone_is_a_failure_until_somebody_looks(moved: Moved) -> None:
    move_all(moved.town.run(moved.plan), moved.life)
    target, name = moved.town.target, moved.topic.topic
    assert not [f for f in moved.proof().findings if f.stops]
    target.cluster.admin.delete_topics([name])[name].result(30)
    eventually(lambda: name not in topic_names(target.cluster), "the topic to go")
    assert found(moved.proof(), f"group-onward/{name}").status is Status.FAIL
    target.cluster.admin.create_topics([NewTopic(name, 1, 1)])[name].result(30)
    await_topics(target.cluster, {name: 1})
    target.write(moved.topic, 50)
    set_commits(target.cluster, {moved.group: {moved.topic: 50}})
    for _ in range(2):
        report = moved.proof()
        assert found(report, f"target-cut/{name}").status is Status.FAIL
        assert report.data["coverage"], "its row is not forgotten"


def test_group_that_was_set_back_is_told_and_counted_from_its_seed_on(moved: Moved) -> None:
    move_all(moved.town.run(moved.plan), moved.life)
    begin = moved.town.target.end(moved.topic)
    moved.counted()
    set_commits(moved.town.target.cluster, {moved.group: {moved.topic: begin - 1}})
    assert moved.counted() == [(0, begin - 1, 1)]


def test_of_two_verifications_at_once_the_former_judges_nothing_of_the_latter(moved: Moved) -> None:
    move_all(moved.town.run(moved.plan), moved.life)
    former = moved.verify("former")
    shares = proving.ranges(former).data["shares"]
    verify(moved.verify("latter"))
    with pytest.raises(Refused, match="another verification has begun"):
        proving.compare(former, share=shares[0])
    again = moved.verify("third")
    proving.ranges(again)
    with pytest.raises(Refused, match="share 0 has not been read"):
        proving.proof(again)


def test_source_that_was_given_up_is_compared_no_more(moved: Moved) -> None:
    move_all(moved.town.run(moved.plan), moved.life)
    given_up = moved.plan.model_copy(update={"decommissioned": True})
    run = moved.town.run(given_up, "again", VERIFY)
    assert "given up (decommissioned: true)" in verifying.drift(run).summary
    assert "given up (decommissioned: true)" in verify(run).summary
