"""Bad input, each named by the preflight in one table before anything is moved."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from confluent_kafka import Producer
from tests.conftest import RunningCluster
from tests.integration.scene import Daemon, Town, found, stopping
from tests.integration.workbench import Workbench, eventually

from demo.jars import java, kafka_classpath
from demo.kafka import KafkaCluster
from demo.ports import free_ports
from demo.waiting import patience
from kafka_migration.clusters.client import Cluster, Clusters
from kafka_migration.errors import ClusterUnreachable, FindingsFailed
from kafka_migration.findings import Finding, Status
from kafka_migration.groups.describe import list_other_groups
from kafka_migration.plan.model import Plan
from kafka_migration.report import StepReport
from kafka_migration.run import Run
from kafka_migration.sides import Side
from kafka_migration.steps import seeds, topics
from kafka_migration.steps.preflight import preflight, preflight_report
from kafka_migration.topics.describe import topic_names


def healthy(town: Town) -> list[dict[str, Any]]:
    """A writer and a reader of a topic, as they should be."""
    orders = town.source.topic("orders", 2)
    town.source.write(orders[0], 3)
    town.read_all(town.named("billing"), orders)
    return [town.service("one", produces=orders), town.service("two", reads={town.named("billing"): orders})]


# -- what is as it should be


def test_healthy_plan_passes_and_the_preflight_changes_nothing(town: Town) -> None:
    plan = town.plan(healthy(town))
    before = town.state(plan)
    report = preflight(town.run(plan))
    assert stopping(report) == set()
    assert town.state(plan) == before
    assert before["target"] == {"topics": {}, "commits": {}}


# -- the clusters


def test_one_cluster_under_two_addresses_is_refused(town: Town) -> None:
    plan = town.plan(healthy(town))
    before = town.state(plan)
    port = town.source.bootstrap_servers.rpartition(":")[2]
    run = _reaching(town, plan, Cluster(Side.TARGET, "kafka_target", {"bootstrap.servers": f"localhost:{port}"}))
    with pytest.raises(FindingsFailed, match="two-clusters/cluster-id") as caught:
        preflight(run)
    assert "one cluster" in str(caught.value)
    assert town.state(plan) == before


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kafka's client tries until the time is over, whatever it is told."""
    monkeypatch.setattr("kafka_migration.clusters.identity.CONNECT_TIMEOUT", 2.0 * patience())


@pytest.mark.usefixtures("impatient")
def test_port_where_nobody_listens_is_told_with_its_connection(town: Town) -> None:
    plan = town.plan(healthy(town))
    before = town.state(plan)
    nobody = {"bootstrap.servers": f"127.0.0.1:{free_ports(1)[0]}"}
    with pytest.raises(ClusterUnreachable, match="Connection refused") as caught:
        preflight(_reaching(town, plan, Cluster(Side.TARGET, "kafka_target", nobody)))
    assert "connection kafka_target" in str(caught.value)
    assert town.state(plan) == before


@pytest.mark.usefixtures("impatient")
def test_tls_against_a_plaintext_listener_is_told_as_such(town: Town) -> None:
    plan = town.plan(healthy(town))
    before = town.state(plan)
    tls = {"bootstrap.servers": town.target.bootstrap_servers, "security.protocol": "SSL"}
    with pytest.raises(ClusterUnreachable, match=r"(?i)plaintext|ssl") as caught:
        preflight(_reaching(town, plan, Cluster(Side.TARGET, "kafka_target", tls)))
    assert "cause:" in str(caught.value)
    assert town.state(plan) == before


# -- topics of the target that differ, and that the plan's author may accept


def test_other_number_of_partitions_stops_until_the_plan_accepts_it(town: Town) -> None:
    services = healthy(town)
    [orders] = services[0]["produces"]
    town.topic(orders, partitions=3, side=Side.TARGET)
    refused = town.run(town.plan(services))
    with pytest.raises(FindingsFailed, match=f"topic-partitions/{orders}") as caught:
        preflight(refused)
    assert caught.value.findings[0].status is Status.INCONCLUSIVE

    accepted = town.run(town.plan(services, accept=[{"finding": f"topic-partitions/{orders}", "reason": "no keys"}]))
    assert found(preflight(accepted), f"topic-partitions/{orders}").accepted == "no keys"
    topics.create(accepted)
    seeds.seed(accepted)
    topics.parity(accepted)


