"""Steps: create the topics on the target with the source's effective settings, and compare before the switch."""

from __future__ import annotations

from collections.abc import Mapping

from kafka_migration.checks.placement import racks_table, spread
from kafka_migration.checks.topics import creation
from kafka_migration.clusters.identity import identify
from kafka_migration.errors import ClusterError
from kafka_migration.findings import Finding, accept
from kafka_migration.offsets import Which, by_topic, of_topics, read_offsets
from kafka_migration.passes import Pass, open_pass, some
from kafka_migration.report import Change, StepReport, Table
from kafka_migration.run import Run
from kafka_migration.steps.common import check_window, moved_topics, stop_with
from kafka_migration.steps.history import start as start_history
from kafka_migration.steps.holding import hold
from kafka_migration.steps.mirroring import start as start_mirror
from kafka_migration.steps.seconds import seconds_stopped
from kafka_migration.steps.seeds import seed
from kafka_migration.topics.create import add_partitions, create_topics, set_settings
from kafka_migration.topics.describe import Topic, choose, describe_topics, partitions_of, topic_names
from kafka_migration.topics.holds import lifted
from kafka_migration.topics.parity import compare, settings_to_correct


def create(run: Run) -> StepReport:
    """Create what is missing on the target, correct the settings of what this pass created, compare everything.

    Raises `FindingsFailed` where a topic of the target differs, `ClusterError` where the target refuses one.
    """
    names, _ = choose(run.plan.topics, run.plan, topic_names(run.clusters.source))
    source = describe_topics(run.clusters.source, names)
    target = describe_topics(run.clusters.target, names)
    missing = [creation(topic) for name, topic in source.items() if name not in target]
    changes = [
        Change(
            f"topic {t.name}",
            "absent",
            f"{t.partitions} partitions, {t.replication_factor} replicas"
            + (", " + ", ".join(f"{k}={v}" for k, v in t.settings.items()) if t.settings else ""),
            done=not run.dry_run,
        )
        for t in missing
    ]
    if (done := _finished(run, f"{len(names)} topics")) is not None:
        return done
    if run.dry_run:
        findings = accept(_differences(run, source, target), run.plan.acceptances)
        return StepReport(f"{len(missing)} topics would be created", changes=changes, findings=findings)
    check_window(run, "creating topics")
    current = open_pass(run.records)
    if current.note("topics") is None:
        current.keep("topics", names)
    # Recorded before they are created: a killed run knows them again as its own.
    own = sorted({*(current.note("created") or ()), *(t.name for t in missing)})
    if missing:
        current.keep("created", own)
    refusals = create_topics(run.clusters.target, missing)
    if refusals:
        lines = "\n".join(f"  {topic}: {reason}" for topic, reason in sorted(refusals.items()))
        raise ClusterError(f"{run.clusters.target} did not create these topics:\n{lines}")
    target = describe_topics(run.clusters.target, names)
    unknown = sorted({t.name for t in missing} - target.keys())
    if unknown:
        raise ClusterError(f"{run.clusters.target} does not show these topics that were created: {some(unknown)}")
    corrected, now = _correct(run, current, source, target, own)
    changes += corrected
    target |= now
    findings = _compare(run, source, target)
    clusters = run.clusters
    placed = (source, identify(clusters.source)), (target, identify(clusters.target))
    return StepReport(
        summary=f"{len(missing)} topics created, {len(names) - len(missing)} were there and are equal",
        tables=[_table(source), racks_table(dict(zip(("source", "target"), placed, strict=True)))],
        changes=changes,
        findings=[*findings, *spread(*placed)],
        data={"created": [t.name for t in missing]},
    )


