"""Steps: start the mirror, wait until it has caught up, then until it has copied everything, stop it.

What is copied is a declared range of each partition: from the offset recorded when the mirror was created to the
cutover point. `image` is where the destination ends when the mirror has been stopped: all copies lie before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kafka_migration.clusters.client import Clusters
from kafka_migration.errors import Refused
from kafka_migration.findings import Finding, Status
from kafka_migration.mirror import canary
from kafka_migration.mirror.handover import OPEN_FOR, prove_end
from kafka_migration.mirror.legs import Leg, Legs, without
from kafka_migration.mirror.progress import progress as progress_of
from kafka_migration.mirror.runner import MirrorRunner, Progress
from kafka_migration.mirror.sight import Sight, look_at
from kafka_migration.mirror.syncs import syncs_end
from kafka_migration.offsets import OffsetRange, Offsets, TopicPartition, Which, from_json, read_several, to_json
from kafka_migration.passes import Pass, open_pass, some
from kafka_migration.purposes import FAILBACK
from kafka_migration.report import Change, StepReport, Table
from kafka_migration.run import Run
from kafka_migration.sides import Side
from kafka_migration.steps import both_ways, holding, remade, repeats
from kafka_migration.steps.common import check_window, moved_topics, stop_with
from kafka_migration.steps.pace import (
    again_if_silent,
    bytes_each,
    failing,
    kept_running,
    movement,
    overtaken,
    progress_line,
    rates,
    remember,
    stuck,
)
from kafka_migration.steps.produced import target_starts, written_there
from kafka_migration.topics.describe import describe_topics, partitions_of
from kafka_migration.visible import first_visible
from kafka_migration.waiting import Look, Outcome

_LEG = "mirror/leg"
_CANARY = "mirror/canary"
_NOTHING = "nothing to copy: nothing has been written there that is not here"
_NEAR = 1_000  # offsets: a mirror that is no further behind copies what comes in well under a second
_NEAR_SECONDS = 2.0  # or that is behind by what is written in that time


def leg_of(run: Run) -> Leg | None:
    """What the mirror of this pass (of a rollback: its way back) copies; None where nothing has been begun.

    Of a mirror that copies both ways what it copies to where this run is headed.
    """
    if run.plan.prefixed:
        return both_ways.last_leg(run)
    number = run.current.note(_LEG)
    return None if number is None else Legs(run.records).all()[number]


def copies_nothing(run: Run) -> bool:
    """Of a rollback: whether no service has gone to the target, so that nothing has to be brought home."""
    return run.returning and run.way_back.note("copies") is False


def ended(run: Run) -> bool:
    """Whether everything has been copied that this leg shall copy; from then on its mirror stays stopped."""
    leg = leg_of(run)
    return leg is not None and leg.ended


def runner(run: Run) -> MirrorRunner:
    """The mirror that copies to where this run goes."""
    if run.mirror is None:
        raise Refused(f"the plan names no mirror that copies to the {run.heading}")
    return run.mirror


def copy_of(run: Run, tp: TopicPartition) -> TopicPartition:
    """What a partition of what is copied is called where this run goes."""
    return replace(tp, topic=runner(run).copy_of(tp.topic)) if run.plan.prefixed else tp


def start(run: Run) -> StepReport:
    """Create the mirror stopped, with the offsets from which it shall copy, and let it run. Repeatable.

    Topics and partitions that came since are added to it. Once the image is recorded it is never started again.
    Raises `FindingsFailed` where a topic was made anew since copying of it began.
    """
    if run.plan.prefixed:
        return both_ways.start(run)
    if copies_nothing(run):
        return StepReport(_NOTHING)
    mirror = runner(run)
    if run.dry_run:
        return StepReport(f"would start {mirror}")
    if not run.returning:
        open_pass(run.records)
    if ended(run):
        return StepReport(f"nothing to do: {mirror} has reached the cutover point and stays stopped")
    topics = copied_topics(run)
    ids = remade.ids_now(run.clusters, topics)  # first: what is read below is of these topics or later
    partitions = partitions_of(run.clusters.origin, topics)
    leg = _without_retired(run, leg_of(run) or _next_leg(run, partitions, ids))
    remade.refuse(run, leg, f"starting {mirror}")
    leg = _with_new(run, leg, [tp for tp in partitions if tp not in leg.begin], ids)
    check_window(run, f"starting {mirror}")
    renewed = holding.renewed(run)
    brought = canary_topic(run)
    changes = canary.make(run.clusters, brought, mirror.copy_of(brought)) if brought else []
    changes += mirror.create({**leg.begin, **(_canary_begins(run, brought) if brought else {})})
    mirror.resume()
    return StepReport(
        f"{mirror} copies {len(partitions)} partitions of {len(topics)} topics",
        findings=renewed,
        tables=[
            Table(
                "Copied from",
                ("partition", f"offset on the {run.leaving}", f"onto offset on the {run.heading}"),
                tuple((str(tp), leg.begin[tp], leg.onto[tp]) for tp in sorted(partitions)),
            )
        ],
        changes=changes,
    )


def _next_leg(run: Run, partitions: list[TopicPartition], ids: remade.Ids) -> Leg:
    """Recorded before anything is copied: who is killed here finds the same numbers again.

    The first begins with what the origin still has, a later one where the last ended. One that was begun to the same
    side and did not come to its end is gone on with. Where a plan copies nothing but what comes home, each begins anew
    where the target ended before its pass wrote there, onto the end of the source.
    """
    legs = Legs(run.records)
    last = legs.last()
    if last is not None and not last.ended and last.heading is run.heading:
        leg = last
    elif not run.plan.copies:
        runner(run).remove()  # how far it came in an earlier pass says nothing of topics that were made anew since
        begin = _first_to_copy(run, partitions)
        onto = read_several(run.clusters.destination, partitions, (Which.END,))[Which.END]
        number = 0 if last is None else last.number + 1
        leg = legs.keep(Leg(number, run.heading, begin, onto, syncs_from=_syncs_end(run), ids=ids))
    elif last is not None and last.ended:
        begin, onto = last.starts_next(run.heading)
        if run.purpose == FAILBACK:  # behind what the source had taken before it was lost, and nobody had copied
            onto = read_several(run.clusters.destination, begin, (Which.END,))[Which.END]
        leg = legs.keep(Leg(last.number + 1, run.heading, begin, onto, syncs_from=_syncs_end(run), ids=last.ids))
    elif last is not None:
        raise Refused(f"the mirror to the {last.heading} has not come to its end: nothing can be copied back yet")
    else:
        first = read_several(run.clusters.origin, partitions, (Which.START,))[Which.START]
        ends = read_several(run.clusters.destination, partitions, (Which.END,))[Which.END]
        leg = legs.keep(
            Leg(
                0,
                run.heading,
                first,
                ends,
                syncs_from=_syncs_end(run),
                ids=ids,
            )
        )
    run.current.keep(_LEG, leg.number)
    return leg


def _with_new(run: Run, leg: Leg, new: list[TopicPartition], ids: remade.Ids) -> Leg:
    """With what came since. MirrorMaker sees new partitions of its topics by itself, and may copy them already."""
    if not new:
        return leg
    known = {tp.topic for tp in leg.begin} if leg.heading is Side.TARGET else set()
    whole = dict.fromkeys((tp for tp in new if tp.topic in known), 0)
    others = [tp for tp in new if tp not in whole]
    onto = read_several(run.clusters.destination, others, (Which.END,))[Which.END]
    return Legs(run.records).add(leg, {**_first_to_copy(run, others), **whole}, {**onto, **whole}, ids)


def _canary_begins(run: Run, topic: str) -> Offsets:
    """Where copying of its topic began, chosen once: a mirror that runs is not stopped to be told of another place."""
    kept = run.current.note_offsets(_CANARY)
    if not kept:
        kept = dict(canary.begins(run.clusters, topic))
        run.current.keep(_CANARY, to_json(kept))
    return kept


def _without_retired(run: Run, leg: Leg) -> Leg:
    """Of a mirror that is kept: without the topics that the plan has stopped to choose."""
    retired = {tp.topic for tp in leg.begin if not run.plan.includes(tp.topic)}
    if not run.plan.keeps_mirror or run.returning or leg.ended or not retired:
        return leg
    return Legs(run.records).keep(without(leg, retired))


def copied_topics(run: Run) -> list[str]:
    """What is copied: all topics of the pass; of a rollback that only brings home, those that the target continues.

    A mirror that is kept goes on for years: what its plan has stopped to choose is copied no more.
    """
    if not run.plan.copies:
        return list(run.way_back.note("brought") or ())
    topics = moved_topics(run.current)
    return [t for t in topics if run.plan.includes(t)] if run.plan.keeps_mirror and not run.returning else topics


def canary_topic(run: Run) -> str | None:
    """The canary's topic, which is copied beside those; None where the plan asks for none, and on the way back."""
    return canary.topic_of(run.plan) if not run.returning else None


