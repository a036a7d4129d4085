"""A cluster that lets not everybody do everything: rules compared, and a comparison that loses its way half-way.

What has been read until then is remembered; it is never a PASS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)
from tests.conftest import RunningCluster
from tests.integration.workbench import Workbench, eventually

from demo.kafka import KafkaCluster
from kafka_migration import visible
from kafka_migration.clusters.client import Cluster, Clusters
from kafka_migration.errors import ClusterError
from kafka_migration.findings import Status
from kafka_migration.offsets import TopicPartition
from kafka_migration.passes import open_pass
from kafka_migration.records import MemoryRecords
from kafka_migration.run import Run
from kafka_migration.steps import verifying
from kafka_migration.steps.copies import left
from kafka_migration.verification import content
from kafka_migration.verification.content import RangePair, compare_content
from kafka_migration.verification.proved import Proved, furthest

_SETTINGS = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "true",
}
_MESSAGES = 6_000
_SLOWLY = 2_000_000  # bytes a second, of about six million


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    with KafkaCluster("strict", tmp_path_factory.mktemp("strict") / "kafka", settings=_SETTINGS) as cluster:
        yield cluster


@pytest.fixture
def bench(strict: KafkaCluster) -> Workbench:
    return Workbench(strict.bootstrap_servers)


@dataclass
class Twins:
    """Two topics that hold the same; the second is the copy."""

    bench: Workbench
    pair: RangePair

    def compare(self, tell: Callable[[int, int], None], known: dict[TopicPartition, Proved]) -> Any:
        slow = self.bench.cluster.verified(_SLOWLY)
        return compare_content(slow, slow, left([self.pair], known), tell, known.update)


@pytest.fixture
def twins(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> Twins:
    monkeypatch.setattr(content, "REMEMBER_EVERY", 0.0)
    [one], [other] = bench.topic("one"), bench.topic("other")
    for tp in (one, other):
        bench.write(tp, _MESSAGES, value=b"x" * 1_000)
    return Twins(bench, RangePair(one, 0, _MESSAGES, 0, _MESSAGES, ignore_timestamp=True, copy=other.topic))


def rule(kind: ResourceType, name: str, permission: AclPermissionType = AclPermissionType.ALLOW) -> AclBinding:
    pattern = ResourcePatternType.LITERAL
    return AclBinding(kind, name, pattern, "User:ANONYMOUS", "*", AclOperation.READ, permission)


def test_rules_that_stand_on_one_cluster_only_are_told(bench: Workbench, target: RunningCluster) -> None:
    [tp] = bench.topic("ruled")
    admin = bench.cluster.admin
    for future in admin.create_acls([rule(ResourceType.TOPIC, tp.topic), rule(ResourceType.GROUP, "readers")]).values():
        future.result(30)

    def told(other: Cluster) -> dict[str, tuple[Status, str]]:
        records = MemoryRecords()
        plan = SimpleNamespace(groups={"readers": None, "others": None}, copies=False, prefixed=False)
        run = Run(cast(Any, plan), "verify", "x", Clusters(bench.cluster, other), {}, records)
        open_pass(records).keep("topics", [tp.topic])
        return {f.id: (f.status, f.seen) for f in verifying._acls(run)}

    open_to_all = Workbench(target.bootstrap_servers).cluster
    eventually(lambda: len(told(open_to_all)) == 2, "the rules to be in force")
    for resource in (f"topic {tp.topic}", "group readers"):
        status, seen = told(open_to_all)[f"acl/{resource}"]
        assert status is Status.WARN
        assert seen == "only on the source: allow read to User:ANONYMOUS from *"
    assert told(bench.cluster) == {"acl/all": (Status.PASS, "2 ACLs are the same on both clusters")}


def test_comparison_that_loses_its_permission_is_no_pass_and_goes_on_where_it_was(twins: Twins) -> None:
    known: dict[TopicPartition, Proved] = {}
    denied = rule(ResourceType.TOPIC, twins.pair.partition.topic, AclPermissionType.DENY)
    admin = twins.bench.cluster.admin

    def deny(done: int, total: int) -> None:
        if not known:
            return
        for future in admin.create_acls([denied]).values():
            future.result(30)

    with pytest.raises(ClusterError, match="TOPIC_AUTHORIZATION_FAILED"):
        twins.compare(deny, known)
    all_of_it = AclBindingFilter(
        denied.restype, denied.name, ResourcePatternType.LITERAL, None, None, AclOperation.ANY, AclPermissionType.ANY
    )
    for future in admin.delete_acls([all_of_it]).values():
        future.result(30)
    goes_on(twins, known)


def test_comparison_whose_broker_dies_is_no_pass_and_goes_on_where_it_was(
    twins: Twins, strict: KafkaCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    known: dict[TopicPartition, Proved] = {}

    def kill(done: int, total: int) -> None:
        if known and strict.running:
            strict.kill_broker(1)

    with monkeypatch.context() as patch:
        patch.setattr(visible, "_STALL", 10.0)
        with pytest.raises(ClusterError):
            twins.compare(kill, known)
    strict.start()
    strict.wait_ready()
    goes_on(twins, known)


def goes_on(twins: Twins, known: dict[TopicPartition, Proved]) -> None:
    before = dict(known)
    reached = before[twins.pair.partition]
    assert 0 < reached.origin < _MESSAGES
    assert reached.origin == reached.destination == reached.equal
    totals: set[int] = set()
    results = twins.compare(lambda done, total: totals.add(total), known)
    assert totals == {2 * (_MESSAGES - reached.origin)}, "what was proved is not read again"
    result = results[twins.pair.partition]
    result.goes_on(reached)
    assert (result.equal, result.different, result.complete) == (_MESSAGES, 0, True)
    assert furthest([known, before])[twins.pair.partition].origin > reached.origin
