"""Topics on the target are what they were on the source: every effective setting, in batches that a broker takes."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator, Mapping

import pytest
from tests.conftest import RunningCluster
from tests.integration.workbench import Workbench

from demo.kafka import KafkaCluster
from kafka_migration.clusters.client import Cluster
from kafka_migration.errors import ClusterError, ClusterUnreachable
from kafka_migration.findings import Status
from kafka_migration.offsets import TopicPartition
from kafka_migration.sides import Side
from kafka_migration.topics.create import TopicToCreate, add_partitions, create_topics, set_settings
from kafka_migration.topics.describe import (
    Topic,
    await_settings,
    await_topics,
    broker_settings,
    describe_topics,
    partitions_of,
    topic_names,
)
from kafka_migration.topics.parity import compare, settings_to_carry, settings_to_correct

UNUSUAL = {
    "log.retention.hours": "48",
    "log.flush.interval.messages": "7",
    "log.flush.interval.ms": "900",
    "log.message.timestamp.type": "LogAppendTime",
    "log.cleanup.policy": "compact",
    "message.max.bytes": "2000000",
    "min.insync.replicas": "1",
    "compression.type": "lz4",
}
EFFECTIVE = {
    "retention.ms": str(48 * 3600 * 1000),
    "flush.messages": "7",
    "flush.ms": "900",
    "message.timestamp.type": "LogAppendTime",
    "cleanup.policy": "compact",
    "max.message.bytes": "2000000",
    "compression.type": "lz4",
}


@pytest.fixture(scope="module")
def bench(target: RunningCluster) -> Workbench:
    return Workbench(target.bootstrap_servers, Side.TARGET)


@pytest.fixture(scope="module")
def unusual(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    """A cluster whose brokers' own settings are not Kafka's."""
    with KafkaCluster("unusual", tmp_path_factory.mktemp("unusual"), settings=UNUSUAL) as cluster:
        yield Workbench(cluster.bootstrap_servers)


@pytest.fixture
def name() -> str:
    return f"topic-{uuid.uuid4().hex[:8]}"


def described(bench: Workbench, topic: str) -> Topic:
    return describe_topics(bench.cluster, [topic])[topic]


def test_settings_from_the_source_brokers_own_configuration_are_carried(unusual: Workbench, bench: Workbench) -> None:
    """Set nowhere on the topic: "aging time" and synchronous flushing would change with the move."""
    [tp] = unusual.topic("inherits", settings={"segment.bytes": "2097152"})
    source = described(unusual, tp.topic)
    carried = settings_to_carry(source)
    assert broker_settings(unusual.cluster, 1)["message.max.bytes"] == EFFECTIVE["max.message.bytes"]
    assert carried.items() >= (EFFECTIVE | {"segment.bytes": "2097152"}).items()

    assert create_topics(bench.cluster, [TopicToCreate(tp.topic, 1, 1, carried)]) == {}
    target = described(bench, tp.topic)
    assert settings_to_correct(source, target) == {}
    assert [f.status for f in compare(source, target)] == [Status.PASS]


def test_targets_own_defaults_are_found_and_corrected(unusual: Workbench, bench: Workbench) -> None:
    """Here the source has Kafka's defaults; the target's brokers would change what is not carried."""
    [tp] = bench.topic("usual")
    source = described(bench, tp.topic)
    create_topics(unusual.cluster, [TopicToCreate(tp.topic, 1, 1, {})])
    differing = settings_to_correct(source, described(unusual, tp.topic))
    assert differing.keys() == EFFECTIVE.keys()
    [finding] = compare(source, described(unusual, tp.topic))
    assert finding.status is Status.FAIL
    assert "cleanup.policy=compact (source delete)" in finding.seen

    set_settings(unusual.cluster, {tp.topic: differing})
    assert settings_to_correct(source, described(unusual, tp.topic)) == {}


def test_setting_one_keeps_the_others(bench: Workbench) -> None:
    [tp] = bench.topic("keeps", settings={"retention.ms": "1000000", "flush.ms": "500"})
    set_settings(bench.cluster, {tp.topic: {"flush.ms": "700"}})
    settings = described(bench, tp.topic).settings
    assert (settings["retention.ms"], settings["flush.ms"]) == ("1000000", "700")
    set_settings(bench.cluster, {tp.topic: {}})


def test_setting_that_the_broker_refuses_is_an_error_with_its_reason(bench: Workbench) -> None:
    [tp] = bench.topic("refuses")
    with pytest.raises(ClusterError, match=rf"retention.ms of topic {tp.topic}[\s\S]*retention.ms"):
        set_settings(bench.cluster, {tp.topic: {"retention.ms": "soon"}})


@pytest.mark.parametrize(
    ("settings", "reason"),
    [({"no.such.setting": "1"}, "no.such.setting"), ({"retention.ms": "soon"}, "retention.ms"), ({}, "replication")],
)
def test_trial_gives_the_brokers_reason_and_creates_nothing(
    bench: Workbench, name: str, settings: Mapping[str, str], reason: str
) -> None:
    topic = TopicToCreate(name, 2, 9 if not settings else 1, settings)
    refusals = create_topics(bench.cluster, [topic], trial=True)
    assert refusals.keys() == {name}
    assert reason in refusals[name].lower()
    assert name not in topic_names(bench.cluster)


def test_trial_of_what_would_work_creates_nothing(bench: Workbench, name: str) -> None:
    assert create_topics(bench.cluster, [TopicToCreate(name, 2, 1, {})], trial=True) == {}
    assert name not in topic_names(bench.cluster)


def test_existing_topic_is_a_refusal_and_the_others_are_created(bench: Workbench, name: str) -> None:
    [there] = bench.topic("there")
    refusals = create_topics(bench.cluster, [TopicToCreate(n, 1, 1, {}) for n in (there.topic, name)])
    assert refusals.keys() == {there.topic}
    assert "TOPIC_ALREADY_EXISTS" in refusals[there.topic]
    assert name in topic_names(bench.cluster)


def test_a_thousand_topics_stay_below_the_brokers_limit(bench: Workbench, name: str) -> None:
    """A broker takes 10,000 records a request: topics x (1 + partitions + settings). The trial has the same limit."""
    topics = [TopicToCreate(f"{name}-{n}", 10, 1, {"retention.ms": "1000"}) for n in range(1000)]
    assert create_topics(bench.cluster, topics, trial=True) == {}


def test_one_request_for_a_thousand_topics_would_be_refused(
    bench: Workbench, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What makes the batches necessary; when a broker takes it, they can go."""
    monkeypatch.setattr("kafka_migration.topics.create._MOST_RECORDS", 10**9)
    topics = [TopicToCreate(f"{name}-{n}", 10, 1, {"retention.ms": "1000"}) for n in range(1000)]
    refusals = create_topics(bench.cluster, topics, trial=True)
    assert any("POLICY_VIOLATION" in reason for reason in refusals.values())


