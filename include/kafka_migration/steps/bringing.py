"""Steps of a rollback that copies back: what is true and which way leads back, and its beginning.

As long as no service has gone to the target nothing was written there: the mirror is stopped, and services start where
they were. Afterwards a mirror to the source brings home what was produced on the target: where stored messages were
copied, from the image of the cutover on; else from where the target ended before anybody wrote there. A group that has
gone is handed back at its next message; one that has not reads on where it stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kafka_migration.checks.mirror import check_mirrors
from kafka_migration.findings import Finding, Status, accept
from kafka_migration.mirror.legs import Legs
from kafka_migration.offsets import OffsetRange, Offsets, TopicPartition, Which, read_several
from kafka_migration.passes import some
from kafka_migration.purposes import FAILBACK
from kafka_migration.report import Change, StepReport, Table
from kafka_migration.run import Run
from kafka_migration.services.controller import Observation, State
from kafka_migration.sides import Side
from kafka_migration.steps import tail
from kafka_migration.steps.back import controllers_answer, something_to_take_back
from kafka_migration.steps.common import check_window, moved_topics, observations_table, observe_all, stop_with
from kafka_migration.steps.gone import services_gone, staying, topics_gone, writers_on_source
from kafka_migration.steps.mirroring import ended, leg_of
from kafka_migration.steps.produced import target_starts
from kafka_migration.steps.switch import stop_services
from kafka_migration.topics.describe import describe_topics
from kafka_migration.visible import first_visible


def look(run: Run) -> StepReport:
    """What is true, and the way back as a table; changes nothing. Raises `FindingsFailed` where there is none."""
    report = something_to_take_back(run)
    if run.purpose == FAILBACK:
        report.findings += tail.something_to_return_from(run)
        stop_with(report, "looking for the way back")
    seen = _seen(run)
    found = [*report.findings, *controllers_answer(run)]
    if not run.way_back.finished and run.plan.prefixed:
        found += _both_ways_again(run)
    elif not run.way_back.finished and must_copy(run, seen):
        found += _copy_back(run)
    report.findings = accept(found, run.plan.acceptances)
    stop_with(report, "looking for the way back")
    report.tables += [way_back(run), observations_table("Services", seen)]
    report.notes.append(why(run, seen))
    report.summary = f"the way back of {len(run.plan.services)} services to the source"
    topics = moved_topics(run.current)
    report.data = {"topics": len(topics)}
    return report


def begin(run: Run) -> StepReport:
    """Decide what has to be brought home, and who stays; the mirror to the target copies nothing any more.

    Writers on the source of what is brought home are stopped: it must end there before the copies come behind it. With
    a mirror that copies both ways neither is needed, since names keep apart what is written here and there.
    """
    back = run.way_back
    if back.finished:
        return StepReport(f"nothing to do: run {back.finished['run_id']} has taken this migration back")
    if run.dry_run:
        return StepReport("would take the services back like this", tables=[way_back(run)])
    check_window(run, "beginning the rollback")
    seen = _seen(run)
    if not ended(run):
        _decide(run, seen)
    if run.plan.prefixed:
        left = tail.followed(run)
        found = tail.known(run) if left is None else tail.keep(run, left)
        return StepReport(
            "both mirrors go on, and services come home",
            tables=[way_back(run)],
            data={"stays": sorted(back.stays), **tail.told_apart(run, found or {})},
        )
    changes = []
    mirror = run.mirrors.get(Side.TARGET)
    if mirror is not None:
        before = mirror.state()
        mirror.stop()
        changes.append(Change(f"{mirror}", before, mirror.state()))
    if (not run.plan.copies or run.purpose == FAILBACK) and not ended(run):
        changes += _stop_writers(run, seen)
    return StepReport(
        "what was produced on the target is brought home" if back.note("copies") else "services start where they were",
        tables=[way_back(run)],
        notes=[why(run, seen)],
        changes=changes,
        data={"stays": sorted(back.stays), "brought": list(back.note("brought") or ())},
    )


def _decide(run: Run, seen: Mapping[str, Observation]) -> None:
    """Recorded by the first attempt. What is brought home can become more until it has been: see `stop_mirror`.

    A rollback without a mirror may have decided before who stays, and sent others to the target since.
    """
    back = run.way_back
    gone = services_gone(run, seen)
    copies = must_copy(run, seen)
    if not run.plan.copies:
        brought = sorted({*(back.note("brought") or ()), *topics_gone(run, gone)})
        back.keep("brought", brought)
        copies = bool(brought)
    if back.note("copies") is None:
        back.keep("stays", sorted(staying(run, gone)))  # by this a migration knows that it is being taken back
    back.keep("copies", copies)


def _stop_writers(run: Run, seen: Mapping[str, Observation]) -> list[Change]:
    topics = moved_topics(run.current) if run.plan.copies else run.way_back.note("brought") or ()
    names = writers_on_source(run, topics, seen)
    stop_services(run, run.headed(Side.TARGET).current, names)
    return [Change(f"service {name}", str(seen[name]), "stopped until all is brought home") for name in names]


def must_copy(run: Run, seen: Mapping[str, Observation]) -> bool:
    """Whether something may have been written to the target that has to be brought home."""
    decided = run.way_back.note("copies")
    if decided is not None:
        return bool(decided)
    gone = services_gone(run, seen)
    return bool(gone if run.plan.copies else topics_gone(run, gone))


def way_back(run: Run) -> Table:
    """Of every service what it does now and what becomes of it."""
    seen = _seen(run)
    gone = services_gone(run, seen)
    copies = must_copy(run, seen)
    stays = run.way_back.stays if run.way_back.note("copies") is not None else staying(run, gone)
    stop = set() if run.plan.copies else set(writers_on_source(run, topics_gone(run, gone), seen))
    rows = []
    for service in run.plan.services:
        if service.name in stays if service.consumes else service.name not in gone:
            then = "stays" if seen[service.name].state is not State.STOPPED else "starts again on the source"
            if service.name in stop:
                then = "stops, and starts again on the source when all is brought home"
            elif service.consumes and copies:
                then += ", and reads there what is brought home"
        elif service.consumes:
            then = "is handed back to the source, at the message that it reads next"
        else:
            then = "stops, and starts on the source when all is brought home"
        rows.append((service.name, str(seen[service.name]), then))
    return Table("The way back", ("service", "now", "then"), tuple(rows))


def why(run: Run, seen: Mapping[str, Observation]) -> str:
    """Which way is taken, and why."""
    if not must_copy(run, seen):
        return "Nothing was written to the target: services start where they were."
    if run.plan.prefixed:
        return "The mirrors copy both ways again; what was produced on the target is read on the source as its copies."
    if run.purpose == FAILBACK:
        return "A mirror copies to the source what was produced on the target since it was followed there."
    if run.plan.copies:
        return "A mirror copies to the source what was produced on the target since the cutover."
    return (
        "The plan names a mirror to the source (`mirror: back`): it copies what was produced on the target behind what"
        " the source has. So nobody has to run on the target to read it there, nothing is lost, and the order of every"
        " key is kept."
        if run.plan.order == "strict"
        else "The plan names a mirror to the source (`mirror: back`): it copies what was produced on the target behind"
        " what the source has. So nobody has to run on the target to read it there, and nothing is lost."
    )


def _seen(run: Run) -> dict[str, Observation]:
    return observe_all({s.name: run.controllers[s.name] for s in run.plan.services})


def _copy_back(run: Run) -> Iterable[Finding]:
    """What stands in the way of bringing home everything."""
    if Side.SOURCE not in run.mirrors:
        yield Finding(
            "rollback-mirror/none",
            Status.FAIL,
            "messages were written to the target, and the plan names no mirror that copies to the source",
            "mirror.back",
            "name the connection of a Kafka Connect cluster whose own cluster is the source",
        )
        return
    yield from run.mirrors[Side.SOURCE].check()
    if not run.plan.copies:
        yield from _ready_to_come_home(run)
        return
    last = Legs(run.records).last()
    if last is None or (last.heading is Side.TARGET and not last.ended):
        yield Finding(
            "rollback-mirror/unfinished",
            Status.FAIL,
            "a service runs on the target, and the mirror had not come to its end",
            "no service on the target before that",
            "somebody has moved it by hand: move it back by hand, then run the rollback again",
        )
    elif last.heading is Side.TARGET and run.purpose == FAILBACK:
        yield from tail.check(run, last)
        yield from _still_there(run, last.image or {})
    elif last.heading is Side.TARGET:
        yield from _untouched(run, last.end or {}, last.image or {})


def _both_ways_again(run: Run) -> Iterable[Finding]:
    """What keeps both mirrors from going on where they are; and what had not been copied when the source was lost."""
    yield from check_mirrors(run.headed(Side.TARGET))
    there = [leg for leg in Legs(run.records).all() if leg.heading is Side.TARGET and leg.ended]
    if there:
        yield from tail.check(run, there[-1])
    home = [leg for leg in Legs(run.records).all() if leg.heading is Side.SOURCE]
    if home and run.clusters.worker is not None:
        stored = run.clusters.worker.positions(run.mirrors[Side.SOURCE].name)
        yield from _still_there(run, {tp: max(begin, stored.get(tp, begin)) for tp, begin in home[-1].begin.items()})


def _ready_to_come_home(run: Run) -> Iterable[Finding]:
    """Of a plan that copied nothing there: partitions of both sides fit, and nobody has begun to return otherwise."""
    back, there = run.way_back, run.headed(Side.TARGET).current
    writers = [s.name for s in run.plan.services if s.produces]
    returning = sorted(n for n in writers if back.leaving(n) or back.switched(n))
    if back.note("copies") is None and returning:
        yield Finding(
            "rollback-mirror/begun",
            Status.FAIL,
            f"an earlier rollback, without a mirror, has begun to move {some(returning)} back",
            "no writer on the source before all is brought home",
            "take `mirror` out of the plan again, and finish it as it was begun",
        )
        return
    topics = topics_gone(run, services_gone(run, _seen(run)))
    sides = [describe_topics(run.clusters.of(side), topics) for side in Side]
    uneven = [name for name in topics if len({t[name].partitions if name in t else 0 for t in sides}) > 1]
    if uneven:
        yield Finding(
            "rollback-mirror/partitions",
            Status.FAIL,
            f"not as many partitions on both clusters: {some(uneven)}",
            "as many: a mirror copies each partition to the one of its number",
            "add what is missing, or take `mirror` out of the plan: consumers then read it on the target",
        )
    elif leg_of(run) is None:
        points = there.latest_points(stage for stage in run.graph.stages if there.points(stage))
        starts = target_starts(run)
        yield from _untouched(
            run,
            {tp: end for tp, end in points.items() if tp.topic in topics},
            {tp: at for tp, at in starts.items() if tp.topic in topics},
        )


def _untouched(run: Run, cutover: Offsets, begins: Offsets) -> Iterable[Finding]:
    """Before anything is copied back: the source ends at the cutover point, the target has all from `begins` on."""
    ends = read_several(run.clusters.source, cutover, (Which.END,))[Which.END]
    short = sorted(tp for tp, end in cutover.items() if ends[tp] < end)
    behind = [OffsetRange(tp, end, ends[tp]) for tp, end in cutover.items() if ends[tp] > end]
    late = sorted(tp for tp, seen in first_visible(run.clusters.source, behind).items() if seen.first is not None)
    if short:
        yield Finding(
            "rollback-source/all",
            Status.FAIL,
            f"the source ends before its cutover point: {some(short)}",
            "at least its cutover point",
            "the topic was truncated or made anew there since: groups cannot go on where they left it",
        )
    if late:
        yield Finding(
            "rollback-source-written/all",
            Status.INCONCLUSIVE,
            f"somebody has written to the source behind the cutover point: {some(late)}",
            "nothing behind it but what is brought home",
            "find the writer and stop it; if the finding is accepted, its messages stand before what is brought home",
        )
    if not short and not late:
        yield from _still_there(run, begins)
    else:
        yield from (finding for finding in _still_there(run, begins) if finding.stops)


def _still_there(run: Run, begins: Offsets) -> Iterable[Finding]:
    """Whether the target has all from `begins` on."""
    starts = read_several(run.clusters.target, begins, (Which.START,))[Which.START]
    gone: list[TopicPartition] = sorted(tp for tp, begin in begins.items() if starts[tp] > begin)
    if gone:
        yield Finding(
            "rollback-expired/all",
            Status.INCONCLUSIVE,
            f"the target has deleted messages that were produced there since the cutover: {some(gone)}",
            "all that was produced there",
            "they cannot be brought home; accept the finding to go on without them",
        )
    else:
        yield Finding("rollback-lossless/all", Status.PASS, "all that was produced on the target is there")
