"""Steps of a rollback that the way there does not have: what is true and which way leads back, and its beginning.

A group must read the target up to its end before it goes on at the source behind the cutover point. So who has left the
source returns when it has drained the target; who has not, and must read something there, goes there first; who has
nothing to read there stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kafka_migration.checks.clusters import check_identity
from kafka_migration.clusters.identity import identify
from kafka_migration.errors import ServiceError
from kafka_migration.findings import Finding, Status, accept
from kafka_migration.groups.commits import committed
from kafka_migration.groups.describe import describe_groups
from kafka_migration.groups.drain import Drain, Reader, judge
from kafka_migration.offsets import OffsetRange, TopicPartition, Which, read_several
from kafka_migration.passes import some
from kafka_migration.plan.model import Service
from kafka_migration.report import Change, StepReport, Table
from kafka_migration.run import Run
from kafka_migration.services.controller import Controller, Observation, State
from kafka_migration.sides import Side
from kafka_migration.steps.common import (
    check_window,
    moved_topics,
    observations_table,
    observe_all,
    side_by_side,
    stages_read,
    stop_with,
)
from kafka_migration.steps.drain import positions_now
from kafka_migration.visible import count_visible

_FORTH = "goes to the target first, drains it, then returns"


@dataclass(frozen=True)
class Way:
    """The way back of one service: what it has still to read on the target, and what becomes of it."""

    service: str
    now: str
    unread: int
    stays: bool
    words: str


def look(run: Run) -> StepReport:
    """What is true, and the way back as a table; changes nothing. Raises `FindingsFailed` where there is none."""
    report = something_to_take_back(run)
    found = [*report.findings, *_begun_with_a_mirror(run), *_losses(run), *controllers_answer(run)]
    report.findings = accept(found, run.plan.acceptances)
    stop_with(report, "looking for the way back")
    way = ways(run)
    report.tables += [_table(way), observations_table("Services", observe_all(_all(run)))]
    report.findings += _disorder(run)
    report.notes += without_a_mirror(run, way)
    report.summary = f"the way back of {len(run.plan.services)} services to the source"
    topics = moved_topics(run.current)
    partitions = read_several(run.clusters.source, _partitions(run), (Which.END,))[Which.END]
    report.data = {"topics": len(topics), "partitions": len(partitions)}
    return report


def something_to_take_back(run: Run) -> StepReport:
    """Two clusters, and a migration that has begun. Raises `FindingsFailed` where there is nothing to take back."""
    report = StepReport(findings=check_identity(identify(run.clusters.source), identify(run.clusters.target)))
    stop_with(report, "looking for the way back")
    if not moved_topics(run.current):
        report.findings.append(
            Finding(
                "rollback-nothing/all",
                Status.FAIL,
                "this plan has migrated nothing yet",
                "a migration that has begun",
                "there is nothing to take back",
            )
        )
        stop_with(report, "looking for the way back")
    finished = run.way_back.finished
    if finished:
        report.notes.append(f"Run {finished['run_id']} has taken this migration back already: nothing is left to do.")
    return report


def begin(run: Run) -> StepReport:
    """Decide who stays on the source, once; stop the writers there where others have to leave it first."""
    back = run.way_back
    if back.finished:
        return StepReport(f"nothing to do: run {back.finished['run_id']} has taken this migration back")
    found = ways(run)
    if run.dry_run:
        return StepReport("would take the services back like this", tables=[_table(found)])
    check_window(run, "beginning the rollback")
    if back.note("stays") is None or run.disorder:
        back.keep("stays", sorted({way.service for way in found if way.stays} | back.stays))
    stays = run.way_back.stays
    leaving = [s.name for s in run.plan.services if s.consumes and s.name not in stays and s.name not in run.seconds]
    changes = _stop_writers(run) if leaving else []
    return StepReport(
        f"{len(stays)} services stay on the source" + (f"; {', '.join(leaving)} return" if leaving else ""),
        tables=[_table(ways(run))],
        changes=changes,
        data={"stays": sorted(stays)},
    )


def ways(run: Run) -> list[Way]:
    """The way back of every service, in the order of the graph. Reads the target from each group's position on."""
    seen = observe_all(_all(run))
    unread = unread_on_target(run)
    recorded = run.way_back.note("stays")
    on_source = {name for name in run.controllers if _on(run, name, seen, Side.SOURCE)}
    on_target = {name for name in run.controllers if _on(run, name, seen, Side.TARGET)}
    write_there = {s.name for s in run.plan.services if s.produces and s.name in on_target}
    found = []
    for unit in run.graph.units:
        stays = all(
            _stays(run, name, on_source, on_target, unread, write_there)
            for name in unit.services
            if run.plan.service(name).consumes
        )
        for name in unit.services:
            service = run.plan.service(name)
            left = sum(unread.get(group, 0) for group in service.groups)
            if not service.consumes:
                words = "returns" if name in on_target else "is on the source" if name in on_source else "is started"
                found.append(Way(name, _now(seen, name), 0, False, words))
                continue
            mine = stays if recorded is None or run.disorder else name in recorded
            if not mine and service.produces:
                write_there.add(name)
            found.append(Way(name, _now(seen, name), left, mine, _words(run, name, mine, left, name in on_target)))
    return found


