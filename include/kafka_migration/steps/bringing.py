"""Steps of a rollback where stored messages were copied: what is true and which way leads back, and its beginning.

As long as no service has gone to the target nothing was written there: the mirror is stopped, and services start where
they were. Afterwards a mirror to the source brings home what was produced on the target, from the image of the cutover
on, and every group is handed back as it was handed over.
"""

from __future__ import annotations

from collections.abc import Iterable

from kafka_migration.findings import Finding, Status, accept
from kafka_migration.mirror.legs import Leg, Legs
from kafka_migration.offsets import OffsetRange, TopicPartition, Which, read_several
from kafka_migration.passes import some
from kafka_migration.report import Change, StepReport, Table
from kafka_migration.run import Run
from kafka_migration.services.controller import Observation, State
from kafka_migration.sides import Side
from kafka_migration.steps.back import controllers_answer, something_to_take_back
from kafka_migration.steps.common import check_window, moved_topics, observations_table, observe_all, stop_with
from kafka_migration.steps.gone import has_gone
from kafka_migration.visible import first_visible


def look(run: Run) -> StepReport:
    """What is true, and the way back as a table; changes nothing. Raises `FindingsFailed` where there is none."""
    report = something_to_take_back(run)
    seen = _seen(run)
    found = [*report.findings, *controllers_answer(run)]
    if not run.way_back.finished and must_copy(run, seen):
        found += _copy_back(run)
    report.findings = accept(found, run.plan.acceptances)
    stop_with(report, "looking for the way back")
    report.tables += [way_back(run), observations_table("Services", seen)]
    report.summary = f"the way back of {len(run.plan.services)} services to the source"
    topics = moved_topics(run.current)
    report.data = {"topics": len(topics)}
    return report


def begin(run: Run) -> StepReport:
    """Decide once whether something has to be brought home; the mirror to the target copies nothing any more."""
    back = run.way_back
    if back.finished:
        return StepReport(f"nothing to do: run {back.finished['run_id']} has taken this migration back")
    copies = must_copy(run, _seen(run))
    if run.dry_run:
        return StepReport("would take the services back like this", tables=[way_back(run)])
    check_window(run, "beginning the rollback")
    if back.note("copies") is None:
        back.keep("copies", copies)
        back.keep("stays", [])  # by this a migration knows that it is being taken back
    mirror = run.mirrors[Side.TARGET]
    before = mirror.state()
    mirror.stop()
    return StepReport(
        "what was produced on the target is brought home" if back.note("copies") else "services start where they were",
        tables=[way_back(run)],
        changes=[Change(f"{mirror}", before, mirror.state())],
    )


def must_copy(run: Run, seen: dict[str, Observation]) -> bool:
    """Whether a service has gone to the target: then something may have been written there."""
    decided = run.way_back.note("copies")
    if decided is not None:
        return bool(decided)
    return any(has_gone(run, name, seen[name]) for name in seen)


def way_back(run: Run) -> Table:
    """Of every service what it does now and what becomes of it."""
    seen = _seen(run)
    rows = []
    for service in run.plan.services:
        if not has_gone(run, service.name, seen[service.name]):
            then = "stays" if seen[service.name].state is not State.STOPPED else "starts again on the source"
        elif service.consumes:
            then = "is handed back to the source, at the message that it reads next"
        else:
            then = "stops, and starts on the source when all is brought home"
        rows.append((service.name, str(seen[service.name]), then))
    return Table("The way back", ("service", "now", "then"), tuple(rows))


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
    last = Legs(run.records).last()
    if last is None or (last.heading is Side.TARGET and not last.ended):
        yield Finding(
            "rollback-mirror/unfinished",
            Status.FAIL,
            "a service runs on the target, and the mirror had not come to its end",
            "no service on the target before that",
            "somebody has moved it by hand: move it back by hand, then run the rollback again",
        )
    elif last.heading is Side.TARGET:
        yield from _untouched(run, last)


def _untouched(run: Run, leg: Leg) -> Iterable[Finding]:
    """Before anything is copied back: the source ends at the cutover point, the target has all behind its image."""
    assert leg.end is not None
    assert leg.image is not None
    ends = read_several(run.clusters.source, leg.end, (Which.END,))[Which.END]
    short = sorted(tp for tp, end in leg.end.items() if ends[tp] < end)
    behind = [OffsetRange(tp, end, ends[tp]) for tp, end in leg.end.items() if ends[tp] > end]
    late = sorted(tp for tp, seen in first_visible(run.clusters.source, behind).items() if seen.first is not None)
    starts = read_several(run.clusters.target, leg.image, (Which.START,))[Which.START]
    gone: list[TopicPartition] = sorted(tp for tp, image in leg.image.items() if starts[tp] > image)
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
    if gone:
        yield Finding(
            "rollback-expired/all",
            Status.INCONCLUSIVE,
            f"the target has deleted messages that were produced there since the cutover: {some(gone)}",
            "all that was produced there",
            "they cannot be brought home; accept the finding to go on without them",
        )
    if not short and not late and not gone:
        yield Finding("rollback-lossless/all", Status.PASS, "all that was produced on the target is there")
