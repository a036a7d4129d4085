"""What the preflight's checks look at, gathered once: topics, groups, services, and what earlier runs recorded."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from kafka_migration.clusters.client import Cluster
from kafka_migration.clusters.identity import Identity, identify
from kafka_migration.errors import ServiceError
from kafka_migration.groups.commits import committed
from kafka_migration.groups.describe import Group, Listed, describe_settled, list_groups, list_other_groups
from kafka_migration.offsets import TopicPartition, Which, read_several
from kafka_migration.passes import Pass
from kafka_migration.run import Run
from kafka_migration.services.controller import Observation
from kafka_migration.topics.describe import Topic, choose, describe_topics, topic_names


@dataclass(frozen=True)
class ClusterScene:
    """One cluster: who it is, the plan's topics there, their offsets, its groups and what they have committed.

    `others`: the groups that are no consumer groups; None where they could not be listed.
    """

    identity: Identity
    topics: Mapping[str, Topic]
    offsets: Mapping[Which, Mapping[TopicPartition, int]]
    listed: Mapping[str, Listed]
    others: Mapping[str, Listed] | None
    groups: Mapping[str, Group]
    commits: Mapping[str, Mapping[TopicPartition, int]]


@dataclass(frozen=True)
class Scene:
    """Everything that the checks need. `unmatched`: entries of `topics.include` that match no topic of the source."""

    run: Run
    source: ClusterScene
    target: ClusterScene
    unmatched: tuple[str, ...]
    services: Mapping[str, Observation | ServiceError]
    current: Pass

    @property
    def begun(self) -> bool:
        """Whether this pass has seeded groups or begun to copy: what is on the target is then its own doing."""
        return bool(self.current.seeds) or self.current.note("mirror/leg") is not None

    @property
    def moved(self) -> set[str]:
        """The services that this pass has moved, was moving, or has started a second time."""
        return {
            s.name
            for s in self.run.plan.services
            if self.current.switched(s.name)
            or self.current.leaving(s.name)
            or self.current.note(f"second/{s.name}") is not None
        }


def look_around(run: Run, moves: bool = True) -> Scene:
    """Gather the scene; source, target and services side by side. Raises `ClusterUnreachable`.

    `moves`: whether somebody is to be moved; otherwise neither services nor groups of others are looked at.
    """
    with ThreadPoolExecutor(max_workers=3) as pool:
        identities = pool.map(identify, (run.clusters.source, run.clusters.target))
        services = pool.submit(_observe, run) if moves else pool.submit(dict)
        source_id, target_id = identities
    names, unmatched = choose(run.plan.topics, run.plan, topic_names(run.clusters.source))
    with ThreadPoolExecutor(max_workers=2) as pool:
        source = pool.submit(_cluster, run, run.clusters.source, source_id, names, moves)
        target = pool.submit(_cluster, run, run.clusters.target, target_id, names, moves)
    return Scene(
        run=run,
        source=source.result(),
        target=target.result(),
        unmatched=tuple(unmatched),
        services=services.result(),
        current=run.current,
    )


def _cluster(run: Run, cluster: Cluster, identity: Identity, names: list[str], moves: bool) -> ClusterScene:
    topics = describe_topics(cluster, names)
    partitions = [tp for topic in topics.values() for tp in topic.numbered()]
    listed = {entry.group: entry for entry in list_groups(cluster)}
    told = list_other_groups(cluster)
    others = None if told is None else {entry.group: entry for entry in told}
    readable = (set(listed if moves else ()) | set(run.plan.groups)) - set(others or ())
    return ClusterScene(
        identity,
        topics,
        read_several(cluster, partitions, (Which.START, Which.END, Which.STABLE)),
        listed,
        others,
        describe_settled(cluster, readable),
        committed(cluster, readable),
    )


def _observe(run: Run) -> dict[str, Observation | ServiceError]:
    found: dict[str, Observation | ServiceError] = {}
    for name, controller in run.instances(run.controllers).items():
        try:
            found[name] = controller.observe()
        except ServiceError as error:
            found[name] = error
    return found
