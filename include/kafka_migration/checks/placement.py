"""Over which racks do the replicas stand, are they in sync, and how many brokers have a message that is acknowledged?

Kafka spreads the replicas of a topic that it creates over as many racks as there are, if every broker names its own
(`broker.rack`; KIP-36, and the same for KRaft). What stands on the target already stays where it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kafka_migration.checks.scene import ClusterScene, Scene
from kafka_migration.clusters.identity import Identity
from kafka_migration.findings import Finding, Status
from kafka_migration.passes import some
from kafka_migration.report import Table
from kafka_migration.topics.describe import Placed, Topic

_ACKS_OF_THE_LEADER = {"0": "is told so before any broker has it", "1": "is told so when its leader alone has it"}


Placing = tuple[Mapping[str, Topic], Identity]
"""Topics of a cluster, and the cluster's brokers."""


def check_placement(scene: Scene) -> list[Finding]:
    source, target = _of(scene.source), _of(scene.target)
    return [
        *_racks(scene.target.identity),
        *spread(source, target),
        *replicas_in_sync("source", scene.source.topics),
        *replicas_in_sync("target", scene.target.topics),
        *_acknowledged(scene.source.topics, scene.source.identity),
        *_acks(scene),
    ]


def spread(source: Placing, target: Placing) -> list[Finding]:
    """Topics of the target with a partition whose replicas stand in fewer racks than they could, or than on the source.

    Nothing where the target's brokers name no racks: that is told by a finding of its own, if the source's do.
    """
    topics, target_id = target
    if not target_id.racks:
        return []
    before = {name: _fewest_racks(topic, source[1]) for name, topic in source[0].items()}
    findings = []
    for name, topic in topics.items():
        could = max(before.get(name, 0), min(topic.replication_factor, len(target_id.racks)))
        fewest = _fewest_racks(topic, target_id)
        if fewest < could:
            lower = sum(_racks_of(one, target_id) < could for one in topic.placed.values())
            findings.append(
                Finding(
                    f"replica-spread/{name}",
                    Status.WARN,
                    f"{lower} of {topic.partitions} partitions of {name} on the target have all replicas in {fewest}"
                    f" {_noun(fewest)}",
                    f"{could} racks (on the source {before.get(name, 0)})",
                    "the loss of one rack takes more replicas than it need: kafka-reassign-partitions spreads them",
                )
            )
    return findings or [Finding("replica-spread/all", Status.PASS, _well_spread(source, target))]


def _well_spread(source: Placing, target: Placing) -> str:
    here, there = len(source[1].racks), len(target[1].racks)
    told = f"the target has {there} {_noun(there)}, the source {here or 'tells none'}"
    if not target[0]:
        return f"{told}; none of the topics is there yet, and Kafka spreads what it creates"
    return (
        f"{told}; the replicas of each partition of {len(target[0])} topics on the target are spread as far as they go"
    )


def racks_table(clusters: Mapping[str, Placing]) -> Table:
    """How many brokers, replicas and leaders each rack has. A broker that does not answer counts with no rack."""
    rows: list[tuple[str, str, int, int, int]] = []
    for side, (topics, identity) in clusters.items():
        rack = {broker.broker_id: broker.rack or "none" for broker in identity.brokers}
        placed = [one for topic in topics.values() for one in topic.placed.values()]
        replicas = [rack.get(broker, "does not answer") for one in placed for broker in one.replicas]
        leaders = ["nobody leads" if one.leader is None else rack.get(one.leader, "does not answer") for one in placed]
        rows += [
            (side, name, sum(one == name for one in rack.values()), replicas.count(name), leaders.count(name))
            for name in sorted({*rack.values(), *replicas, *leaders})
        ]
    return Table("Replicas over racks", ("side", "rack", "brokers", "replicas", "leaders"), tuple(rows))


def placing_table(scene: Scene) -> Table:
    """Both clusters of the scene, rack by rack."""
    return racks_table({"source": _of(scene.source), "target": _of(scene.target)})


