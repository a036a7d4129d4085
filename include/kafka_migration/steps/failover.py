"""Steps of a failover: the source is lost, or declared lost, and services follow the mirror to the target.

Nothing here needs the source. The mirror is stopped first and for good: one that was left running would go on when the
source returns, and mix what it had not copied into what has been written on the target since. How far it had come is
then the cutover point, and each group goes on where nothing is skipped, by what was noted of it while both lived.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from kafka_migration.clusters.identity import identify, silence_of
from kafka_migration.errors import MigrationError, MirrorError, Refused
from kafka_migration.evidence.words import moment
from kafka_migration.findings import Finding, Status, accept
from kafka_migration.groups.commits import committed, set_commits
from kafka_migration.groups.describe import describe_groups
from kafka_migration.mirror import positions
from kafka_migration.mirror.anchors import Anchors, read_syncs
from kafka_migration.mirror.handover import Position
from kafka_migration.mirror.legs import Leg, Legs, rising, without
from kafka_migration.mirror.without_origin import Survived, places
from kafka_migration.offsets import Offsets, TopicPartition, Which, read_several, to_json
from kafka_migration.passes import last_pass, open_pass, some
from kafka_migration.plan.model import Service
from kafka_migration.report import Change, StepReport, Table
from kafka_migration.run import Run
from kafka_migration.sides import Side
from kafka_migration.steps import both_places, repeats
from kafka_migration.steps.back import controllers_answer
from kafka_migration.steps.common import (
    FLOW,
    exported_key,
    handover_key,
    moved_topics,
    observations_table,
    observe_all,
    stop_with,
    topics_of_stage,
)
from kafka_migration.steps.mirroring import leg_of, runner
from kafka_migration.topics.describe import partitions_of, topic_names

_ANNOUNCED = "failover/announced"


def look(run: Run) -> StepReport:
    """What is there to fail over to, and what it would mean for each group; changes nothing.

    Raises `FindingsFailed` where there is nothing to follow, `ClusterError` where the target does not answer.
    """
    report = StepReport(findings=_something_to_follow(run))
    stop_with(report, "looking at what is left")
    finished = run.current.finished
    if finished:
        report.notes.append(f"Run {finished['run_id']} has failed over already: nothing is left to do.")
    report.findings = accept(
        [*report.findings, *_source(run), *_unmirrored(run), *controllers_answer(run)], run.plan.acceptances
    )
    mapped = _mapped(run)
    report.findings += _of_groups(run, mapped)
    report.tables += [
        table(mapped),
        observations_table("Services", observe_all({s.name: run.controllers[s.name] for s in run.plan.services})),
    ]
    report.summary = f"{len(run.plan.services)} services would go on at the target, {_told(mapped)}"
    topics = {tp.topic for tp in _leg(run).begin}
    report.data = {
        "topics": len(topics),
        "partitions": len(_leg(run).begin),
        "groups": len(run.plan.groups),
        "services": len(run.plan.services),
        "announced": announced(mapped),
    }
    stop_with(report, "looking at what is left")
    return report


def stop(run: Run) -> StepReport:
    """Stop the mirror for good, and fix how far it had come: that is the cutover point. Repeatable.

    Raises `MirrorError` where it does not stop: nothing was switched then.
    """
    if run.dry_run:
        return StepReport("would stop the mirror for good, and fix how far it has come")
    leg = _leg(run)
    mirror = runner(run)
    if leg.ended:
        mirror.stop()  # also where somebody has started it since
        _freeze(run, _end(leg))
        told = {"image": to_json(_image(leg))}
        return StepReport("nothing to do: the mirror has ended, and stays stopped", data=told)
    _open(run)
    run.records.set(FLOW, "failed over")  # first: the runs that look after the mirror must not start it again
    try:
        before = mirror.state()
        mirror.stop()
        changes = [Change(f"{mirror}", before, mirror.state())]
        copied = _copied(run, leg)
        images = _ends(run, leg, Which.END)
    except MigrationError:
        run.records.set(FLOW, None)  # nothing was given up: whoever stays on the source keeps the mirror
        raise
    Legs(run.records).keep(replace(leg, end=copied, image=images))
    _freeze(run, copied)
    return StepReport(
        f"{mirror} is stopped; {sum(copied.values()):,} offsets of {len(copied)} partitions had been copied",
        tables=[
            Table(
                "Copied when it was stopped",
                ("partition", "up to offset of the source", "onto offset of the target"),
                tuple((str(tp), at, images[tp]) for tp, at in sorted(copied.items())),
            )
        ],
        changes=changes,
        data={"image": to_json(images)},
    )


def _freeze(run: Run, copied: Offsets) -> None:
    """Record the cutover points that an attempt has not recorded yet."""
    for stage in run.graph.stages:
        if not run.current.points(stage):
            topics = set(topics_of_stage(run, run.current, stage))
            mine = {tp: at for tp, at in copied.items() if tp.topic in topics}
            run.current.freeze(stage, mine, run.run_id, run.now())


def set_groups(run: Run) -> StepReport:
    """Set each group on the target, where it skips nothing. What was set once is set again and never moved.

    Raises `Refused` where a group has members there that nobody has started.
    """
    if run.dry_run:
        return StepReport("would set every group on the target", tables=[table(_mapped(run))])
    leg, current = _leg(run), run.current
    if not leg.ended:
        raise Refused("the mirror has not been stopped yet: run the task `stop_flow` first")
    groups = _groups(run)
    mapped: list[Survived] = []
    if any(current.note(handover_key(group)) is None for group in run.plan.groups):
        mapped = _mapped(run)
        known = positions.read(run.clusters.target, positions.topic_of(run.plan))
        _tell_external(run, leg)  # before the handover is recorded: by that a second attempt knows it as done
        current.keep(_ANNOUNCED, announced(mapped))
        for group in run.plan.groups:
            mine = {m.partition: m.offset for m in mapped if m.group == group}
            current.set_idle(group, known.at.get(group, run.now()))
            current.keep(handover_key(group), to_json(mine))
    wanted = {group: current.note_offsets(handover_key(group)) for group in groups}
    there = committed(run.clusters.target, groups)
    active = {g: d for g, d in describe_groups(run.clusters.target, groups).items() if d.active}
    seen = observe_all({s.name: run.controllers[s.name] for g in active for s in _users(run, g)})
    strange = sorted(
        g
        for g in active
        if not any(current.switched(s.name) or seen[s.name].side is Side.TARGET for s in _users(run, g))
    )
    if strange:
        raise Refused(
            f"{some(strange)} has members on the target already, and nobody has moved its service there: stop whoever"
            " uses the group, then clear this task. Nothing was set."
        )
    todo = {
        group: {tp: offset for tp, offset in offsets.items() if there.get(group, {}).get(tp) != offset}
        for group, offsets in wanted.items()
        if group not in active and not all(current.switched(s.name) for s in _users(run, group))
    }
    set_commits(run.clusters.target, {group: offsets for group, offsets in todo.items() if offsets})
    told: dict[str, int] = current.note(_ANNOUNCED) or {}
    return StepReport(
        f"{len(groups)} groups are set on the target; they repeat at most {sum(told.values()):,} messages",
        tables=[table(mapped)] if mapped else [],
        findings=_of_groups(run, mapped),
        changes=[
            Change(f"group {group} on the target", "no offsets" if not there.get(group) else "other offsets",
                   f"{len(offsets)} partitions, offsets {min(offsets.values()):,} to {max(offsets.values()):,}")
            for group, offsets in sorted(todo.items()) if offsets
        ],
        data={"announced": told},
    )  # fmt: skip


def table(mapped: Iterable[Survived]) -> Table:
    """By group and partition, where it goes on, and what it would read again."""
    return Table(
        "Where groups go on",
        (
            "group",
            "partition",
            "last known on the source",
            "goes on at",
            "again, had it stopped there",
            "again at most",
        ),
        tuple(
            (m.group, str(m.partition), "never seen" if m.known is None else m.known, m.offset, m.near, m.most)
            for m in sorted(mapped, key=lambda m: (m.group, m.partition))
        ),
    )


def announced(mapped: Iterable[Survived]) -> dict[str, int]:
    """By group: messages that it may read again, at most, had it read all that was copied."""
    found: dict[str, int] = {}
    for m in mapped:
        found[m.group] = found.get(m.group, 0) + m.most
    return found


def by_group(run: Run) -> list[tuple[str, str, int, int]]:
    """Of each group: when it was last noted, messages read again had it stopped then, and at most."""
    known = positions.read(run.clusters.target, positions.topic_of(run.plan))
    mapped = _mapped(run)
    return [
        (
            group,
            moment(known.at[group]) if group in known.at else "never",
            sum(m.near for m in mapped if m.group == group),
            sum(m.most for m in mapped if m.group == group),
        )
        for group in sorted(_groups(run))
    ]


def source_answers(run: Run) -> bool:
    """Whether the cluster that is said to be lost can be asked who it is."""
    return silence_of(run.clusters.source) is None


def mapped_by(run: Run, leg: Leg, end: Mapping[TopicPartition, tuple[int, int]] | None) -> list[Survived]:
    """Where each group would go on. `end`: of each partition up to where was copied, and where the copies end there.

    None where that is not known exactly: then nothing behind the last that the mirror has told is relied on.
    """
    known = positions.read(run.clusters.target, positions.topic_of(run.plan))
    end = None if repeats.allowed(run) else end
    if run.plan.prefixed:
        return both_places.survived(run, known.commits, end)
    anchors = _anchors(run, leg, end)
    images = {tp: end[tp][1] for tp in leg.begin} if end else _ends(run, leg)
    wanted = [
        Position(group, tp, known.commits.get(group, {}).get(tp, -1))
        for group in _groups(run)
        for tp in sorted(leg.begin)
        if tp.topic in run.plan.groups[group].topics
    ]
    return [*places(run.clusters.target, anchors, wanted, images), *_from_the_start(run, leg)]


def _from_the_start(run: Run, leg: Leg) -> list[Survived]:
    """Partitions that MirrorMaker has made, or begun to copy, since the mirror was looked after: all of them is read.

    A group without an offset there would go wherever its application sends it.
    """
    chosen = {topic for topic in topic_names(run.clusters.target) if run.plan.includes(topic)}
    new = [tp for tp in partitions_of(run.clusters.target, chosen) if tp not in leg.begin]
    offsets = read_several(run.clusters.target, new, (Which.START, Which.END))
    starts, ends = offsets[Which.START], offsets[Which.END]
    return [
        Survived(group, tp, None, starts[tp], ends[tp] - starts[tp], ends[tp] - starts[tp])
        for group in _groups(run)
        for tp in sorted(new)
        if tp.topic in run.plan.groups[group].topics
    ]


def _open(run: Run) -> None:
    """A source that is lost again before its mirror was looked after once: the pass is opened here, with its topics."""
    former = moved_topics(last_pass(run.records))
    current = open_pass(run.records)
    if not moved_topics(current):
        current.keep("topics", former)


def _mapped(run: Run) -> list[Survived]:
    leg = _leg(run)
    if leg.ended:
        return mapped_by(run, leg, {tp: (_end(leg)[tp], _image(leg)[tp]) for tp in leg.begin})
    return mapped_by(run, leg, so_far(run, leg))


def so_far(run: Run, leg: Leg) -> dict[TopicPartition, tuple[int, int]]:
    """How far a mirror that may still run has come, and where its copies end.

    In this order: what is there when the target is asked is stored as copied when the mirror is asked afterwards.
    """
    images = _ends(run, leg)
    copied = _copied(run, leg)
    return {tp: (at, images[tp]) for tp, at in copied.items()}


def _ends(run: Run, leg: Leg, which: Which = Which.STABLE) -> Offsets:
    """By partition of the source, where its copies end."""
    names = {tp: replace(tp, topic=runner(run).copy_of(tp.topic)) for tp in leg.begin}
    ends = read_several(run.clusters.target, names.values(), (which,))[which]
    return {tp: ends[name] for tp, name in names.items()}


def _anchors(run: Run, leg: Leg, end: Mapping[TopicPartition, tuple[int, int]] | None) -> dict[TopicPartition, Anchors]:
    """All that the target alone tells: the ends of all legs, and the syncs of those that led there."""
    legs = Legs(run.records).all()
    there = [one for one in legs if one.heading is Side.TARGET]
    syncs = read_syncs(run.clusters.target, runner(run).syncs_topic, there[0].syncs_from)
    found = {}
    for tp in leg.begin:
        # What was told between two legs that led there is of a tail: it lies there among what was written meanwhile.
        gaps = [
            (former.end[tp], later.begin[tp])
            for former, later in pairwise(there)
            if former.end and tp in former.end and tp in later.begin
        ]
        told = [pair for pair in syncs.get(tp, ()) if not any(end < pair[0] < begin for end, begin in gaps)]
        pairs = {pair for one in legs for pair in one.pairs().get(tp, ())} | set(rising(told))
        first = next(one.pairs()[tp][0] for one in legs if tp in one.begin)
        found[tp] = Anchors.build(first, sorted(pairs), end[tp] if end else None)
    return found


def _copied(run: Run, leg: Leg) -> dict[TopicPartition, int]:
    if run.clusters.worker is None:
        raise MirrorError("the plan names no Kafka Connect cluster on the target")
    stored = run.clusters.worker.positions(runner(run).name)
    return {tp: max(begin, stored.get(tp, begin)) for tp, begin in leg.begin.items()}


def _leg(run: Run) -> Leg:
    """What is mirrored. What the target does not have any more keeps nobody from following the rest."""
    leg = leg_of(run)
    if leg is None:
        raise Refused(f"nothing is mirrored yet: run {run.plan.plan}.mirror first")
    return without(leg, _gone(run, leg))


def _gone(run: Run, leg: Leg) -> list[str]:
    """The topics of which the target has no copies any more."""
    there, mirror = topic_names(run.clusters.target), runner(run)
    return sorted({tp.topic for tp in leg.begin if mirror.copy_of(tp.topic) not in there})


def _end(leg: Leg) -> Offsets:
    assert leg.end is not None
    return leg.end


def _image(leg: Leg) -> Offsets:
    assert leg.image is not None
    return leg.image


def _groups(run: Run) -> list[str]:
    return [group for group, c in run.plan.groups.items() if c.offsets == "group"]


def _users(run: Run, group: str) -> Sequence[Service]:
    return [s for s in run.plan.services if group in s.groups]


def _told(mapped: Sequence[Survived]) -> str:
    return f"{sum(m.near for m in mapped):,} messages read again had all stopped where they were last seen"


def _something_to_follow(run: Run) -> list[Finding]:
    identify(run.clusters.target)  # raises where it does not answer
    leg = leg_of(run)
    if leg is None:
        return [
            Finding(
                "failover-nothing/all",
                Status.FAIL,
                "nothing is mirrored yet",
                "a mirror that runs, or did until the source was lost",
                f"run {run.plan.plan}.mirror; without it there is nothing on the target to follow",
            )
        ]
    if run.current.finished and run.way_back.note("copies") is not None and not run.way_back.finished:
        return [
            Finding(
                "failover-nothing/all",
                Status.FAIL,
                "a failback has begun, and has not come to its end: some services may be on the source again",
                "services that are all on the source",
                f"finish {run.plan.plan}.failback when the source is back, or move those services by hand",
            )
        ]
    found = [Finding("failover-nothing/all", Status.PASS, f"{len(leg.begin)} partitions are mirrored")]
    if gone := _gone(run, leg):
        found.append(
            Finding(
                "failover-topics/all",
                Status.WARN,
                f"the target does not have {some(gone)} any more",
                "every topic of which copying began",
                "services that need them find them empty, or not at all; the others are followed",
            )
        )
    return found


def _source(run: Run) -> list[Finding]:
    silence = silence_of(run.clusters.source)
    if silence is not None:
        return [Finding("failover-source/all", Status.PASS, f"the source does not answer: {silence}")]
    return [
        Finding(
            "failover-source/all",
            Status.WARN,
            "the source answers",
            "a source that is lost",
            "going on declares it lost: what is written there from now on is not copied, until a failback",
        )
    ]


def _unmirrored(run: Run) -> list[Finding]:
    """What had not been copied at the last look; what was written since nobody can know before the source returns."""
    known = positions.read(run.clusters.target, positions.topic_of(run.plan))
    if known.looked_at is None:
        seen = "the mirror was never looked at: how much had not been copied cannot be told"
    else:
        leg = _leg(run)
        copied = dict(leg.end or {}) or _copied(run, leg)
        behind = sum(max(0, end - copied.get(tp, end)) for tp, end in known.ends.items())
        seen = (
            f"of what the source held at {moment(known.looked_at)}, {behind:,} offsets were not copied; what it took"
            " afterwards cannot be told before it returns"
        )
    return [
        Finding(
            "failover-unmirrored/all",
            Status.WARN,
            seen,
            "everything copied",
            "a failback finds all of it, message by message, and "
            + ("lets it be copied under its own name" if run.plan.prefixed else "deals with it as `mirror.tail` says"),
        )
    ]


def _tell_external(run: Run, leg: Leg) -> None:
    """For applications that keep their offsets themselves: which offset of the source is which of the target."""
    external = {group: c for group, c in run.plan.groups.items() if c.offsets == "external"}
    if run.plan.prefixed:
        both_places.tell_external(run, external)
        return
    anchors = _anchors(run, leg, None) if external else {}
    for group, consumes in external.items():
        rows = [
            f"{tp.topic},{tp.partition},{here},{there}"
            for tp in sorted(anchors)
            if tp.topic in consumes.topics
            for here, there in anchors[tp].pairs
        ]
        file = run.leave(f"offsets-{group}.csv", "\n".join(["topic,partition,source,target", *rows]) + "\n")
        run.current.keep(exported_key(group), {"file": file, "rows": len(rows)})


def _of_groups(run: Run, mapped: Sequence[Survived]) -> list[Finding]:
    never = sorted({m.group for m in mapped} - {m.group for m in mapped if m.known is not None})
    external = sorted(g for g, c in run.plan.groups.items() if c.offsets == "external")
    found = [
        Finding(
            f"failover-position/{group}",
            Status.WARN,
            f"{group} was never seen to commit on the source",
            "where it stood, noted by the mirror's watch",
            "it goes on where the copies begin; nothing is skipped, and all that it had read is read again",
        )
        for group in never
    ]
    found += [
        Finding(
            f"failover-position/{group}",
            Status.WARN,
            f"{group} keeps its offsets outside Kafka",
            "a group whose position was noted",
            "a task asks for it before its service starts, and names a table of offsets",
        )
        for group in external
    ]
    rest = [group for group in _groups(run) if group not in never]
    if mapped and rest:
        most = announced(mapped)
        told = f"{len(rest)} groups skip nothing; they read again {sum(most[g] for g in rest):,} messages at most"
        found.append(Finding("failover-position/all", Status.PASS, told))
    return found
