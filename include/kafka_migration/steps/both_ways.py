"""A mirror that copies both ways: each cluster's own topics to the other, their names behind that of where they lie.

Each way is a leg like any other, so that what is proved of it is remembered and what ends it is known; the two never
end each other. A copy is never copied on: by its name it counts as a copy on both sides, so no second level appears.
Offset syncs of both ways lie on the target: by them it is told there where groups go on, when the source is gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kafka_migration.errors import Refused
from kafka_migration.mirror import canary
from kafka_migration.mirror.legs import Leg, Legs
from kafka_migration.mirror.runner import MirrorRunner
from kafka_migration.mirror.syncs import syncs_end
from kafka_migration.offsets import Offsets, TopicPartition, Which, read_offsets, to_json
from kafka_migration.passes import open_pass
from kafka_migration.report import Change, StepReport, Table
from kafka_migration.run import Run
from kafka_migration.sides import Side
from kafka_migration.steps import beside, remade
from kafka_migration.steps.common import check_window
from kafka_migration.topics.describe import Topic, choose, describe_topics, topic_names
from kafka_migration.topics.ids import topic_ids

_CANARY = "mirror/canary"


def way(run: Run) -> str:
    """What keys of what is kept for one of two ways begin with: nothing for the one to the target."""
    return "back/" if run.plan.prefixed and run.heading is Side.SOURCE else ""


def last_leg(run: Run) -> Leg | None:
    """What is copied to where this run is headed, or was last. It goes on over passes: only a failover ends it."""
    return next((leg for leg in reversed(Legs(run.records).all()) if leg.heading is run.heading), None)


def start(run: Run) -> StepReport:
    """Make the topics that take the copies, and let both connectors run. Repeatable.

    Topics and partitions that came since are added. Raises `FindingsFailed` where a topic was made anew since copying
    of it began, `ClusterError` where a cluster refuses one.
    """
    both = [_Way.of(run.headed(side)) for side in run.plan.ways]
    if run.dry_run:
        return StepReport("would start " + " and ".join(str(one.mirror) for one in both))
    if not run.returning:
        open_pass(run.records)
    elif run.way_back.finished:
        return StepReport("nothing to do: both mirrors have gone on")
    check_window(run, "starting the mirror")
    report, told = StepReport(), []
    names, _ = choose(run.plan.topics, run.plan, topic_names(run.clusters.source))
    for one in both:
        found = one.start(names)
        told.append(found.summary)
        report.tables += found.tables
        report.changes += found.changes
    report.summary = "; ".join(told)
    return report


@dataclass(frozen=True)
class _Way:
    """One of the two, seen by a run that is headed there."""

    run: Run
    mirror: MirrorRunner

    @classmethod
    def of(cls, run: Run) -> _Way:
        if run.mirror is None:
            raise Refused(f"the plan names no mirror that copies to the {run.heading}")
        return cls(run, run.mirror)

    def start(self, topics: Iterable[str]) -> StepReport:
        """Of these topics those that are there."""
        run, mirror = self.run, self.mirror
        here = describe_topics(run.clusters.origin, topics)
        names = {topic: mirror.copy_of(topic) for topic in here}
        if known := last_leg(run):
            remade.refuse(run, known, f"starting {mirror}")
        changes = beside.make(run.clusters.destination, here, names)
        leg = self._leg(here, names)
        begins = {tp: at for tp, at in leg.begin.items() if tp.topic in here}
        told, canarys = self._canary()
        changes += told + mirror.create({**begins, **canarys})
        mirror.resume()
        return StepReport(
            f"{mirror} copies {len(begins)} partitions of {len(here)} topics",
            tables=[
                Table(
                    f"Copied to the {run.heading}",
                    ("partition", f"from offset on the {run.leaving}", "as", f"onto offset on the {run.heading}"),
                    tuple((str(tp), at, names[tp.topic], leg.onto[tp]) for tp, at in sorted(begins.items())),
                )
            ],
            changes=changes,
        )

    def _canary(self) -> tuple[list[Change], Offsets]:
        """Of the way to the target: its topic is made, and copied from where it ended when copying of it began."""
        run, topic = self.run, canary.topic_of(self.run.plan)
        if topic is None or way(run):
            return [], {}
        changes = canary.make(run.clusters, topic, self.mirror.copy_of(topic))
        begins = run.current.note_offsets(_CANARY)
        if not begins:  # chosen once: a mirror that runs is not stopped to be told of another place
            begins = dict(canary.begins(run.clusters, topic))
            run.current.keep(_CANARY, to_json(begins))
        return changes, begins

    def _leg(self, here: Mapping[str, Topic], names: Mapping[str, str]) -> Leg:
        """Recorded before anything is copied: who is killed here finds the same numbers again.

        It is gone on with until it has ended; the next begins behind it.
        """
        run, legs, last = self.run, Legs(self.run.records), last_leg(self.run)
        # The ids first: what is read below is of these topics or of later ones.
        ids = {
            run.leaving.value: topic_ids(run.clusters.origin, here, there=True),
            run.heading.value: topic_ids(run.clusters.destination, names.values(), there=True),
        }
        if last is None or last.ended:
            begin, onto = last.starts_next(run.heading) if last else ({}, {})
            number = len(legs.all())
            ends_at = syncs_end(run.clusters.target, self.mirror.syncs_topic)
            last = legs.keep(Leg(number, run.heading, begin, onto, syncs_from=ends_at, ids=last.ids if last else {}))
        new = [tp for topic in here.values() for tp in topic.numbered() if tp not in last.begin]
        if not new:
            return last
        # MirrorMaker sees new partitions of its topics by itself, and may copy them already.
        known = {tp.topic for tp in last.begin}
        whole = dict.fromkeys((tp for tp in new if tp.topic in known), 0)
        copies = {TopicPartition(names[tp.topic], tp.partition): tp for tp in new if tp not in whole}
        begin = read_offsets(run.clusters.origin, copies.values(), Which.START)
        onto = {copies[tp]: at for tp, at in read_offsets(run.clusters.destination, copies, Which.END).items()}
        return legs.add(last, {**begin, **whole}, {**onto, **whole}, ids)
