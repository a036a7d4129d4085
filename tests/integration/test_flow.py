"""The whole scheme on the whole live shop, step by step as the DAG has it, counted by the shop's own witnesses."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tests.integration.scene import migrate, stopping

from demo.kafka import KafkaCluster
from demo.shop import Shop
from demo.shop.catalogue import SERVICES, readers
from demo.waiting import wait_until
from demo.witness import WitnessCount, count, wait_until_complete
from kafka_migration.clusters.client import Cluster, Clusters
from kafka_migration.findings import Status
from kafka_migration.groups.commits import committed
from kafka_migration.passes import current_pass
from kafka_migration.plan.load import load_plan, plans_folders
from kafka_migration.records import MemoryRecords
from kafka_migration.report import StepReport
from kafka_migration.run import Run
from kafka_migration.services.controller import Observation, State
from kafka_migration.services.registry import build_controllers
from kafka_migration.sides import Side
from kafka_migration.steps import closing
from kafka_migration.steps.common import observe_all
from kafka_migration.topics.describe import describe_topics

_BUSINESS = 2_000
_LOOK_EVERY = 0.3  # each look counts all that was ever written, beside the shop that is to write


@dataclass(frozen=True)
class Seen:
    """What a step could change: the target's topics, the groups' offsets there, the env files, the processes."""

    topics: Any
    commits: Any
    env_files: dict[str, bytes]
    processes: dict[str, int | None]


@dataclass(frozen=True)
class Moved:
    """The shop after a dry run, a migration, the same once more, and its closing time."""

    run: Run
    before: Seen
    dry: dict[str, StepReport]
    after_dry: Seen
    first: dict[str, StepReport]
    after_first: Seen
    again: dict[str, StepReport]
    after_again: Seen
    services: dict[str, Observation]
    counted: WitnessCount


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moved]:
    directory = tmp_path_factory.mktemp("flow")
    pair = [KafkaCluster(name, directory / name) for name in ("source", "target")]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(KafkaCluster.__enter__, pair))
    sockets = directory / "s"
    sockets.mkdir(mode=0o700)
    shop = Shop(directory / "shop", sockets)
    try:
        shop.prepare(pair[0].bootstrap_servers)
        shop.start()
        _wait_for_business(shop)
        run = _run(pair, shop)
        before = _look(run, shop)
        dry = migrate(replace(run, dry_run=True))
        after_dry = _look(run, shop)
        first = migrate(run)
        closing.finish(run)
        after_first = _look(run, shop)
        again = migrate(replace(run, run_id="second"))
        after_again = _look(run, shop)
        services = observe_all(run.controllers)
        _wait_for_business(shop)
        shop.stop_producers()
        counted = wait_until_complete(shop.witness_directory, readers(), timeout=60, quiet=15)
        yield Moved(run, before, dry, after_dry, first, after_first, again, after_again, services, counted)
    finally:
        shop.stop()
        for cluster in pair:
            cluster.stop()


def test_no_message_is_lost_repeated_or_out_of_order(moved: Moved) -> None:
    counted = moved.counted
    assert (counted.lost, counted.repeated, counted.out_of_order, counted.first_fault) == (0, 0, 0, None)
    assert counted.produced > 2 * _BUSINESS
    assert {group.group for group in counted.groups} == set(readers())
    assert all(group.processed for group in counted.groups)


def test_every_service_runs_on_the_target_and_every_finding_passes(moved: Moved) -> None:
    assert {o.side for o in moved.services.values()} == {Side.TARGET}
    assert {o.state for o in moved.services.values()} == {State.RUNNING}
    assert all(not stopping(report) for report in moved.first.values())
    assert {f.status for f in moved.first["coverage"].findings} == {Status.PASS}
    assert {f.status for f in moved.first["evidence"].findings} == {Status.PASS}


def test_coverage_has_a_row_for_every_partition_that_a_group_reads(moved: Moved) -> None:
    partitions = {name: t.partitions for name, t in moved.after_first.topics.items()}
    rows = moved.first["coverage"].data["coverage"]
    assert len(rows) == sum(partitions[topic] for topics in readers().values() for topic in topics)
    assert sum(row["origin_visible"] for row in rows) > 0
    assert sum(row["origin_left"] for row in rows) == 0


def test_dry_run_changes_nothing_and_says_what_it_would_do(moved: Moved) -> None:
    assert moved.after_dry == moved.before
    assert not moved.before.topics
    assert not any(moved.before.commits.values())
    changes = [change for report in moved.dry.values() for change in report.changes]
    assert changes
    assert not [change for change in changes if change.done]
    told = {change.what for change in changes}
    assert {f"service {service.name}" for service in SERVICES} <= told


def test_finished_migration_run_again_changes_nothing_and_says_so(moved: Moved) -> None:
    assert moved.after_again.env_files == moved.after_first.env_files
    assert moved.after_again.processes == moved.after_first.processes
    assert moved.after_again.topics == moved.after_first.topics
    assert not [change for report in moved.again.values() for change in report.changes]
    assert all(not stopping(report) for report in moved.again.values())
    assert "nothing is left to move" in " ".join(moved.again["preflight"].notes)
    assert {f.status for f in moved.again["coverage"].findings} == {Status.PASS}


def test_finished_migration_run_again_keeps_its_pass_its_points_and_its_proof(moved: Moved) -> None:
    current = current_pass(moved.run.records)
    assert current.number == 1
    assert (current.finished or {})["run_id"] == "first"
    assert moved.again["cutover"].data["points"] == moved.first["cutover"].data["points"]
    assert moved.again["coverage"].data["coverage"] == moved.first["coverage"].data["coverage"]


def _run(pair: list[KafkaCluster], shop: Shop) -> Run:
    clusters = Clusters(
        *(
            Cluster(side, f"kafka_{side.value}", {"bootstrap.servers": one.bootstrap_servers})
            for side, one in zip(Side, pair, strict=True)
        )
    )
    supervisor = shop.connection
    parts = {
        "login": supervisor.user,
        "password": supervisor.password,
        "socket": str(supervisor.socket),
        "env_directory": str(supervisor.env_directory),
    }
    plan = load_plan(plans_folders()[0] / "orders.yaml").plan
    controllers = build_controllers(plan, clusters.addresses, lambda _: parts)
    return Run(plan, "migrate", "first", clusters, controllers, MemoryRecords())


def _look(run: Run, shop: Shop) -> Seen:
    target = run.clusters.target
    folder: Path = shop.connection.env_directory
    return Seen(
        describe_topics(target, run.plan.topics.include),
        committed(target, run.plan.groups),
        {file.name: file.read_bytes() for file in sorted(folder.iterdir())},
        {name: one.pid for name, one in shop.status().items()},
    )


def _wait_for_business(shop: Shop) -> None:
    before = count(shop.witness_directory, readers()).produced

    def done() -> bool:
        time.sleep(_LOOK_EVERY)
        return count(shop.witness_directory, readers()).produced > before + _BUSINESS

    wait_until(done, timeout=60, what="the shop to do business")
