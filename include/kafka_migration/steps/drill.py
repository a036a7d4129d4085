"""Steps of a drill: would a failover work now? Practised on copies of the groups, under names of their own.

The source is taken for lost: positions come from the log of the mirror's watch and from the target alone, as they
would. Each copy of a group is set on the target, and really reads there. The source, which lives, then tells how right
that was. No service is touched, no group that anybody uses, and the copies of the groups are deleted again.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaException
from confluent_kafka import TopicPartition as Assigned

from kafka_migration.clusters.client import COORDINATOR_TIMEOUT, Cluster
from kafka_migration.errors import ClusterError, Refused
from kafka_migration.evidence.words import duration
from kafka_migration.findings import Finding, Status, accept
from kafka_migration.groups.commits import committed, set_commits
from kafka_migration.mirror.handover import Mapped, Position, map_positions
from kafka_migration.mirror.legs import Leg
from kafka_migration.mirror.without_origin import Survived
from kafka_migration.offsets import OffsetRange, TopicPartition, Which, read_several
from kafka_migration.passes import some
from kafka_migration.plan.model import OWN_TOPICS
from kafka_migration.report import StepReport, Table
from kafka_migration.run import Run
from kafka_migration.steps import both_exact, failover
from kafka_migration.steps.common import FLOW, stop_with
from kafka_migration.steps.handover import anchors_of
from kafka_migration.steps.mirroring import leg_of, runner, stamped
from kafka_migration.topics.describe import describe_topics
from kafka_migration.visible import count_between, count_visible, first_visible

_COPY_OF = OWN_TOPICS + "drill.{}.{}"
_READS_WITHIN = 60.0
_LAST = "drill/last"


@dataclass(frozen=True)
class Practised:
    """One copy of a group: seconds from the drill's beginning until it had a message; None: it had none to read."""

    group: str
    first: float | None
    unread: tuple[TopicPartition, ...]


def look(run: Run) -> StepReport:
    """What a failover would meet now: as its own first step, but that the source shall answer. Changes nothing."""
    if run.records.get(FLOW):
        return StepReport("nothing to practise: services have followed the mirror to the target")
    report = failover.look(run)
    report.findings = [f for f in report.findings if not f.id.startswith("failover-source/")]  # it shall answer here
    return report


def drill(run: Run) -> StepReport:
    """Set a copy of each group on the target as a failover would, let it read, and judge it by the living source.

    Raises `FindingsFailed` where a group would have skipped a message, or could not read.
    """
    if run.records.get(FLOW):
        return StepReport("nothing to practise: services have followed the mirror to the target")
    leg = leg_of(run)
    if leg is None:
        raise Refused(f"nothing is mirrored yet: run {run.plan.plan}.mirror first")
    if run.dry_run:
        return StepReport("would practise a failover on copies of the groups")
    began = time.monotonic()
    end = failover.so_far(run, leg)
    mapped = failover.mapped_by(run, leg, end)
    groups = sorted({m.group for m in mapped})
    names = {group: _COPY_OF.format(run.plan.plan, group) for group in groups}
    wanted = {names[g]: {m.partition: m.offset for m in mapped if m.group == g} for g in groups}
    try:
        set_commits(run.clusters.target, wanted)
        practised = [_read(run.clusters.target, group, names[group], wanted[names[group]], began) for group in groups]
    finally:
        _forget(run.clusters.target, list(names.values()))
    recovery = max((p.first for p in practised if p.first is not None), default=time.monotonic() - began)
    behind = _behind(run, leg, {tp: at for tp, (at, _) in end.items()})
    exact = _exact(run, leg, mapped)
    again = _again(run, leg, mapped, exact)
    findings = accept([*_skipped(mapped, exact), *_unread(practised), _said(recovery, behind)], run.plan.acceptances)
    told = {"recovery_seconds": recovery, "unmirrored": behind, "again": again}
    run.records.set(_LAST, {"at": run.now(), "run_id": run.run_id, **told})
    report = StepReport(
        f"{len(groups)} copies of groups went on at the target: recovery time {duration(recovery)}, recovery point"
        f" {behind:,} messages",
        tables=[_table(practised, mapped, again), failover.table(mapped)],
        findings=findings,
        data={"drill": told, "announced": failover.announced(mapped)},
    )
    stop_with(report, "practising a failover")
    return report


