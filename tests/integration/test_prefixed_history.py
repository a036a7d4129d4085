"""`history: prefixed` on real clusters and a real Connect worker: what is stored is copied beside the live move."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from tests.conftest import RunningCluster
from tests.integration.scene import Daemon, Life, Town, found, move, roll_back, to_the_cutover, until_done
from tests.integration.workbench import Workbench, eventually

from demo.connect import ConnectWorker
from kafka_migration.errors import FindingsFailed, Refused
from kafka_migration.findings import Status
from kafka_migration.mirror.rest import Connect, ConnectAccess
from kafka_migration.offsets import OffsetRange, TopicPartition
from kafka_migration.plan.model import Plan
from kafka_migration.purposes import ROLLBACK
from kafka_migration.report import StepReport
from kafka_migration.run import Run
from kafka_migration.sides import Side
from kafka_migration.steps import closing, coverage, history, holding, preflight, topics
from kafka_migration.topics.create import add_partitions
from kafka_migration.topics.describe import describe_topics
from kafka_migration.visible import each_visible


@pytest.fixture(scope="module")
def worker(target: RunningCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConnectWorker]:
    with ConnectWorker("history", target.bootstrap_servers, tmp_path_factory.mktemp("connect") / "worker") as one:
        yield one


@dataclass
class Shop:
    """`one` writes `a`, which has stored messages; `two` reads them. `there`: the topic that takes the copies."""

    town: Town
    plan: Plan
    life: Life
    a: TopicPartition

    @property
    def there(self) -> TopicPartition:
        return TopicPartition(f"source.{self.a.topic}", 0)

    def run(self, run_id: str = "first", purpose: str = "migrate", **keys: bool) -> Run:
        return self.town.run(self.plan, run_id, purpose, **keys)

    def values(self, bench: Workbench, tp: TopicPartition) -> list[bytes | None]:
        told: list[bytes | None] = []
        each_visible(bench.cluster, [OffsetRange(tp, 0, bench.end(tp))], lambda _, m: told.append(m.value()))
        return told


@pytest.fixture
def shop(source: RunningCluster, target: RunningCluster, daemon: Daemon, worker: ConnectWorker) -> Iterator[Shop]:
    with Town.of(source.bootstrap_servers, target.bootstrap_servers, daemon) as town:
        town.workers[Side.TARGET] = Connect(ConnectAccess(worker.url))
        [a] = town.topic(town.named("a"), retention_ms="86400000")
        services = [town.service("one", [a]), town.service("two", (), {town.named("g"): [a]})]
        plan = town.plan(services, mirror={"connection": "connect"}, history="prefixed")
        life = Life(town, plan)
        life.turns(12)
        yield Shop(town, plan, life, a)
        mirror = town.run(plan).history
        assert mirror is not None
        mirror.remove()


def migrate(run: Run, life: Life) -> dict[str, StepReport]:
    """The scheme with its services at work, and beside it what is stored. It ends with PASS."""
    reports = {"preflight": preflight.preflight(run)}
    topics.create(run)
    reports["start_history"] = history.start(run)
    to_the_cutover(run, life)
    for unit in run.graph.readers:
        move(run, unit, life)
    reports["copied"] = until_done(history.copied, run)
    reports["compare"] = history.compare(run)
    reports["coverage"] = coverage.coverage(run)
    assert not any(f.stops for f in closing.closing_look(run).findings)
    closing.finish(run)
    return reports


def test_what_is_stored_is_copied_beside_the_move_and_after_a_rollback_what_came_since(shop: Shop) -> None:
    first = migrate(shop.run(), shop.life)
    originals = shop.values(shop.town.source, shop.a)
    assert shop.values(shop.town.target, shop.there) == originals
    assert len(originals) > 12
    compared = found(first["compare"], f"content/{shop.there.topic}")
    assert (compared.status, first["compare"].data["compared"]["messages"]) == (Status.PASS, len(originals))
    # Until the verdict nothing of the copies is deleted, though they are as old as their originals.
    retention = lambda: describe_topics(shop.town.target.cluster, [shop.there.topic])[shop.there.topic].settings  # noqa: E731
    assert retention()["retention.ms"] == "-1"
    assert shop.there.topic in holding.held(shop.run())
    holding.lift(shop.run())
    assert retention()["retention.ms"] == "86400000"
    # Run again it finds nothing to do.
    again = shop.run("again")
    for report in (history.start(again), until_done(history.copied, again), history.compare(again)):
        assert report.summary.startswith("nothing to")

    back = shop.run("back", ROLLBACK)
    history.stop(back)
    roll_back(back, shop.life)
    shop.life.turns(2)
    second = migrate(shop.run("second"), shop.life)
    now = shop.values(shop.town.source, shop.a)
    assert len(now) > len(originals)
    assert shop.values(shop.town.target, shop.there) == now
    assert second["compare"].data["compared"]["messages"] == len(now) - len(originals), "only what came since is read"


def test_rollback_stops_the_copying_and_a_kill_at_any_step_does_no_harm(shop: Shop) -> None:
    run = shop.run()
    topics.create(run)
    for _ in range(2):  # also one that was killed before it had said so
        history.start(run)
    connect = shop.town.workers[Side.TARGET]
    running = lambda: connect.state(f"{shop.plan.plan}.history")[0] == "RUNNING"  # noqa: E731
    eventually(running, "it to run")
    history.stop(shop.run("back", ROLLBACK, dry_run=True))
    eventually(running, "it to run still")
    for _ in range(2):
        history.stop(shop.run("back", ROLLBACK))
    assert connect.state(f"{shop.plan.plan}.history")[0] == "STOPPED"


def test_new_partitions_are_copied_and_damage_is_named(shop: Shop, source: RunningCluster) -> None:
    run = shop.run()
    topics.create(run)
    history.start(run)
    grown = TopicPartition(shop.a.topic, 1)
    add_partitions(shop.town.source.cluster, {shop.a.topic: 2})
    Workbench(source.bootstrap_servers).write(grown, 2, value=b"new")  # a client that knows of no fewer partitions
    topics.parity(run)
    to_the_cutover(run, shop.life)
    until_done(history.copied, run)
    assert shop.values(shop.town.target, replace(shop.there, partition=1)) == [b"new"] * 2
    # A message that somebody else wrote there before the comparison, and one that was taken for a copy.
    key = "history/end"
    reached = run.current.note(key)
    [extra] = shop.town.target.write(shop.there, 1, value=b"foreign")
    run.current.keep(key, {**reached, "image": {**reached["image"], str(shop.a): extra + 1}})
    with pytest.raises(FindingsFailed) as failed:
        history.compare(run)
    assert failed.value.report is not None
    told = found(failed.value.report, f"content/{shop.there.topic}")
    assert (told.status, f"{shop.a}@{extra}:extra" in told.seen) == (Status.FAIL, True), told


def test_nothing_is_waited_for_before_copying_has_begun(shop: Shop) -> None:
    run = shop.run()
    to_the_cutover(run, shop.life)
    with pytest.raises(Refused, match="run the task `start_history` first"):
        history.copied.prepare(run, {})
    with pytest.raises(Refused, match=r"run the task `history\.copied` first"):
        history.compare(run)


def test_preflight_names_what_would_read_the_copies_and_what_lies_where_they_go(shop: Shop) -> None:
    run = shop.run()
    assert found(preflight.preflight_report(run), "history-topic/all").status is Status.PASS
    plan = shop.plan.model_dump(exclude_unset=True)
    [consumes] = plan["services"][1]["consumes"]
    consumes["subscription"] = f".*{shop.a.topic}"
    shop.town.topic(shop.there.topic, side=Side.TARGET)
    shop.town.target.write(shop.there, 1)
    report = preflight.preflight_report(shop.town.run(Plan.model_validate(plan)))
    by_pattern = found(report, f"history-subscription/{consumes['group']}")
    assert (by_pattern.status, shop.there.topic in by_pattern.seen) == (Status.FAIL, True)
    taken = found(report, f"history-topic/{shop.there.topic}")
    assert (taken.status, "holds messages" in taken.seen) == (Status.FAIL, True)
    consumes["subscription"] = shop.a.topic
    narrow = preflight.preflight_report(shop.town.run(Plan.model_validate(plan)))
    assert not [f for f in narrow.findings if f.id.startswith("history-subscription")]
