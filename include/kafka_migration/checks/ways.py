"""Both ways: can each cluster take the copies of the other's topics, and is every topic copied that looks so?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kafka_migration.checks.beside import filled
from kafka_migration.checks.scene import Scene
from kafka_migration.findings import Finding, Status
from kafka_migration.mirror.legs import Legs
from kafka_migration.plan.model import LEGAL_TOPIC
from kafka_migration.sides import Side
from kafka_migration.topics.describe import Topic, describe_topics, topic_names


def check_ways(scene: Scene) -> list[Finding]:
    """Nothing for a plan that copies one way. Raises `ClusterError`."""
    plan = scene.run.plan
    if not plan.prefixed:
        return []
    originals = {Side.SOURCE: scene.source.topics, Side.TARGET: scene.target.topics}
    copies = {
        side: {plan.copy_name(topic, side.other): topic for topic in originals[side.other]} for side in Side
    }  # by the side that takes them
    return [
        finding
        for side in Side
        for finding in (
            *_taken(scene, side, originals[side.other], copies[side]),
            *_passed_over(scene, side, copies[side]),
        )
    ] or [Finding("mirror-name/all", Status.PASS, f"{sum(map(len, copies.values()))} topics take the copies")]


def _taken(scene: Scene, side: Side, originals: Mapping[str, Topic], names: Mapping[str, str]) -> Iterable[Finding]:
    """Topics of that side that cannot be what takes a copy: by their name, or because they are somebody else's."""
    begun = [leg for leg in Legs(scene.run.records).all() if leg.heading is side]
    own = {name for leg in begun for name in leg.ids.get(side.value, {})}
    cluster = scene.run.clusters.of(side)
    there = describe_topics(cluster, [name for name in names if name not in own])
    strangers = filled(cluster, there)
    for name, original in sorted(names.items()):
        partitions = originals[original].partitions
        if not LEGAL_TOPIC.fullmatch(name):
            seen = "is no name of a topic"
        elif name in there and there[name].partitions != partitions:
            seen = f"has {there[name].partitions} partitions on the {side}, its original {partitions}"
        elif name in strangers:
            seen = f"holds messages on the {side} that this plan did not bring there"
        else:
            continue
        yield Finding(
            f"mirror-name/{name}",
            Status.FAIL,
            seen,
            "an empty topic with the partitions of its original, or none: it is made",
            f"delete the topic on the {side}, exclude its original, or choose replication.policy.separator in"
            " mirror.properties",
        )


def _passed_over(scene: Scene, side: Side, copies: Mapping[str, str]) -> Iterable[Finding]:
    """Topics that the plan's entries match, and that are nobody's copies: by their names they count as such."""
    plan = scene.run.plan
    for name in sorted(topic_names(scene.run.clusters.of(side))):
        if plan.names(name) and plan.is_copy(name) and name not in copies:
            yield Finding(
                f"mirror-name/{name}",
                Status.WARN,
                f"is not copied from the {side}: by its name it is a copy",
                "names that do not begin as those of copies",
                "rename it, or choose replication.policy.separator in mirror.properties; exclude it where it need not"
                " be copied",
            )