def test_topics_of_several_batches_are_created_and_visible(
    bench: Workbench, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kafka_migration.topics.create._MOST_RECORDS", 10)
    topics = {f"{name}-{n}": 1 + n % 4 for n in range(12)}
    assert create_topics(bench.cluster, [TopicToCreate(n, count, 1, {}) for n, count in topics.items()]) == {}
    assert {n: t.partitions for n, t in describe_topics(bench.cluster, topics).items()} == topics
    add_partitions(bench.cluster, dict.fromkeys(topics, 5))
    assert {t.partitions for t in describe_topics(bench.cluster, topics).values()} == {5}
    set_settings(bench.cluster, {n: {"retention.ms": "5000", "flush.ms": "70"} for n in topics})
    assert {t.settings["flush.ms"] for t in describe_topics(bench.cluster, topics).values()} == {"70"}


def test_topic_that_has_been_grown_meanwhile_is_left_and_another_refusal_is_told(bench: Workbench) -> None:
    [grown, *_] = bench.topic("grown", partitions=3)
    for already in (3, 2):  # a mirror that runs was first, and saw what came since too
        add_partitions(bench.cluster, {grown.topic: already})
    assert len(partitions_of(bench.cluster, [grown.topic])) == 3
    with pytest.raises(ClusterError, match="growing topic no-such-topic to 2 partitions"):
        add_partitions(bench.cluster, {"no-such-topic": 2})


def test_waiting_for_a_topic_that_never_comes_ends_with_its_name(bench: Workbench) -> None:
    started = time.monotonic()
    with pytest.raises(ClusterError, match="never-made"):
        await_topics(bench.cluster, {"never-made": 1}, patience=0.5)
    assert time.monotonic() - started < 20


def test_waiting_for_a_setting_ends_when_all_show_it_and_at_last_with_whoever_compares(bench: Workbench) -> None:
    [one], [gone] = bench.topic("set"), bench.topic("gone")
    later = threading.Timer(0.5, set_settings, (bench.cluster, {one.topic: {"retention.ms": "7000"}}))
    later.start()
    wanted = {one.topic: {"retention.ms": "7000"}}
    await_settings(bench.cluster, wanted)
    assert describe_topics(bench.cluster, wanted)[one.topic].settings["retention.ms"] == "7000"
    later.join()
    started = time.monotonic()
    await_settings(bench.cluster, {gone.topic: {"retention.ms": "8000"}, "never-made": {"flush.ms": "1"}}, patience=0.5)
    assert 0.5 <= time.monotonic() - started < 20


def test_partitions_of_a_missing_topic_are_an_error_that_names_it(bench: Workbench) -> None:
    partitions = bench.topic("counted", partitions=2)
    assert partitions_of(bench.cluster, iter([partitions[0].topic])) == partitions
    with pytest.raises(ClusterError, match=r"the target cluster .* has no topic no-such-topic"):
        partitions_of(bench.cluster, [partitions[0].topic, "no-such-topic"])


def test_topics_that_do_not_exist_are_absent_from_a_description(bench: Workbench) -> None:
    assert describe_topics(bench.cluster, ["no-such-topic"]) == {}
    assert describe_topics(bench.cluster, []) == {}


def test_kafkas_own_topics_are_not_the_users(bench: Workbench) -> None:
    assert not [name for name in topic_names(bench.cluster) if name.startswith("__")]


def test_cluster_that_does_not_answer_is_not_taken_for_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kafka_migration.topics.create.REQUEST_TIMEOUT", 1.0)
    nowhere = Cluster(Side.TARGET, "kafka_target", {"bootstrap.servers": "127.0.0.1:1"})
    with pytest.raises(ClusterUnreachable, match=r"creating topic a[\s\S]*Connection refused"):
        create_topics(nowhere, [TopicToCreate("a", 1, 1, {})], trial=True)


def test_different_partition_counts_are_inconclusive_and_fewer_replicas_fail() -> None:
    source = Topic("orders", 6, 3, {"retention.ms": "1"}, frozenset())
    target = Topic("orders", 4, 1, {"retention.ms": "1"}, frozenset())
    assert {f.id: f.status for f in compare(source, target)} == {
        "topic-partitions/orders": Status.INCONCLUSIVE,
        "topic-replication/orders": Status.FAIL,
    }
    assert source.numbered()[5] == TopicPartition("orders", 5)
