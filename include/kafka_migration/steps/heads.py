"""Where a comparison begins of which one side has lost the beginning, by retention, since it was copied.

What both still keep can be compared all the same: where that begins on the other side is found and proved as at a
handover.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from kafka_migration.clusters.client import Cluster
from kafka_migration.mirror.anchors import Anchors
from kafka_migration.mirror.handover import Position, map_positions
from kafka_migration.mirror.legs import Leg
from kafka_migration.offsets import Offsets, TopicPartition, Which, read_offsets
from kafka_migration.run import Run
from kafka_migration.steps.handover import anchors_of
from kafka_migration.steps.mirroring import stamped
from kafka_migration.verification.differences import RangePair


def kept(run: Run, leg: Leg, pairs: Sequence[RangePair]) -> list[RangePair]:
    """The same pairs, of those that have lost their beginning the part that both sides keep.

    Left as they are: compacted topics, copies under names of their own, ranges of which one side keeps nothing, and
    those whose beginning cannot be proved. Raises `ClusterError`.
    """
    here, there = run.clusters.origin, run.clusters.destination
    in_order = [p for p in pairs if not p.by_key and p.copy is None]
    if not in_order:
        return list(pairs)
    starts = read_offsets(here, [p.partition for p in in_order], Which.START)
    starts_there = read_offsets(there, [p.partition for p in in_order], Which.START)
    if all(
        starts[p.partition] <= p.origin_start and starts_there[p.partition] <= p.destination_start for p in in_order
    ):
        return list(pairs)
    anchors, stamped_anew = anchors_of(run, leg), stamped(run, leg.begin)
    behind = {tp: at for p in in_order if p.origin_start < (at := starts[tp := p.partition]) < p.origin_end}
    begins = {tp: (behind[tp], at) for tp, at in _mapped(here, there, anchors, behind, stamped_anew).items()}
    # The other way round, of what the destination has deleted further than that.
    begun = {p.partition: begins.get(p.partition, (p.origin_start, p.destination_start)) for p in in_order}
    short = {tp: at for p in in_order if begun[tp := p.partition][1] < (at := starts_there[tp]) < p.destination_end}
    back = {tp: known.swapped() for tp, known in anchors.items() if tp in short}
    begins |= {tp: (at, short[tp]) for tp, at in _mapped(there, here, back, short, stamped_anew).items()}
    return [
        replace(p, origin_start=found[0], destination_start=found[1], former_start=p.origin_start)
        if (found := begins.get(p.partition))
        else p
        for p in pairs
    ]


def _mapped(
    origin: Cluster,
    destination: Cluster,
    anchors: Mapping[TopicPartition, Anchors],
    offsets: Offsets,
    stamped_anew: Collection[str],
) -> dict[TopicPartition, int]:
    """Where on the destination the messages at these offsets lie, of those of which that can be proved."""
    wanted = [Position("", tp, offset) for tp, offset in offsets.items()]
    found = map_positions(origin, destination, anchors, wanted, ignore_timestamp=stamped_anew) if wanted else []
    return {m.partition: m.destination_offset for m in found if m.proved and m.destination_offset is not None}
