"""MirrorMaker's properties in a plan: what is right, what is refused and why, and what the connector is given."""

from __future__ import annotations

import pytest

from kafka_migration.mirror.properties import (
    IDENTITY_POLICY,
    PROPERTIES,
    Property,
    Reader,
    at_least_once,
    check_client_properties,
    check_properties,
    connector_properties,
    without_effect,
)

CLASSIC = """
    clusters bootstrap.servers enabled topics replication.factor sync.group.offsets.enabled
    checkpoints.topic.replication.factor heartbeats.topic.replication.factor offset-syncs.topic.replication.factor
    offset.storage.replication.factor status.storage.replication.factor config.storage.replication.factor
    replication.policy.class replication.policy.separator sync.topic.configs.enabled sync.topic.acls.enabled
    emit.heartbeats.enabled emit.heartbeats.interval.seconds emit.checkpoints.enabled emit.checkpoints.interval.seconds
    refresh.topics.enabled refresh.topics.interval.seconds refresh.groups.enabled refresh.groups.interval.seconds
    heartbeats.topic.retention.ms checkpoints.topic.retention.ms offset.syncs.topic.retention.ms
""".split()  # noqa: SIM905 - a list of words reads better


def problem(name: str, value: str | int | bool, scheme: str = "mirror_first") -> str:
    """The one problem of one property."""
    [line] = check_properties({name: value}, scheme=scheme)
    assert line.startswith(f"{name}: ")
    return line.removeprefix(f"{name}: ")


def test_every_classic_property_is_known_and_told_once() -> None:
    names = [p.name for p in PROPERTIES]
    assert len(set(names)) == len(names)
    assert set(CLASSIC) <= set(names)


def test_what_this_product_sets_says_why() -> None:
    assert not [p.name for p in PROPERTIES if p.ours and not p.why]


@pytest.mark.parametrize("known", PROPERTIES, ids=lambda p: p.name)
def test_what_this_product_sets_is_accepted_from_a_plan(known: Property) -> None:
    if known.ours is not None:
        assert check_properties({known.name: known.ours}, scheme="mirror_first") == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("replication.factor", 3),
        ("replication.factor", "-1"),
        ("checkpoints.topic.replication.factor", 3),
        ("tasks.max", "2"),
        ("offset.lag.max", 0),
        ("refresh.topics.interval.seconds", 600),
        ("sync.topic.configs.enabled", False),
        ("emit.heartbeats.enabled", True),
        ("exactly.once.support", "requested"),
        ("producer.override.compression.type", "lz4"),
        ("producer.override.delivery.timeout.ms", 60000),
        ("source.consumer.fetch.max.bytes", 1000),
        ("target.admin.request.timeout.ms", 5000),
    ],
)
def test_accepted(name: str, value: str | int | bool) -> None:
    assert check_properties({name: value}, scheme="mirror_first") == []


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("producer.linger.ms", "producer.override.linger.ms"),
        ("source->target.producer.linger.ms", "producer.override.linger.ms"),
        ("source->target.producer.override.acks", "producer.override.acks"),
        ("target.producer.override.linger.ms", "producer.override.linger.ms"),
        ("A->B.target.producer.linger.ms", "producer.override.linger.ms"),
        ("consumer.fetch.min.bytes", "source.consumer.fetch.min.bytes"),
        ("source->target.consumer.fetch.max.bytes", "source.consumer.fetch.max.bytes"),
        ("consumer.override.fetch.min.bytes", "source.consumer.fetch.min.bytes"),
        ("A.consumer.fetch.min.bytes", "source.consumer.fetch.min.bytes"),
        ("source->target.replication.factor", "replication.factor"),
        ("A->B.source.consumer.max.poll.records", "source.consumer.max.poll.records"),
    ],
)
def test_without_effect_where_it_stands_names_the_place_that_has_one(name: str, instead: str) -> None:
    assert f"write {instead}" in problem(name, "1")


@pytest.mark.parametrize(
    ("name", "said_by"),
    [
        ("clusters", "Airflow connections"),
        ("source.bootstrap.servers", "Airflow connections"),
        ("target.cluster.bootstrap.servers", "Airflow connections"),
        ("source->target.topics", "topics: include"),
        ("A->B.enabled", "scheme:"),
        ("source.cluster.ssl.truststore.location", "mirror: clients"),
        ("groups", "services: consumes"),
    ],
)
def test_what_the_plan_says_itself_is_refused_with_the_place(name: str, said_by: str) -> None:
    assert said_by in problem(name, "x")


