"""Where a group goes on that leaves one cluster for the other, with a mirror that copies both ways: by content.

Where it leaves it has read that cluster's own topic T, which on the other side lies as copies, and beside it copies of
the other side's T, of which there the originals lie. So one place is found along a mirror and the other against one.
Both mirrors go on meanwhile; so the ends of what is copied are read anew each time, in the order that skips nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from kafka_migration.errors import Refused
from kafka_migration.mirror.anchors import Anchors
from kafka_migration.mirror.handover import Mapped, Position, map_positions
from kafka_migration.mirror.legs import Leg
from kafka_migration.mirror.placing import Verdict
from kafka_migration.mirror.runner import MirrorRunner
from kafka_migration.mirror.without_origin import places
from kafka_migration.offsets import OffsetRange, Offsets, TopicPartition, Which, read_offsets
from kafka_migration.passes import some
from kafka_migration.run import Run
from kafka_migration.sides import Side
from kafka_migration.steps import remade, repeats
from kafka_migration.steps.both_places import anchors_of, begun
from kafka_migration.topics.describe import describe_topics
from kafka_migration.visible import first_visible

_COPIED_WITHIN = 60.0  # seconds: a mirror that has caught up needs a moment
_LOOKS_EVERY = 0.2


def read_here(run: Run) -> dict[TopicPartition, str]:
    """By partition that groups read where this run leaves, originals and copies, the plan's topic that it is of."""
    forth, _ = begun(run, run.heading)
    back, mirror = begun(run, run.leaving)
    return {tp: tp.topic for tp in forth.begin} | {_named(mirror, tp): tp.topic for tp in back.begin}


def located(run: Run, positions: Iterable[Position], final: bool) -> list[Mapped]:
    """Each position mapped and proved, under the partition's name where this run goes.

    `final`: the groups have stopped, and each gets a place: where content proves none it is found by counting offsets,
    which may read something twice and skips nothing. Raises `ClusterError`, `FindingsFailed` where a topic was made
    anew, `Refused` where a mirror does not copy what a group has read.
    """
    wanted = list(positions)
    along, against = _Along.of(run), _Against.of(run)
    if final:
        along.await_copied([p for p in wanted if p.partition in along.names])
    return [
        replace(found, partition=flow.names[found.partition])
        for flow in (along, against)
        for found in flow.located([p for p in wanted if p.partition in flow.names], final)
    ]


@dataclass(frozen=True)
class _Flow:
    """One of the two mirrors, seen from where this run leaves. `names`: what a partition here is called there."""

    run: Run
    leg: Leg
    mirror: MirrorRunner
    names: Mapping[TopicPartition, TopicPartition]

    def located(self, wanted: list[Position], final: bool) -> list[Mapped]:
        remade.refuse(self.run, self.leg, "finding where groups go on")
        known = self.anchors()
        found = self._mapped(wanted, known)
        if final:
            # What lies behind all that the mirror has told is found from the ends of what is copied now.
            ended = self.ended()
            again = iter(self._mapped([p for p, m in zip(wanted, found, strict=True) if not m.proved], ended))
            found = [m if m.proved else next(again) for m in found]
            known = known if repeats.allowed(self.run) else ended

        def nowhere(m: Mapped) -> bool:
            return m.destination_offset is None and (final or m.verdict is not Verdict.NOT_YET)

        counted = iter(self._counted([p for p, m in zip(wanted, found, strict=True) if nowhere(m)], known))
        return [next(counted) if nowhere(m) else m for m in found]

    def anchors(self) -> dict[TopicPartition, Anchors]:
        """What is known of both sides of each partition, without an end."""
        raise NotImplementedError

    def ended(self) -> dict[TopicPartition, Anchors]:
        """The same with an end: everything there before it was read by whoever has come to it here."""
        raise NotImplementedError

    def anew(self) -> frozenset[str]:
        """The topics here of which one side stamps its messages anew: their timestamps say nothing of a copy."""
        raise NotImplementedError

    def stored(self) -> Offsets:
        """Up to where the mirror has stored that it has copied."""
        worker = self.run.headed(self.leg.heading).clusters.worker
        if worker is None:
            raise Refused(f"the plan names no Kafka Connect cluster that copies to the {self.leg.heading}")
        told = worker.positions(self.mirror.name)
        return {tp: max(begin, told.get(tp, begin)) for tp, begin in self.leg.begin.items()}

    def _mapped(self, wanted: list[Position], anchors: Mapping[TopicPartition, Anchors]) -> list[Mapped]:
        if not wanted:
            return []
        origin = self.run.clusters.origin
        topics = describe_topics(origin, {p.partition.topic for p in wanted})
        return map_positions(
            origin,
            self.run.clusters.destination,
            anchors,
            wanted,
            ignore_timestamp=self.anew(),
            compacted={name for name, topic in topics.items() if topic.compacted},
            named=self.names.__getitem__,
        )

    def _counted(self, wanted: list[Position], anchors: Mapping[TopicPartition, Anchors]) -> list[Mapped]:
        if not wanted:
            return []
        there = self.run.clusters.destination
        stable = read_offsets(there, [self.names[p.partition] for p in wanted], Which.STABLE)
        images = {p.partition: stable[self.names[p.partition]] for p in wanted}
        return [
            Mapped(
                one.group,
                one.partition,
                position.offset,
                one.offset,
                Verdict.REPEATS,
                one.near,
                "not proved by content, and found by counting offsets between two that the mirror has told",
                None,
            )
            for position, one in zip(
                wanted, places(there, anchors, wanted, images, self.names.__getitem__), strict=True
            )
        ]


