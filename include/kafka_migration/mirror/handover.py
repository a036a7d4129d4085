"""Where on the destination a group goes on: the offset of the very message that it would have read next on the origin.

Computed between two anchors by counting visible messages, and proved by their content. Nothing is ever skipped: what
cannot be proved gets the nearest offset that is safe, and how much would be read again from there, or none.

Markers of transactions, aborted messages and what compaction removed have offsets and are not seen, on either side: so
`downstream + n` is not an offset (measured: 342 of 400 right), and the n-th visible message is (400 of 400).
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from kafka_migration.clusters.client import Cluster
from kafka_migration.mirror.anchors import Anchors
from kafka_migration.mirror.placing import BLOCKED, Place, Verdict, not_yet, place
from kafka_migration.mirror.windows import Between, Bounds, Named, read_bounds, read_windows, same
from kafka_migration.offsets import OffsetRange, Offsets, TopicPartition, Which, read_several
from kafka_migration.verification.digest import digest
from kafka_migration.visible import each_visible, first_visible

_MOST_TO_REHEARSE = 200_000  # offsets behind the last anchor; what lies further on is mapped when the mirror has ended
_STEPS_BACK = (64, 4_096, 262_144)
_LOOK_EVERY = 1.0  # seconds

OPEN_FOR = 60.0
"""Seconds for which what is left of a transaction is waited for: the default of `transaction.timeout.ms`."""

Spot = tuple[TopicPartition, int]
"""A place on the origin at which one or more groups stand."""


@dataclass(frozen=True)
class Position:
    """Where a group stands on a partition of the origin: the offset that it reads next."""

    group: str
    partition: TopicPartition
    offset: int


@dataclass(frozen=True)
class Mapped:
    """Where it goes on. `destination_offset` None: nowhere yet. `repeats`: messages that it would read again at most.

    `next_origin`: the offset of the message that it reads next, where there is one and it was found. `proof` says on
    what the answer rests.
    """

    group: str
    partition: TopicPartition
    origin_offset: int
    destination_offset: int | None
    verdict: Verdict
    repeats: int
    proof: str
    next_origin: int | None

    @property
    def proved(self) -> bool:
        return self.verdict in (Verdict.EXACT, Verdict.AT_END)


@dataclass(frozen=True)
class End:
    """Whether the last visible message before the end of both ranges is the same; `told` for people.

    `blocked`: an open transaction keeps one of them from being read.
    """

    partition: TopicPartition
    equal: bool
    told: str
    blocked: bool = False


def map_positions(
    origin: Cluster,
    destination: Cluster,
    anchors: Mapping[TopicPartition, Anchors],
    positions: Iterable[Position],
    ignore_timestamp: Collection[str] = (),
    compacted: Collection[str] = (),
    named: Named = same,
    patience: float = 0.0,
) -> list[Mapped]:
    """Each position mapped and proved, in the order given. Each distinct one is read and mapped once.

    `ignore_timestamp`: topics whose messages the destination stamps anew. `compacted`: topics of which the origin may
    have removed messages since they were copied. `named`: what a partition is called on the destination. `patience`:
    seconds for which what an open transaction keeps from being read is tried again. Raises `ClusterError`.
    """
    wanted = list(positions)
    deadline = time.monotonic() + patience
    mapped = _mapped(origin, destination, anchors, wanted, ignore_timestamp, compacted, named)
    while (blocked := [p for p, m in zip(wanted, mapped, strict=True) if m.proof == BLOCKED]) and (
        time.monotonic() < deadline
    ):
        time.sleep(_LOOK_EVERY)
        again = iter(_mapped(origin, destination, anchors, blocked, ignore_timestamp, compacted, named))
        mapped = [next(again) if m.proof == BLOCKED else m for m in mapped]
    return mapped


def _mapped(
    origin: Cluster,
    destination: Cluster,
    anchors: Mapping[TopicPartition, Anchors],
    wanted: Sequence[Position],
    ignore_timestamp: Collection[str],
    compacted: Collection[str],
    named: Named,
) -> list[Mapped]:
    bounds = read_bounds(origin, destination, {p.partition for p in wanted}, named)
    scene = _Scene(origin, destination, anchors, bounds, ignore_timestamp, compacted, named)

    def spot(position: Position) -> Spot:
        return position.partition, max(position.offset, bounds[position.partition].origin_start)

    places: dict[Spot, Place] = {}
    behind: list[Spot] = []
    for one, found in scene.placed({spot(p) for p in wanted}):
        if found is None:
            behind.append(one)
        else:
            places[one] = found
    # The origin has compacted everything up to the next anchor: the next message is looked for behind it.
    onward = scene.onward(behind)
    again = dict(scene.placed(set(onward.values())))
    gone = not_yet("what it reads next has been deleted meanwhile")
    places |= {one: again[next_spot] or gone for one, next_spot in onward.items()}
    return [Mapped(p.group, p.partition, p.offset, **vars(places[spot(p)])) for p in wanted]


@dataclass(frozen=True)
class _Scene:
    """Both clusters, what is known of them, and how they are looked at."""

    origin: Cluster
    destination: Cluster
    anchors: Mapping[TopicPartition, Anchors]
    bounds: Mapping[TopicPartition, Bounds]
    ignore_timestamp: Collection[str]
    compacted: Collection[str]
    named: Named

    def placed(self, spots: Collection[Spot]) -> Iterator[tuple[Spot, Place | None]]:
        """The place of each; None: nothing visible is left before the next anchor."""
        around: dict[Between, list[int]] = {}
        for tp, offset in spots:
            between = self._around(tp, offset)
            if between is None:
                yield (tp, offset), not_yet("behind what the mirror has told of its copies so far")
            else:
                around.setdefault(between, []).append(offset)
        windows = read_windows(self.origin, self.destination, around, self.bounds, self.ignore_timestamp, self.named)
        for between, window in windows:
            tp = between.partition
            for offset in around[between]:
                yield (tp, offset), place(window, offset, tp.topic in self.compacted)

    def onward(self, spots: Collection[Spot]) -> dict[Spot, Spot]:
        """For each the first message behind the anchor above it; the end where there is none."""
        ranges: dict[Spot, OffsetRange] = {}
        for tp, offset in spots:
            high = self.anchors[tp].around(offset)[1]
            assert high is not None
            ranges[tp, offset] = OffsetRange(tp, high[0] + 1, self._end(tp))
        found: dict[Spot, Spot] = {}
        for together in _rounds(ranges):
            seen = first_visible(self.origin, list(together.values()))
            for (tp, offset), reading in together.items():
                first = seen[tp].first
                found[tp, offset] = (tp, reading.end if first is None else first)
        return found

    def _around(self, tp: TopicPartition, offset: int) -> Between | None:
        known = self.anchors[tp]
        low, high = known.around(offset)
        if high is not None:
            return Between(tp, low, high, known.ended and high == known.pairs[-1])
        # Only while the mirror still copies is there none above.
        begin = max(low[0] if low else 0, self.bounds[tp].origin_start)
        return None if self.bounds[tp].origin_stable - begin > _MOST_TO_REHEARSE else Between(tp, low, None, False)

    def _end(self, tp: TopicPartition) -> int:
        known = self.anchors[tp]
        return known.pairs[-1][0] if known.ended else self.bounds[tp].origin_stable


def _rounds(ranges: Mapping[Spot, OffsetRange]) -> Iterator[dict[Spot, OffsetRange]]:
    """Each partition once in a round."""
    by_partition: dict[TopicPartition, list[Spot]] = {}
    for one in ranges:
        by_partition.setdefault(one[0], []).append(one)
    for together in zip_longest(*by_partition.values()):
        yield {one: ranges[one] for one in together if one is not None}


def prove_end(
    origin: Cluster,
    destination: Cluster,
    ends: Offsets,
    images: Offsets,
    ignore_timestamp: Collection[str] = (),
    begins: tuple[Offsets, Offsets] | None = None,
    patience: float = 0.0,
) -> dict[TopicPartition, End]:
    """Whether the last visible message before `ends` is the last one before `images`, of each partition.

    `begins`: on both sides, the offsets before which nothing counts; None: all that is kept does. `patience`: seconds
    for which what an open transaction keeps from being read is tried again. Raises `ClusterError`.
    """
    deadline = time.monotonic() + patience
    found = _ends_of(origin, destination, ends, images, ignore_timestamp, begins)
    while (blocked := [tp for tp, end in found.items() if end.blocked]) and time.monotonic() < deadline:
        time.sleep(_LOOK_EVERY)
        left = {tp: ends[tp] for tp in blocked}
        found |= _ends_of(origin, destination, left, {tp: images[tp] for tp in blocked}, ignore_timestamp, begins)
    return found


def _ends_of(
    origin: Cluster,
    destination: Cluster,
    ends: Offsets,
    images: Offsets,
    ignore_timestamp: Collection[str],
    begins: tuple[Offsets, Offsets] | None,
) -> dict[TopicPartition, End]:
    first, onto = begins or ({}, {})
    here = _last_visible(origin, ends, ignore_timestamp, first)
    there = _last_visible(destination, images, ignore_timestamp, onto)
    return {tp: _compared(tp, here[tp], there[tp], origin, destination) for tp in ends}


@dataclass(frozen=True)
class _Last:
    """The last visible message before an end. `complete`: everything up to the end could be read."""

    offset: int | None
    digest: bytes
    complete: bool


def _compared(tp: TopicPartition, here: _Last, there: _Last, origin: Cluster, destination: Cluster) -> End:
    for last, cluster in ((here, origin), (there, destination)):
        if not last.complete:
            return End(tp, False, f"an open transaction on the {cluster.side} keeps the end from being read", True)
    if here.offset is None:
        # Deleted by retention, or never there: then nothing is left to be read either.
        return End(tp, True, f"no message is left before the cutover point on the {origin.side}")
    where = f"offset {here.offset:,} on the {origin.side}, "
    if there.offset is None:
        return End(tp, False, f"last visible message: {where}none on the {destination.side}")
    equal = here.digest == there.digest
    where += f"offset {there.offset:,} on the {destination.side}"
    return End(tp, equal, f"last visible messages {'are equal' if equal else 'differ'}: {where}")


def _last_visible(
    cluster: Cluster, ends: Offsets, ignore_timestamp: Collection[str], begins: Offsets
) -> dict[TopicPartition, _Last]:
    """The last visible message before each end, found by reading in growing steps backward, down to `begins`."""
    kept = read_several(cluster, ends, (Which.START,))[Which.START]
    starts = {tp: max(start, begins.get(tp, start)) for tp, start in kept.items()}
    found = {tp: _Last(None, b"", True) for tp in ends}
    left = {tp: end for tp, end in ends.items() if end > starts[tp]}
    steps = iter(_STEPS_BACK)
    while left:
        step = next(steps, None)
        ranges = [
            OffsetRange(tp, starts[tp] if step is None else max(starts[tp], end - step), end)
            for tp, end in left.items()
        ]
        last: dict[TopicPartition, _Last] = {}

        def tell(tp: TopicPartition, message: Any, last: dict[TopicPartition, _Last] = last) -> None:
            last[tp] = _Last(message.offset(), digest(message, timestamp=tp.topic not in ignore_timestamp), True)

        seen = each_visible(cluster, ranges, tell)
        open_ones = {tp: _Last(None, b"", False) for tp, reading in seen.items() if not reading.complete}
        found |= last | open_ones
        left = {
            r.partition: r.start
            for r in ranges
            if r.partition not in last and r.partition not in open_ones and r.start > starts[r.partition]
        }
    return found