def _read(cluster: Cluster, group: str, name: str, offsets: Mapping[TopicPartition, int], began: float) -> Practised:
    """Let a member of the copy read from where it was set until every partition with something to read gave a message.

    It assigns its partitions by itself: a group that somebody joined by that name would be told.
    """
    kept = read_several(cluster, offsets, (Which.START, Which.STABLE))
    ranges = [OffsetRange(tp, max(at, kept[Which.START][tp]), kept[Which.STABLE][tp]) for tp, at in offsets.items()]
    seen = first_visible(cluster, [r for r in ranges if r.end > r.start])
    left = {tp for tp, one in seen.items() if one.first is not None}
    if not left:
        return Practised(group, None, ())
    first = None
    settings = {"group.id": name, "enable.auto.commit": False, "isolation.level": "read_committed"}
    consumer = Consumer({**cluster.config, **settings, "auto.offset.reset": "error"})
    try:
        consumer.assign([Assigned(tp.topic, tp.partition) for tp in left])  # from where the group was set
        deadline = time.monotonic() + _READS_WITHIN
        while left and time.monotonic() < deadline:
            for message in consumer.consume(500, timeout=0.2):
                if message.error() is not None:
                    raise cluster.error(message.error(), f"reading as group {name}")
                first = time.monotonic() - began if first is None else first
                left.discard(TopicPartition(message.topic(), message.partition()))
    except KafkaException as error:
        raise cluster.error(error, f"reading as group {name}") from None
    finally:
        consumer.close()
    return Practised(group, first, tuple(sorted(left)))


def _forget(cluster: Cluster, groups: Sequence[str]) -> None:
    with suppress(KafkaException, ClusterError):  # one that was not set is not there
        for future in cluster.group_admin.delete_consumer_groups(
            list(groups), request_timeout=COORDINATOR_TIMEOUT
        ).values():
            with suppress(KafkaException, TimeoutError):
                future.result(COORDINATOR_TIMEOUT)


def _behind(run: Run, leg: Leg, copied: Mapping[TopicPartition, int]) -> int:
    """Messages that a loss of the source at this moment would have left there."""
    ends = read_several(run.clusters.source, leg.begin, (Which.STABLE,))[Which.STABLE]
    ranges = [OffsetRange(tp, at, ends[tp]) for tp, at in copied.items() if ends[tp] > at]
    return sum(seen.count for seen in count_visible(run.clusters.source, ranges).values())


def _exact(run: Run, leg: Leg, mapped: Iterable[Survived]) -> dict[tuple[str, TopicPartition], int]:
    """Where each group really stands now, found on the target by content. Groups have read on meanwhile."""
    commits = committed(run.clusters.source, {m.group for m in mapped})
    if run.plan.prefixed:
        here = both_exact.read_here(run)
        stood = [Position(g, tp, at) for g, offsets in commits.items() for tp, at in offsets.items() if tp in here]
        placed = both_exact.located(run, stood, final=True)
        return {
            (m.group, m.partition): m.destination_offset
            for m in placed
            if m.proved and m.destination_offset is not None
        }
    topics = describe_topics(run.clusters.source, {tp.topic for tp in leg.begin})
    positions = [
        Position(m.group, m.partition, commits[m.group][m.partition]) for m in mapped if m.partition in commits[m.group]
    ]
    found = map_positions(
        run.clusters.source,
        run.clusters.target,
        anchors_of(run, leg),
        positions,
        ignore_timestamp=stamped(run, leg.begin),
        compacted={name for name, topic in topics.items() if topic.compacted},
    )
    proved = {
        (m.group, m.partition): m.destination_offset for m in found if m.proved and m.destination_offset is not None
    }
    return {**_at_the_end(run, [m for m in found if not m.proved]), **proved}


