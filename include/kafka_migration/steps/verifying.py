"""Step of a verification: has anything parted or gone back since the migration? It changes nothing.

What a migration has proved, it has proved of the messages up to its cutover points. A verification looks whether the
clusters still are what was proved, and names what has parted from it.
"""

from __future__ import annotations

from dataclasses import replace

from kafka_migration.checks.services import is_going_back
from kafka_migration.findings import Finding, Status, accept
from kafka_migration.groups.describe import describe_groups
from kafka_migration.offsets import Which, read_several
from kafka_migration.passes import last_pass, some
from kafka_migration.report import StepReport
from kafka_migration.run import Run
from kafka_migration.sides import Side
from kafka_migration.steps.closing import closing_look
from kafka_migration.steps.common import FLOW, moved_topics, stop_with
from kafka_migration.steps.mirroring import leg_of
from kafka_migration.steps.suite_files import suite_files
from kafka_migration.topics.acls import acls
from kafka_migration.topics.describe import describe_topics
from kafka_migration.topics.parity import compare


def nothing_yet(run: Run) -> str | None:
    """Why there is nothing to verify; None from the end of a migration on, until it is taken back."""
    if run.plan.decommissioned:
        return "the plan says that the source has been given up (decommissioned: true)"
    if run.plan.keeps_mirror:
        return _nothing_mirrored(run)
    if run.current.finished:
        return "its rollback has begun and has not finished" if is_going_back(run) else None
    last = last_pass(run.records).finished
    return f"run {last['run_id']} has taken it back" if last else "no migration of this plan has finished"


def _nothing_mirrored(run: Run) -> str | None:
    if run.records.get(FLOW):
        return "services have followed the mirror to the target: both clusters are compared again after a failback"
    return None if leg_of(run) else f"nothing is mirrored: run {run.plan.plan}.mirror"


def drift(run: Run) -> StepReport:
    """What has parted since the migration, or where a mirror is kept now. Raises `FindingsFailed` where something has
    gone back to the source.

    Settings that differ are a WARN: whoever runs the target may change them.
    """
    why = nothing_yet(run)
    if why is not None:
        return StepReport(f"nothing to verify yet: {why}")
    kept = run.plan.keeps_mirror  # services are on the source, and groups read there: that has not parted
    report = StepReport() if kept else closing_look(run)
    found = [*report.findings, *([] if kept else _groups_on_source(run)), *_topics(run), *_acls(run)]
    report.findings = accept([*suite_files(run), *found], run.plan.acceptances)
    parted = [f.id for f in report.findings if f.status is not Status.PASS]
    since = "" if kept else " since the migration"
    report.summary = f"parted{since}: {some(parted)}" if parted else f"nothing has parted{since}"
    report.data = {"topics": len(moved_topics(run.current))}
    stop_with(report, "looking for what has parted since the migration")
    return report


def still_there(run: Run) -> list[Finding]:
    """Whether the target still ends no earlier than where its copies were proved to end."""
    leg = leg_of(run)
    if leg is None or leg.image is None:
        return []
    there = describe_topics(run.clusters.target, {tp.topic for tp in leg.image})
    images = {tp: image for tp, image in leg.image.items() if tp.topic in there}  # a topic that is gone: see `drift`
    ends = read_several(run.clusters.target, images, (Which.END,))[Which.END]
    short = {tp: end for tp, end in ends.items() if end < images[tp]}
    return [
        Finding(
            f"target-cut/{tp}",
            Status.FAIL,
            f"ends at {end:,} on the target",
            f"at least {images[tp]:,}, where the copies end",
            "the topic was truncated or made anew since: its copies are lost there; the source may still have them",
        )
        for tp, end in sorted(short.items())
    ] or [Finding("target-cut/none", Status.PASS, f"{len(ends)} partitions still end behind their copies")]


def _groups_on_source(run: Run) -> list[Finding]:
    active = {g: d for g, d in describe_groups(run.clusters.source, run.plan.groups).items() if d.active}
    return [
        Finding(
            f"group-on-source/{group}",
            Status.FAIL,
            f"group {group} has members on the source: {some([f'{m.client_id} at {m.host}' for m in d.members])}",
            "no member of a group that was moved",
            "somebody has started a service with the source's address again: it reads what nobody writes any more",
        )
        for group, d in sorted(active.items())
    ] or [Finding("group-on-source/none", Status.PASS, f"none of {len(run.plan.groups)} groups reads the source")]


def _topics(run: Run) -> list[Finding]:
    names = moved_topics(run.current)
    source = describe_topics(run.clusters.source, names)
    copies = {name: run.mirror.copy_of(name) if run.plan.prefixed and run.mirror else name for name in names}
    there = describe_topics(run.clusters.target, copies.values())
    target = {name: replace(there[copy], name=name) for name, copy in copies.items() if copy in there}
    gone = [
        Finding(
            f"topic-gone/{name}",
            Status.FAIL,
            "is not on the target any more",
            "every topic that was moved",
            "find out who has deleted it; the source may still have its messages up to the cutover point",
        )
        for name in names
        if name not in target
    ]
    parted = [
        replace(finding, status=Status.WARN)
        for name in names
        if name in source and name in target
        for finding in compare(source[name], target[name], by_number=run.plan.copies)
        if finding.status is not Status.PASS
    ]
    equal = len([n for n in names if n in source and n in target]) - len({f.id.partition("/")[2] for f in parted})
    return [
        *gone,
        *parted,
        Finding("topic-equal/all", Status.PASS, f"{equal} of {len(names)} topics are equal on both"),
    ]


def _acls(run: Run) -> list[Finding]:
    """Who may do what with what was moved. Of the same services the target may know others: so it is a warning."""
    if run.plan.prefixed:
        return []  # copies have other names: rights to them are nobody's copy
    topics, groups = moved_topics(run.current), list(run.plan.groups)
    here, there = (acls(cluster, topics, groups) for cluster in (run.clusters.source, run.clusters.target))
    advice = (
        "whoever runs the target decides; a service that may do more or less there fails, or can do what it should not"
    )
    unknown = [
        f"of the {side}: {rules.why}" for side, rules in ((Side.SOURCE, here), (Side.TARGET, there)) if rules.why
    ]
    if unknown:
        told = f"the ACLs are not known {some(unknown)}"
        return [Finding("acl/all", Status.WARN, told, "the same ACLs on both clusters", advice)]
    parted: dict[str, list[str]] = {}
    for side, rules in ((Side.SOURCE, here.acls - there.acls), (Side.TARGET, there.acls - here.acls)):
        for acl in sorted(rules):
            parted.setdefault(acl.resource, []).append(f"only on the {side}: {acl}")
    return [
        Finding(f"acl/{resource}", Status.WARN, some(rules), "the same ACLs on both clusters", advice)
        for resource, rules in sorted(parted.items())
    ] or [Finding("acl/all", Status.PASS, f"{len(here.acls)} ACLs are the same on both clusters")]
