"""Content comparison: every visible message of two ranges that were fixed before, in the order of their partition.

Both sides are read a chunk at a time, so that memory does not grow with what is stored. After a difference the streams
are brought together again, so that one message that is missing counts as one. Of a compacted topic the latest value of
every key is compared: the sides may have been compacted at different times.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from kafka_migration.clusters.client import Cluster
from kafka_migration.findings import Finding, Status
from kafka_migration.offsets import OffsetRange, TopicPartition
from kafka_migration.verification.digest import digest
from kafka_migration.visible import Seen, each_visible

_CHUNK = 400_000  # offsets of all partitions together that are read of a side at once
_LEAST = 5_000
_WINDOW = 2_000  # messages within which the streams are brought together again
_RUN = 3  # equal messages in a row that count as being together
_SHOWN = 20

Entry = tuple[int, bytes]


@dataclass(frozen=True)
class RangePair:
    """One partition: [start, end) on the origin and on the destination.

    `ignore_timestamp`: the destination stamps messages anew. `by_key`: the latest value of each key counts.
    """

    partition: TopicPartition
    origin_start: int
    origin_end: int
    destination_start: int
    destination_end: int
    ignore_timestamp: bool = False
    by_key: bool = False


@dataclass(frozen=True)
class Difference:
    """One message that is not the same on both sides; None: it is not there.

    `kind`: missing (only on the origin), extra (only on the destination), repeated (an extra that is a copy of
    another), altered (in the same place, another content).
    """

    kind: str
    partition: TopicPartition
    origin_offset: int | None
    destination_offset: int | None

    def __str__(self) -> str:
        offset = self.origin_offset if self.origin_offset is not None else self.destination_offset
        return f"{self.partition}@{offset}:{self.kind}"


@dataclass
class ContentResult:
    """What comparing one partition showed. `differences` holds the first of them, `different` counts all.

    `complete`: both ranges were read to their ends; if not, an open transaction stood in the way.
    """

    partition: TopicPartition
    origin_visible: int = 0
    destination_visible: int = 0
    equal: int = 0
    different: int = 0
    complete: bool = True
    differences: list[Difference] = field(default_factory=list)

    def note(self, kind: str, origin: int | None, destination: int | None) -> None:
        self.different += 1
        if len(self.differences) < _SHOWN:
            self.differences.append(Difference(kind, self.partition, origin, destination))


def compare_content(
    origin: Cluster,
    destination: Cluster,
    pairs: Sequence[RangePair],
    progress: Callable[[int, int], None] | None = None,
) -> dict[TopicPartition, ContentResult]:
    """Compare each pair of ranges. `progress` is told offsets read and offsets in all.

    Raises `ClusterError` where the start of a range is not kept any more.
    """
    comparisons = {p.partition: (ByKey if p.by_key else InOrder)(p) for p in pairs}
    sides = (
        _Side(origin, {p.partition: (p.origin_start, p.origin_end) for p in pairs}, pairs),
        _Side(destination, {p.partition: (p.destination_start, p.destination_end) for p in pairs}, pairs),
    )
    total = sum(side.left for side in sides)
    with ThreadPoolExecutor(2) as pool:
        while any(side.left for side in sides):
            read = [pool.submit(side.read, comparisons, number) for number, side in enumerate(sides)]
            for future in read:
                future.result()
            for comparison in comparisons.values():
                comparison.advance()
            if progress is not None:
                progress(total - sum(side.left for side in sides), total)
    return {tp: comparison.result() for tp, comparison in comparisons.items()}


def judge_content(results: dict[TopicPartition, ContentResult]) -> list[Finding]:
    """One finding a topic: PASS with the count, FAIL with the first differences, INCONCLUSIVE if not all was read."""
    findings = []
    for topic in sorted({tp.topic for tp in results}):
        mine = [r for tp, r in sorted(results.items()) if tp.topic == topic]
        wrong = [d for r in mine for d in r.differences]
        unread = [str(r.partition) for r in mine if not r.complete]
        count = sum(r.equal for r in mine)
        if wrong:
            total = sum(r.different for r in mine)
            findings.append(
                Finding(
                    f"content/{topic}",
                    Status.FAIL,
                    f"{total:,} messages differ: {', '.join(map(str, wrong[:5]))}" + (" ..." if total > 5 else ""),
                    "every message as on the other side",
                    "a missing or altered message cannot be mended in place: look who else writes to the topic, take"
                    " the migration back, empty the topic and copy it again",
                )
            )
        elif unread:
            findings.append(
                Finding(
                    f"content/{topic}",
                    Status.INCONCLUSIVE,
                    f"an open transaction keeps {', '.join(unread[:5])} from being read to the end",
                    "both ranges read whole",
                    "it ends with its producer's commit or its time-out: then clear this task",
                )
            )
        else:
            told = f"{count:,} messages of {len(mine)} partitions are equal"
            findings.append(Finding(f"content/{topic}", Status.PASS, told))
    return findings


class _Side:
    """One cluster: what is still to be read of each partition."""

    def __init__(
        self, cluster: Cluster, ranges: dict[TopicPartition, tuple[int, int]], pairs: Sequence[RangePair]
    ) -> None:
        self._cluster = cluster
        self._next = {tp: start for tp, (start, _) in ranges.items()}
        self._end = {tp: end for tp, (_, end) in ranges.items()}
        self._stamped = {p.partition for p in pairs if p.ignore_timestamp}

    @property
    def left(self) -> int:
        return sum(max(0, self._end[tp] - at) for tp, at in self._next.items())

    def read(self, into: dict[TopicPartition, InOrder | ByKey], number: int) -> None:
        """Read on where what was read before is used up."""
        open_ = [tp for tp, at in self._next.items() if at < self._end[tp]]
        most = max(_LEAST, _CHUNK // max(1, len(open_)))
        ranges = [
            OffsetRange(tp, self._next[tp], min(self._end[tp], self._next[tp] + most))
            for tp in open_
            if into[tp].wants(number, most)
        ]

        def tell(tp: TopicPartition, message: Any) -> None:
            into[tp].feed(number, message, digest(message, timestamp=tp not in self._stamped))

        seen: dict[TopicPartition, Seen] = each_visible(self._cluster, ranges, tell)
        for r in ranges:
            if seen[r.partition].complete:
                self._next[r.partition] = r.end
            else:
                self._next[r.partition] = self._end[r.partition]
                into[r.partition].cut_short()


class InOrder:
    """Two streams of one partition, compared as they come."""

    def __init__(self, pair: RangePair) -> None:
        self._found = ContentResult(pair.partition)
        self._waiting: tuple[deque[Entry], deque[Entry]] = (deque(), deque())
        self._lately: deque[bytes] = deque(maxlen=_WINDOW)

    def wants(self, side: int, most: int) -> bool:
        """Not while the other side has to catch up: neither may run ahead without end."""
        return len(self._waiting[side]) < max(most, _WINDOW)

    def feed(self, side: int, message: Any, told: bytes) -> None:
        self._waiting[side].append((message.offset(), told))
        if side == 0:
            self._found.origin_visible += 1
        else:
            self._found.destination_visible += 1

    def cut_short(self) -> None:
        self._found.complete = False

    def advance(self, final: bool = False) -> None:
        one, other = self._waiting
        while one and other:
            if one[0][1] == other[0][1]:
                self._lately.append(one.popleft()[1])
                other.popleft()
                self._found.equal += 1
            elif final or (len(one) > _WINDOW and len(other) > _WINDOW):
                self._step_over(*_together(one, other))
            else:
                return

    def result(self) -> ContentResult:
        self.advance(final=True)
        if self._found.complete:  # of a side that could not be read nobody knows what it lacks
            self._step_over(len(self._waiting[0]), len(self._waiting[1]))
        return self._found

    def _step_over(self, on_origin: int, on_destination: int) -> None:
        """So many of each side's next messages have no equal in the same place on the other."""
        one, other = self._waiting
        mine = [one.popleft() for _ in range(on_origin)]
        theirs = [other.popleft() for _ in range(on_destination)]
        known = {*self._lately, *(told for _, told in one)}
        for (offset, _), (copy, _) in zip(mine, theirs, strict=False):
            self._found.note("altered", offset, copy)
        for offset, _ in mine[len(theirs) :]:
            self._found.note("missing", offset, None)
        for copy, told in theirs[len(mine) :]:
            self._found.note("repeated" if told in known else "extra", None, copy)