def without_a_mirror(run: Run, found: Iterable[Way]) -> list[str]:
    """Where somebody must go to the target, or leaves something unread there: that a mirror would bring it home."""
    if run.plan.scheme != "producers_first":
        return []
    names = [way.service for way in found if (way.words == _FORTH or (way.stays and way.unread))]
    if not names:
        return []
    return [
        f"{', '.join(names)} has to run on the target to read what is there, since the plan names no mirror to the"
        " source. With one (`mirror: back`) it would be copied there: nothing unread, in order, and nobody needs to go."
    ]


def unread_on_target(run: Run) -> dict[str, int]:
    """By group: visible messages on the target that it has not read there, counted by reading them."""
    there = run.headed(Side.TARGET).current
    seeds = there.seeds
    groups = [g for g, c in run.plan.groups.items() if c.offsets == "group" and g in seeds]
    commits = committed(run.clusters.target, groups)
    partitions = {tp for group in groups for tp in seeds[group]}
    offsets = read_several(run.clusters.target, partitions, (Which.START, Which.STABLE))
    found: dict[str, int] = {}
    for group in groups:
        ranges = []
        for tp, seed in seeds[group].items():
            start = max(seed, commits[group].get(tp, seed), offsets[Which.START][tp])
            if offsets[Which.STABLE][tp] > start:
                ranges.append(OffsetRange(tp, start, offsets[Which.STABLE][tp]))
        found[group] = sum(seen.count for seen in count_visible(run.clusters.target, ranges).values())
    return found


def _stays(
    run: Run,
    name: str,
    on_source: set[str],
    on_target: set[str],
    unread: Mapping[str, int],
    write_there: set[str],
) -> bool:
    """Whether a service that reads has an instance on the source which need not leave it."""
    service = run.plan.service(name)
    if name in run.seconds:
        return name in on_source
    if name in on_target:
        return False
    if run.disorder:
        return True
    written = any(writer.name in write_there for topic in service.reads for writer in run.plan.writers(topic))
    return not written and not any(unread.get(group) for group in service.groups)


def _on(run: Run, name: str, seen: Mapping[str, Observation], side: Side) -> bool:
    """Whether an instance of a service runs on that side; of one in a person's hands its groups tell."""
    mine = run.instances([name])
    if any(o.state is State.RUNNING and o.side is side for label, o in seen.items() if label in mine):
        return True
    if not any(seen[label].state is State.UNSEEN for label in mine):
        return False
    groups = run.plan.service(name).groups
    if groups:
        return any(d.active for d in describe_groups(run.clusters.of(side), groups).values())
    # Of a producer in a person's hands nothing tells: where it was moved by this pass, it is taken to be there.
    moved = run.headed(Side.TARGET).current.switched(name) is not None
    back = run.way_back.switched(name) is not None
    return (moved and not back) is (side is Side.TARGET)


def _words(run: Run, name: str, stays: bool, left: int, on_target: bool) -> str:
    if name in run.seconds:
        return "runs on the source; the second drains the target, and is closed" if stays else "is started again"
    if stays and left:
        return f"stays on the source; {left:,} messages stay unread on the target"
    if stays:
        return "stays on the source: nothing is there for it on the target"
    if on_target:
        return "drains the target, then returns to where it left the source"
    return _FORTH


def _now(seen: Mapping[str, Observation], name: str) -> str:
    second = seen.get(f"{name} (second)")
    return f"{seen[name]}" + (f"; second {second}" if second else "")


def _table(found: Iterable[Way]) -> Table:
    return Table(
        "The way back",
        ("service", "now", "unread on the target", "then"),
        tuple((way.service, way.now, way.unread, way.words) for way in found),
    )


def _all(run: Run) -> dict[str, Controller]:
    return run.instances(s.name for s in run.plan.services)


def _partitions(run: Run) -> list[TopicPartition]:
    """The partitions of the pass, as its seeding found them."""
    return sorted({tp for begins in run.headed(Side.TARGET).current.begins.values() for tp in begins})


