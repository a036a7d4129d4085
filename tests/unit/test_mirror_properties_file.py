"""The properties file of a dedicated MirrorMaker: what stands in it, how it is spelled, who may read it."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from kafka_migration.clusters.client import Cluster
from kafka_migration.errors import MirrorError
from kafka_migration.mirror import properties_file
from kafka_migration.mirror.flow import Flow
from kafka_migration.mirror.properties import Value
from kafka_migration.sides import Side

LISTENER = "http://127.0.0.1:8083"
WAY = "move-source->move-target."


def flow(plan: str = "move", client: dict[str, str] | None = None, **properties: Value) -> Flow:
    return Flow(
        plan,
        ["a"],
        Cluster(Side.SOURCE, "old", {"bootstrap.servers": "old:9092", "sasl.password": "geheim"}),
        Cluster(Side.TARGET, "new", {"bootstrap.servers": "new:9092"}),
        client or {},
        properties=properties,
        prefix=f"{plan}-",
    )


def lines(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            key, _, value = line.partition("=")
            assert key not in found, f"{key} stands twice"
            found[key] = value
    return found


def test_file_says_one_way_exactly_once_and_no_more() -> None:
    found = lines(properties_file.render(flow(), ["b", "a.b"], LISTENER))
    expected = {
        "clusters": "move-source,move-target",
        "move-source.bootstrap.servers": "old:9092",
        "move-target.bootstrap.servers": "new:9092",
        f"{WAY}enabled": "true",
        f"{WAY}topics": r"a\\.b,b",
        f"{WAY}source.consumer.isolation.level": "read_committed",
        f"{WAY}producer.override.batch.size": "524288",
        f"{WAY}offset-syncs.topic.location": "target",
        f"{WAY}sync.topic.configs.enabled": "false",
        "move-target->move-source.enabled": "false",
        "emit.heartbeats.enabled": "false",
        "emit.checkpoints.enabled": "false",
        "move-target.exactly.once.source.support": "enabled",
        "dedicated.mode.enable.internal.rest": "true",
        "listeners": LISTENER,
        f"{WAY}heartbeats.topic.replication.factor": "-1",
        "move-target.offset.storage.replication.factor": "-1",
        "move-target.status.storage.replication.factor": "-1",
        "move-target.config.storage.replication.factor": "-1",
    }
    assert {key: found.get(key) for key in expected} == expected
    # What only the source connector can do would reach all three of MirrorMaker's connectors, and fail two of them.
    assert not [key for key in found if key.endswith(("exactly.once.support", "connector.class"))]
    assert "config.providers" not in found


def test_what_the_plan_chooses_stands_where_it_has_an_effect() -> None:
    chosen: dict[str, Value] = {"offset.storage.replication.factor": 3, "tasks.max": 2, "source.admin.retries": 7}
    found = lines(properties_file.render(flow(**chosen), ["a"], LISTENER))
    assert found["move-target.offset.storage.replication.factor"] == "3"
    assert found[f"{WAY}tasks.max"] == "2"
    assert found[f"{WAY}source.admin.retries"] == "7"


def test_secrets_are_named_and_their_providers_with_them() -> None:
    client = {"sasl.jaas.config": "${env:JAAS}", "ssl.keystore.password": "${file:/etc/secrets:key}"}
    text = properties_file.render(flow(client=client), ["a"], LISTENER)
    found = lines(text)
    assert found["move-source.sasl.jaas.config"] == "${env:JAAS}"
    assert found["config.providers"] == "env,file"
    assert found["config.providers.env.class"].endswith(".EnvVarConfigProvider")
    assert "geheim" not in text, "the Airflow connection's own secret"


def test_value_is_read_back_by_java_as_it_was() -> None:
    client = {"sasl.mechanism": " a\\b\nc\u00fc\U0001f600"}
    found = lines(properties_file.render(flow(client=client), ["a"], LISTENER))
    assert found["move-source.sasl.mechanism"] == r"\ a\\b\nc\u00fc\ud83d\ude00"


def test_file_is_for_its_owner_alone_and_replaced_as_a_whole(tmp_path: Path) -> None:
    file = tmp_path / "mm.properties"
    file.write_text("old")
    file.chmod(0o644)
    properties_file.put(file, "new\n")
    assert (file.read_text(), stat.S_IMODE(file.stat().st_mode)) == ("new\n", 0o600)
    assert [one.name for one in tmp_path.iterdir()] == ["mm.properties"]
    with pytest.raises(MirrorError, match=r"could not be written: No such file"):
        properties_file.put(tmp_path / "nowhere" / "mm.properties", "new")


def test_file_of_somebody_else_is_known() -> None:
    own = properties_file.render(flow(), ["a"], LISTENER)
    assert not properties_file.is_foreign(flow(), None)
    assert not properties_file.is_foreign(flow(), own)
    assert properties_file.is_foreign(flow("other"), own)
    assert properties_file.is_foreign(flow(), "clusters=A,B\n")