def parity(run: Run) -> StepReport:
    """Right before the producers move: topics and partitions added to the source since are created and seeded first."""
    current = run.current
    known = moved_topics(current)
    if (done := _finished(run, f"{len(known)} topics")) is not None:
        return done
    if run.dry_run:
        return StepReport("would compare the topics once more and add what the source has gained since")
    names, _ = choose(run.plan.topics, run.plan, topic_names(run.clusters.source))
    source = describe_topics(run.clusters.source, names)
    target = describe_topics(run.clusters.target, names)
    report = StepReport()
    new = sorted(set(names) - set(known))
    grown = {
        name: source[name].partitions
        for name in set(names) - set(new)
        if name in target
        and source[name].partitions > target[name].partitions
        and ((run.plan.keeps_mirror and not run.plan.prefixed) or name in (current.note("created") or ()))
    }
    add_partitions(run.clusters.target, grown)  # before anything is compared
    report.changes += [
        Change(f"partitions of {n}", str(target[n].partitions), str(total)) for n, total in sorted(grown.items())
    ]
    if new:
        report.notes.append(f"topics that are new on the source since the preflight: {', '.join(new)}")
        created = create(run)
        report.changes += created.changes
        current.keep("topics", sorted({*known, *names}))
    if run.plan.copies and not run.plan.keeps_mirror and (new or grown):
        report.changes += [*hold(run).changes, *start_mirror(run).changes]
    if run.history is not None and (new or grown):
        report.changes += start_history(run).changes
    unseeded = _unseeded(run, current)
    if unseeded:
        # Also what an attempt had added that was killed, or refused, before it seeded. Offsets of a group in use cannot
        # be set, and without one a new partition could be read from anywhere.
        with seconds_stopped(run, unseeded) as paused:
            report.changes += seed(run).changes
        report.notes += paused
    report.findings = _compare(run, source, describe_topics(run.clusters.target, names))
    report.summary = f"{len(names)} topics equal on both clusters" + (
        f"; {len(new)} topics and partitions of {len(grown)} topics added" if new or grown else ""
    )
    return report


def _unseeded(run: Run, current: Pass) -> set[str]:
    """The topics with a partition on the target for which a group that reads it has no seed recorded.

    None once a writer has left: the end of such a partition is then no place to begin any more. None where stored
    messages come along: groups are handed over behind what they have read.
    """
    if run.plan.copies or any(current.leaving(service.name) for service in run.plan.services if service.produces):
        return set()
    there = by_topic(dict.fromkeys(partitions_of(run.clusters.target, moved_topics(current)), 0))
    seeds = current.seeds
    return {
        tp.topic
        for group, consumes in run.plan.groups.items()
        if consumes.offsets == "group"
        for tp in of_topics(there, consumes.topics).keys() - seeds.get(group, {}).keys()
    }


def _finished(run: Run, what: str) -> StepReport | None:
    """A finished pass changes nothing any more."""
    finished = run.current.finished
    return (
        StepReport(f"nothing to do: run {finished['run_id']} has finished this migration ({what})")
        if finished
        else None
    )


def _correct(
    run: Run, current: Pass, source: Mapping[str, Topic], target: Mapping[str, Topic], own: list[str]
) -> tuple[list[Change], dict[str, Topic]]:
    """Set what the target's own defaults made different, on topics that this pass created and nobody has written.

    What was changed, and these topics as they are then.
    """
    if current.seeds or current.note("mirror/leg") is not None:
        return [], {}
    holds = current.note("holds") or {}
    differing = {
        name: wanted
        for name in own
        if name in target and (wanted := settings_to_correct(source[name], lifted(target[name], holds)))
    }
    ends = read_offsets(run.clusters.target, [tp for name in differing for tp in target[name].numbered()], Which.END)
    empty = {name for name in differing if not any(ends[tp] for tp in target[name].numbered())}
    now = set_settings(run.clusters.target, {name: differing[name] for name in empty})
    changes = [
        Change(f"{key} of {name}", target[name].settings[key], value)
        for name in sorted(empty)
        for key, value in differing[name].items()
    ]
    return changes, now


def _compare(run: Run, source: Mapping[str, Topic], target: Mapping[str, Topic]) -> list[Finding]:
    findings = accept(_differences(run, source, target), run.plan.acceptances)
    stop_with(StepReport(findings=findings), "comparing the topics")
    return findings


def _differences(run: Run, source: Mapping[str, Topic], target: Mapping[str, Topic]) -> list[Finding]:
    """What differs between topics that are on both sides, holds left out. Nothing where the target's are its own."""
    if run.plan.prefixed:
        return []
    holds = run.current.note("holds") or {}
    return [
        finding
        for name in source
        if name in target
        for finding in compare(
            source[name], lifted(target[name], holds), run.plan.copied_back, kept=run.plan.keeps_mirror
        )
    ]


def _table(topics: Mapping[str, Topic]) -> Table:
    return Table(
        "Topics",
        ("topic", "partitions", "replicas", "settings that are not Kafka's defaults"),
        tuple(
            (t.name, t.partitions, t.replication_factor, ", ".join(f"{k}={t.settings[k]}" for k in sorted(t.explicit)))
            for t in topics.values()
        ),
    )