# -- everything at once: all findings in one table


@dataclass(frozen=True)
class Messy:
    """A plan with many faults, its preflight, and what it was like before and after."""

    town: Town
    plan: Plan
    report: StepReport
    before: dict[str, Any]
    after: dict[str, Any]

    def finding(self, check: str, subject: str) -> Finding:
        return found(self.report, f"{check}/{subject}")

    def named(self, check: str, subject: str) -> Finding:
        return self.finding(check, self.town.named(subject))


@pytest.fixture(scope="module")
def messy(source: RunningCluster, target: RunningCluster, daemon: Daemon) -> Messy:
    """Every fault on topics, groups and services of its own; faults of whole clusters have tests of their own."""
    with Town.of(source.bootstrap_servers, target.bootstrap_servers, daemon) as town:
        return _judged(town)


def _judged(town: Town) -> Messy:
    name = town.named
    orders = town.topic(name("orders"))
    town.source.write(orders[0], 5)
    outside = town.topic(name("outside"))
    undeclared = town.topic(name("undeclared"))
    foreign = town.topic(name("foreign"))
    other_settings = town.topic(name("settings"), retention_ms="1000000")
    grows = town.topic(name("grows"))
    town.topic(name("app") + "-changelog")
    town.topic(name("app") + "-repartition")
    town.topic(name("compacted"), cleanup_policy="compact")
    town.target.write(town.topic(name("foreign"), side=Side.TARGET)[0], 2)
    town.topic(name("settings"), side=Side.TARGET, retention_ms="2000000")

    for group in ("good", "stranger", "ignored", "active", "stopped", "third", "moved"):
        town.read_all(name(group), orders)
    town.read_all(name("strays"), [*orders, *outside, *undeclared])
    services = [
        town.service("one", produces=[*orders, *undeclared, *foreign, *other_settings]),
        town.service("two", reads={name("strays"): orders, name("never"): orders, name("unknown"): orders}, reset=None),
        town.service("three", reads={name("stopped"): orders}, running=False),
        town.service("four", reads={name("third"): orders}, address="elsewhere:9092"),
        town.service("five", reads={name("moved"): orders}, address=town.target.bootstrap_servers),
        town.service("six", reads={name("good"): orders, name("active"): orders}),
        {**town.service("six", produces=orders, connection="nowhere", running=False), "name": "away"},
    ]
    town.daemon.env("six", OTHER="no address")
    plan = town.plan(
        services,
        topics={
            "include": [f"[a-z]+-{town.suffix}(-changelog|-repartition)?", name("gone"), f"nothing-.*-{town.suffix}"],
            "exclude": [name("outside")],
        },
        ignore_groups=[{"group": name("ignored"), "reason": "an old test"}],
    )
    other = plan.model_copy(update={"plan": "another", "services": (plan.service("one"),)})
    with town.target.member(name("active"), name("foreign")), _writing(town.source, grows[0].topic):
        before = town.state(plan)
        run = town.run(plan, other_plans=[other])
        with pytest.raises(FindingsFailed) as caught:
            preflight(run)
        after = town.state(plan)
    report = caught.value.report
    assert report is not None
    return Messy(town, plan, report, before, after)


def test_nothing_is_changed_whatever_is_found(messy: Messy) -> None:
    assert messy.after == messy.before


def test_topic_that_the_source_does_not_have_is_named(messy: Messy) -> None:
    assert messy.named("topic-exists", "gone").status is Status.FAIL


def test_regular_expression_that_matches_nothing_is_named(messy: Messy) -> None:
    assert messy.finding("topic-exists", f"nothing-.*-{messy.town.suffix}").status is Status.FAIL


def test_service_in_two_plans_is_named_with_the_other_plan(messy: Messy) -> None:
    finding = messy.finding("service-in-two-plans", "one")
    assert finding.status is Status.FAIL
    assert "another" in finding.seen


def test_controller_that_is_down_is_named(messy: Messy) -> None:
    finding = messy.finding("controller", "away")
    assert finding.status is Status.FAIL
    assert "does not answer" in finding.seen


def test_env_file_without_the_variable_is_named(messy: Messy) -> None:
    finding = messy.finding("controller", "six")
    assert finding.status is Status.FAIL
    assert "KAFKA_BOOTSTRAP_SERVERS" in finding.seen


