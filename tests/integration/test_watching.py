"""A mirror that is kept, on real clusters and a real Connect worker: what happens to it is seen, told and set right."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import RunningCluster
from tests.integration.scene import Daemon, Town, found, look_once
from tests.integration.workbench import Workbench, eventually

from demo.connect import ConnectWorker
from demo.kafka import KafkaCluster
from demo.waiting import patience
from kafka_migration.clusters.client import Clusters
from kafka_migration.errors import ClusterUnreachable, MirrorUnreachable, Refused
from kafka_migration.findings import Status
from kafka_migration.groups.commits import set_commits
from kafka_migration.mirror import positions
from kafka_migration.mirror.legs import Legs
from kafka_migration.mirror.rest import Connect, ConnectAccess
from kafka_migration.offsets import TopicPartition
from kafka_migration.plan.model import Accepted, Plan
from kafka_migration.purposes import MIRROR
from kafka_migration.report import StepReport
from kafka_migration.run import Run
from kafka_migration.sides import Side
from kafka_migration.steps import keeping, mirroring, watched, watching
from kafka_migration.steps.common import FLOW
from kafka_migration.topics.create import add_partitions, set_settings
from kafka_migration.topics.describe import partitions_of, topic_names
from kafka_migration.waiting import Look, Outcome

HOURLY = "0 * * * *"


@pytest.fixture(scope="module")
def worker(target: RunningCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConnectWorker]:
    with ConnectWorker("watched", target.bootstrap_servers, tmp_path_factory.mktemp("connect") / "worker") as one:
        yield one


@dataclass
class Kept:
    """A plan that keeps a mirror of `a`, which nobody runs: what counts is what is copied. One watch goes on in it."""

    town: Town
    plan: Plan
    a: TopicPartition
    group: str
    connect: Connect
    brief: dict[str, Any] = field(default_factory=dict)
    memory: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.plan.plan}.source-to-target"

    def run(self, run_id: str = "first", **keys: Any) -> Run:
        return self.town.run(self.plan, run_id, MIRROR, **keys)

    def begin(self) -> StepReport:
        """All tasks of a run before the watch; the last one's report."""
        run = self.run()
        keeping.preflight(run)
        keeping.create_topics(run)
        return keeping.start_mirror(run)

    def prepare(self) -> None:
        self.brief = json.loads(json.dumps(watching.watch.prepare(self.run(), {})))

    def look(self, later: float = 0.0, clusters: Clusters | None = None) -> Look:
        """One look, prepared anew where the one before asked for it."""
        run = self.run(now=lambda: time.time() + later)
        if clusters is not None:
            run.clusters = clusters
        if "looked" in self.memory:  # as if it had been looked all the time until then
            self.memory = {**self.memory, "looked": time.time() + later - 3.0}
        look = look_once(watching.watch, run, self.brief, self.memory)
        self.memory = look.memory
        if look.outcome is Outcome.AGAIN:
            self.prepare()
        return look

    def until(self, condition: Callable[[Look], bool], what: str, timeout: float = 90.0) -> Look:
        looks: list[Look] = []

        def seen() -> bool:
            looks.append(self.look())
            assert looks[-1].outcome is not Outcome.FAILED, looks[-1].why
            return condition(looks[-1])

        eventually(seen, what, timeout)
        return looks[-1]

    def caught_up(self) -> Look:
        return self.until(lambda look: look.numbers.get("mirror.to_target.behind") == 0, "the mirror to catch up")

    def ended(self) -> StepReport:
        """What the watch says when its time is over; it is on record then. What has just changed it looks at first."""
        for _ in range(3):
            self.brief["until"] = time.time()
            look = self.look()
            if look.outcome is not Outcome.AGAIN:
                break
        assert look.outcome is Outcome.DONE, look
        return watching.watch.settle(self.run(), self.brief, look)

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = self.town.records.get(watching.STATE)
        return state


@pytest.fixture
def kept(source: RunningCluster, target: RunningCluster, daemon: Daemon, worker: ConnectWorker) -> Iterator[Kept]:
    with Town.of(source.bootstrap_servers, target.bootstrap_servers, daemon) as town:
        one = kept_in(town, worker)
        yield one
        one.run().mirrors[Side.TARGET].remove()


