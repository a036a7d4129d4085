"""What was produced on the target since a pass seeded its groups: where it begins, and whether there is anything."""

from __future__ import annotations

from kafka_migration.offsets import OffsetRange, Offsets, TopicPartition, Which, read_several
from kafka_migration.run import Run
from kafka_migration.sides import Side
from kafka_migration.visible import first_visible


def target_starts(run: Run) -> dict[TopicPartition, int]:
    """Where each partition of the target ended before anything was written there that groups must read."""
    return run.headed(Side.TARGET).current.note_offsets("target_starts")


def written_there(run: Run, starts: Offsets) -> list[TopicPartition]:
    """The partitions of the target that hold a visible message from these offsets on."""
    offsets = read_several(run.clusters.target, starts, (Which.START, Which.END))
    behind = [OffsetRange(tp, max(at, offsets[Which.START][tp]), offsets[Which.END][tp]) for tp, at in starts.items()]
    seen = first_visible(run.clusters.target, behind)
    return sorted(tp for tp, found in seen.items() if found.first is not None or not found.complete)