def test_service_that_does_not_run_is_named(messy: Messy) -> None:
    finding = messy.finding("service-address", "three")
    assert finding.status is Status.FAIL
    assert "does not run" in finding.seen


def test_service_that_uses_a_third_address_is_named(messy: Messy) -> None:
    finding = messy.finding("service-address", "four")
    assert finding.status is Status.FAIL
    assert "elsewhere:9092" in finding.seen


def test_service_that_is_on_the_target_already_is_named(messy: Messy) -> None:
    finding = messy.finding("service-address", "five")
    assert finding.status is Status.FAIL
    assert "has not moved it" in finding.seen


def test_service_as_it_should_be_passes_beside_all_the_others(messy: Messy) -> None:
    assert messy.finding("service-address", "one").status is Status.PASS
    assert messy.finding("service-address", "two").status is Status.PASS


def test_group_that_is_active_on_the_target_is_named(messy: Messy) -> None:
    assert messy.named("target-group", "active").status is Status.FAIL


def test_foreign_messages_on_the_target_stop_until_accepted(messy: Messy) -> None:
    assert messy.named("topic-foreign-data", "foreign").status is Status.INCONCLUSIVE
    assert messy.named("topic-foreign-data", "foreign").stops


def test_topic_with_other_settings_on_the_target_is_named_with_both_values(messy: Messy) -> None:
    finding = messy.named("topic-settings", "settings")
    assert finding.status is Status.FAIL
    assert "retention.ms=2000000 (source 1000000)" in finding.seen


def test_group_that_reads_these_topics_and_is_not_in_the_plan_is_named(messy: Messy) -> None:
    assert messy.named("group-in-plan", "stranger").status is Status.FAIL


def test_ignored_group_is_no_finding(messy: Messy) -> None:
    assert not [f for f in messy.report.findings if f.id.endswith(f"/{messy.town.named('ignored')}")]


def test_group_that_also_reads_a_topic_outside_the_plan_is_named(messy: Messy) -> None:
    finding = messy.named("group-reads-outside", "strays")
    assert finding.status is Status.FAIL
    assert messy.town.named("outside") in finding.seen


def test_group_that_reads_a_topic_which_its_service_does_not_say_is_named(messy: Messy) -> None:
    finding = messy.named("group-topics", "strays")
    assert finding.status is Status.FAIL
    assert messy.town.named("undeclared") in finding.seen


def test_group_that_never_committed_needs_the_applications_auto_offset_reset(messy: Messy) -> None:
    finding = messy.named("group-never-committed", "never")
    assert finding.status is Status.INCONCLUSIVE
    assert finding.stops


def test_group_that_the_source_does_not_know_stops_until_accepted(messy: Messy) -> None:
    assert messy.named("group-exists", "unknown").stops


def test_topic_that_grows_though_no_service_claims_to_write_it_is_named(messy: Messy) -> None:
    finding = messy.named("unclaimed-writer", "grows")
    assert finding.status is Status.FAIL
    assert "Kafka keeps no list of writers" in finding.advice


def test_internal_topics_of_kafka_streams_are_refused_with_the_reason(messy: Messy) -> None:
    for kind in ("changelog", "repartition"):
        finding = messy.finding("streams-internal", f"{messy.town.named('app')}-{kind}")
        assert finding.status is Status.FAIL
        assert "state" in finding.advice


def test_compacted_topic_warns_and_does_not_stop(messy: Messy) -> None:
    finding = messy.named("topic-compacted", "compacted")
    assert finding.status is Status.WARN
    assert not finding.stops


# -- a target that is older and smaller, and a group that is no consumer group


@dataclass(frozen=True)
class Lower:
    town: Town
    report: StepReport
    shared: str
    stranger: str


@pytest.fixture(scope="module")
def lower(tmp_path_factory: pytest.TempPathFactory, daemon: Daemon) -> Lower:
    """Two brokers of 4.3.1 as the source, one of 3.3.1 as the target."""
    folder = tmp_path_factory.mktemp("lower")
    wide = KafkaCluster("wide", folder / "wide", brokers=2)
    old = KafkaCluster("old", folder / "old", version="3.3.1", settings={"message.max.bytes": "500000"})
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(KafkaCluster.__enter__, (wide, old)))
    try:
        with Town.of(wide.bootstrap_servers, old.bootstrap_servers, daemon) as town:
            return _against_the_lower(town)
    finally:
        wide.stop()
        old.stop()


