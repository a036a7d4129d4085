"""One sight of a mirror: how far it is behind, partition by partition, and which of them stand still. Changes nothing.

Offsets are no messages: behind the last one that was copied there may be only the marks of transactions. So where a
partition does not move it is read whether anything is visible there; what is not, is not behind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kafka_migration.clusters.client import Cluster
from kafka_migration.mirror.runner import Progress
from kafka_migration.offsets import OffsetRange, Offsets, TopicPartition, Which, from_json, read_offsets
from kafka_migration.visible import first_visible

_READ_AT_ONCE = 200


@dataclass(frozen=True)
class Sight:
    """`at`: the offset of the origin before which everything visible is copied.

    For the next sight, `void`: those of them that are known by reading, not by what the mirror has stored; `lag`: by
    partition that is behind where it is, where the origin ends, since when it has been there, and whether anything
    visible is known to be left.
    """

    starts: Offsets
    ends: Offsets
    at: Offsets
    void: Offsets
    lag: Mapping[str, list[Any]]

    @property
    def behind(self) -> int:
        """Offsets that are not copied yet, those left out of which it is known that nothing visible is there."""
        return sum(end - at for at, end, *_ in self.lag.values())

    def stalled(self, now: float, after: float) -> list[TopicPartition]:
        """Partitions that have not moved for so long, though something visible is left of them."""
        return [
            TopicPartition.parse(tp) for tp, (_, _, since, left) in self.lag.items() if left and now - since > after
        ]


def look_at(
    origin: Cluster,
    flow: Mapping[str, Any],
    starts: Offsets,
    progress: Progress,
    former: Mapping[str, Any],
    now: float,
) -> Sight:
    """`flow`: `begins`, from where on is copied, and `proved`, before which nothing is left, each as JSON.

    `starts`: read before `progress` was asked for. In the other order what is copied and deleted between the two would
    pass for deleted before it was copied.
    `former`: `lag` and `void` of the sight before, as JSON.
    """
    begins, lag = from_json(flow["begins"]), former.get("lag", {})
    read = from_json({**flow["proved"], **former.get("void", {})})
    ends = read_offsets(origin, begins, Which.END)
    stored = {tp: max(begin, progress.positions.get(tp, begin)) for tp, begin in begins.items()}
    at = {tp: max(offset, read.get(tp, offset)) for tp, offset in stored.items()}
    left = {tp: ends[tp] for tp in begins if at[tp] < ends[tp]}
    # Only what stands where it stood is read: a mirror that copies moves on by itself.
    still = [tp for tp in left if str(tp) in lag and lag[str(tp)][0] == at[tp] and at[tp] >= starts[tp]]
    asked = sorted(still, key=lambda tp: bool(lag[str(tp)][3]))[:_READ_AT_ONCE]  # those first of which it is not known
    seen = first_visible(origin, [OffsetRange(tp, at[tp], ends[tp]) for tp in asked])
    at |= {tp: ends[tp] for tp in asked if seen[tp].first is None and seen[tp].complete}
    found = {}
    for tp, end in sorted(left.items()):
        if at[tp] >= end:
            continue
        known = lag.get(str(tp))
        stands = known is not None and known[0] == at[tp]
        visible = seen[tp].first is not None if tp in seen else bool(stands and known and known[3])
        found[str(tp)] = [at[tp], end, known[2] if stands and known else now, visible]
    return Sight(starts, ends, at, {tp: offset for tp, offset in at.items() if offset > stored[tp]}, found)
