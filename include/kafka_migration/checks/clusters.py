"""Are these two clusters, is every advertised address reachable, and is the target not lower than the source?"""

from __future__ import annotations

from kafka_migration.checks.scene import Scene
from kafka_migration.clusters.client import Cluster
from kafka_migration.clusters.identity import Identity
from kafka_migration.clusters.protocol import speak
from kafka_migration.findings import Finding, Status
from kafka_migration.topics.describe import broker_settings

# Settings of a broker that must not be lower on the target, and what goes wrong when they are.
_NOT_LOWER = {
    "message.max.bytes": (Status.WARN, "topics created later would refuse messages that the source takes"),
    "transaction.max.timeout.ms": (
        Status.INCONCLUSIVE,
        "a transactional producer with a longer transaction.timeout.ms cannot start on the target",
    ),
    "offsets.retention.minutes": (Status.WARN, "groups that stand still lose their offsets earlier"),
}


def check_clusters(scene: Scene) -> list[Finding]:
    source, target = scene.source.identity, scene.target.identity
    findings = check_identity(source, target)
    findings += _size(source, target)
    findings += _settings(scene)
    findings += _versions(scene)
    return findings


def check_identity(source: Identity, target: Identity) -> list[Finding]:
    """They are two, and every address that they advertise can be reached from here and leads where it says."""
    return [_two_clusters(source, target), *_addresses("source", source), *_addresses("target", target)]


def _two_clusters(source: Identity, target: Identity) -> Finding:
    if source.cluster_id == target.cluster_id:
        return Finding(
            "two-clusters/cluster-id",
            Status.FAIL,
            f"source and target are one cluster: both answer {source.cluster_id}",
            "two different cluster ids",
            "correct the connections: one of them reaches the wrong cluster",
        )
    shared = sorted(source.addresses & target.addresses)
    if shared:
        return Finding(
            "two-clusters/addresses",
            Status.FAIL,
            f"both clusters advertise {', '.join(shared)}",
            "disjoint broker addresses",
            "a client of one cluster would reach the other: correct advertised.listeners",
        )
    return Finding("two-clusters/cluster-id", Status.PASS, f"source {source.cluster_id}, target {target.cluster_id}")


def _addresses(side: str, identity: Identity) -> list[Finding]:
    findings = []
    for broker in identity.brokers:
        if broker.cluster_id is None:
            findings.append(
                Finding(
                    f"broker-reachable/{side}-{broker.broker_id}",
                    Status.FAIL,
                    f"{broker.address} (broker {broker.broker_id} of the {side}): {broker.problem}",
                    "reachable from this Airflow worker",
                    f"open inbound TCP {broker.port} on {broker.host} for the Airflow workers and the services, or"
                    " correct its advertised.listeners",
                )
            )
        elif broker.cluster_id != identity.cluster_id:
            findings.append(
                Finding(
                    f"broker-reachable/{side}-{broker.broker_id}",
                    Status.FAIL,
                    f"{broker.address} answers for cluster {broker.cluster_id}",
                    identity.cluster_id,
                    f"the advertised address of broker {broker.broker_id} leads to another cluster",
                )
            )
    return findings or [
        Finding(
            f"brokers-reachable/{side}",
            Status.PASS,
            f"all {len(identity.brokers)} advertised addresses answer for cluster {identity.cluster_id}",
        )
    ]


def _size(source: Identity, target: Identity) -> list[Finding]:
    findings = []
    if len(target.brokers) < len(source.brokers):
        findings.append(
            Finding(
                "target-size/brokers",
                Status.WARN,
                f"{len(target.brokers)} brokers on the target",
                f"{len(source.brokers)} as on the source",
                "the same load falls on fewer brokers",
            )
        )
    if len(target.racks) < len(source.racks):
        findings.append(
            Finding(
                "target-size/racks",
                Status.WARN,
                f"{len(target.racks)} racks on the target",
                f"{len(source.racks)} as on the source",
                "replicas are spread over fewer failure domains",
            )
        )
    return findings or [
        Finding("target-size/brokers", Status.PASS, f"{len(target.brokers)} brokers, {len(target.racks)} racks")
    ]


