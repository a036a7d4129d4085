"""Step that waits: the groups of a switched service consume from where it was moved to.

Stable, every partition owned, and either its commits advance or nothing is there to read. A group that only stands in
the list of groups has proved nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kafka_migration.clusters.client import Clusters
from kafka_migration.groups.commits import committed
from kafka_migration.groups.describe import describe_groups
from kafka_migration.offsets import OffsetRange, TopicPartition, Which, from_json, read_several, to_json
from kafka_migration.passes import some
from kafka_migration.report import StepReport, Table
from kafka_migration.run import Run
from kafka_migration.sides import Side
from kafka_migration.steps.common import goes_on_from, joins
from kafka_migration.visible import first_visible
from kafka_migration.waiting import Look, Outcome

_OVER = 3.0  # seconds over which reading is compared with writing
_MAY_GROW = 0.1  # the share of what was written in that time by which a backlog may swing: commits come in batches


class ConsumingStep:
    """`args`: `service`. The brief holds the seeds.

    `reading` False: the groups need only be ready, stable with every partition owned. `steady`: their backlog must not
    keep growing either; the memory then holds how much was left in the last seconds.
    """

    def __init__(self, name: str, *, reading: bool = True, steady: bool = False) -> None:
        self.name = name
        self._reading = reading
        self._done = "consumes from" if reading else "is ready on"
        self._steady = steady

    def timeout(self, run: Run) -> float:
        return run.plan.consuming.timeout

    def prepare(self, run: Run, args: Mapping[str, Any]) -> dict[str, Any]:
        service = run.plan.service(str(args["service"]))
        current = run.current
        return {
            "service": service.name,
            "groups": {}
            if run.dry_run or (run.stays(service.name) and run.heading is Side.TARGET)
            else {
                c.group: {
                    "topics": list(c.topics),
                    "seeds": to_json(goes_on_from(current, c.group)),
                    "external": c.offsets == "external",
                }
                for c in service.consumes
                if joins(run, c)
            },
        }

    def look(self, clusters: Clusters, brief: Mapping[str, Any], memory: Mapping[str, Any], now: float) -> Look:
        groups = brief["groups"]
        if not groups:
            return Look(Outcome.DONE, ("nothing to wait for",))
        described = describe_groups(clusters.destination, groups)
        commits = committed(clusters.destination, groups)
        seeds = {group: from_json(of["seeds"]) for group, of in groups.items()}
        partitions = {tp for mine in seeds.values() for tp in mine}
        offsets = read_several(clusters.destination, partitions, (Which.START, Which.END))
        lines, waiting = [], False
        kept: dict[str, Any] = {"backlogs": {}, "reading": dict(memory.get("reading", {}))}
        for group in groups:
            reason = _not_yet(described[group], set(seeds[group]))
            if reason is None and self._reading and not groups[group]["external"]:
                reason = _not_reading(clusters, seeds[group], commits[group], offsets)
                if any(commits[group].get(tp, seed) > seed for tp, seed in seeds[group].items()):
                    kept["reading"].setdefault(group, now)
                if reason is None and self._steady:
                    before = memory.get("backlogs", {}).get(group, ())
                    kept["backlogs"][group] = _backlog(before, seeds[group], commits[group], offsets, now)
                    reason = _growing(kept["backlogs"][group])
            lines.append(f"{group}: {reason or f'{self._done} the {clusters.heading}'}")
            waiting = waiting or reason is not None
        return Look(Outcome.WAITING if waiting else Outcome.DONE, tuple(lines), kept)

    def seen(self, brief: Mapping[str, Any], look: Look) -> StepReport:
        return StepReport(notes=list(look.lines))

    def settle(self, run: Run, brief: Mapping[str, Any], look: Look) -> StepReport:
        groups = brief["groups"]
        if not groups:
            told = f"would wait until {brief['service']} {self._done} the {run.heading}"
            return StepReport(
                told if run.dry_run else f"nothing to wait for: no group of {brief['service']} shows there"
            )
        described = describe_groups(run.clusters.destination, groups)
        commits = committed(run.clusters.destination, groups)
        pauses = {g: run.current.set_reading(g, at) for g, at in look.memory.get("reading", {}).items()}
        rows = []
        for group, of in groups.items():
            seeds = from_json(of["seeds"])
            ends = read_several(run.clusters.destination, seeds, (Which.END,))[Which.END]
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
            f"{brief['service']} {self._done} the {run.heading}",
            tables=[
                Table(
                    f"Groups on the {run.heading}",
                    ("group", "state", "members", "partitions owned", "offsets read since the seed", "offsets to read"),
                    tuple(rows),
                )
            ],
            data={
                "service": brief["service"],
                "pauses": {g: pause for g, pause in pauses.items() if pause is not None},
            },
        )


def _not_yet(group: Any, partitions: set[TopicPartition]) -> str | None:
    if not group.members:
        return f"no member there yet ({group.state})"
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
    unread = sorted(tp for tp, seen in first_visible(clusters.destination, ranges).items() if seen.first is not None)
    return f"has not committed anything yet; unread: {some(unread)}" if unread else None


def _backlog(
    before: Iterable[list[float]],
    seeds: Mapping[TopicPartition, int],
    commits: Mapping[TopicPartition, int],
    offsets: Mapping[Which, Mapping[TopicPartition, int]],
    now: float,
) -> list[list[float]]:
    """What was written and what was read at each look of the last seconds, as sums of offsets."""
    written = sum(offsets[Which.END][tp] for tp in seeds)
    read = sum(commits.get(tp, seed) for tp, seed in seeds.items())
    kept = [list(sample) for sample in before]
    while len(kept) > 1 and now - kept[1][0] >= _OVER:
        kept.pop(0)
    return [*kept, [now, written, read]]


def _growing(samples: list[list[float]]) -> str | None:
    """None once reading has kept up with writing for some seconds, or all is read."""
    (began, written, read), (now, written_now, read_now) = samples[0], samples[-1]
    if now - began < _OVER:
        return "reads; whether it keeps up is not known yet"
    grown = (written_now - read_now) - (written - read)
    if grown <= (written_now - written) * _MAY_GROW:
        return None
    return (
        f"falls behind: {(written_now - written) / (now - began):,.0f} offsets/s are written,"
        f" {(read_now - read) / (now - began):,.0f} read"
    )


ready = ConsumingStep("ready", reading=False)
consuming = ConsumingStep("consuming")
keeping_up = ConsumingStep("keeping up", steady=True)
