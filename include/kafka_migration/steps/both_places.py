"""Where groups of the source go on at the target, with a mirror that copies both ways, when the source is gone.

There a group has read the source's own topic T, and as target.T the copies of the target's. Here the copies are
source.T, and T is the original: so its place in the one is found as with any mirror, and its place in the other by the
same arithmetic, seen from the other end of the way back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from kafka_migration.errors import Refused
from kafka_migration.mirror.anchors import Anchors, Pair, read_syncs
from kafka_migration.mirror.handover import Position
from kafka_migration.mirror.legs import Leg, Legs, rising
from kafka_migration.mirror.runner import MirrorRunner
from kafka_migration.mirror.without_origin import Survived, places
from kafka_migration.offsets import Offsets, TopicPartition, Which, read_offsets
from kafka_migration.run import Run
from kafka_migration.sides import Side
from kafka_migration.steps.common import exported_key
from kafka_migration.steps.mirroring import leg_of, runner


def survived(
    run: Run, commits: Mapping[str, Offsets], ends: Mapping[TopicPartition, Pair] | None = None
) -> list[Survived]:
    """Each group's places on the target, by the partitions that it reads there. Asks nothing of the source.

    `commits`: by group what is known of its commits on the source, those on copies among them. `ends`: by partition of
    the source up to where it was copied, and where its copies end; None: where that is not known exactly.
    Raises `Refused` before both ways have been started, `ClusterError`.
    """
    return [*_of_copies(run, commits, ends), *_of_originals(run, commits)]


def tell_external(run: Run, groups: Iterable[str]) -> dict[str, str]:
    """For applications that keep their offsets themselves: which offset here is which where this run goes, as files.

    By group, where its file lies; recorded in the pass.
    """
    forth, mirror = begun(run, run.heading)
    back, home = begun(run, run.leaving)
    known = [
        *((tp, tp, mirror.copy_of(tp.topic), at.pairs) for tp, at in anchors_of(run, forth, mirror, None).items()),
        *(
            (tp, replace(tp, topic=home.copy_of(tp.topic)), tp.topic, at.swapped().pairs)
            for tp, at in anchors_of(run, back, home, None).items()
        ),
    ]
    head = f"topic,partition,{run.leaving},{run.heading}_topic,{run.heading}"
    told = {}
    for group in groups:
        rows = [
            f"{here.topic},{here.partition},{offset},{there},{its}"
            for of, here, there, pairs in sorted(known)
            if of.topic in run.plan.groups[group].topics
            for offset, its in pairs
        ]
        told[group] = run.leave(f"offsets-{group}.csv", "\n".join([head, *rows]) + "\n")
        run.current.keep(exported_key(group), {"file": told[group], "rows": len(rows)})
    return told


def anchors_of(
    run: Run, leg: Leg, mirror: MirrorRunner, ends: Mapping[TopicPartition, Pair] | None
) -> dict[TopicPartition, Anchors]:
    """Of each partition that one of the two mirrors copies what is known of it, the origin's offsets first."""
    legs = [one for one in Legs(run.records).all() if one.heading is leg.heading]
    syncs = read_syncs(run.clusters.target, mirror.syncs_topic, legs[0].syncs_from)
    found = {}
    for tp in leg.begin:
        edges = [(one.begin[tp], one.onto[tp]) for one in legs if tp in one.begin]
        edges += [(one.end[tp], one.image[tp]) for one in legs if one.end and one.image and tp in one.end]
        pairs = sorted({*edges, *rising(syncs.get(tp, ()))})
        found[tp] = Anchors.build(edges[0], pairs, ends[tp] if ends else None)
    return found


def begun(run: Run, side: Side) -> tuple[Leg, MirrorRunner]:
    """What is copied to that side, and by what. Raises `Refused` where nothing has been begun."""
    headed = run.headed(side)
    leg = leg_of(headed)
    if leg is None:
        raise Refused(f"nothing is mirrored to the {side} yet: run {run.plan.plan}.mirror first")
    return leg, runner(headed)


def _of_copies(run: Run, commits: Mapping[str, Offsets], ends: Mapping[TopicPartition, Pair] | None) -> list[Survived]:
    """Of the source's own topics, which the group goes on to read as copies."""
    leg, mirror = begun(run, Side.TARGET)
    names = {tp: replace(tp, topic=mirror.copy_of(tp.topic)) for tp in leg.begin}
    anchors = anchors_of(run, leg, mirror, ends)
    stable = read_offsets(run.clusters.target, names.values(), Which.STABLE)
    images = {tp: ends[tp][1] if ends else stable[name] for tp, name in names.items()}
    wanted = [Position(group, tp, offsets.get(tp, -1)) for group, offsets, tp in _read(run, commits, leg)]
    found = places(run.clusters.target, anchors, wanted, images, names.__getitem__)
    return [replace(one, partition=names[one.partition]) for one in found]


def _of_originals(run: Run, commits: Mapping[str, Offsets]) -> list[Survived]:
    """Of the target's own topics, whose copies the group has read on the source.

    How far the source had them is not known to the last message: the last that the mirror has told is the end.
    """
    leg, mirror = begun(run, Side.SOURCE)
    copies = {tp: replace(tp, topic=mirror.copy_of(tp.topic)) for tp in leg.begin}
    originals = {copy: tp for tp, copy in copies.items()}
    anchors = {copies[tp]: known.swapped() for tp, known in anchors_of(run, leg, mirror, None).items()}
    stable = read_offsets(run.clusters.target, leg.begin, Which.STABLE)
    wanted = [
        Position(group, copies[tp], offsets.get(copies[tp], -1)) for group, offsets, tp in _read(run, commits, leg)
    ]
    images = {copy: stable[tp] for copy, tp in originals.items()}
    found = places(run.clusters.target, anchors, wanted, images, originals.__getitem__)
    return [replace(one, partition=originals[one.partition]) for one in found]


def _read(run: Run, commits: Mapping[str, Offsets], leg: Leg) -> list[tuple[str, Offsets, TopicPartition]]:
    """By group that keeps its offsets in Kafka: what is known of it, and each partition of the leg that it reads."""
    return [
        (group, commits.get(group, {}), tp)
        for group, consumes in run.plan.groups.items()
        if consumes.offsets == "group"
        for tp in sorted(leg.begin)
        if tp.topic in consumes.topics
    ]