def _settings(scene: Scene) -> list[Finding]:
    source = _broker(scene.run.clusters.source, scene.source.identity)
    target = _broker(scene.run.clusters.target, scene.target.identity)
    if not source or not target:
        return [
            Finding("broker-settings/all", Status.WARN, "brokers' settings may not be read", "", "compare them by hand")
        ]
    findings = []
    for name, (status, consequence) in _NOT_LOWER.items():
        if name in source and name in target and int(target[name]) < int(source[name]):
            findings.append(
                Finding(
                    f"broker-settings/{name}",
                    status,
                    f"{target[name]} on the target",
                    f"at least {source[name]}",
                    f"{consequence}; raise it on the target's brokers",
                )
            )
    return findings or [Finding("broker-settings/all", Status.PASS, f"none of {', '.join(_NOT_LOWER)} is lower")]


def _versions(scene: Scene) -> list[Finding]:
    clusters = scene.run.clusters
    with speak(clusters.source) as source, speak(clusters.target) as target:
        versions = (source.api_versions() if source else None, target.api_versions() if target else None)
        features = (source.features() if source else None, target.features() if target else None)
        stored = source.stored_bytes(scene.source.topics) if source else None
        usable = target.usable_bytes() if target else None
    return [*_apis(*versions), *_features(scene, *features), _space(scene, stored, usable)]


def _apis(source: dict[str, int] | None, target: dict[str, int] | None) -> list[Finding]:
    if not source or not target:
        return [
            Finding("kafka-version/apis", Status.WARN, "the API versions could not be read", "", "compare them by hand")
        ]
    lower = [
        f"{api} {target.get(api, 'none')} < {version}"
        for api, version in source.items()
        if target.get(api, -1) < version
    ]
    if lower:
        return [
            Finding(
                "kafka-version/apis",
                Status.INCONCLUSIVE,
                f"the target speaks older APIs: {', '.join(lower[:6])}"
                + (f" and {len(lower) - 6} more" if len(lower) > 6 else ""),
                "every API at least as new as on the source",
                "upgrade the target, or accept the finding if no service needs the newer ones",
            )
        ]
    return [Finding("kafka-version/apis", Status.PASS, f"{len(source)} APIs, none older on the target")]


def _features(scene: Scene, source: dict[str, int] | None, target: dict[str, int] | None) -> list[Finding]:
    if source is None or target is None:
        return [
            Finding("kafka-version/features", Status.WARN, "the features could not be read", "", "compare them by hand")
        ]
    findings = []
    new_protocol = sorted(g for g in scene.run.plan.groups if _kind(scene, g) == "CONSUMER")
    if new_protocol and target.get("group.version", 0) < 1:
        findings.append(
            Finding(
                "kafka-version/group.version",
                Status.FAIL,
                f"groups {', '.join(new_protocol)} use the consumer protocol of KIP-848; the target does not speak it",
                "group.version 1",
                "kafka-features upgrade --feature group.version=1 on the target, or group.protocol=classic",
            )
        )
    lower = [f"{name} {target.get(name, 0)} < {level}" for name, level in source.items() if target.get(name, 0) < level]
    if lower and not findings:
        findings.append(
            Finding(
                "kafka-version/features",
                Status.INCONCLUSIVE,
                f"lower on the target: {', '.join(lower)}",
                "every feature at least at the source's level",
                "kafka-features upgrade on the target, or accept the finding",
            )
        )
    return findings or [Finding("kafka-version/features", Status.PASS, "no feature is lower on the target")]


def _kind(scene: Scene, group: str) -> str:
    listed = scene.source.listed.get(group)
    return listed.kind if listed else "UNKNOWN"


def _space(scene: Scene, stored: dict[str, int] | None, usable: int | None) -> Finding:
    """What the source stores of these topics, each once, times the replication factor that they get on the target."""
    if stored is None or usable is None:
        return Finding("target-space/bytes", Status.PASS, "not told by the brokers; not judged")
    copies = scene.run.plan.copies or scene.run.history is not None
    total = sum(stored.values())  # the target's topics have the source's replication factor
    if scene.begun or usable >= total:
        return Finding(
            "target-space/bytes", Status.PASS, f"{usable / 2**30:,.1f} GiB free, {total / 2**30:,.2f} GiB on the source"
        )
    return Finding(
        "target-space/bytes",
        Status.FAIL if copies else Status.WARN,
        f"{usable / 2**30:,.1f} GiB free on the target",
        f"{total / 2**30:,.1f} GiB as these topics take on the source with their replicas",
        "add storage to the target: all of it will be copied, and nothing of it deleted before the verdict"
        if copies
        else "the target will hold as much once it has run for as long as their retention",
    )


def _broker(cluster: Cluster, identity: Identity) -> dict[str, str]:
    return broker_settings(cluster, identity.brokers[0].broker_id)
