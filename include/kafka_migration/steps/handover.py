"""Steps of the exact handover: rehearse it, stop the writers, then hand over each reading service.

A group goes on at exactly the message that it would have read next. What cannot be proved is INCONCLUSIVE, and nothing
is ever skipped. What was handed over is recorded before it is set, so that every attempt sets the same.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence

from kafka_migration.errors import Refused
from kafka_migration.findings import Finding, Status, accept
from kafka_migration.groups.commits import committed, set_commits
from kafka_migration.groups.describe import Group, await_left, describe_groups
from kafka_migration.mirror.anchors import Anchors, Pair, read_syncs
from kafka_migration.mirror.handover import OPEN_FOR, Mapped, Position, map_positions
from kafka_migration.mirror.legs import Leg, Legs, rising, swapped
from kafka_migration.mirror.placing import BLOCKED, Verdict
from kafka_migration.offsets import Offsets, TopicPartition, Which, read_several, to_json
from kafka_migration.passes import Pass, some
from kafka_migration.plan.model import Consumes
from kafka_migration.report import Change, StepReport, Table
from kafka_migration.run import Run
from kafka_migration.services.controller import State
from kafka_migration.services.registry import is_idle, waits_for_person
from kafka_migration.sides import Side
from kafka_migration.steps import both_exact, holding, remade, repeats
from kafka_migration.steps.common import (
    check_window,
    exported_key,
    goes_on_from,
    handover_key,
    note_members,
    observe_all,
    stop_with,
)
from kafka_migration.steps.gone import none_has_gone
from kafka_migration.steps.mirroring import ended, leg_of, stamped
from kafka_migration.steps.switch import move, stop_here, stop_services
from kafka_migration.topics.describe import describe_topics

_REHEARSED = "rehearsal"
_RESTS_FOR = 0.5


def rehearse(run: Run) -> StepReport:
    """Map every group as it stands now, and prove it; sets nothing. What comes later is mapped when it is there."""
    if run.dry_run:
        return StepReport("would compute for every group where it goes on, and prove it")
    current = run.current
    leg = leg_of(run)
    if leg is None or leg.ended:
        return StepReport("nothing to rehearse: the mirror has reached the cutover point, or copies nothing")
    remade.refuse(run, leg, "rehearsing the handover")
    here = {g for s in run.plan.services if not run.stays(s.name) for g in s.groups}
    groups = {group: c for group, c in run.plan.groups.items() if c.offsets == "group" and group in here}
    external = [group for group, c in run.plan.groups.items() if c.offsets != "group"]
    if not run.returning:
        note_members(run, external)
    if not here:
        return StepReport(f"nothing to rehearse: no group has left the {run.heading}")
    mapped = _map(run, groups, committed(run.clusters.origin, groups), final=False)
    findings = _findings(run, mapped, "as it stands now")
    current.keep(
        _REHEARSED,
        {
            "doubtful": sorted({f.id for f in findings if f.status is Status.INCONCLUSIVE}),
            "groups": [_summed(group, [m for m in mapped if m.group == group]) for group in sorted(groups)],
        },
    )
    for group in groups:
        mine = {str(m.partition): [m.origin_offset, m.destination_offset] for m in mapped if m.group == group}
        current.keep(_rehearsed_key(group), mine)
    report = StepReport(
        f"{sum(m.proved for m in mapped):,} of {len(mapped):,} positions of {len(groups)} groups are proved",
        tables=[_table(run, mapped)],
        findings=_accepted(run, current, findings),
        notes=[
            f"{group} keeps its offsets outside Kafka: told as a table once the mirror has ended" for group in external
        ],
    )
    stop_with(report, "rehearsing the handover")
    return report


def stop_writers(run: Run) -> StepReport:
    """Stop every service that writes a topic of the plan. What only reads goes on reading the source.

    One in a person's hands has been stopped by that person: its groups must have left.
    """
    names = [s.name for s in run.plan.services if s.produces]
    by_hand = [] if run.dry_run else [n for n in names if run.controllers[n].manual and not run.current.switched(n)]
    if run.returning:
        by_hand = [name for name in by_hand if not none_has_gone(run, [name])]
    if by_hand:
        for name in by_hand:
            run.current.set_leaving(name, run.now())
        _await_left(run, by_hand, {g for name in by_hand for g in run.plan.service(name).groups})
    return stop_here(run, names, f"do not write on the {run.leaving} any more")


def hand_over(run: Run, unit: str) -> StepReport:
    """Stop the services of a unit that reads, set their groups to where they go on, start them there.

    Where a person has something to do before the start, `start` is a step of its own. Raises `FindingsFailed` where a
    position is not proved: the services stay stopped, nothing is set.
    """
    services = run.graph.unit(unit).services
    if run.dry_run:
        return StepReport(f"would hand over {', '.join(services)}")
    current = run.current
    if all(current.switched(name) for name in services):
        return StepReport(f"{', '.join(services)}: nothing to do, handed over already")
    starts = not any(waits_for_person(run.plan.service(name)) for name in services)
    if run.returning and none_has_gone(run, services):
        return _started(run, services) if starts else StepReport(f"{', '.join(services)} has not left the source")
    groups = {c.group: c for name in services for c in run.plan.service(name).consumes}
    if leg := leg_of(run):
        remade.refuse(run, leg, f"handing over {', '.join(groups)}")
    external = {group for group, c in groups.items() if c.offsets == "external"}
    untold = sorted(group for group in external if current.note(exported_key(group)) is None)
    if untold:
        raise Refused(f"{', '.join(untold)} has no table of offsets yet; run the task `export_offsets` first")
    began = run.now()
    changes: list[Change] = []
    tables: list[Table] = []
    findings = holding.renewed(run)
    for group in groups:
        current.set_idle(group, current.leaving_since(services[0]) or began)
    if any(current.note(handover_key(group)) is None for group in groups):
        commits = _come_to_rest(run, current, services, groups)
        mapped = _map(run, groups, commits, final=True)
        tables = [_table(run, mapped)]
        findings += _accepted(run, current, _findings(run, mapped, "at the handover"))
        stop_with(StepReport(tables=tables, findings=findings), f"handing over {', '.join(groups)}")
        for group in groups:
            wanted = {m.partition: m.destination_offset for m in mapped if m.group == group}
            current.keep(handover_key(group), to_json({tp: o for tp, o in wanted.items() if o is not None}))
    changes += _set(
        run, {group: current.note_offsets(handover_key(group)) for group in groups if group not in external}
    )
    report = _started(run, services) if starts else StepReport(f"{', '.join(services)} has stopped, to be started next")
    report.tables = [*tables, *report.tables]
    report.changes = [*changes, *report.changes]
    report.findings = [*findings, *report.findings]
    if starts:
        report.notes.append(f"from the order to stop to the start on the {run.heading}: {run.now() - began:.1f} s")
    return report


def start(run: Run, unit: str) -> StepReport:
    """Start the services of a unit that was handed over, and look whether those in a person's hands run there.

    Raises `Refused` where it was not handed over, `ServiceError` where a person has not started one yet.
    """
    services = run.graph.unit(unit).services
    if run.dry_run:
        return StepReport(f"would start {', '.join(services)} on the {run.heading}")
    current = run.current
    if all(current.switched(name) for name in services):
        return StepReport(f"{', '.join(services)}: nothing to do, on the {run.heading} already")
    groups = {group for name in services for group in run.plan.service(name).groups}
    missing = sorted(group for group in groups if current.note(handover_key(group)) is None)
    if missing and not (run.returning and none_has_gone(run, services)):
        raise Refused(f"{', '.join(missing)} was not handed over yet; run the task `handover` first")
    return _started(run, services)


def _started(run: Run, services: Sequence[str]) -> StepReport:
    """Those that nobody runs are only recorded to be on the other side."""
    current = run.current
    idle = [name for name in services if is_idle(run.plan.service(name))]
    runs = [name for name in services if name not in idle]
    for name in idle:
        current.set_switched(name, run.run_id, run.now())
    there = f"{', '.join(idle)} belongs to the {run.heading} now"
    report = move(run, current, runs, "consumers") if runs else StepReport(there)
    report.notes += [f"{name}: {run.controllers[name].instructions(run.heading)}" for name in idle]
    return report


def _come_to_rest(
    run: Run, current: Pass, services: Sequence[str], groups: Mapping[str, Consumes]
) -> dict[str, dict[TopicPartition, int]]:
    """Stop the services; once their groups are empty and their commits rest, what they have committed."""
    check_window(run, f"handing over {', '.join(services)}")
    seen = observe_all({name: run.controllers[name] for name in services})
    for name in services:
        if run.controllers[name].manual:
            current.set_leaving(name, run.now())
    stop_services(run, current, [n for n in services if seen[n].state is State.RUNNING])
    _await_left(run, services, groups)
    mine = [group for group, c in groups.items() if c.offsets == "group"]
    found = committed(run.clusters.origin, mine, stable=True)
    while mine:
        time.sleep(_RESTS_FOR)
        again = committed(run.clusters.origin, mine, stable=True)
        if again == found:
            break
        found = again
    return found


def _await_left(run: Run, services: Sequence[str], groups: Iterable[str]) -> None:
    """Wait until no group has a member where this run leaves. Raises `Refused` naming those that are left."""
    if members := await_left(run.clusters.origin, groups):
        raise Refused(
            f"{', '.join(services)} should have stopped, and its groups still have members on the {run.leaving}:"
            f" {some(_named(members))}. Stop whoever uses the group there, then clear this task. Nothing was set."
        )


def _named(members: Mapping[str, Group]) -> list[str]:
    return [f"{g}: {m.client_id} at {m.host}" for g, d in members.items() for m in d.members]


def _map(
    run: Run,
    groups: Mapping[str, Consumes],
    commits: Mapping[str, Mapping[TopicPartition, int]],
    final: bool,
) -> list[Mapped]:
    """Where each group goes on, for every partition of the topics that it reads. `final`: it has stopped."""
    leg = leg_of(run)
    assert leg is not None
    first = leg.begin
    cutover = dict(leg.end or {})
    of = both_exact.read_here(run) if run.plan.prefixed else {tp: tp.topic for tp in first}
    wanted = [tp for tp, topic in of.items() if any(topic in c.topics for c in groups.values())]
    offsets = read_several(run.clusters.origin, wanted, (Which.START, Which.END))
    # Who returns without an offset on the target has read nothing there: it stands where it was to begin.
    began = {g: goes_on_from(run.headed(Side.TARGET).current, g) for g in groups} if run.returning else {}
    positions = [
        Position(
            group,
            tp,
            {**began.get(group, {}), **commits.get(group, {})}.get(tp, _uncommitted(consumes, offsets, cutover, tp)),
        )
        for group, consumes in groups.items()
        if consumes.offsets == "group"
        for tp in sorted(wanted)
        if of[tp] in consumes.topics
    ]
    if run.plan.prefixed:
        return both_exact.located(run, positions, final)
    topics = describe_topics(run.clusters.origin, {tp.topic for tp in wanted})
    return map_positions(
        run.clusters.origin,
        run.clusters.destination,
        anchors_of(run, leg),
        positions,
        ignore_timestamp=stamped(run, first),
        compacted={name for name, topic in topics.items() if topic.compacted},
        patience=OPEN_FOR if final else 0.0,
    )


def anchors_of(run: Run, leg: Leg) -> dict[TopicPartition, Anchors]:
    """Of each partition all that is known, over every leg of the plan: their ends, and what the mirrors told.

    A group may stand in the range of an earlier leg; but where a plan copies only what comes home, between two legs
    stands on the source what was never copied.
    """
    legs = Legs(run.records).all() if run.plan.copies else [leg]
    known: dict[TopicPartition, set[Pair]] = {}
    for one in legs:
        for tp, pairs in one.pairs().items():
            known.setdefault(tp, set()).update(pairs)
    for side, mirror in run.mirrors.items():
        mine = [one for one in legs if one.heading is side]
        if mine:
            syncs = read_syncs(run.clusters.of(side), mirror.syncs_topic, mine[0].syncs_from)
            for tp, told in syncs.items():
                if tp in known:
                    known[tp].update(rising(told) if side is Side.TARGET else swapped(rising(told)))
    found = {}
    for tp in leg.begin:
        pairs = sorted(known[tp] if run.heading is Side.TARGET else swapped(known[tp]))
        end = (leg.end[tp], leg.image[tp]) if leg.end is not None and leg.image is not None else None
        found[tp] = Anchors.build(_first_of(legs, tp, run.heading), pairs, end)
    return found


def _first_of(legs: Sequence[Leg], tp: TopicPartition, heading: Side) -> Pair:
    """Where the first leg of a partition began, the offset of what is left by this run first."""
    pair = next(one.pairs()[tp][0] for one in legs if tp in one.begin)
    return pair if heading is Side.TARGET else (pair[1], pair[0])


def _uncommitted(consumes: Consumes, offsets: Mapping[Which, Offsets], cutover: Offsets, tp: TopicPartition) -> int:
    """Where `auto.offset.reset` would send the group."""
    if consumes.auto_offset_reset == "latest":
        return cutover.get(tp, offsets[Which.END][tp])
    return offsets[Which.START][tp]


def _set(run: Run, handed: Mapping[str, Offsets]) -> list[Change]:
    """Set what is not set yet, of groups that nobody uses there. Raises `OffsetsRefused`, `Refused`."""
    there = committed(run.clusters.destination, handed)
    missing = {
        group: {tp: offset for tp, offset in offsets.items() if there.get(group, {}).get(tp) != offset}
        for group, offsets in handed.items()
    }
    active = _in_use(run, [group for group, offsets in missing.items() if offsets])
    todo = {group: offsets for group, offsets in missing.items() if offsets and group not in active}
    set_commits(run.clusters.destination, todo)
    return [
        Change(
            f"group {group} on the {run.heading}",
            "no offsets" if not there.get(group) else "other offsets",
            f"{len(offsets)} partitions, offsets {min(offsets.values()):,} to {max(offsets.values()):,}; read back",
        )
        for group, offsets in sorted(todo.items())
    ]


def _in_use(run: Run, groups: Sequence[str]) -> set[str]:
    """Groups that read on there since an earlier attempt, or a person, started their service: they are left alone.

    A cluster that was lost and has returned still counts the members that died with it, until their sessions end: that
    is waited for. Raises `Refused` where others are left, whom nobody has started.
    """
    users = {group: [s.name for s in run.plan.services if group in s.groups] for group in groups}
    seen = observe_all({name: run.controllers[name] for names in users.values() for name in names})
    runs = {g for g, names in users.items() if any(seen[n].side is run.heading for n in names)}
    by_hand = {g for g, names in users.items() if any(run.controllers[n].manual for n in names)}
    members = await_left(run.clusters.destination, [g for g in groups if g not in runs])
    if strange := members.keys() - by_hand:
        raise Refused(
            f"{', '.join(sorted(strange))} should have no members on the {run.heading} yet, and still has some:"
            f" {some(_named(members))}. Stop whoever uses the group there, then clear this task. Nothing was set."
        )
    return {g for g, d in describe_groups(run.clusters.destination, [*runs]).items() if d.active} | members.keys()


def _advice(m: Mapped, repeats: int) -> str:
    if m.destination_offset is not None:
        return f"going on at offset {m.destination_offset:,} repeats at most {repeats:,} messages and skips none"
    if m.proof == BLOCKED:
        return "clear this task when it has ended: it was waited for a minute, and nothing is decided yet"
    return "no offset is known from which nothing would be skipped: the copy of this partition cannot be used"


def _findings(run: Run, mapped: Sequence[Mapped], when: str) -> list[Finding]:
    # While the mirror runs there are positions that it has not reached; once it has ended there is no such excuse.
    later = None if ended(run) else Verdict.NOT_YET
    leg = leg_of(run)
    twice = _read_twice(mapped, repeats.rewinds_of(run, leg) if leg else {})
    doubtful = [m for m in mapped if (not m.proved and m.verdict is not later) or m in twice]
    found = [
        Finding(
            f"handover/{m.group}/{m.partition}",
            _status(run, m, m in twice),
            m.proof,
            f"the message that {m.group} reads next, found on the {run.heading}",
            _advice(m, twice.get(m, m.repeats)),
        )
        for m in doubtful
    ]
    by_group: dict[str, list[Mapped]] = {}
    for m in mapped:
        by_group.setdefault(m.group, []).append(m)
    found += [
        Finding(f"handover/{group}", Status.PASS, f"{len(ms)} positions proved {when}")
        for group, ms in sorted(by_group.items())
        if not any(m in doubtful for m in ms)
    ]
    return found


def _status(run: Run, m: Mapped, told: bool) -> Status:
    """Of a place that is not proved. `told`: why it repeats something is known.

    With both ways the mirrors go on, and either side may have deleted what the other has: then it is enough that
    nothing is skipped, as counting offsets shows.
    """
    if m.destination_offset is None:
        return Status.FAIL
    return Status.WARN if told or run.plan.prefixed else Status.INCONCLUSIVE


def _read_twice(mapped: Iterable[Mapped], again: repeats.Rewinds) -> dict[Mapped, int]:
    """Of those that go on before a place from which the mirror has copied again: what they read twice at most."""
    found = {}
    for m in mapped:
        ahead = [
            r.again
            for r in again.get(m.partition, ())
            if m.destination_offset is not None and m.destination_offset < r.down
        ]
        if ahead:
            found[m] = max(m.repeats, sum(ahead))
    return found


def _accepted(run: Run, current: Pass, findings: list[Finding]) -> list[Finding]:
    """What the plan accepts, and what whoever approved the handover has seen in its rehearsal."""
    shown = (current.note(_REHEARSED) or {}).get("doubtful", ()) if "handover" in run.plan.approvals else ()
    reasons = dict.fromkeys(shown, "shown in the rehearsal, and approved") | run.plan.acceptances
    return accept(findings, reasons)


def rehearsed(current: Pass) -> list[list[object]]:
    """Of each group in the last rehearsal: its name, positions, how many are proved, not there yet, would repeat."""
    found: list[list[object]] = (current.note(_REHEARSED) or {}).get("groups", [])
    return found


def rehearsed_positions(
    current: Pass, groups: Iterable[str]
) -> dict[str, dict[TopicPartition, tuple[int, int | None]]]:
    """Of each group in the last rehearsal, by partition: where it stood, and where it would go on (None: not yet)."""
    told = {group: current.note(_rehearsed_key(group)) for group in groups}
    return {
        group: {TopicPartition.parse(tp): (here, there) for tp, (here, there) in places.items()}
        for group, places in told.items()
        if places is not None
    }


def _rehearsed_key(group: str) -> str:
    return f"{_REHEARSED}/{group}"


def _summed(group: str, mapped: Sequence[Mapped]) -> list[object]:
    later = sum(m.verdict is Verdict.NOT_YET for m in mapped)
    return [group, len(mapped), sum(m.proved for m in mapped), later, sum(m.repeats for m in mapped)]


def _table(run: Run, mapped: Sequence[Mapped]) -> Table:
    return Table(
        "Handover",
        (
            "group",
            "partition",
            f"reads next on the {run.leaving}",
            f"goes on at on the {run.heading}",
            "verdict",
            "proof",
        ),
        tuple(
            (m.group, str(m.partition), m.origin_offset, m.destination_offset, m.verdict.value, m.proof)
            for m in sorted(mapped, key=lambda m: (m.group, m.partition))
        ),
    )