def _together(one: deque[Entry], other: deque[Entry]) -> tuple[int, int]:
    """How many to step over on each side until both go on alike; all within the window where they do not."""
    mine = [told for _, told in list(one)[:_WINDOW]]
    theirs = [told for _, told in list(other)[:_WINDOW]]
    places: dict[bytes, list[int]] = {}
    for place, told in enumerate(theirs):
        places.setdefault(told, []).append(place)
    best: tuple[int, int] | None = None
    for i, told in enumerate(mine):
        if best is not None and i >= sum(best):
            break
        for j in places.get(told, ()):
            if best is not None and i + j >= sum(best):
                break
            run = min(_RUN, len(mine) - i, len(theirs) - j)
            if mine[i : i + run] == theirs[j : j + run]:
                best = (i, j)
                break
    return best or (len(mine), len(theirs))


class ByKey:
    """The latest message of every key of one partition, on both sides."""

    def __init__(self, pair: RangePair) -> None:
        self._found = ContentResult(pair.partition)
        self._latest: tuple[dict[bytes | None, tuple[int, bytes, bool]], ...] = ({}, {})

    def wants(self, side: int, most: int) -> bool:
        return True

    def feed(self, side: int, message: Any, told: bytes) -> None:
        self._latest[side][message.key()] = (message.offset(), told, message.value() is None)
        if side == 0:
            self._found.origin_visible += 1
        else:
            self._found.destination_visible += 1

    def cut_short(self) -> None:
        self._found.complete = False

    def advance(self) -> None:
        """Nothing is known before the end."""

    def result(self) -> ContentResult:
        one, other = self._latest
        if not self._found.complete:
            return self._found
        for key in one.keys() | other.keys():
            mine, theirs = one.get(key), other.get(key)
            if mine is not None and theirs is not None:
                if mine[1] == theirs[1]:
                    self._found.equal += 1
                else:
                    self._found.note("altered", mine[0], theirs[0])
            elif mine is not None and not mine[2]:  # of a key that was deleted either side may hold nothing
                self._found.note("missing", mine[0], None)
            elif theirs is not None and not theirs[2]:
                self._found.note("extra", None, theirs[0])
        self._found.differences.sort(
            key=lambda d: (d.origin_offset is None, d.origin_offset, d.destination_offset or 0)
        )
        return self._found
