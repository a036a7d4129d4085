"""Can what is stored be copied under prefixed names, and would anybody read it there by mistake?"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from kafka_migration.checks.beside import filled
from kafka_migration.checks.mirror import checked
from kafka_migration.checks.scene import Scene
from kafka_migration.findings import Finding, Status
from kafka_migration.mirror.connect import ConnectMirror
from kafka_migration.plan.model import LEGAL_TOPIC
from kafka_migration.steps.history import Span
from kafka_migration.topics.describe import describe_topics


def check_history(scene: Scene) -> list[Finding]:
    """Nothing for a plan without `history`. Raises `ClusterError`."""
    mirror = scene.run.history
    if mirror is None:
        return []
    names = {topic: mirror.copy_of(topic) for topic in scene.source.topics}
    illegal = sorted(name for name in names.values() if not LEGAL_TOPIC.fullmatch(name))
    return [
        *checked(mirror, "-history"),
        *(_illegal(name) for name in illegal),
        *_subscribed(scene, names),
        *_taken(scene, mirror, {topic: name for topic, name in names.items() if name not in illegal}),
    ]


def _illegal(name: str) -> Finding:
    return Finding(
        f"history-topic/{name}",
        Status.FAIL,
        "is no name of a topic",
        "at most 249 letters, digits, dots, underscores and hyphens",
        "choose replication.policy.separator in mirror.properties, or exclude the topic",
    )


def _subscribed(scene: Scene, names: Mapping[str, str]) -> Iterable[Finding]:
    """Groups that subscribe by a pattern, which takes the copies in as soon as they are there."""
    for service in scene.run.plan.services:
        for consumes in service.consumes:
            if consumes.subscription is None:
                continue
            matched = sorted(name for name in names.values() if re.fullmatch(consumes.subscription, name))
            if matched:
                yield Finding(
                    f"history-subscription/{consumes.group}",
                    Status.FAIL,
                    f"{service.name} subscribes to {consumes.subscription}, which matches {', '.join(matched[:5])}",
                    "a pattern that matches no copy of a stored message",
                    "it would read every stored message once more: narrow its pattern, or choose"
                    " replication.policy.separator in mirror.properties so that it does not match",
                )


def _taken(scene: Scene, mirror: ConnectMirror, names: Mapping[str, str]) -> list[Finding]:
    """Topics of these names that are on the target already and are not this plan's copies."""
    own = Span.of(scene.run.records).ids.get("target", {})
    target = scene.run.clusters.target
    there = describe_topics(target, [name for name in names.values() if name not in own])
    taken = filled(target, there)
    wrong = {
        name: f"has {there[name].partitions} partitions on the target, its original {topic.partitions}"
        if there[name].partitions != topic.partitions
        else "holds messages on the target that this plan did not bring there"
        for original, name in names.items()
        if name in there
        and ((topic := scene.source.topics[original]).partitions != there[name].partitions or name in taken)
    }
    return [
        Finding(
            f"history-topic/{name}",
            Status.FAIL,
            seen,
            f"an empty topic with the partitions of its original, or none: {mirror} makes it",
            "delete the topic on the target, or choose replication.policy.separator in mirror.properties",
        )
        for name, seen in sorted(wrong.items())
    ] or [Finding("history-topic/all", Status.PASS, f"{len(names)} topics take the copies of what is stored")]