def kept_in(town: Town, worker: ConnectWorker) -> Kept:
    connect = Connect(ConnectAccess(worker.url))
    town.workers[Side.TARGET] = connect
    [a] = town.topic(town.named("a"))
    group = town.named("reads")
    services = [
        {"name": "one", "produces": [a.topic], "controller": {"kind": "idle"}},
        {
            "name": "two",
            "consumes": [{"group": group, "topics": [a.topic]}],
            "controller": {"kind": "idle"},
        },
    ]
    for service in services:
        service.setdefault("produces", [])
    plan = town.plan(
        services,
        include=[f".*{town.suffix}"],
        scheme="mirror",
        mirror={"connection": "connect", "schedule": HOURLY, "canary": True},
    )
    town.source.write(a, 20)
    set_commits(town.source.cluster, {group: {a: 4}})
    return Kept(town, plan, a, group, connect)


def test_mirror_is_started_once_then_watched_and_what_groups_have_read_is_noted(kept: Kept) -> None:
    started = kept.begin()
    assert kept.name in str(started.changes)
    kept.prepare()
    look = kept.caught_up()
    kept.town.source.write(kept.a, 5)
    set_commits(kept.town.source.cluster, {kept.group: {kept.a: 9}})
    kept.until(lambda look: "mirror.to_target.latency" in look.numbers, "a canary to arrive")
    look = kept.caught_up()
    assert 0 < look.numbers["mirror.to_target.latency"] < 30 * patience()
    assert (look.numbers["mirror.to_target.tasks_failed"], look.numbers["mirror.down"]) == (0, 0)
    known = positions.read(kept.town.target.cluster, positions.topic_of(kept.plan))
    assert known.commits == {kept.group: {kept.a: 9}}
    assert (known.ends[kept.a], known.copied[kept.a]) == (25, 25)
    report = kept.ended()
    assert found(report, "mirror-kept/all").status is Status.PASS
    assert report.data["watched"]["behind"] == 0
    assert kept.state()["behind"] == 0
    assert kept.state()["problems"] == []
    # The next run finds all as it was: nothing is stopped, and nothing is told.
    before = kept.connect.positions(kept.name)
    began = time.monotonic()
    again = kept.begin()
    assert (again.changes, again.findings) == ([], [])
    assert time.monotonic() - began < 20 * patience()
    assert kept.connect.positions(kept.name)[kept.a] == before[kept.a]


def test_watch_goes_on_until_a_younger_run_has_noted_what_groups_have_read(kept: Kept) -> None:
    kept.begin()
    kept.prepare()
    assert kept.look().outcome is not Outcome.DONE
    younger = watching.watch.prepare(kept.run("second"), {})
    assert kept.look(3.0).outcome is not Outcome.DONE, "it has not looked yet"
    look = look_once(watching.watch, kept.run("second", now=lambda: time.time() + 5.0), younger, {})
    assert look.outcome is not Outcome.DONE
    relieved = kept.look(6.0)
    assert (relieved.outcome, kept.brief["until"] > time.time() + 60) == (Outcome.DONE, True)
    later = kept.run("second", now=lambda: time.time() + 8.0)
    assert look_once(watching.watch, later, younger, look.memory).outcome is not Outcome.DONE, "the older ends, not it"


def test_marks_of_transactions_are_not_behind_and_an_open_one_is_no_stall(kept: Kept) -> None:
    kept.town.source.commit_transaction(kept.a, 3)
    kept.town.source.abort_transaction(kept.a, 3)
    kept.begin()
    kept.prepare()
    look = kept.caught_up()
    assert kept.connect.positions(kept.name)[kept.a] < kept.town.source.end(kept.a), "or nothing is shown here"
    # Retention may delete those marks: nothing was lost with them, also for a run that begins anew.
    kept.town.source.delete_before(kept.a, kept.town.source.end(kept.a))
    kept.prepare()
    kept.memory = {}
    kept.until(lambda look: look.outcome is Outcome.WAITING, "it to be watched")  # none fails on the way
    with kept.town.source.open_transaction(kept.a, 2):
        kept.look()
        kept.look()
        look = kept.look(later=400.0)
        assert not [why for why in look.why.splitlines() if str(kept.a) in why], look.why