def _against_the_lower(town: Town) -> Lower:
    name = town.named
    orders = town.topic(name("orders"))
    replicated = town.topic(name("replicated"), replicas=2)
    newer = town.topic(name("newer"), message_timestamp_after_max_ms="7200000")
    town.source.write(orders[0], 3)
    services = [
        town.service("one", produces=[*orders, *replicated, *newer]),
        town.service("two", reads={name("new-protocol"): orders, name("share"): orders}),
    ]
    plan = town.plan(services)
    with (
        town.source.member(name("new-protocol"), orders[0].topic, group_protocol="consumer"),
        _share_group(town.source, name("share"), orders[0].topic),
        _share_group(town.source, name("stranger"), orders[0].topic),
    ):
        before = town.state(_without(plan, name("share")))
        report = preflight_report(town.run(plan))
        assert town.state(_without(plan, name("share"))) == before
        assert not {t for t in topic_names(town.target.cluster) if plan.includes(t)}
    return Lower(town, report, name("share"), name("stranger"))


def test_group_of_the_new_protocol_needs_a_target_that_speaks_it(lower: Lower) -> None:
    finding = found(lower.report, "kafka-version/group.version")
    assert finding.status is Status.FAIL
    assert lower.town.named("new-protocol") in finding.seen


def test_target_that_speaks_older_apis_stops_until_accepted(lower: Lower) -> None:
    finding = found(lower.report, "kafka-version/apis")
    assert finding.status is Status.INCONCLUSIVE
    assert finding.stops


def test_fewer_brokers_and_smaller_messages_on_the_target_warn(lower: Lower) -> None:
    assert found(lower.report, "target-size/brokers").status is Status.WARN
    assert found(lower.report, "broker-settings/message.max.bytes").status is Status.WARN


def test_replication_factor_above_the_targets_brokers_is_never_lowered_silently(lower: Lower) -> None:
    finding = found(lower.report, f"replication-factor/{lower.town.named('replicated')}")
    assert finding.status is Status.FAIL
    assert "2" in finding.expected


def test_topic_that_the_target_refuses_is_told_with_the_brokers_reason(lower: Lower) -> None:
    finding = found(lower.report, f"topic-refused/{lower.town.named('newer')}")
    assert finding.status is Status.FAIL
    assert "message.timestamp.after.max.ms" in finding.seen


def test_share_group_is_refused_with_the_reason(lower: Lower) -> None:
    finding = found(lower.report, f"group-kind/{lower.shared}")
    assert finding.status is Status.FAIL
    assert "SHARE" in finding.seen


def test_share_group_that_the_plan_does_not_name_stops_until_it_is_ignored(lower: Lower) -> None:
    assert found(lower.report, f"group-kind/{lower.stranger}").status is Status.INCONCLUSIVE


# -- helpers


def _reaching(town: Town, plan: Plan, target: Cluster) -> Run:
    run = town.run(plan)
    run.clusters = Clusters(town.source.cluster, target)
    return run


def _without(plan: Plan, group: str) -> Plan:
    """The plan without a group whose offsets cannot be asked for as a consumer group's."""
    services = tuple(
        s.model_copy(update={"consumes": tuple(c for c in s.consumes if c.group != group)}) for s in plan.services
    )
    return plan.model_copy(update={"services": services})


class _writing:
    """Somebody writes to a topic, some messages a second, and no service says so."""

    def __init__(self, bench: Workbench, topic: str) -> None:
        self._producer = Producer({"bootstrap.servers": bench.bootstrap_servers})
        self._topic = topic
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def _write(self) -> None:
        while not self._over.wait(0.05):
            self._producer.produce(self._topic, b"v")
            self._producer.flush(10)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


class _share_group:
    """A real share consumer, which only Kafka's own Java client has."""

    def __init__(self, bench: Workbench, group: str, topic: str) -> None:
        self._bench, self._group = bench, group
        servers = ["--bootstrap-server", bench.bootstrap_servers]
        self._command: Sequence[str] = [
            *(str(java()), "-Xmx64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", kafka_classpath()),
            *("org.apache.kafka.tools.consumer.ConsoleShareConsumer", *servers, "--topic", topic, "--group", group),
        ]

    def __enter__(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            eventually(
                lambda: self._group in {entry.group for entry in list_other_groups(self._bench.cluster) or ()},
                f"the share group {self._group}",
                timeout=60,
            )
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
