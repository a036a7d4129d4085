"""What a topic must be on the target, and how an existing one differs: effective values, not only overrides.

A setting that the source takes from its brokers' defaults is set explicitly on the target where the target's default
differs: otherwise "aging time" or synchronous flushing would change with the move and nobody would have said so.
"""

from __future__ import annotations

from kafka_migration.findings import Finding, Status
from kafka_migration.topics.describe import Topic

# Settings that belong to a cluster's own brokers, not to what a topic means: never carried over, never compared.
NOT_CARRIED = frozenset(
    {
        "leader.replication.throttled.replicas",
        "follower.replication.throttled.replicas",
        "message.format.version",
        "message.downconversion.enable",
        "remote.storage.enable",
        "local.retention.ms",
        "local.retention.bytes",
        "remote.log.copy.disable",
        "remote.log.delete.on.disable",
    }
)


def settings_to_carry(topic: Topic) -> dict[str, str]:
    """The settings to create the topic with: all that are not Kafka's built-in default on the source.

    What the target then still gives another value, because its own default is not the built-in one, is corrected by
    `settings_to_correct` before anything is written there.
    """
    return {name: topic.settings[name] for name in sorted(topic.explicit) if name not in NOT_CARRIED}


def settings_to_correct(source: Topic, target: Topic) -> dict[str, str]:
    """The settings of the target's topic whose effective value is not the source's, with the source's value."""
    return {
        name: value
        for name, value in sorted(source.settings.items())
        if name not in NOT_CARRIED and name in target.settings and target.settings[name] != value
    }


def compare(source: Topic, target: Topic, by_number: bool = False, kept: bool = False) -> list[Finding]:
    """Where the target's topic differs from the source's; a single PASS when it does not.

    `by_number`: messages are copied partition by partition, so that their count cannot differ. `kept`: nothing moves to
    the target now: another setting there is told, and keeps nobody from copying.
    """
    findings = []
    if source.partitions != target.partitions:
        findings.append(
            Finding(
                f"topic-partitions/{source.name}",
                Status.FAIL if by_number else Status.INCONCLUSIVE,
                f"{target.partitions} partitions on the target",
                f"{source.partitions} as on the source",
                "MirrorMaker copies each partition to the one of its number: make the topic anew, or grow it"
                if by_number
                else "keys would lie on other partitions: custom partitioners, co-partitioned joins and order by key"
                " across the move depend on it. Delete or grow the target topic, or accept the finding in the plan.",
            )
        )
    differing = [
        f"{name}={target.settings[name]} (source {value})"
        for name, value in settings_to_correct(source, target).items()
    ]
    if differing:
        findings.append(
            Finding(
                f"topic-settings/{source.name}",
                Status.WARN if kept else Status.FAIL,
                ", ".join(differing),
                "the source's effective values",
                f"set them on the target, for example: kafka-configs --alter --entity-type topics --entity-name"
                f" {source.name} --add-config NAME=VALUE",
            )
        )
    if target.replication_factor < source.replication_factor:
        findings.append(
            Finding(
                f"topic-replication/{source.name}",
                Status.WARN if kept else Status.FAIL,
                f"replication factor {target.replication_factor}",
                f"at least {source.replication_factor}",
                "raise it on the target by a reassignment",
            )
        )
    return findings or [Finding(f"topic-equal/{source.name}", Status.PASS, "equal on both clusters")]
