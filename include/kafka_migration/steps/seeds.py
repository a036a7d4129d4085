"""Steps: seed every group on the cluster that it goes to, and record from where it reads the one that it leaves."""

from __future__ import annotations

from collections.abc import Mapping

from kafka_migration.groups.commits import committed
from kafka_migration.groups.seeds import at_ends, plant
from kafka_migration.offsets import Offsets, TopicPartition, Which, by_topic, of_topics, read_several, to_json
from kafka_migration.passes import Pass, open_pass
from kafka_migration.plan.model import Consumes
from kafka_migration.report import Change, StepReport, Table
from kafka_migration.run import Run
from kafka_migration.steps.common import check_window, moved_topics
from kafka_migration.topics.describe import partitions_of


def seed(run: Run) -> StepReport:
    """Seeds are chosen once in a pass; partitions that came since are added. Raises `OffsetsRefused`.

    A group that keeps its offsets outside Kafka gets none.
    """
    if run.dry_run:
        groups = ", ".join(sorted(run.plan.groups))
        return StepReport(f"would set the offsets of {groups} on the target to the end of each partition")
    current = open_pass(run.records)
    if current.finished:
        return StepReport(f"nothing to do: run {current.finished['run_id']} has finished this migration")
    seeds = _chosen(run, current)
    moved = {g for s in run.plan.services if current.switched(s.name) or current.leaving(s.name) for g in s.groups}
    check_window(run, "seeding groups")
    planted = plant(run.clusters.destination, {group: o for group, o in seeds.items() if group not in moved})
    changes = [
        Change(
            f"group {group} on the {run.heading}",
            "no offsets",
            f"{len(offsets)} partitions, offsets {min(offsets.values())} to {max(offsets.values())}",
        )
        for group, offsets in sorted(planted.items())
    ]
    return StepReport(
        summary=f"{len(seeds)} groups seeded, {len(planted)} of them by this run; read back",
        tables=[
            Table(
                "Seeds",
                ("group", "topic", "partitions", "sum of seeds", f"still to read on the {run.leaving} from"),
                tuple(_rows(current)),
            )
        ],
        changes=changes,
    )


def ensure_seeds(run: Run, current: Pass, groups: set[str]) -> list[Change]:
    """Set seeds again that have gone, to the recorded offset. Raises `OffsetsRefused` for an active group."""
    planted = plant(run.clusters.destination, {g: o for g, o in current.seeds.items() if g in groups})
    return [
        Change(
            f"seed of group {group} on the {run.heading}", "missing or short", f"set again on {len(offsets)} partitions"
        )
        for group, offsets in sorted(planted.items())
    ]


def _chosen(run: Run, current: Pass) -> dict[str, dict[TopicPartition, int]]:
    """The recorded seeds, with those of partitions that have none yet; beginnings where they come from likewise."""
    topics = moved_topics(current)
    groups = {g: c for g, c in run.plan.groups.items() if c.offsets == "group"}
    target = read_several(run.clusters.destination, partitions_of(run.clusters.destination, topics), (Which.END,))
    source = read_several(run.clusters.origin, partitions_of(run.clusters.origin, topics), (Which.START, Which.END))
    now = committed(run.clusters.origin, run.plan.groups)
    known, known_begins = current.seeds, current.begins
    seeds = {
        group: wanted | known.get(group, {})
        for group, wanted in at_ends({g: c.topics for g, c in groups.items()}, target[Which.END]).items()
    }
    offsets = {which: by_topic(of_all) for which, of_all in source.items()}
    begins = {
        group: _begin(consumes, now.get(group, {}), offsets) | known_begins.get(group, {})
        for group, consumes in run.plan.groups.items()
    }
    uncommitted = current.uncommitted or {
        group: sorted(str(tp) for tp in begins[group] if tp not in now.get(group, {})) for group in begins
    }
    # Applications that keep their offsets themselves go on from here.
    current.keep("target_starts", to_json(target[Which.END] | current.note_offsets("target_starts")))
    # The beginnings first: whoever finds seeds can rely on them.
    current.keep_begins(begins)
    current.keep_uncommitted(uncommitted)
    current.keep_seeds(seeds)
    return seeds


def _begin(
    consumes: Consumes, commits: Offsets, offsets: Mapping[Which, Mapping[str, Offsets]]
) -> dict[TopicPartition, int]:
    """Where a group has still to read from: its commit, else where `auto.offset.reset` sends it.

    `offsets`: those of the topics, each by topic.
    """
    starts = of_topics(offsets[Which.START], consumes.topics)
    resets = of_topics(offsets[Which.END], consumes.topics) if consumes.auto_offset_reset == "latest" else starts
    return {tp: max(commits.get(tp, resets[tp]), start) for tp, start in starts.items()}


def _rows(current: Pass) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    begins = current.begins
    for group, seeds in sorted(current.seeds.items()):
        for topic in sorted({tp.topic for tp in seeds}):
            mine = [tp for tp in seeds if tp.topic == topic]
            first = ", ".join(str(begins.get(group, {}).get(tp, "-")) for tp in mine[:6])
            rows.append(
                (group, topic, len(mine), sum(seeds[tp] for tp in mine), first + (" ..." if len(mine) > 6 else ""))
            )
    return rows


def seeds_missing(run: Run) -> list[str]:
    """The plan's groups without a recorded seed, by name."""
    seeds = run.current.seeds
    return sorted(g for g, c in run.plan.groups.items() if c.offsets == "group" and g not in seeds)