class _Along(_Flow):
    """Topics of where this run leaves: it goes on to their copies."""

    @classmethod
    def of(cls, run: Run) -> _Along:
        leg, mirror = begun(run, run.heading)
        return cls(run, leg, mirror, {tp: _named(mirror, tp) for tp in leg.begin})

    def anchors(self) -> dict[TopicPartition, Anchors]:
        return anchors_of(self.run, self.leg, self.mirror, None)

    def ended(self) -> dict[TopicPartition, Anchors]:
        # The copies first: what is there by then is stored as copied when the mirror is asked afterwards.
        images = read_offsets(self.run.clusters.destination, self.names.values(), Which.STABLE)
        stored = self.stored()
        ends = {tp: (stored[tp], images[name]) for tp, name in self.names.items()}
        return anchors_of(self.run, self.leg, self.mirror, ends)

    def anew(self) -> frozenset[str]:
        return frozenset(
            tp.topic
            for tp, name in self.names.items()
            if name.topic in _stamped(self.run, self.run.heading, self.names.values())
        )

    def await_copied(self, wanted: Iterable[Position]) -> None:
        """Until all is copied that the groups have read here. Raises `Refused`."""
        read: dict[TopicPartition, int] = {}
        for p in wanted:
            read[p.partition] = max(p.offset, read.get(p.partition, 0))
        deadline = time.monotonic() + _COPIED_WITHIN
        while True:
            stored = self.stored()
            left = [OffsetRange(tp, stored[tp], at) for tp, at in read.items() if stored[tp] < at]
            seen = first_visible(self.run.clusters.origin, left)
            behind = sorted(tp for tp, one in seen.items() if one.first is not None or not one.complete)
            if not behind:
                return
            if time.monotonic() > deadline:
                raise Refused(
                    f"{self.mirror} has not copied what was read of {some(behind)}: see that it runs, then clear this"
                    " task. Nothing was set."
                )
            time.sleep(_LOOKS_EVERY)


class _Against(_Flow):
    """Topics of where this run goes, which it has read here as copies: it goes on to the originals."""

    @classmethod
    def of(cls, run: Run) -> _Against:
        leg, mirror = begun(run, run.leaving)
        return cls(run, leg, mirror, {_named(mirror, tp): tp for tp in leg.begin})

    def anchors(self) -> dict[TopicPartition, Anchors]:
        known = anchors_of(self.run, self.leg, self.mirror, None)
        return {here: known[there].swapped() for here, there in self.names.items()}

    def ended(self) -> dict[TopicPartition, Anchors]:
        # The originals first: who has come to the end of the copies afterwards has read all that was copied by then.
        stored = self.stored()
        images = read_offsets(self.run.clusters.origin, self.names, Which.STABLE)
        ends = {there: (stored[there], images[here]) for here, there in self.names.items()}
        known = anchors_of(self.run, self.leg, self.mirror, ends)
        return {here: known[there].swapped() for here, there in self.names.items()}

    def anew(self) -> frozenset[str]:
        return frozenset(_stamped(self.run, self.run.leaving, self.names))


def _stamped(run: Run, side: Side, copies: Iterable[TopicPartition]) -> set[str]:
    topics = describe_topics(run.clusters.of(side), {tp.topic for tp in copies})
    return {n for n, t in topics.items() if t.settings.get("message.timestamp.type") == "LogAppendTime"}


def _named(mirror: MirrorRunner, tp: TopicPartition) -> TopicPartition:
    return replace(tp, topic=mirror.copy_of(tp.topic))