def _first_to_copy(run: Run, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
    """What the origin still has; of what is only brought home nothing that was there before its pass wrote there."""
    first = read_several(run.clusters.origin, partitions, (Which.START,))[Which.START]
    began = {} if run.plan.copies else target_starts(run)
    return {tp: max(start, began.get(tp, start)) for tp, start in first.items()}


def _syncs_end(run: Run) -> int:
    return syncs_end(run.clusters.destination, runner(run).syncs_topic)


class CaughtUpStep:
    """Waits until the mirror is no further behind than what is written in the time of a look. `args`: none."""

    name = "caught up"

    def timeout(self, run: Run) -> float:
        return run.plan.mirror.timeout if run.plan.mirror else 0.0

    def prepare(self, run: Run, args: Mapping[str, Any]) -> dict[str, Any]:
        leg = leg_of(run)
        if run.dry_run or leg is None or leg.ended:
            return {"mirror": None}
        remade.refuse(run, leg, "waiting for the mirror")
        mirror = kept_running(runner(run), run.log)
        return {
            "mirror": mirror.watched.to_json(),
            "begins": to_json(leg.begin),
            "ids": leg.ids,
            "bytes": bytes_each(run, sorted({tp.topic for tp in leg.begin})),
        }

    def look(self, clusters: Clusters, brief: Mapping[str, Any], memory: Mapping[str, Any], now: float) -> Look:
        if brief["mirror"] is None:
            return Look(Outcome.DONE, ("nothing to wait for",))
        if others := remade.look(clusters, brief["ids"]):
            return Look(Outcome.FAILED, (), memory, remade.told(others))
        starts = read_several(clusters.origin, from_json(brief["begins"]), (Which.START,))[Which.START]
        progress = progress_of(clusters, brief["mirror"])
        if failed := failing(progress, memory):
            return failed
        seen = look_at(clusters.origin, {**brief, "proved": {}}, starts, progress, memory, now)
        if lost := overtaken(seen.at, starts, memory):
            return lost
        kept = remember(memory, sum(seen.at.values()), sum(seen.ends.values()), now)
        kept |= {"lag": seen.lag, "void": to_json(seen.void)}
        copied, written = rates(kept["samples"])
        line = progress_line(seen.behind, copied, written, brief["bytes"])
        near = seen.behind <= max(_NEAR, written * _NEAR_SECONDS)
        if near and (not seen.ends or _copies(clusters, progress, kept, seen)):
            return Look(Outcome.DONE, (f"caught up: {seen.behind:,} offsets behind",), kept)
        return stuck(progress, kept, now, line) or again_if_silent(progress, kept, now, line)

    def seen(self, brief: Mapping[str, Any], look: Look) -> StepReport:
        return StepReport(notes=list(look.lines))

    def settle(self, run: Run, brief: Mapping[str, Any], look: Look) -> StepReport:
        if brief["mirror"] is None:
            return StepReport("would wait until the mirror has caught up" if run.dry_run else "nothing to wait for")
        return StepReport("the mirror has caught up", notes=list(look.lines), findings=holding.renewed(run))


class StopStep:
    """Waits until nothing visible is left to copy before the cutover point, then stops the mirror for good.

    `args`: none. Writers stand still meanwhile: so it is one step. Not lag and not equal end offsets: exactly-once
    leaves markers on the target, transactions on the source (measured).
    """

    name = "everything copied"

    def timeout(self, run: Run) -> float:
        return run.plan.cutover.timeout

    def prepare(self, run: Run, args: Mapping[str, Any]) -> dict[str, Any]:
        leg = leg_of(run)
        if run.dry_run or leg is None or leg.ended:
            return {"mirror": None}
        remade.refuse(run, leg, "waiting for the mirror's end")
        mirror = kept_running(runner(run), run.log)
        return {
            "mirror": mirror.watched.to_json(),
            "begins": to_json(leg.begin),
            "ids": leg.ids,
            "points": to_json(points(run, run.current)),
        }

    def look(self, clusters: Clusters, brief: Mapping[str, Any], memory: Mapping[str, Any], now: float) -> Look:
        if brief["mirror"] is None:
            return Look(Outcome.DONE, ("nothing to wait for",))
        if others := remade.look(clusters, brief["ids"]):
            return Look(Outcome.FAILED, (), memory, remade.told(others))
        known, ends = from_json(brief["begins"]), from_json(brief["points"])
        progress = progress_of(clusters, brief["mirror"])
        if progress.failures:
            return Look(Outcome.AGAIN, tuple(progress.failures.values()), memory, "a task of the mirror has failed")
        starts = read_several(clusters.origin, ends, (Which.START,))[Which.START]
        left = [
            OffsetRange(tp, max(known[tp], progress.positions.get(tp, known[tp]), starts[tp]), end)
            for tp, end in ends.items()
        ]
        seen = first_visible(clusters.origin, left)
        behind = {tp for tp, one in seen.items() if one.first is not None or not one.complete}
        if behind:
            offsets = sum(r.end - r.start for r in left if r.partition in behind)
            line = f"{offsets:,} offsets left on {some(sorted(behind))}"
            kept = {**memory, **movement(memory, sum(progress.positions.values()), now)}
            return again_if_silent(progress, kept, now, line)
        return Look(Outcome.DONE, ("nothing visible is left before the cutover point",), memory)

    def seen(self, brief: Mapping[str, Any], look: Look) -> StepReport:
        return StepReport(notes=list(look.lines))

    def settle(self, run: Run, brief: Mapping[str, Any], look: Look) -> StepReport:
        return _stopped(run)


def _stopped(run: Run) -> StepReport:
    """Stop the mirror for good, record where the destination ends, and prove that it holds the last message too.

    Raises `FindingsFailed` where the last visible messages of both sides differ.
    """
    if copies_nothing(run):
        if not run.dry_run:
            _nothing_left_behind(run)
        return StepReport(_NOTHING)
    mirror = runner(run)
    if run.dry_run:
        return StepReport(f"would stop {mirror} and prove that the last message of each partition has been copied")
    leg = leg_of(run)
    if leg is None:
        raise Refused(f"{mirror} has not been started; run the task `start_mirror` first")
    _nothing_left_behind(run)
    ends = points(run, run.current)
    before = mirror.state()
    mirror.stop()
    changes = [Change(f"{mirror}", before, mirror.state())]
    images = leg.image or read_several(run.clusters.destination, ends, (Which.END,))[Which.END]
    again = repeats.told(run, repeats.rewinds_of(run, leg))
    findings = [*holding.renewed(run), *again, *remade.look(run.clusters, leg.ids), *_proved(run, leg, ends, images)]
    if leg.image is None:
        stop_with(StepReport(changes=changes, findings=findings), "proving that the mirror has copied everything")
        Legs(run.records).keep(replace(leg, end=ends, image=images))
    return StepReport(
        f"the mirror is stopped; {len(images)} partitions hold everything up to the cutover point",
        tables=[
            Table(
                "Image of the cutover point",
                ("partition", f"cutover point on the {run.leaving}", f"image on the {run.heading}"),
                tuple((str(tp), ends[tp], images[tp]) for tp in sorted(ends)),
            )
        ],
        changes=changes,
        findings=findings,
        data={"image": to_json(images)},
    )


def points(run: Run, current: Pass) -> dict[TopicPartition, int]:
    """By partition of what is copied: the cutover point of the cluster that is left."""
    topics = set(copied_topics(run))
    found = current.latest_points(stage for stage in run.graph.stages if current.points(stage))
    return {tp: end for tp, end in found.items() if tp.topic in topics}


def _nothing_left_behind(run: Run) -> None:
    """Of a rollback that only brings home: nothing was written to a topic of which nothing is copied. Raises `Refused`.

    `begin` has looked; a service that came to life on the target since may have written there.
    """
    if run.plan.copies:
        return
    topics = set(copied_topics(run))
    behind = written_there(run, {tp: at for tp, at in target_starts(run).items() if tp.topic not in topics})
    if behind:
        raise Refused(
            f"messages were written to the target since the rollback began, to {some(behind)}, of which nothing is"
            " copied: they would be left behind. Clear the task `begin` with all that comes behind it."
        )


def _proved(run: Run, leg: Leg, ends: Offsets, images: Offsets) -> list[Finding]:
    # What lies before the first leg of a plan that copies nothing else is not the same on both sides, nor is it where
    # the source has kept what had not been copied when it was lost.
    begins = None if run.plan.copies and run.purpose != FAILBACK else (leg.begin, leg.onto)
    clusters, anew = run.clusters, stamped(run, ends)
    # An open one is rare here, as nobody writes; what a broker that has just taken over shows may look like one.
    proofs = prove_end(clusters.origin, clusters.destination, ends, images, anew, begins, patience=OPEN_FOR)
    wrong = [p for p in proofs.values() if not p.equal]
    return [
        Finding(
            f"mirror-end/{p.partition}",
            Status.FAIL,
            p.told,
            f"the last visible message before the cutover point, on the {run.heading} as well",
            "clear the task `start_mirror` to let the mirror go on; if it stays so, the copy is not whole",
        )
        for p in wrong
    ] or [
        Finding("mirror-end/all", Status.PASS, f"the last visible message of {len(proofs)} partitions is equal on both")
    ]


def stamped(run: Run, partitions: Offsets) -> frozenset[str]:
    """The topics whose messages are stamped anew on the destination: their timestamps say nothing of a copy."""
    topics = describe_topics(run.clusters.destination, {tp.topic for tp in partitions})
    return frozenset(n for n, t in topics.items() if t.settings.get("message.timestamp.type") == "LogAppendTime")


def _copies(clusters: Clusters, progress: Progress, memory: Mapping[str, Any], sight: Sight) -> bool:
    """Whether the mirror is at work: writers must not stand still for one that is not, however little is left.

    One that tells no state has copied something since the first look, or has nothing to copy: a process may take most
    of a minute to start, and one that lives may copy nothing.
    """
    if progress.state is not None:
        return progress.state == "RUNNING" and progress.tasks > 0
    if memory["at"] > memory["first"]:
        return True
    left = [OffsetRange(tp, offset, sight.ends[tp]) for tp, offset in sight.at.items()]
    return all(seen.first is None for seen in first_visible(clusters.origin, left).values())


caught_up = CaughtUpStep()
stop_mirror = StopStep()