def _of(cluster: ClusterScene) -> Placing:
    return cluster.topics, cluster.identity


def _racks(target: Identity) -> Iterable[Finding]:
    without = [str(broker.broker_id) for broker in target.brokers if not broker.rack]
    if target.racks and without:
        yield Finding(
            "replica-spread/racks",
            Status.WARN,
            f"brokers {some(without)} of the target name no rack, the others do",
            "broker.rack on every broker",
            "Kafka spreads new topics as if those brokers were a rack of their own: set broker.rack there",
        )


def replicas_in_sync(side: str, topics: Mapping[str, Topic]) -> Iterable[Finding]:
    """What has no leader, or too few replicas in sync, takes no message of a producer with acks=all."""
    blocked, behind = [], []
    for topic in topics.values():
        needed = min(int(topic.settings.get("min.insync.replicas", "1")), topic.replication_factor)
        for number, placed in topic.placed.items():
            if placed.leader is None or len(placed.in_sync) < needed:
                blocked.append(f"{topic.name}/{number}")
            elif len(placed.in_sync) < len(placed.replicas):
                behind.append(f"{topic.name}/{number}")
    if blocked:
        yield Finding(
            f"replicas-in-sync/{side}-blocked",
            Status.FAIL,
            f"{len(blocked)} partitions of the {side} have no leader or fewer replicas in sync than"
            f" min.insync.replicas: {some(blocked)}",
            "a leader, and as many replicas in sync as a producer with acks=all needs",
            "bring the brokers back that are missing; nobody can write there now",
        )
    if behind:
        yield Finding(
            f"replicas-in-sync/{side}",
            Status.WARN,
            f"{len(behind)} partitions of the {side} have replicas that are not in sync: {some(behind)}",
            "every replica in sync",
            "a broker is down or behind: wait until it has caught up, or the loss of one more may stop writers",
        )
    if topics and not blocked and not behind:
        yield Finding(f"replicas-in-sync/{side}", Status.PASS, f"every replica of {len(topics)} topics is in sync")


def _acknowledged(topics: Mapping[str, Topic], identity: Identity) -> list[Finding]:
    """Of topics that could be kept better: on a cluster of one broker nothing can."""
    alone = [
        topic.name
        for topic in topics.values()
        if len(identity.brokers) > 1 and int(topic.settings.get("min.insync.replicas", "1")) < 2
    ]
    return [
        Finding(
            "acknowledged/min.insync.replicas",
            Status.WARN,
            f"min.insync.replicas of {some(alone)} is 1: a message is acknowledged when one broker has it, also with"
            " acks=all",
            "2 or more, with a replication factor above it",
            "a broker that fails meanwhile can lose messages that a producer believes stored, on either cluster; no"
            " count here would miss them. Raise it on the source: it is carried over",
        )
    ] * bool(alone)


def _acks(scene: Scene) -> Iterable[Finding]:
    """Producers whose own settings say that they do not wait for the replicas."""
    for service in scene.run.plan.services:
        seen = scene.services.get(service.name)
        acks = getattr(seen, "acks", None)
        if service.produces and acks in _ACKS_OF_THE_LEADER:
            yield Finding(
                f"producer-acks/{service.name}",
                Status.WARN,
                f"{service.name} runs with acks={acks}: it sends a message and {_ACKS_OF_THE_LEADER[acks]}",
                "acks=all",
                "with a broker that fails before others have copied, the message is gone and nobody is told; no count"
                " here would miss it. Set acks=all, at least until the move is over",
            )


def _fewest_racks(topic: Topic, identity: Identity) -> int:
    return min((_racks_of(placed, identity) for placed in topic.placed.values()), default=0)


def _racks_of(placed: Placed, identity: Identity) -> int:
    """A replica on a broker that does not answer now counts as in a rack of its own: it may well be."""
    racks = {broker.broker_id: broker.rack for broker in identity.brokers}
    return len({racks.get(one, one) for one in placed.replicas} - {None})


def _noun(count: int) -> str:
    return "rack" if count == 1 else "racks"