def _at_the_end(run: Run, found: Sequence[Mapped]) -> dict[tuple[str, TopicPartition], int]:
    """Of groups that have read all that there is, and all of it was copied: where the copies end.

    A mirror that runs proves no end by itself; here nothing is left on either side of what it has copied.
    """
    if run.clusters.worker is None or not found:
        return {}
    partitions = {m.partition for m in found}
    there = read_several(run.clusters.target, partitions, (Which.STABLE,))[Which.STABLE]
    copied = run.clusters.worker.positions(runner(run).name)
    ends = read_several(run.clusters.source, partitions, (Which.STABLE,))[Which.STABLE]
    unread: dict[TopicPartition, int] = {}  # from the one that has read least, or from what is copied least
    for m in found:
        from_here = min(m.origin_offset, copied.get(m.partition, 0))
        unread[m.partition] = min(from_here, unread.get(m.partition, from_here))
    seen = first_visible(
        run.clusters.source, [OffsetRange(tp, at, ends[tp]) for tp, at in unread.items() if at < ends[tp]]
    )
    left = {tp for tp, one in seen.items() if one.first is not None}
    return {(m.group, m.partition): there[m.partition] for m in found if m.partition not in left}


def _skipped(mapped: Iterable[Survived], exact: Mapping[tuple[str, TopicPartition], int]) -> list[Finding]:
    """Whether a group would have gone on behind the message that it reads next."""
    wrong, right = [], 0
    for m in mapped:
        really = exact.get((m.group, m.partition))
        if really is None:
            continue
        right += 1
        if m.offset > really:
            wrong.append(
                Finding(
                    f"drill-skips/{m.group}/{m.partition}",
                    Status.FAIL,
                    f"{m.group} would go on at offset {m.offset:,} of the target",
                    f"no later than {really:,}, the message that it reads next",
                    "do not fail over by this: see whether somebody else writes to the topic on the target",
                )
            )
    return wrong or [
        Finding("drill-skips/none", Status.PASS, f"of {right:,} positions that the source could prove none skips")
    ]


def _again(
    run: Run, leg: Leg, mapped: Iterable[Survived], exact: Mapping[tuple[str, TopicPartition], int]
) -> dict[str, int]:
    """By group: messages that it would really have read again, had the source been lost at this moment."""
    marks: dict[TopicPartition, set[int]] = {}
    pairs = []
    for m in mapped:
        really = exact.get((m.group, m.partition))
        if really is not None and really > m.offset:
            pairs.append((m.group, m.partition, m.offset, really))
            marks.setdefault(m.partition, set()).update((m.offset, really))
    sorted_marks = {tp: sorted(of) for tp, of in marks.items()}
    counts = count_between(run.clusters.target, sorted_marks)
    found: dict[str, int] = {}
    for group, tp, start, end in pairs:
        at = sorted_marks[tp]
        found[group] = found.get(group, 0) + sum(counts[tp][0][at.index(start) : at.index(end)])
    return found


def _unread(practised: Iterable[Practised]) -> list[Finding]:
    late = [p for p in practised if p.unread]
    return [
        Finding(
            f"drill-read/{p.group}",
            Status.FAIL,
            f"a copy of {p.group} got nothing of {some(p.unread)} within {_READS_WITHIN:.0f} s",
            "a message of each partition that has one to read",
            "look at the target: a failover now would leave this group without messages",
        )
        for p in late
    ] or [Finding("drill-read/all", Status.PASS, "every copy of a group has read what was there to read")]


def _said(recovery: float, behind: int) -> Finding:
    told = f"recovery time {duration(recovery)} without services' own starts; recovery point {behind:,} messages"
    return Finding("drill/all", Status.PASS, told)


def _table(practised: Iterable[Practised], mapped: Sequence[Survived], again: Mapping[str, int]) -> Table:
    return Table(
        "Copies of the groups",
        ("group", "first message after", "read again, by the source", "again at most"),
        tuple(
            (
                p.group,
                "nothing to read" if p.first is None else duration(p.first),
                again.get(p.group, 0),
                sum(m.most for m in mapped if m.group == p.group),
            )
            for p in practised
        ),
    )
