"""Is every group that reads these topics accounted for, movable, and unused on the target?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from kafka_migration.checks.scene import ClusterScene, Scene
from kafka_migration.findings import Finding, Status
from kafka_migration.groups.drain import Drain, read_on
from kafka_migration.mirror.legs import brought_home
from kafka_migration.offsets import OffsetRange, TopicPartition, Which, by_topic, of_topics
from kafka_migration.passes import some
from kafka_migration.sides import Side
from kafka_migration.visible import first_visible


def check_groups(scene: Scene) -> list[Finding]:
    return [
        *_accounted(scene),
        *_kinds(scene),
        *_reads(scene),
        *_commits(scene),
        *_on_target(scene),
    ]


def _topics_read(cluster: ClusterScene, group: str) -> set[str]:
    """What an active group has assigned; of one without members, what it has committed."""
    described = cluster.groups.get(group)
    if described is not None and described.owned:
        return {tp.topic for tp in described.owned}
    return {tp.topic for tp in cluster.commits.get(group, {})}


def _accounted(scene: Scene) -> list[Finding]:
    plan = scene.run.plan
    known = set(plan.groups) | {g.group for g in plan.ignore_groups}
    findings = []
    for group in sorted(scene.source.commits.keys() - known):
        committed = {tp.topic for tp in scene.source.commits[group]}
        shared = sorted((_topics_read(scene.source, group) | committed) & scene.source.topics.keys())
        if shared:
            findings.append(
                Finding(
                    f"group-in-plan/{group}",
                    Status.FAIL,
                    f"group {group} reads {some(shared)} and is not in the plan",
                    "every group that reads the plan's topics is in the plan",
                    "add it to a service, or to ignore_groups with the reason: it would get no more messages there",
                )
            )
    ignored = [f"{g.group} ({g.reason})" for g in plan.ignore_groups]
    seen = f"{len(plan.groups)} groups in the plan" + (f"; ignored: {', '.join(ignored)}" if ignored else "")
    return findings or [Finding("group-in-plan/all", Status.PASS, seen)]


def _kinds(scene: Scene) -> Iterable[Finding]:
    """Groups that are no consumer groups: which topics they read cannot be seen from here."""
    plan, others = scene.run.plan, scene.source.others
    if others is None:
        yield Finding(
            "group-kind/all",
            Status.WARN,
            "share and Streams groups could not be listed",
            "",
            "check by hand that none reads these topics: kafka-groups --list",
        )
        return
    ignored = {g.group for g in plan.ignore_groups}
    for group, listed in sorted(others.items()):
        if group in plan.groups:
            yield Finding(
                f"group-kind/{group}",
                Status.FAIL,
                f"{group} is a group of type {listed.kind}",
                "a consumer group",
                "share groups keep no offsets per partition, Streams groups keep state with theirs: neither is handed"
                " over by offsets; stop the application, let it drain, and start it on the target by hand",
            )
        elif group not in ignored:
            yield Finding(
                f"group-kind/{group}",
                Status.INCONCLUSIVE,
                f"{group} on the source is a group of type {listed.kind}; which topics it reads is not told",
                "every group that reads the plan's topics is in the plan",
                "add it to ignore_groups with the reason: it is not moved, and gets no more messages if it reads them",
            )


def _reads(scene: Scene) -> Iterable[Finding]:
    plan = scene.run.plan
    for group, consumes in plan.groups.items():
        copies = {plan.copy_name(topic, side) for topic in consumes.topics for side in Side} if plan.prefixed else set()
        extra = _topics_read(scene.source, group) - set(consumes.topics) - copies
        outside = sorted(t for t in extra if not plan.includes(t))
        undeclared = sorted(extra - set(outside))
        if outside:
            yield Finding(
                f"group-reads-outside/{group}",
                Status.FAIL,
                f"group {group} also reads {some(outside)}",
                "only topics of this plan",
                "its switch would strand those topics: move them in the same plan, or give them a group of their own",
            )
        if undeclared:
            yield Finding(
                f"group-topics/{group}",
                Status.FAIL,
                f"group {group} also reads {some(undeclared)}, which the plan does not say",
                f"consumes: {', '.join(consumes.topics)}",
                f"add the topics to the service's `consumes` of {group}",
            )


def _commits(scene: Scene) -> Iterable[Finding]:
    plan, source = scene.run.plan, scene.source
    starts, ends = source.offsets[Which.START], source.offsets[Which.END]
    never: dict[str, list[TopicPartition]] = {}
    known = by_topic(ends)
    for group, consumes in plan.groups.items():
        partitions = list(of_topics(known, consumes.topics))
        commits = source.commits.get(group, {})
        described = source.groups.get(group)
        if not any(tp in commits for tp in partitions) and not (described and described.active):
            yield Finding(
                f"group-exists/{group}",
                Status.INCONCLUSIVE,
                f"group {group} has no members and no offsets on the source",
                "a group that reads",
                "check its name; accept the finding if the service has never read anything",
            )
        if consumes.offsets == "external":
            continue
        expired = [tp for tp in partitions if 0 <= commits.get(tp, -1) < starts[tp]]
        if expired:
            yield Finding(
                f"group-expired/{group}",
                Status.WARN,
                f"{some(expired)}: the source deleted messages that group {group} had not read, before this run",
                "a commit at or behind the log start",
                "lost to this group already; the migration does not bring them back",
            )
        unread = [tp for tp in partitions if tp not in commits and starts[tp] < ends[tp]]
        if unread and consumes.auto_offset_reset is None:
            never[group] = unread
    visible = first_visible(
        scene.run.clusters.source,
        [OffsetRange(tp, starts[tp], ends[tp]) for tp in sorted({tp for tps in never.values() for tp in tps})],
    )
    for group, partitions in never.items():
        unread = [tp for tp in partitions if visible[tp].first is not None]
        if unread:
            yield Finding(
                f"group-never-committed/{group}",
                Status.INCONCLUSIVE,
                f"{some(unread)}: group {group} has never committed, and there are messages",
                "a commit, or auto_offset_reset in the plan",
                "say in the plan what the application uses (auto_offset_reset: earliest, latest or none): it decides"
                " whether those messages are still to be read",
            )


def _on_target(scene: Scene) -> Iterable[Finding]:
    plan, target = scene.run.plan, scene.target
    idle = True
    for service in plan.services:
        for group in service.groups:
            described = target.groups.get(group)
            if described is not None and described.active and service.name not in scene.moved:
                idle = False
                hosts = some(sorted({f"{m.client_id} at {m.host}" for m in described.members}))
                yield Finding(
                    f"target-group/{group}",
                    Status.FAIL,
                    f"group {group} is active on the target: {hosts}",
                    "no member there before this run switches the service",
                    "stop those consumers: offsets of an active group cannot be set",
                )
    if not scene.begun and not plan.copies:  # what is copied is handed over exactly, whatever was read there before
        yield from _unread_on_target(scene)
    if idle:
        yield Finding("target-group/all", Status.PASS, "no group of the plan is used on the target by anyone else")


def _unread_on_target(scene: Scene) -> Iterable[Finding]:
    """Before a pass seeds: a group that has read on the target before must have nothing visible left to read there.

    What the last rollback has brought home it reads on the source.
    """
    ends, starts = scene.target.offsets[Which.END], scene.target.offsets[Which.START]
    home, known = brought_home(scene.run.records), by_topic(ends)
    stands: dict[TopicPartition, dict[str, int]] = defaultdict(dict)
    for group, consumes in scene.run.plan.groups.items():
        commits = scene.target.commits.get(group, {})
        for tp in of_topics(known, consumes.topics).keys() & commits.keys():
            stands[tp][group] = min(ends[tp], max(commits[tp], starts[tp], home.get(tp, 0)))
    verdicts = read_on(scene.run.clusters.target, ends, stands)
    left: dict[str, list[TopicPartition]] = defaultdict(list)
    for group, tp in sorted(where for where, verdict in verdicts.items() if verdict is not Drain.DRAINED):
        left[group].append(tp)
    for group in scene.run.plan.groups:
        if unread := left.get(group):
            yield Finding(
                f"target-unread/{group}",
                Status.FAIL,
                f"group {group} has unread messages on the target: {some(unread)}",
                "nothing left to read there",
                "a seed would skip them: let the group read them on the target first",
            )
