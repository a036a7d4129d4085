"""Coverage on real brokers: what was not read is found and named, wherever the hole is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from tests.conftest import RunningCluster
from tests.integration.scene import Daemon, Town, stopping, supervised, to_the_cutover, until_done

from kafka_migration.errors import FindingsFailed
from kafka_migration.findings import Status
from kafka_migration.groups.commits import set_commits
from kafka_migration.offsets import TopicPartition
from kafka_migration.passes import current_pass
from kafka_migration.plan.graph import FIRST_STAGE
from kafka_migration.run import Run
from kafka_migration.steps.closing import finish
from kafka_migration.steps.coverage import coverage
from kafka_migration.steps.drain import drained
from kafka_migration.steps.switch import switch_consumers


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with supervised(tmp_path_factory.mktemp("sd")) as one:
        yield one


@dataclass(frozen=True)
class Migrated:
    """A topic of two partitions and one group, moved; three messages on the target, two of them read."""

    town: Town
    run: Run
    group: str
    first: TopicPartition
    second: TopicPartition

    def broken(self) -> dict[str, Status]:
        """The findings that stop, by id."""
        with pytest.raises(FindingsFailed) as caught:
            coverage(self.run)
        return {f.id: f.status for f in caught.value.findings}


@pytest.fixture
def migrated(source: RunningCluster, target: RunningCluster, daemon: Daemon) -> Iterator[Migrated]:
    with Town.of(source.bootstrap_servers, target.bootstrap_servers, daemon) as town:
        first, second = town.source.topic("orders", 2)
        group = town.named("billing")
        town.source.write(first, 2)
        set_commits(town.source.cluster, {group: {first: 1, second: 0}})
        run = town.run(
            town.plan(
                [town.service("one", produces=[first, second]), town.service("two", reads={group: [first, second]})]
            )
        )
        town.source.commit_transaction(first, 3)
        town.source.abort_transaction(second, 2)
        to_the_cutover(run)
        set_commits(town.source.cluster, {group: {first: 5, second: 0}})  # of records: the markers stay as a lag
        until_done(drained, run, service="two")
        switch_consumers(run, unit="two")
        town.target.write(first, 3)
        set_commits(town.target.cluster, {group: {first: 2}})
        yield Migrated(town, run, group, first, second)


def test_counts_are_exact_and_see_neither_markers_nor_aborted_messages(migrated: Migrated) -> None:
    report = coverage(migrated.run)
    assert stopping(report) == set()
    rows = {(row["topic"], row["partition"]): row for row in report.data["coverage"]}
    one, two = rows[migrated.first.topic, 0], rows[migrated.second.topic, 1]
    assert (one["begin"], one["cutover"], one["origin_commit"], one["origin_visible"]) == (1, 6, 5, 4)
    assert (one["seed"], one["destination_visible"], one["destination_consumed"], one["destination_left"]) == (
        0,
        3,
        2,
        1,
    )
    assert (two["cutover"], two["origin_visible"], two["origin_left"]) == (3, 0, 0)


def test_commit_moved_back_on_the_source_fails_and_names_topic_partition_and_group(migrated: Migrated) -> None:
    set_commits(migrated.town.source.cluster, {migrated.group: {migrated.first: 3}})
    where = f"{migrated.first}/{migrated.group}"
    assert migrated.broken() == {
        f"coverage-origin-left/{where}": Status.FAIL,
        f"coverage-origin-verdict/{where}": Status.FAIL,
    }


def test_group_whose_offsets_are_gone_on_the_target_fails(migrated: Migrated) -> None:
    cluster = migrated.town.target.cluster
    cluster.admin.delete_consumer_groups([migrated.group])[migrated.group].result(timeout=30)
    assert set(migrated.broken()) == {
        f"coverage-destination-seed/{migrated.first}/{migrated.group}",
        f"coverage-destination-seed/{migrated.second}/{migrated.group}",
    }


def test_messages_deleted_from_the_target_before_they_were_read_fail(migrated: Migrated) -> None:
    migrated.town.target.delete_before(migrated.first, 3)
    assert migrated.broken()[f"coverage-destination-kept/{migrated.first}/{migrated.group}"] is Status.FAIL


def test_open_transaction_on_the_target_leaves_nothing_uncounted(migrated: Migrated) -> None:
    with migrated.town.target.open_transaction(migrated.first, 1):
        assert stopping(coverage(migrated.run)) == set()


def test_straggler_that_nobody_reads_fails_when_the_point_includes_it(migrated: Migrated) -> None:
    """As when the point was frozen anew, and the group was switched all the same."""
    current = current_pass(migrated.run.records)
    migrated.town.source.write(migrated.first, 2)
    latest = current.points(FIRST_STAGE)[-1].offsets
    current.freeze(FIRST_STAGE, {**latest, migrated.first: 8}, "first", migrated.run.now())
    assert f"coverage-origin-left/{migrated.first}/{migrated.group}" in migrated.broken()


def test_finished_pass_keeps_the_rows_that_it_was_finished_with(migrated: Migrated) -> None:
    rows = coverage(migrated.run).data["coverage"]
    finish(migrated.run)
    migrated.town.source.cluster.admin.delete_consumer_groups([migrated.group])[migrated.group].result(timeout=30)
    migrated.town.target.write(migrated.first, 5)
    again = coverage(migrated.town.run(migrated.run.plan, run_id="second"))
    assert again.data["coverage"] == rows
    assert stopping(again) == set()
    assert "proved by run first" in again.tables[0].title
