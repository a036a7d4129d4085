"""Windows: the visible messages between two neighbouring anchors, on both sides, as offsets and digests.

Only what lies around the positions that are asked for is read. Windows of one partition that lie close together are
read in one go, those of many partitions side by side, and both clusters at the same time.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from kafka_migration.clusters.client import Cluster
from kafka_migration.mirror.anchors import Pair
from kafka_migration.offsets import OffsetRange, TopicPartition, Which, read_several
from kafka_migration.verification.digest import SIZE, digest
from kafka_migration.visible import each_visible

_CLOSE = 1_000  # offsets: reading over a gap of this size costs less than another round of reading


class Messages:
    """Visible messages of a partition, in order. 32 bytes each, so that a window may be a whole partition.

    `times`: their timestamps, milliseconds since 1970.
    """

    def __init__(self, offsets: Iterable[int] = (), digests: Iterable[bytes] = (), times: Iterable[int] = ()) -> None:
        self.offsets = array("q", offsets)
        self.times = array("q", times)
        self._digests = bytearray(b"".join(digests))

    def __len__(self) -> int:
        return len(self.offsets)

    def append(self, offset: int, digest: bytes, time: int) -> None:
        self.offsets.append(offset)
        self.times.append(time)
        self._digests += digest

    def digest(self, index: int) -> bytes:
        return bytes(self._digests[index * SIZE : (index + 1) * SIZE])

    def listed(self, first: int = 0) -> list[bytes]:
        """Their digests, from the one at index `first` on."""
        block = bytes(self._digests)
        return [block[i : i + SIZE] for i in range(first * SIZE, len(block), SIZE)]

    def cut(self, first: int, last: int) -> Messages:
        """Those at the indexes from `first` up to but without `last`."""
        found = Messages()
        found.offsets = self.offsets[first:last]
        found.times = self.times[first:last]
        found._digests = self._digests[first * SIZE : last * SIZE]
        return found

    def within(self, offsets: OffsetRange) -> Messages:
        return self.cut(bisect_left(self.offsets, offsets.start), bisect_left(self.offsets, offsets.end))

    def same_tail(self, other: Messages) -> int:
        """How many messages at the end of both are equal, one by one."""
        mine, its = self._digests, other._digests
        return _most(min(len(self), len(other)), lambda n: mine[len(mine) - n * SIZE :] == its[len(its) - n * SIZE :])

    def same_head(self, other: Messages) -> int:
        """How many messages at the beginning of both are equal, one by one."""
        return _most(min(len(self), len(other)), lambda n: self._digests[: n * SIZE] == other._digests[: n * SIZE])


def _most(limit: int, holds: Callable[[int], bool]) -> int:
    """The largest number up to `limit` for which it holds; it holds for all smaller ones as well."""
    return bisect_left(range(1, limit + 1), True, key=lambda n: not holds(n))


class Between(NamedTuple):
    """Which window: the anchors below and above, None where there is none. `is_end`: the upper one is no message."""

    partition: TopicPartition
    low: Pair | None
    high: Pair | None
    is_end: bool


@dataclass(frozen=True)
class Window:
    """What lies between two anchors, the messages at the anchors included.

    `high` None: no anchor is known above. `is_end`: the upper anchor is no message. `origin_kept`, `copies_kept`: that
    side still keeps everything from the lower anchor on. `complete`: both were read to the end of the window; no open
    transaction was in the way.
    """

    high: Pair | None
    is_end: bool
    origin_kept: bool
    copies_kept: bool
    complete: bool
    origin: Messages
    copies: Messages

    @property
    def whole(self) -> bool:
        return self.origin_kept and self.copies_kept

    @cached_property
    def tail(self) -> int:
        """How many messages before the upper anchor are equal on both sides; 0 where its message is not on both."""
        if not self.is_end and (
            not self.origin or not self.copies or (self.origin.offsets[-1], self.copies.offsets[-1]) != self.high
        ):
            return 0
        return self.origin.same_tail(self.copies)

    @cached_property
    def head(self) -> int:
        """How many messages behind the lower anchor are equal on both sides."""
        return self.origin.same_head(self.copies)

    @cached_property
    def times(self) -> Counter[bytes]:
        """How often each message comes on the origin."""
        return Counter(self.origin.listed())


@dataclass(frozen=True)
class Bounds:
    """What can be read of a partition: its log starts and last stable offsets."""

    origin_start: int
    origin_stable: int
    copies_start: int
    copies_stable: int


Named = Callable[[TopicPartition], TopicPartition]
"""What a partition of the origin is called on the destination."""


def same(tp: TopicPartition) -> TopicPartition:
    return tp


def read_bounds(
    origin: Cluster, destination: Cluster, partitions: Collection[TopicPartition], named: Named = same
) -> dict[TopicPartition, Bounds]:
    # The destination first: what is copied until then is surely on the origin when that is asked.
    there = read_several(destination, [named(tp) for tp in partitions], (Which.START, Which.STABLE))
    here = read_several(origin, partitions, (Which.START, Which.STABLE))
    return {
        tp: Bounds(
            here[Which.START][tp],
            here[Which.STABLE][tp],
            there[Which.START][named(tp)],
            there[Which.STABLE][named(tp)],
        )
        for tp in partitions
    }


def read_windows(
    origin: Cluster,
    destination: Cluster,
    wanted: Iterable[Between],
    bounds: Mapping[TopicPartition, Bounds],
    ignore_timestamp: Collection[str],
    named: Named = same,
) -> Iterator[tuple[Between, Window]]:
    """Each window as soon as it is read, so that no more than a round of them is in memory. Raises `ClusterError`."""
    by_partition: dict[TopicPartition, list[_Part]] = {}
    for between in sorted(set(wanted), key=lambda b: (b.partition, b.low or (-1, -1))):
        by_partition.setdefault(between.partition, []).append(_part(between, bounds[between.partition]))
    rounds: list[list[_Stretch]] = []
    for parts in by_partition.values():
        for number, stretch in enumerate(_stretches(parts)):
            if number == len(rounds):
                rounds.append([])
            rounds[number].append(stretch)
    with ThreadPoolExecutor(2) as pool:
        for stretches in rounds:
            here = pool.submit(_collect, origin, [s.origin for s in stretches], ignore_timestamp)
            there = pool.submit(_collect, destination, [s.copies for s in stretches], ignore_timestamp, named)
            for stretch in stretches:
                tp = stretch.origin.partition
                (mine, mine_ended), (copies, copies_ended) = here.result()[tp], there.result()[tp]
                for part in stretch.parts:
                    yield (
                        part.between,
                        Window(
                            part.between.high,
                            part.between.is_end,
                            part.origin_kept,
                            part.copies_kept,
                            mine_ended and copies_ended,
                            mine.within(part.origin),
                            copies.within(part.copies),
                        ),
                    )


@dataclass(frozen=True)
class _Part:
    """What is to be read for a window."""

    between: Between
    origin_kept: bool
    copies_kept: bool
    origin: OffsetRange
    copies: OffsetRange


@dataclass(frozen=True)
class _Stretch:
    """Windows of one partition that are read in one go."""

    parts: Sequence[_Part]

    @property
    def origin(self) -> OffsetRange:
        return OffsetRange(
            self.parts[0].origin.partition, self.parts[0].origin.start, max(p.origin.end for p in self.parts)
        )

    @property
    def copies(self) -> OffsetRange:
        return OffsetRange(
            self.parts[0].copies.partition, self.parts[0].copies.start, max(p.copies.end for p in self.parts)
        )


def _part(between: Between, bounds: Bounds) -> _Part:
    tp, low, high, is_end = between
    more = 0 if is_end else 1  # the message at the anchor itself, where it is one
    up, down = (high[0] + more, high[1] + more) if high else (bounds.origin_stable, bounds.copies_stable)
    first, onto = low or (0, high[1] if high else 0)
    return _Part(
        between,
        low is not None and bounds.origin_start <= first,
        low is not None and bounds.copies_start <= onto,
        OffsetRange(tp, max(first, bounds.origin_start), up),
        OffsetRange(tp, max(onto, bounds.copies_start), down),
    )


def _stretches(parts: Sequence[_Part]) -> Iterator[_Stretch]:
    together: list[_Part] = []
    for part in parts:
        if together and (
            part.origin.start - together[-1].origin.end > _CLOSE or part.copies.start - together[-1].copies.end > _CLOSE
        ):
            yield _Stretch(together)
            together = []
        together.append(part)
    yield _Stretch(together)


def _collect(
    cluster: Cluster, ranges: Sequence[OffsetRange], ignore_timestamp: Collection[str], named: Named = same
) -> dict[TopicPartition, tuple[Messages, bool]]:
    """The messages of each range, and whether it was read to its end. `named`: what its partition is called there."""
    of = {named(r.partition): r.partition for r in ranges}
    kept = {r.partition: Messages() for r in ranges}

    def tell(there: TopicPartition, message: Any) -> None:
        tp = of[there]
        told = digest(message, timestamp=tp.topic not in ignore_timestamp)
        kept[tp].append(message.offset(), told, message.timestamp()[1])

    seen = each_visible(cluster, [OffsetRange(named(r.partition), r.start, r.end) for r in ranges], tell)
    return {tp: (kept[tp], seen[there].complete) for there, tp in of.items()}