def test_task_that_failed_is_started_again_with_its_reason_kept(kept: Kept) -> None:
    kept.begin()
    kept.prepare()
    kept.caught_up()
    set_settings(kept.town.target.cluster, {kept.a.topic: {"max.message.bytes": "1000"}})
    kept.town.source.write(kept.a, 1, value=b"x" * 5000)
    eventually(lambda: bool(kept.connect.progress(kept.name).failures), "the task to fail", 90)
    set_settings(kept.town.target.cluster, {kept.a.topic: {"max.message.bytes": "100000"}})
    look = kept.look()
    assert look.outcome is Outcome.AGAIN
    assert look.numbers["mirror.to_target.tasks_failed"] == 1
    kept.caught_up()
    report = kept.ended()
    [told] = [f for f in report.findings if f.id.startswith("mirror-restarted/")]
    assert told.status is Status.WARN
    assert "RecordTooLarge" in told.seen
    assert report.data["watched"]["restarted"] == 1


def test_task_that_fails_again_and_again_ends_the_watch_with_its_reason(kept: Kept) -> None:
    assert kept.plan.mirror is not None
    small = kept.plan.mirror.model_copy(update={"properties": {"producer.override.max.request.size": 1000}})
    accept = (Accepted(finding=f"mirror-size/{kept.a.topic}", reason="to see what comes of it"),)
    kept.plan = kept.plan.model_copy(update={"mirror": small, "accept": accept})
    kept.town.source.write(kept.a, 1, value=b"x" * 5000)
    kept.begin()
    kept.prepare()
    eventually(lambda: bool(kept.connect.progress(kept.name).failures), "the task to fail", 90)
    again_and_again = {**kept.brief, "restarts": [time.time() - 1] * 5}
    look = look_once(watching.watch, kept.run(), again_and_again, {})
    assert look.outcome is Outcome.FAILED
    assert "again and again" in look.why
    assert "max.request.size" in look.why
    assert kept.look().outcome is Outcome.AGAIN
    assert len(kept.town.records.get(keeping.RESTARTS)) == 1
    [told] = [one for one in kept.brief["did"] if one.get("finding", "").startswith("mirror-restarted/")]
    assert "max.request.size" in told["seen"]
    look = kept.look()
    assert [f for f in watching.watch.seen(kept.brief, look).findings if f.id.startswith("mirror-restarted/")]


def test_new_topic_and_new_partition_are_picked_up_while_it_is_watched(kept: Kept) -> None:
    kept.begin()
    kept.prepare()
    kept.caught_up()
    [b] = kept.town.topic(kept.town.named("b"))
    kept.town.source.write(b, 7)
    add_partitions(kept.town.source.cluster, {kept.a.topic: 2})
    grown = TopicPartition(kept.a.topic, 1)
    Workbench(kept.town.source.bootstrap_servers).write(grown, 6)  # a writer that knows the new partition
    began = time.monotonic()
    kept.until(lambda look: look.outcome is Outcome.AGAIN, "the watch to see them", 20)
    eventually(lambda: len(partitions_of(kept.town.target.cluster, [kept.a.topic, b.topic])) == 3, "them to be made")
    kept.until(
        lambda _: kept.town.target.end(b) >= 7 and kept.town.target.end(grown) >= 6, "their messages to be copied"
    )
    assert time.monotonic() - began < 60 * patience()
    leg = Legs(kept.town.records).last()
    assert leg is not None
    assert (leg.begin[grown], leg.onto[grown]) == (0, 0), "also where MirrorMaker was first"
    assert any(change.what == f"topic {b.topic}" for change in kept.ended().changes)


