"""Step that waits: every group of one service has drained the topics it reads up to their cutover points."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from kafka_migration.clusters.client import Clusters
from kafka_migration.clusters.protocol import speak
from kafka_migration.errors import Refused
from kafka_migration.groups.commits import committed
from kafka_migration.groups.drain import Drain, Position, Proof, Reader, judge
from kafka_migration.offsets import TopicPartition, Which, from_json, in_order, read_several, to_json
from kafka_migration.passes import Pass, some
from kafka_migration.plan.model import Service
from kafka_migration.report import StepReport, Table
from kafka_migration.run import Run
from kafka_migration.steps.common import points_for, stages_read
from kafka_migration.stragglers import find_stragglers, settle_stragglers, writers_return
from kafka_migration.waiting import Look, Outcome

_WORTH_READING = 1000  # offsets left at which a group on its way is looked at by reading, not by arithmetic
_SAMPLES = 240  # kept for the picture of the drain; halved when full, so that memory stays flat
_READ_AGAIN = 60.0  # seconds after which one that has not moved is looked at by reading again: it may be compacted away
_RATE_OVER = 10.0  # seconds over which the rate is taken


class DrainStep:
    """`args`: `service`. One row a group: messages left at most, rate, time left."""

    name = "drained"

    def timeout(self, run: Run) -> float:
        return run.plan.drain.timeout

    def prepare(self, run: Run, args: Mapping[str, Any]) -> dict[str, Any]:
        service = run.plan.service(str(args["service"]))
        current = run.current
        if run.dry_run or run.stays(service.name):
            return {"service": service.name, "groups": {}, "stays": not run.dry_run}
        already = current.switched(service.name) is not None
        if not already:
            stages = sorted(stages_read(run, [service]))
            # Of its own topics: with many services, each looking at all would be many times the whole. Where there are
            # some, all are looked for: a point is frozen with every straggler, by whichever service finds one.
            stragglers = find_stragglers(run, current, stages, service.reads)
            if stragglers:
                stragglers = find_stragglers(run, current, stages)
                run.log.warning("messages behind the cutover point:\n%s", "\n".join(f"  {s}" for s in stragglers))
                for point in settle_stragglers(run, current, stages, stragglers):
                    run.log.warning("cutover point frozen anew: number %d", point.number)
        points = points_for(run, current, service)
        begins, proven = current.begins, current.drained(service.name)
        return {
            "service": service.name,
            "switched": already,
            "growing": writers_return(run),
            "idle_since": _idle_since(run, current, service),
            "groups": {
                c.group: {
                    "points": to_json(points[c.group]),
                    "begins": to_json(begins.get(c.group, {})),
                    "proven": proven[c.group].to_json() if c.group in proven else None,
                    "reset": c.auto_offset_reset,
                }
                for c in service.consumes
                if c.offsets == "group"
            },
        }

    def look(self, clusters: Clusters, brief: Mapping[str, Any], memory: Mapping[str, Any], now: float) -> Look:
        if brief.get("switched") or not brief["groups"]:
            return Look(Outcome.DONE, ("nothing to wait for",))
        points = {g: from_json(of["points"]) for g, of in brief["groups"].items()}
        partitions = {tp for p in points.values() for tp in p}
        offsets = read_several(clusters.origin, partitions, (Which.START, Which.END))
        passed = sorted(
            tp for tp in partitions if offsets[Which.END][tp] > max(p[tp] for p in points.values() if tp in p)
        )
        if (
            passed
            and not brief["growing"]
            and to_json({tp: offsets[Which.END][tp] for tp in passed}) != memory.get("passed")
        ):
            # Visible or not is for `prepare` to find out, once for each movement of an end.
            kept = {**memory, "passed": to_json({tp: offsets[Which.END][tp] for tp in passed})}
            return Look(
                Outcome.AGAIN,
                (),
                kept,
                f"the {clusters.heading.other} has grown past the cutover point: {some(passed)}",
            )
        commits = committed(clusters.origin, points)
        read = memory.get("read", {})
        fresh = read.get("behind", {}) if now - read.get("at", now) < _READ_AGAIN else {}
        readers = [_reader(group, brief, points[group], commits[group], memory, fresh) for group in points]
        positions = judge(clusters.origin, readers, offsets[Which.START])
        kept = _remember(memory, positions, commits, offsets[Which.START], now, brief["idle_since"])
        kept["read"] = {"at": read["at"] if fresh else now, "behind": _behind(positions, readers)}
        lines = tuple(_line(clusters, group, at, kept, now) for group, at in positions.items())
        expired = [
            f"group {group}, {p.partition}: offsets {p.next if p.committed is None else p.committed:,} to"
            f" {p.log_start:,} were deleted before it read them"
            for group, at in positions.items()
            for p in at.values()
            if p.verdict is Drain.EXPIRED
        ]
        if expired:
            return Look(Outcome.FAILED, lines, kept, "retention has overtaken the drain:\n  " + "\n  ".join(expired))
        done = all(p.drained for at in positions.values() for p in at.values())
        return Look(Outcome.DONE if done else Outcome.WAITING, lines, kept)

    def seen(self, brief: Mapping[str, Any], look: Look) -> StepReport:
        return StepReport(
            notes=list(look.lines), data={"service": brief["service"], "samples": look.memory.get("samples", {})}
        )

    def settle(self, run: Run, brief: Mapping[str, Any], look: Look) -> StepReport:
        name = brief["service"]
        service = run.plan.service(name)
        if run.dry_run:
            return StepReport(f"would wait until {', '.join(service.groups)} have drained the {run.leaving}")
        if brief.get("stays"):
            return StepReport(f"{name} stays on the source: it is not waited for")
        current = run.current
        if brief["switched"]:
            at = current.switched(name) or {}
            return StepReport(f"{name} had drained and was switched by run {at.get('run_id')}")
        positions = positions_now(run, current, [name])
        behind = [
            f"{g} on {p.partition} ({p.verdict})" for g, at in positions.items() for p in at.values() if not p.drained
        ]
        if behind:
            raise Refused(
                f"{name} had drained a moment ago and has not any more: {some(behind)}. Clear this task to wait again."
            )
        current.set_drained(name, {group: Proof.of(at) for group, at in positions.items()})
        pauses = {g: current.set_idle(g, look.memory["idle"].get(g, run.now())) for g in positions}
        external = [c.group for c in service.consumes if c.offsets == "external"]
        return StepReport(
            summary=f"{name} has drained: nothing visible is left to {', '.join(service.groups)} before the point",
            tables=[positions_table(positions)],
            notes=[f"group {g} keeps its offsets outside Kafka: a person has to confirm it" for g in external],
            data={
                "service": name,
                "samples": look.memory.get("samples", {}),
                "pauses": {g: pause for g, pause in pauses.items() if pause is not None},
                "positions": [
                    {
                        "group": g,
                        "partition": str(p.partition),
                        "committed": p.committed,
                        "point": p.point,
                        "verdict": p.verdict.value,
                    }
                    for g, at in positions.items()
                    for p in at.values()
                ],
            },
        )


def _idle_since(run: Run, current: Pass, service: Service) -> float:
    """From when on nothing may have come to the topics that the service reads: the last of their writers was done then.

    A producer is done when it is about to be stopped, a processor when it had nothing left to read itself. Of a writer
    in a person's hands neither is known; then it is when the cutover point was frozen.
    """
    done = []
    for writer in {writer.name: writer for topic in service.reads for writer in run.plan.writers(topic)}.values():
        idle = [since for group in writer.groups if (since := current.idle_since(group)) is not None]
        left = current.leaving_since(writer.name)
        done += [max(idle)] if idle else [left] if left is not None else []
    frozen = [at for stage in stages_read(run, [service]) if (at := current.frozen_at(stage)) is not None]
    return max(done or frozen, default=run.now())


def positions_now(run: Run, current: Pass, names: Iterable[str]) -> dict[str, dict[TopicPartition, Position]]:
    """Where the groups of these services stand on the cluster that they leave."""
    services = [run.plan.service(name) for name in names]
    points = points_for(run, current, *services)
    groups = list(dict.fromkeys(c.group for service in services for c in service.consumes if c.offsets == "group"))
    commits = committed(run.clusters.origin, groups)
    begins = current.begins
    proven: dict[str, dict[TopicPartition, int]] = defaultdict(dict)
    for service in services:
        for group, proof in current.drained(service.name).items():
            for tp, offset in proof.reaches(commits.get(group, {})).items():
                proven[group][tp] = max(offset, proven[group].get(tp, offset))
    readers = [Reader(g, points[g], commits[g], begins.get(g, {}), proven[g]) for g in groups]
    starts = read_several(run.clusters.origin, {tp for g in groups for tp in points[g]}, (Which.START,))[Which.START]
    return judge(run.clusters.origin, readers, starts)


def positions_table(positions: Mapping[str, Mapping[TopicPartition, Position]]) -> Table:
    return Table(
        "Groups at the cutover point",
        ("group", "partition", "committed", "cutover point", "offsets behind", "verdict"),
        tuple(
            (group, str(p.partition), p.committed, p.point, max(0, p.point - (p.committed or 0)), p.verdict.value)
            for group, at in sorted(positions.items())
            for p in sorted(at.values(), key=lambda p: in_order(p.partition))
        ),
    )


def _reader(
    group: str,
    brief: Mapping[str, Any],
    points: Mapping[TopicPartition, int],
    commits: Mapping[TopicPartition, int],
    memory: Mapping[str, Any],
    behind: Mapping[str, Mapping[str, int]],
) -> Reader:
    of = brief["groups"][group]
    before = from_json(memory.get("commits", {}).get(group, {}))
    moving = frozenset(
        tp
        for tp, point in points.items()
        if tp in commits and commits[tp] > before.get(tp, commits[tp]) and point - commits[tp] > _WORTH_READING
    )
    proven = Proof.from_json(of["proven"]).reaches(commits) if of["proven"] else {}
    return Reader(group, points, commits, from_json(of["begins"]), proven, moving, from_json(behind.get(group, {})))


def _behind(
    positions: Mapping[str, Mapping[TopicPartition, Position]], readers: Iterable[Reader]
) -> dict[str, dict[str, int]]:
    """By group what it has to read next, of the partitions where something was seen that is left."""
    seen = (Drain.BEHIND, Drain.NO_COMMIT)
    found: dict[str, dict[str, int]] = {}
    for reader in readers:
        at = positions[reader.group]
        left = {tp: p.next for tp, p in at.items() if p.verdict in seen and tp not in reader.moving}
        found[reader.group] = to_json(left)
    return found


def _remember(
    memory: Mapping[str, Any],
    positions: Mapping[str, Mapping[TopicPartition, Position]],
    commits: Mapping[str, Mapping[TopicPartition, int]],
    starts: Mapping[TopicPartition, int],
    now: float,
    idle_since: float,
) -> dict[str, Any]:
    samples = {group: list(memory.get("samples", {}).get(group, ())) for group in positions}
    for group, at in positions.items():
        samples[group].append([round(now, 2), sum(p.left for p in at.values())])
        if len(samples[group]) > _SAMPLES:
            samples[group] = samples[group][::2]
    idle = dict(memory.get("idle", {}))
    for group, at in positions.items():
        if all(p.drained for p in at.values()):
            # One that had nothing left when it was first looked at may have had nothing since the writers stopped.
            idle.setdefault(group, now if memory else idle_since)
        else:
            idle.pop(group, None)
    return {
        "passed": memory.get("passed"),
        "idle": idle,
        "commits": {group: to_json(commits[group]) for group in positions},
        "samples": samples,
        "starts": {"at": now, "offsets": to_json(starts)} if not memory.get("starts") else memory["starts"],
        "starts_now": {"at": now, "offsets": to_json(starts)},
    }


def _line(
    clusters: Clusters, group: str, at: Mapping[TopicPartition, Position], memory: Mapping[str, Any], now: float
) -> str:
    left = sum(p.left for p in at.values())
    if all(p.drained for p in at.values()):
        return f"{group}: drained"
    waiting_for = [p.partition for p in at.values() if p.verdict is Drain.OPEN]
    if waiting_for:
        with speak(clusters.origin) as protocol:
            held = protocol.open_transactions(waiting_for) if protocol else None
        return f"{group}: an open transaction holds it up: {some([str(t) for t in held or waiting_for])}"
    never = [p.partition for p in at.values() if p.verdict is Drain.NO_COMMIT]
    rate = _rate(memory["samples"][group])
    time_left = f"about {_duration(left / rate)}" if rate > 0 else "not moving"
    text = f"{group}: {left:,} left, {rate:,.0f}/s, {time_left}"
    if never:
        text += f"; has not committed on {some(never)} yet"
    return text + _race(at, memory)


def _rate(samples: list[list[float]]) -> float:
    """Messages a second over the last samples."""
    last = samples[-1]
    first = next((s for s in samples if last[0] - s[0] <= _RATE_OVER), last)
    return max(0.0, (first[1] - last[1]) / (last[0] - first[0])) if last[0] > first[0] else 0.0


def _race(at: Mapping[TopicPartition, Position], memory: Mapping[str, Any]) -> str:
    """Whether deletion will reach the group before it has read: log starts move as well."""
    before, now = memory["starts"], memory["starts_now"]
    seconds = now["at"] - before["at"]
    if seconds <= 0:
        return ""
    soonest: tuple[float, TopicPartition] | None = None
    for tp, p in at.items():
        moved = now["offsets"][str(tp)] - before["offsets"][str(tp)]
        if moved > 0 and not p.drained:
            reach = (p.next - p.log_start) / (moved / seconds)
            soonest = min(soonest, (reach, tp)) if soonest else (reach, tp)
    if soonest is None:
        return ""
    return f"; WARNING: retention reaches {soonest[1]} in about {_duration(soonest[0])}: raise its retention.ms now"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


drained = DrainStep()
