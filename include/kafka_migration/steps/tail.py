"""Steps of a failback: the tail, what the source had taken and nobody had copied when it was lost.

It is found, shown, and dealt with as the plan says: kept where it is, or copied to the target by the plan's own mirror.
Nothing else is ever copied to the target by that. What comes home lies behind the tail, whether that was copied or not;
so a group must have read, on the target, all that was copied before the failover: then it is handed over past the tail.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kafka_migration.clusters.client import Clusters
from kafka_migration.errors import Refused
from kafka_migration.findings import Finding, Status
from kafka_migration.groups.commits import committed
from kafka_migration.mirror.legs import Leg, Legs
from kafka_migration.offsets import OffsetRange, Offsets, TopicPartition, Which, from_json, read_several, to_json
from kafka_migration.passes import some
from kafka_migration.report import Change, StepReport, Table
from kafka_migration.run import Run
from kafka_migration.services.registry import is_idle
from kafka_migration.sides import Side
from kafka_migration.steps import mirroring
from kafka_migration.steps.common import stop_with
from kafka_migration.steps.mirroring import StopStep, leg_of, runner, stamped
from kafka_migration.steps.pace import kept_running
from kafka_migration.topics.describe import partitions_of, topic_names
from kafka_migration.verification.digest import digest
from kafka_migration.visible import count_between, count_visible, each_visible, first_visible
from kafka_migration.waiting import Look, Outcome

_FOUND = "tail/found"
_COPIED = "tail/copied"
_PROVED = "tail/proved"


@dataclass(frozen=True)
class Stretch:
    """The tail of one partition of the source: where it begins and ends, and how many visible messages it has."""

    begin: int
    end: int
    messages: int


Tail = dict[TopicPartition, Stretch]


def something_to_return_from(run: Run) -> list[Finding]:
    """Whether there was a failover that has come so far that services may have followed."""
    if followed(run) is not None or run.way_back.note("copies") is not None:
        return []
    return [
        Finding(
            "failback-nothing/all",
            Status.FAIL,
            "the mirror to the target has not been stopped by a failover",
            "services that have followed the mirror to the target",
            "there is nothing to come back from",
        )
    ]


def followed(run: Run) -> Leg | None:
    """What the failover ended: the last leg to the target; None while that copies."""
    there = [leg for leg in Legs(run.records).all() if leg.heading is Side.TARGET]
    return there[-1] if there and there[-1].ended else None


def check(run: Run, leg: Leg) -> list[Finding]:
    """What the returned source holds that nobody has copied, and whether it still has what was. Changes nothing."""
    ends = read_several(run.clusters.source, leg.end or {}, (Which.END,))[Which.END]
    short = sorted(tp for tp, end in (leg.end or {}).items() if ends[tp] < end)
    if short:
        return [
            Finding(
                "failback-source/all",
                Status.FAIL,
                f"the source has returned with less than it had when it was lost: {some(short)}",
                "at least all that the mirror had copied of it",
                "it has lost messages that the target has; make it an empty cluster, and mirror the target to it by a"
                " plan of its own",
            )
        ]
    starts = read_several(run.clusters.source, leg.end or {}, (Which.START,))[Which.START]
    gone = [OffsetRange(tp, end, starts[tp]) for tp, end in sorted((leg.end or {}).items()) if starts[tp] > end]
    kept = known(run)
    found, unread = measure(run, leg) if kept is None else (kept, [])
    then = (
        "it is copied under its own name as soon as the mirror goes on, and groups read it"
        if run.plan.prefixed
        else "it is copied to the target before anything else, behind what is there"
        if copies(run)
        else "it stays on the source, and no group reads it; `mirror.tail: copy` would copy it to the target first"
    )
    open_ones = [
        Finding(
            "tail/open",
            Status.WARN,
            f"a transaction is open on the source: {some(unread)} cannot be counted to the end yet",
            "everything on the source readable",
            "it ends with its producer's commit or its time-out, and is waited for",
        )
    ]
    expired = [
        Finding(
            f"tail-expired/{one.partition}",
            Status.INCONCLUSIVE,
            f"the source has deleted what it had taken and nobody had copied, offsets {one.start:,} to {one.end:,}",
            "all that had not been copied, or nothing",
            "it has been away for longer than it keeps messages: accept the finding if what is lost is not needed",
        )
        for one in gone
    ]
    return [*expired, *_never_mirrored(run, leg), *(open_ones if unread else []), *_listed(found, then)] or [
        Finding("tail/none", Status.PASS, "everything on the source had been copied when it was lost")
    ]


def _never_mirrored(run: Run, leg: Leg) -> list[Finding]:
    """Partitions that came to the source right before it was lost: nothing of them is known."""
    chosen = {topic for topic in topic_names(run.clusters.source) if run.plan.includes(topic)}
    new = [tp for tp in partitions_of(run.clusters.source, chosen) if tp not in (leg.end or {})]
    starts, ends = read_several(run.clusters.source, new, (Which.START, Which.END)).values()
    held = sorted(tp for tp in new if ends[tp] > starts[tp])
    return [
        Finding(
            f"tail/{tp}",
            Status.WARN,
            f"{ends[tp] - starts[tp]:,} offsets, of a partition that was never mirrored",
            "everything copied when the source was lost",
            "it stays on the source, and no group is handed over to it: look at it by hand",
        )
        for tp in held
    ]


def _listed(found: Tail, then: str) -> list[Finding]:
    return [
        Finding(
            f"tail/{tp}",
            Status.WARN,
            f"{one.messages:,} messages, offsets {one.begin:,} to {one.end:,} of the source, had not been copied",
            "everything copied when the source was lost",
            then,
        )
        for tp, one in sorted(found.items())
        if one.messages
    ]


def copies(run: Run) -> bool:
    """Whether the plan wants the tail on the target."""
    return run.plan.mirror is not None and run.plan.mirror.tail == "copy"


def measure(run: Run, leg: Leg) -> tuple[Tail, list[TopicPartition]]:
    """Read what lies on the source behind what was copied; and of which partitions an open transaction hides the rest.

    Who was killed with the source may have left one: it ends by its time-out.
    """
    starts, ends = read_several(run.clusters.source, leg.end or {}, (Which.START, Which.END)).values()
    begins = {tp: max(end, starts[tp]) for tp, end in (leg.end or {}).items()}
    ranges = [OffsetRange(tp, begin, ends[tp]) for tp, begin in begins.items() if ends[tp] > begin]
    seen = count_visible(run.clusters.source, ranges)
    unread = sorted(tp for tp, one in seen.items() if not one.complete)
    return {r.partition: Stretch(r.start, r.end, seen[r.partition].count) for r in ranges}, unread


def keep(run: Run, leg: Leg) -> Tail:
    """The tail, measured and recorded by the first attempt of this failback."""
    found = known(run)
    if found is None:
        found, _ = measure(run, leg)
        run.way_back.keep(_FOUND, {str(tp): [s.begin, s.end, s.messages] for tp, s in found.items()})
    return found


def told_apart(run: Run, found: Tail) -> dict[str, Any]:
    """For the evidence: a tail that is copied under a name of its own, and what groups read again of it, at most.

    Where a group has read some of it before the source was lost it gets that again.
    """
    told = {**_told(found, {}, {}), "copied": True, "apart": True}
    again = _read_already(run, found) if _messages(found) else {}
    return {"tail": told, "announced": {group: most for group, (_, most) in again.items()}}


def known(run: Run) -> Tail | None:
    """The tail, as the first attempt of this failback has found it."""
    kept = run.way_back.note(_FOUND)
    return None if kept is None else {TopicPartition.parse(tp): Stretch(*of) for tp, of in kept.items()}


class TailStep(StopStep):
    """Finds the tail, and where the plan wants it copied waits until it is. `args`: none. Heads for the target."""

    name = "the tail dealt with"

    def timeout(self, run: Run) -> float:
        return run.plan.mirror.timeout if run.plan.mirror else 0.0

    def prepare(self, run: Run, args: Mapping[str, Any]) -> dict[str, Any]:
        leg = followed(run)
        if run.dry_run or leg is None or run.way_back.finished:
            return {"mirror": None}
        found = known(run)
        if found is None:
            _, unread = measure(run, leg)
            if unread:
                return {"mirror": None, "open": [str(tp) for tp in unread]}
            found = keep(run, leg)
        if not copies(run) or run.way_back.note(_COPIED) is not None or not _messages(found):
            return {"mirror": None}
        if run.way_back.note(f"{_COPIED}/onto") is None:
            onto = read_several(run.clusters.target, found, (Which.END,))[Which.END]
            run.way_back.keep(f"{_COPIED}/onto", to_json(onto))
        mirror = runner(run)
        mirror.resume()
        return {
            "mirror": kept_running(mirror, run.log).watched.to_json(),
            "begins": to_json({tp: one.begin for tp, one in found.items()}),
            "ids": leg.ids,
            "points": to_json({tp: one.end for tp, one in found.items()}),
        }

    def look(self, clusters: Clusters, brief: Mapping[str, Any], memory: Mapping[str, Any], now: float) -> Look:
        if hidden := [TopicPartition.parse(tp) for tp in brief.get("open", ())]:
            ends, stable = read_several(clusters.source, hidden, (Which.END, Which.STABLE)).values()
            left = [tp for tp in hidden if stable[tp] < ends[tp]]
            line = f"a transaction is open on the source, on {some(left)}: it ends by its time-out"
            if left:
                return Look(Outcome.WAITING, (line,), memory)
            return Look(Outcome.AGAIN, (), memory, "no transaction is open on the source any more")
        return super().look(clusters, brief, memory, now)

    def settle(self, run: Run, brief: Mapping[str, Any], look: Look) -> StepReport:
        found = known(run)
        if run.dry_run or found is None:
            return StepReport("would find what had not been copied, and deal with it as the plan says")
        if not _messages(found):
            return StepReport("there is no tail: everything had been copied", data={"tail": _told(found, {}, {})})
        if done := run.way_back.note(_PROVED):
            return StepReport("nothing to do: the tail was dealt with before", data=done)
        if not copies(run):
            return StepReport(
                f"{_messages(found):,} messages stay on the source, and no group that has left it reads them",
                tables=[_table(found, {}, {})],
                data={"tail": _told(found, {}, {})},
            )
        changes: list[Change] = []
        if run.way_back.note(_COPIED) is None:
            mirror = runner(run)
            before = mirror.state()
            mirror.stop()
            changes.append(Change(f"{mirror}", before, mirror.state()))
            until = read_several(run.clusters.target, found, (Which.END,))[Which.END]
            run.way_back.keep(_COPIED, to_json(until))
        onto, until = run.way_back.note_offsets(f"{_COPIED}/onto"), from_json(run.way_back.note(_COPIED))
        again = _read_already(run, found)
        report = StepReport(
            f"{_messages(found):,} messages are copied to the target, behind what is there",
            tables=[_table(found, onto, until), _again_table(again)],
            changes=changes,
            findings=_proved(run, found, onto, until),
            data={"tail": _told(found, onto, until), "announced": {group: most for group, (_, most) in again.items()}},
        )
        stop_with(report, "copying the tail")
        run.way_back.keep(_PROVED, report.data)  # once: later either side may delete
        return report


def start_mirror(run: Run) -> StepReport:
    """Start the mirror to the source behind the tail. Raises `Refused` where the source has taken more meanwhile."""
    if not run.dry_run and leg_of(run) is None and not run.way_back.finished:
        _refuse_more(run)
    return mirroring.start(run)


def _refuse_more(run: Run) -> None:
    """What came behind a tail that was counted would lie before what comes home, and nobody would ever read it."""
    found, leg = known(run), followed(run.headed(Side.TARGET))
    if found is None or leg is None:
        raise Refused("the tail has not been counted yet: run the task `tail` first")
    counted = {tp: found[tp].end if tp in found else end for tp, end in (leg.end or {}).items()}
    ends = read_several(run.clusters.source, counted, (Which.END,))[Which.END]
    ranges = [OffsetRange(tp, at, ends[tp]) for tp, at in counted.items() if ends[tp] > at]
    seen = first_visible(run.clusters.source, ranges)
    more = sorted(tp for tp, one in seen.items() if one.first is not None or not one.complete)
    if more:
        for key in (_FOUND, _COPIED, _PROVED):
            run.way_back.keep(key, None)
        raise Refused(
            f"somebody has written to the source since its tail was counted: {some(more)}. Find the writer and stop it,"
            " then clear the task `tail` with all that comes behind it."
        )


class PastStep:
    """Waits until every group has read, on the target, what was copied before the failover. `args`: none.

    Only where there is a tail: behind it lies on the source what comes home, and nobody could be set in the middle.
    """

    name = "past the failover"

    def timeout(self, run: Run) -> float:
        return run.plan.drain.timeout

    def prepare(self, run: Run, args: Mapping[str, Any]) -> dict[str, Any]:
        found, leg = known(run), followed(run.headed(Side.TARGET))
        if run.dry_run or not found or not _messages(found) or leg is None or run.way_back.finished:
            return {"groups": {}, "images": {}}
        images = {tp: at for tp, at in (leg.image or {}).items() if tp in found and found[tp].messages}
        gone = [s for s in run.plan.services if not run.stays(s.name) and not run.current.switched(s.name)]
        return {
            "groups": {
                c.group: list(c.topics)
                for s in gone
                if not is_idle(s)  # nobody runs it: its group would stand there for ever
                for c in s.consumes
                if c.offsets == "group"
            },
            "images": to_json(images),
        }

    def look(self, clusters: Clusters, brief: Mapping[str, Any], memory: Mapping[str, Any], now: float) -> Look:
        images, groups = from_json(brief["images"]), brief["groups"]
        if not groups or not images:
            return Look(Outcome.DONE, ("nothing to wait for",))
        commits = committed(clusters.target, groups)
        starts = read_several(clusters.target, images, (Which.START,))[Which.START]
        lines = []
        for group, topics in groups.items():
            left = [
                OffsetRange(tp, max(commits[group].get(tp, 0), starts[tp]), image)
                for tp, image in images.items()
                if tp.topic in topics and max(commits[group].get(tp, 0), starts[tp]) < image
            ]
            seen = first_visible(clusters.target, left)
            behind = {tp for tp, one in seen.items() if one.first is not None or not one.complete}
            if behind:
                offsets = sum(r.end - r.start for r in left if r.partition in behind)
                lines.append(f"{group}: {offsets:,} offsets before the failover left on {some(sorted(behind))}")
        if lines:
            return Look(Outcome.WAITING, tuple(lines))
        return Look(Outcome.DONE, ("every group has read all that was copied before the failover",))

    def seen(self, brief: Mapping[str, Any], look: Look) -> StepReport:
        return StepReport(notes=list(look.lines))

    def settle(self, run: Run, brief: Mapping[str, Any], look: Look) -> StepReport:
        return StepReport(look.lines[0] if look.lines else "nothing to wait for")


def _messages(found: Tail) -> int:
    return sum(one.messages for one in found.values())


def _read_already(run: Run, found: Tail) -> dict[str, tuple[int, int]]:
    """By group: messages of the tail that it had committed on the source, and all of the tail that it reads.

    The first is what it reads twice where its commits tell all that it had processed, the second in any case.
    """
    groups = {group: c for group, c in run.plan.groups.items() if c.offsets == "group"}
    commits = committed(run.clusters.source, groups)
    told = {}
    for group, consumes in groups.items():
        mine = {tp: one for tp, one in found.items() if tp.topic in consumes.topics and one.messages}
        marks = {
            tp: [one.begin, min(one.end, max(one.begin, commits[group].get(tp, one.begin)))] for tp, one in mine.items()
        }
        counts = count_between(run.clusters.source, {tp: m for tp, m in marks.items() if m[1] > m[0]})
        told[group] = (sum(between[0] for between, _ in counts.values()), sum(one.messages for one in mine.values()))
    return told


def _proved(run: Run, found: Tail, onto: Offsets, until: Offsets) -> list[Finding]:
    """Whether each message of the tail is found on the target, in order, among what was written there meanwhile."""
    anew = stamped(run, until)
    wanted = _digests(run.clusters.source, {tp: (s.begin, s.end) for tp, s in found.items()}, anew)
    there = _digests(run.clusters.target, {tp: (onto[tp], until[tp]) for tp in found}, anew)
    missing = {}
    for tp, messages in wanted.items():
        copies_of = iter(there[tp])
        lost = sum(message not in copies_of for message in messages)  # an iterator is searched from where it is on
        if lost:
            missing[tp] = lost
    return [
        Finding(
            f"tail-copied/{tp}",
            Status.FAIL,
            f"{lost:,} messages of the tail, or their order, are not found on the target",
            "each message of the tail, in its order",
            "look at the topic on both clusters; the source still has all of it",
        )
        for tp, lost in sorted(missing.items())
    ] or [Finding("tail-copied/all", Status.PASS, f"{_messages(found):,} messages are on the target as well, in order")]


def _digests(
    cluster: Any, ranges: Mapping[TopicPartition, tuple[int, int]], anew: Iterable[str]
) -> dict[TopicPartition, list[bytes]]:
    seen: dict[TopicPartition, list[bytes]] = {tp: [] for tp in ranges}
    each_visible(
        cluster,
        [OffsetRange(tp, start, end) for tp, (start, end) in ranges.items() if end > start],
        lambda tp, message: seen[tp].append(digest(message, timestamp=tp.topic not in anew)),
    )
    return seen


def _table(found: Tail, onto: Offsets, until: Offsets) -> Table:
    return Table(
        "The tail",
        ("partition", "from offset of the source", "to", "messages", "from offset of the target", "to"),
        tuple(
            (str(tp), one.begin, one.end, one.messages, onto.get(tp), until.get(tp))
            for tp, one in sorted(found.items())
            if one.messages
        ),
    )


def _again_table(again: Mapping[str, tuple[int, int]]) -> Table:
    return Table(
        "Messages of the tail that groups read twice",
        ("group", "committed on the source before it was lost", "at most"),
        tuple((group, near, most) for group, (near, most) in sorted(again.items())),
    )


def _told(found: Tail, onto: Offsets, until: Offsets) -> dict[str, Any]:
    return {
        "messages": _messages(found),
        "copied": bool(onto),
        "ranges": [
            {
                "topic": tp.topic,
                "partition": tp.partition,
                "source_start": one.begin,
                "source_end": one.end,
                "messages": one.messages,
                "target_start": onto.get(tp),
                "target_end": until.get(tp),
            }
            for tp, one in sorted(found.items())
            if one.messages
        ],
    }


tail = TailStep()
past_failover = PastStep()