def test_mirror_that_somebody_halted_or_changed_is_told_and_set_right(kept: Kept) -> None:
    kept.begin()
    kept.prepare()
    kept.caught_up()
    kept.connect._call("PUT", f"/connectors/{kept.name}/pause")
    eventually(lambda: kept.connect.state(kept.name)[0] == "PAUSED", "it to pause")
    assert kept.look().outcome is Outcome.AGAIN
    eventually(lambda: kept.connect.state(kept.name)[0] == "RUNNING", "it to run again")
    config = kept.connect.config(kept.name)
    assert config is not None
    kept.connect.configure(kept.name, {**config, "offset.lag.max": "5", "my.password": "hidden"})
    kept.until(lambda look: "configuration" in look.why, "the change to be seen", 20)
    now = kept.connect.config(kept.name)
    assert now == config
    kept.caught_up()
    report = kept.ended()
    assert found(report, f"mirror-resumed/{kept.name}").seen == "was PAUSED, runs again"
    drift = found(report, "mirror-drift/offset.lag.max")
    assert (drift.status, drift.expected) == (Status.WARN, config["offset.lag.max"])
    assert drift.seen.startswith("was 5 in Kafka Connect")
    assert "hidden" not in json.dumps(report.to_json()), "what somebody puts there may be a secret"
    assert any("mirror-drift" in problem for problem in kept.state()["problems"])


def test_changed_plan_is_applied_and_is_no_drift(kept: Kept) -> None:
    kept.begin()
    assert kept.plan.mirror is not None
    other = kept.plan.mirror.model_copy(update={"properties": {"offset.lag.max": 7}})
    kept.plan = kept.plan.model_copy(update={"mirror": other})
    report = kept.begin()
    assert [change.before for change in report.changes] == ["offset.lag.max=1000"]
    assert report.findings == []
    assert (kept.connect.config(kept.name) or {})["offset.lag.max"] == "7"
    eventually(lambda: kept.connect.state(kept.name)[0] == "RUNNING", "it to run", 30)


def test_other_setting_on_the_target_is_told_and_keeps_nobody_from_copying(kept: Kept) -> None:
    kept.begin()
    set_settings(kept.town.target.cluster, {kept.a.topic: {"retention.ms": "1000000"}})
    assert found(keeping.create_topics(kept.run()), f"topic-settings/{kept.a.topic}").status is Status.WARN
    assert found(keeping.preflight(kept.run()), "mirror-worker/all").status is Status.PASS


def test_messages_that_retention_deleted_before_they_were_copied_are_a_failure(kept: Kept) -> None:
    kept.begin()
    kept.prepare()
    kept.caught_up()
    kept.run().mirrors[Side.TARGET].stop()
    kept.town.source.write(kept.a, 10)
    kept.town.source.delete_before(kept.a, 25)
    look = kept.look()
    assert look.outcome is Outcome.FAILED
    assert f"{kept.a}: offsets 20 to 25" in look.why


def test_mirror_that_says_it_runs_and_copies_nothing_is_a_failure_after_a_while(kept: Kept) -> None:
    kept.begin()
    kept.prepare()
    kept.caught_up()
    kept.run().mirrors[Side.TARGET].stop()
    kept.town.source.write(kept.a, 10)
    running = replace(kept.connect.progress(kept.name), state="RUNNING", tasks=2)

    class Stuck(Connect):
        def progress(self, name: str) -> Any:
            return running

    stuck = replace(kept.town.clusters, workers={Side.TARGET: Stuck(kept.connect._access)})
    assert kept.look(clusters=stuck).outcome is Outcome.WAITING
    assert kept.look(clusters=stuck).outcome is Outcome.WAITING
    look = kept.look(later=400.0, clusters=stuck)
    assert look.outcome is Outcome.FAILED
    assert f"copied nothing of {kept.a}" in look.why