def _losses(run: Run) -> list[Finding]:
    """What stands in the way of a return without loss: a source cut off before its cutover point, messages deleted."""
    there, back = run.headed(Side.TARGET).current, run.way_back
    points: dict[TopicPartition, int] = there.latest_points(s for s in run.graph.stages if there.points(s))
    ends = read_several(run.clusters.source, points, (Which.END,))[Which.END]
    findings = [
        Finding(
            f"rollback-source/{tp}",
            Status.FAIL,
            f"the source ends at {ends[tp]:,}",
            f"at least its cutover point {point:,}",
            "the topic was truncated or made anew there since: groups cannot go on where they left it",
        )
        for tp, point in sorted(points.items())
        if ends[tp] < point
    ]
    seeds, begins = there.seeds, back.begins
    groups = [g for g, c in run.plan.groups.items() if c.offsets == "group" and g in seeds]
    commits = committed(run.clusters.target, groups)
    offsets = read_several(run.clusters.target, {tp for g in groups for tp in seeds[g]}, (Which.START, Which.END))
    readers = [Reader(g, {tp: offsets[Which.END][tp] for tp in seeds[g]}, commits[g], begins[g]) for g in groups]
    for group, at in judge(run.clusters.target, readers, offsets[Which.START]).items():
        gone = [f"{p.partition} up to offset {p.log_start:,}" for p in at.values() if p.verdict is Drain.EXPIRED]
        if gone:
            findings.append(
                Finding(
                    f"rollback-expired/{group}",
                    Status.INCONCLUSIVE,
                    f"the target deleted messages before group {group} read them: {some(gone)}",
                    "nothing deleted that it has still to read",
                    "they are lost to this group, rolled back or not; accept the finding to go on without them",
                )
            )
    for service in run.plan.services:
        if service.consumes and not there.switched(service.name) and _all_frozen(run, service):
            positions = positions_now(run.headed(Side.TARGET), there, [service.name])
            findings += [
                Finding(
                    f"rollback-expired/{group}-on-source",
                    Status.INCONCLUSIVE,
                    f"the source deleted messages before group {group} read them: {some(gone)}",
                    "nothing deleted that it has still to read",
                    "they are lost to this group, rolled back or not; accept the finding to go on without them",
                )
                for group, at in positions.items()
                if (gone := [f"{p.partition}" for p in at.values() if p.verdict is Drain.EXPIRED])
            ]
    return findings or [
        Finding("rollback-lossless/all", Status.PASS, "what every group has still to read is there, on both clusters")
    ]


def _begun_with_a_mirror(run: Run) -> list[Finding]:
    """Who reads on the target what a mirror has begun to copy home would read it twice."""
    if not run.way_back.note("brought") or run.way_back.finished:
        return []
    return [
        Finding(
            "rollback-mirror/begun",
            Status.FAIL,
            "an earlier rollback has begun to bring home by a mirror what is on the target",
            "the same plan, with `mirror: back`",
            "put `mirror` into the plan again, and finish it as it was begun",
        )
    ]


def _all_frozen(run: Run, service: Service) -> bool:
    there = run.headed(Side.TARGET).current
    return all(there.points(stage) for stage in stages_read(run, [service]))


def controllers_answer(run: Run) -> list[Finding]:
    """Do the controllers answer? Nothing can be moved back before they do."""
    return [
        Finding(
            f"controller/{label.replace(' (second)', '-second')}" + (f"-{number + 1}" if number else ""),
            Status.FAIL,
            problem,
            "a controller that answers",
            "nothing can be switched before this is mended",
        )
        for label, controller in _all(run).items()
        for number, problem in enumerate(controller.check())
    ]


def _disorder(run: Run) -> list[Finding]:
    """What a return with disorder means in numbers, for whoever approves it."""
    if not run.disorder:
        return []
    return [
        Finding(
            f"rollback-disorder/{way.service}",
            Status.WARN,
            f"{way.service} stays on the source: {way.unread:,} messages of the target stay unread, and it goes on"
            " there with messages that were written after them",
            "each message read once, in order",
            "leave `disorder` off where the service can run on the target, or name a mirror to the source"
            " (`mirror: back`): what is unread is then brought home, in order",
        )
        for way in ways(run)
        if way.stays and way.unread
    ]


def _stop_writers(run: Run) -> list[Change]:
    """Stop what still writes to the source, so that the ends there are final before anybody leaves it."""
    there = run.headed(Side.TARGET).current
    names = [s.name for s in run.plan.services if s.produces and not s.consumes]
    seen = observe_all({name: run.controllers[name] for name in names})
    to_stop = [n for n, o in seen.items() if o.state is State.RUNNING and o.side is not Side.TARGET]
    if any(run.way_back.leaving(n) or run.way_back.switched(n) for n in names):
        return []  # they are on their way back already
    for name in to_stop:
        there.set_leaving(name, run.now())  # recorded first: who finds it stopped knows by whom
    side_by_side(to_stop, lambda name: run.controllers[name].stop())
    running = [n for n in to_stop if run.controllers[n].observe().state is State.RUNNING]
    if running:
        raise ServiceError(f"{', '.join(running)} still run after they were stopped; run this task again")
    return [Change(f"service {name}", str(seen[name]), "stopped until the writers return") for name in to_stop]