def test_unknown_name_is_refused_with_the_nearest() -> None:
    assert "did you mean refresh.topics.interval.seconds?" in problem("refresh.topic.interval.seconds", 5)
    assert problem("no.such.thing", 5).startswith("is no property of MirrorMaker")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sync.topic.acls.enabled", "no"),
        ("replication.factor", 0),
        ("replication.factor", "three"),
        ("tasks.max", 0),
        ("offset.lag.max", -1),
        ("emit.heartbeats.interval.seconds", "0"),
        ("producer.override.batch.size", "64k"),
        ("exactly.once.support", "disabled"),
    ],
)
def test_value_of_a_wrong_kind_is_refused(name: str, value: str | int) -> None:
    assert problem(name, value).startswith("must be ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("source.consumer.isolation.level", "read_uncommitted"),
        ("source.consumer.auto.offset.reset", "latest"),
        ("offset-syncs.topic.location", "source"),
        ("emit.offset-syncs.enabled", False),
        ("offset.syncs.topic.retention.ms", 86400000),
        ("key.converter", "org.apache.kafka.connect.storage.StringConverter"),
        ("transforms", "mask"),
        ("errors.tolerance", "all"),
        ("producer.override.acks", "1"),
        ("producer.override.transactional.id", "mine"),
        ("connector.class", "MirrorHeartbeatConnector"),
    ],
)
def test_what_exactness_rests_on_is_refused_in_every_scheme(name: str, value: str | int | bool) -> None:
    assert problem(name, value)
    assert problem(name, value, scheme="mirror")


@pytest.mark.parametrize("scheme", ["mirror_first", "mirror"])
@pytest.mark.parametrize(
    "name",
    [
        "sync.topic.configs.enabled",
        "sync.group.offsets.enabled",
        "sync.topic.acls.enabled",
        "heartbeats.replication.enabled",
    ],
)
def test_what_would_write_over_a_move_or_copy_without_end_is_refused(name: str, scheme: str) -> None:
    """Services follow the copies of a mirror that is kept as well, when the source is lost."""
    assert problem(name, True, scheme).startswith("must be false: ")


def test_names_of_a_kept_mirror_are_said_by_its_ways() -> None:
    for policy in (IDENTITY_POLICY, "org.apache.kafka.connect.mirror.DefaultReplicationPolicy"):
        assert problem("replication.policy.class", policy, "mirror") == "is said by mirror: ways"


def test_the_policy_that_no_archive_holds_is_refused_with_the_one_to_name() -> None:
    assert IDENTITY_POLICY in problem("replication.policy.class", "com.example.LegacyReplicationPolicy")


def test_what_is_right_and_does_nothing_here_is_told() -> None:
    told = without_effect(
        {
            "checkpoints.topic.replication.factor": 3,
            "offset.storage.replication.factor": 3,
            "heartbeats.topic.retention.ms": 1,
            "offset.syncs.topic.retention.ms": -1,
            "sync.group.offsets.enabled": False,
            "replication.factor": 3,
        }
    )
    assert told.keys() == {
        "checkpoints.topic.replication.factor",
        "offset.storage.replication.factor",
        "heartbeats.topic.retention.ms",
    }
    assert "their own configuration" in told["offset.storage.replication.factor"]


def test_connector_is_given_what_is_set_here_and_what_the_plan_may_choose_and_no_more() -> None:
    given = connector_properties(
        {
            "refresh.topics.interval.seconds": 60,
            "producer.override.compression.type": "zstd",
            "checkpoints.topic.replication.factor": 3,
            "source.consumer.isolation.level": "read_uncommitted",  # refused when the plan is read
            "sync.topic.configs.enabled": True,
        }
    )
    assert given["refresh.topics.interval.seconds"] == "60"
    assert given["producer.override.compression.type"] == "zstd"
    assert given["exactly.once.support"] == "required", "where the plan does not ask for less"
    assert given["sync.topic.configs.enabled"] == "false"
    assert given["source.consumer.isolation.level"] == "read_committed"
    assert "checkpoints.topic.replication.factor" not in given
    ours = {p.name for p in PROPERTIES if p.ours and p.reader is Reader.SOURCE}
    assert given.keys() == ours | {"producer.override.compression.type"}


def test_at_least_once_is_given_where_the_plan_asks_for_it() -> None:
    assert connector_properties({"exactly.once.support": "requested"})["exactly.once.support"] == "requested"
    assert at_least_once({"exactly.once.support": "requested"})
    assert not at_least_once({"exactly.once.support": "required"})
    assert not at_least_once({})


def test_of_a_clusters_own_properties_only_how_to_connect_is_passed_on() -> None:
    assert (
        check_client_properties({"security.protocol": "SSL", "ssl.keystore.location": "x", "sasl.mechanism": "P"}) == []
    )
    [told] = check_client_properties({"request.timeout.ms": "1"})
    assert told.startswith("request.timeout.ms: has no effect")