def test_worker_that_does_not_answer_ends_the_watch_only_when_it_lasts(kept: Kept, worker: ConnectWorker) -> None:
    kept.begin()
    kept.prepare()
    kept.caught_up()
    worker.kill()
    assert kept.look().outcome is Outcome.WAITING
    assert kept.look(later=30.0).numbers["mirror.down"] == 1
    look = kept.look(later=70.0)
    assert look.outcome is Outcome.FAILED
    assert "Kafka Connect beside the target has not answered" in look.why
    assert f"{kept.plan.plan}.failover" in look.why
    with pytest.raises(MirrorUnreachable):
        keeping.start_mirror(kept.run())
    worker.start()
    worker.wait_ready()
    # Not the first look: another test may just have made a topic on the same cluster.
    look = kept.until(lambda look: look.outcome is Outcome.WAITING, "it to be watched on")
    assert [one["finding"] for one in look.memory["did"] if "finding" in one] == [
        "mirror-outage/Kafka-Connect-beside-the-target"
    ]


def test_after_a_failover_and_while_one_runs_nothing_is_touched(kept: Kept) -> None:
    kept.begin()
    kept.prepare()
    kept.run().mirrors[Side.TARGET].stop()
    kept.town.records.set(FLOW, "failed over")
    steps = (keeping.preflight, keeping.create_topics, keeping.start_mirror)
    for step in steps:
        assert step(kept.run()).summary.startswith("stands back: the plan has failed over")
    assert kept.look().outcome is Outcome.AGAIN, "the watch that runs sees it stopped, and asks"
    look = kept.look()
    assert look.outcome is Outcome.DONE
    assert watching.watch.settle(kept.run(), kept.brief, look).summary.startswith("stands back")
    kept.town.records.set(FLOW, None)
    assert kept.connect.state(kept.name)[0] == "STOPPED"


def test_failover_that_begins_while_it_is_started_wins(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.begin()
    start = mirroring.start

    def failing_over(run: Run) -> StepReport:
        kept.town.records.set(FLOW, "failed over")
        run.mirrors[Side.TARGET].stop()
        return start(run)

    monkeypatch.setattr(mirroring, "start", failing_over)
    assert keeping.start_mirror(kept.run()).summary.startswith("stands back")
    assert kept.connect.state(kept.name)[0] == "STOPPED"


def test_dry_run_shows_and_changes_nothing(kept: Kept) -> None:
    run = kept.run(dry_run=True)
    keeping.preflight(run)
    keeping.create_topics(run)
    assert keeping.start_mirror(run).summary.startswith("would start mirror")
    brief = watching.watch.prepare(run, {})
    look = look_once(watching.watch, run, brief, {})
    assert (look.outcome, watching.watch.settle(run, brief, look).summary) == (
        Outcome.DONE,
        "would watch the mirror",
    )
    assert not [t for t in topic_names(kept.town.target.cluster) if kept.town.suffix in t]
    assert kept.connect.config(kept.name) is None


def test_watch_without_a_mirror_is_refused(kept: Kept) -> None:
    kept.town.topic(kept.a.topic, side=Side.TARGET)
    with pytest.raises(Refused, match="start_mirror"):
        watching._kept(kept.run())


def test_source_that_is_gone_ends_the_watch_with_the_failover_named(
    target: RunningCluster,
    daemon: Daemon,
    worker: ConnectWorker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with KafkaCluster("gone", tmp_path / "gone") as cluster:
        town = Town(Workbench(cluster.bootstrap_servers), Workbench(target.bootstrap_servers, Side.TARGET), daemon)
        kept = kept_in(town, worker)
        kept.begin()
        kept.prepare()
        kept.caught_up()
        monkeypatch.setattr(watched, "CONNECT_TIMEOUT", 2.0)
        cluster.kill()
        look = kept.look()
        assert look.outcome is Outcome.WAITING, "it may be short"
        assert look.numbers["mirror.down"] == 1
        look = kept.look(later=70.0)
        assert look.outcome is Outcome.FAILED
        assert f"run {kept.plan.plan}.failover" in look.why
        assert watching.watch.seen(kept.brief, look).data["watched"]["behind"] == 0
        known = positions.read(town.target.cluster, positions.topic_of(kept.plan))
        assert known.commits == {kept.group: {kept.a: 4}}, "what a failover goes by"
        with pytest.raises(ClusterUnreachable, match=f"run {kept.plan.plan}.failover"):
            keeping.preflight(kept.run())
