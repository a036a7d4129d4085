"""What can be wrong with a flow, whatever runs it. Changes nothing."""

from __future__ import annotations

from kafka_migration.findings import Finding, Status
from kafka_migration.mirror.flow import Flow
from kafka_migration.mirror.properties import Reader, connector_properties, without_effect
from kafka_migration.mirror.syncs import KEEP_ALL
from kafka_migration.topics.describe import describe_topics

_LARGEST = "producer.override.max.request.size"


def no_topics() -> Finding:
    return Finding(
        "mirror-config/topics",
        Status.FAIL,
        "no service of the plan reads or writes a topic",
        "topics to copy",
        "name them under services:",
    )


def effects(flow: Flow, runs: Reader = Reader.SOURCE) -> list[Finding]:
    """Properties that are right and do nothing here. `runs`: what is set here beside the connector that copies."""
    return [
        Finding(f"mirror-property/{name}", Status.WARN, f"has no effect: {why}", advice="leave it out")
        for name, why in sorted(without_effect(flow.properties, runs).items())
    ]


def sizes(flow: Flow) -> list[Finding]:
    """Topics that take messages larger than the mirror may write: it fails at the first such message.

    What a topic takes is measured after compression, what the mirror may write before it.
    """
    largest = int(connector_properties(flow.properties)[_LARGEST])
    found = describe_topics(flow.origin, flow.topics)
    allowed = {name: int(topic.settings["max.message.bytes"]) for name, topic in sorted(found.items())}
    return [
        Finding(
            f"mirror-size/{name}",
            Status.INCONCLUSIVE,
            f"takes messages of up to {size:,} bytes",
            f"no message larger than the {largest:,} bytes that the mirror may write",
            f"raise {_LARGEST} in mirror.properties, or accept this finding where no message is that large",
        )
        for name, size in allowed.items()
        if size > largest
    ]


def syncs(flow: Flow) -> list[Finding]:
    """Whether the topic of offset syncs, where there is one, keeps all of them."""
    topic = describe_topics(flow.syncs_cluster, [flow.syncs_topic]).get(flow.syncs_topic)
    if topic is None or all(topic.settings[key] == value for key, value in KEEP_ALL.items()):
        return []
    return [
        Finding(
            f"mirror-syncs/{flow.syncs_topic}",
            Status.WARN,
            "not all offset syncs are kept: " + ", ".join(f"{key}={topic.settings[key]}" for key in KEEP_ALL),
            ", ".join(f"{key}={value}" for key, value in KEEP_ALL.items()),
            "set it so before the mirror starts; else a handover has more to count",
        )
    ]
