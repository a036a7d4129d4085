"""Step that waits: the groups of a switched service consume from the target.

Stable, every partition owned, and either its commits advance or nothing is there to read. A group that only stands in
the list of groups has proved nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kafka_migration.clusters.client import Clusters
from kafka_migration.groups.commits import committed
from kafka_migration.groups.describe import describe_groups
from kafka_migration.offsets import OffsetRange, TopicPartition, Which, from_json, read_several, to_json
from kafka_migration.passes import current_pass, some
from kafka_migration.report import StepReport, Table
from kafka_migration.run import Run
from kafka_migration.visible import first_visible
from kafka_migration.waiting import Look, Outcome


class ConsumingStep:
    """`args`: `service`. The brief holds the seeds; the memory the commits of the first look."""

    name = "consuming"

    def timeout(self, run: Run) -> float:
        return run.plan.consuming.timeout

    def prepare(self, run: Run, args: Mapping[str, Any]) -> dict[str, Any]:
        service = run.plan.service(str(args["service"]))
        seeds = current_pass(run.records).seeds
        return {
            "service": service.name,
            "groups": {}
            if run.dry_run
            else {
                c.group: {
                    "topics": list(c.topics),
                    "seeds": to_json(seeds.get(c.group, {})),
                    "external": c.offsets == "external",
                }
                for c in service.consumes
            },
        }

    def look(self, clusters: Clusters, brief: Mapping[str, Any], memory: Mapping[str, Any], now: float) -> Look:
        groups = brief["groups"]
        if not groups:
            return Look(Outcome.DONE, ("nothing to wait for",))
        described = describe_groups(clusters.target, groups)
        commits = committed(clusters.target, groups)
        seeds = {group: from_json(of["seeds"]) for group, of in groups.items()}
        partitions = {tp for mine in seeds.values() for tp in mine}
        offsets = read_several(clusters.target, partitions, (Which.START, Which.END))
        lines, waiting = [], False
        for group in groups:
            reason = _not_yet(described[group], set(seeds[group]))
            if reason is None and not groups[group]["external"]:
                reason = _not_reading(clusters, seeds[group], commits[group], offsets)
            lines.append(f"{group}: {reason or 'consumes from the target'}")
            waiting = waiting or reason is not None
        return Look(Outcome.WAITING if waiting else Outcome.DONE, tuple(lines))

    def seen(self, brief: Mapping[str, Any], look: Look) -> StepReport:
        return StepReport(notes=list(look.lines))

    def settle(self, run: Run, brief: Mapping[str, Any], look: Look) -> StepReport:
        groups = brief["groups"]
        if not groups:
            return StepReport(f"would wait until {brief['service']} consumes from the target")
        described = describe_groups(run.clusters.target, groups)
        commits = committed(run.clusters.target, groups)
        rows = []
        for group, of in groups.items():
            seeds = from_json(of["seeds"])
            ends = read_several(run.clusters.target, seeds, (Which.END,))[Which.END]
            rows.append(
                (
                    group,
                    described[group].state,
                    len(described[group].members),
                    len(described[group].owned),
                    sum(max(0, commits[group].get(tp, seed) - seed) for tp, seed in seeds.items()),
                    sum(max(0, ends[tp] - commits[group].get(tp, seed)) for tp, seed in seeds.items()),
                )
            )
        return StepReport(
            f"{brief['service']} consumes from the target",
            tables=[
                Table(
                    "Groups on the target",
                    ("group", "state", "members", "partitions owned", "offsets read since the seed", "offsets to read"),
                    tuple(rows),
                )
            ],
            data={"service": brief["service"]},
        )


def _not_yet(group: Any, partitions: set[TopicPartition]) -> str | None:
    if not group.members:
        return f"no member on the target yet ({group.state})"
    if not group.stable:
        return f"the group is {group.state}"
    unowned = sorted(partitions - group.owned)
    return f"nobody owns {some(unowned)}" if unowned else None


def _not_reading(
    clusters: Clusters,
    seeds: Mapping[TopicPartition, int],
    commits: Mapping[TopicPartition, int],
    offsets: Mapping[Which, Mapping[TopicPartition, int]],
) -> str | None:
    """None when the commits have advanced past the seeds, or nothing visible lies behind them."""
    if any(commits.get(tp, seed) > seed for tp, seed in seeds.items()):
        return None
    ranges = [
        OffsetRange(tp, max(commits.get(tp, seed), offsets[Which.START][tp]), offsets[Which.END][tp])
        for tp, seed in seeds.items()
    ]
    unread = sorted(tp for tp, seen in first_visible(clusters.target, ranges).items() if seen.first is not None)
    return f"has not committed anything yet; unread: {some(unread)}" if unread else None


consuming = ConsumingStep()
