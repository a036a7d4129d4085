"""Where a comparison begins whose head retention has deleted from the origin since it was copied.

Copies are held on the destination until the verdict; the origin goes on deleting what its retention lets go. What is
still kept can be compared all the same: where it begins on the destination is found and proved as at a handover.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kafka_migration.mirror.handover import Position, map_positions
from kafka_migration.mirror.legs import Leg
from kafka_migration.offsets import Which, read_offsets
from kafka_migration.run import Run
from kafka_migration.steps.handover import anchors_of
from kafka_migration.steps.mirroring import stamped
from kafka_migration.verification.differences import RangePair


def kept(run: Run, leg: Leg, pairs: Sequence[RangePair]) -> list[RangePair]:
    """The same pairs, those of which the origin has lost the beginning from its first kept message on.

    Left as they are: compacted topics, ranges that are gone altogether, and those whose beginning cannot be proved.
    Raises `ClusterError`.
    """
    starts = read_offsets(
        run.clusters.origin, [p.partition for p in pairs if p.origin_start < p.origin_end], Which.START
    )
    behind = {
        p.partition: starts[p.partition]
        for p in pairs
        if not p.by_key and p.origin_start < starts.get(p.partition, 0) < p.origin_end
    }
    if not behind:
        return list(pairs)
    mapped = map_positions(
        run.clusters.origin,
        run.clusters.destination,
        anchors_of(run, leg),
        [Position("", tp, start) for tp, start in behind.items()],
        ignore_timestamp=stamped(run, behind),
    )
    there = {m.partition: m.destination_offset for m in mapped if m.proved}
    return [
        replace(p, origin_start=behind[p.partition], destination_start=at, former_start=p.origin_start)
        if (at := there.get(p.partition)) is not None
        else p
        for p in pairs
    ]
