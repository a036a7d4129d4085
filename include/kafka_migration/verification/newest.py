"""The newest visible messages of a topic, spread over its partitions: a sample of bounded size.

It reads as a committed reader does, joins no group and commits nothing. What it has read it keeps in memory and tells
nobody.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE

from kafka_migration.clusters.client import Cluster
from kafka_migration.offsets import OffsetRange, TopicPartition, Which, read_several
from kafka_migration.visible import each_visible

MOST_BYTES = 64 * 1024 * 1024
"""Keys and values of one sample together; decoded they take several times as much."""


@dataclass(frozen=True)
class Message:
    """A message as it lies in a partition. `timestamp`: milliseconds since 1970; None where it has none."""

    partition: int
    offset: int
    timestamp: int | None
    key: bytes | None
    value: bytes | None


@dataclass(frozen=True)
class Sample:
    """Messages by partition and offset. `cut`: more are there, and were left out because they are so large."""

    messages: tuple[Message, ...]
    cut: bool


def newest(cluster: Cluster, partitions: Sequence[TopicPartition], most: int, most_bytes: int = MOST_BYTES) -> Sample:
    """Up to `most` messages, of each partition about as many as of any other. Raises `ClusterError`.

    Of each partition those before its last stable offset, and one however large it is. How many of its offsets hold a
    visible message only reading tells: it is read backwards, in ranges that grow, until it has given its share.
    """
    bounds = read_several(cluster, partitions, (Which.START, Which.STABLE))
    own = most_bytes // max(1, len(partitions))
    tails = {tp: _Tail(tp, bounds[Which.START][tp], bounds[Which.STABLE][tp], own) for tp in sorted(partitions)}

    def take(tp: TopicPartition, message: Any) -> None:
        tails[tp].take(_as_it_lies(message))

    while short := _short(tails.values(), most):
        each_visible(cluster, [tail.reach(share) for tail, share in short], take)
        for tail, _ in short:
            tail.settle()
    return Sample(
        messages=tuple(message for tail in tails.values() for message in tail.kept),
        cut=any(tail.full for tail in tails.values()),
    )


def shares(most: int, there: Sequence[int]) -> list[int]:
    """How many to take of each, where so many are there: as even as can be, and `most` in all where they suffice."""
    found, left = [0] * len(there), most
    for place, number in enumerate(sorted(range(len(there)), key=there.__getitem__)):
        found[number] = min(there[number], left // (len(there) - place))
        left -= found[number]
    return found


class _Tail:
    """The newest visible messages of a partition: `kept` has those that lie at its position or behind.

    `full`: it takes no more, however many there are.
    """

    def __init__(self, partition: TopicPartition, start: int, end: int, most_bytes: int) -> None:
        self.kept: tuple[Message, ...] = ()
        self.full = False
        self._partition = partition
        self._start = start
        self._position = max(start, end)
        self._room = most_bytes
        self._range = OffsetRange(partition, self._position, self._position)
        self._needed = 0
        self._new: deque[Message] = deque()

    @property
    def at_most(self) -> int:
        """How many messages it can give, as far as is known."""
        return len(self.kept) + (0 if self.full else self._position - self._start)

    def reach(self, share: int) -> OffsetRange:
        """What to read next to have so many. What is visible there is then taken, and at last settled."""
        self._needed = share - len(self.kept)
        width = max(self._needed, 2 * (self._range.end - self._range.start))
        self._range = OffsetRange(self._partition, max(self._start, self._position - width), self._position)
        self._position = self._range.start
        return self._range

    def take(self, message: Message) -> None:
        self._new.append(message)
        self._room -= _size(message)
        while len(self._new) > self._needed or (self._room < 0 and len(self._new) + len(self.kept) > 1):
            self.full = self.full or len(self._new) <= self._needed
            oldest = self._new.popleft()
            self._room += _size(oldest)
            self._position = oldest.offset + 1

    def settle(self) -> None:
        self.kept = (*self._new, *self.kept)
        self._new.clear()


def _short(tails: Iterable[_Tail], most: int) -> list[tuple[_Tail, int]]:
    """Those that have not given their share yet, and could; with the share."""
    listed = list(tails)
    wanted = zip(listed, shares(most, [tail.at_most for tail in listed]), strict=True)
    return [(tail, share) for tail, share in wanted if share > len(tail.kept)]


def _as_it_lies(message: Any) -> Message:
    kind, timestamp = message.timestamp()
    return Message(
        message.partition(),
        message.offset(),
        None if kind == TIMESTAMP_NOT_AVAILABLE else timestamp,
        message.key(),
        message.value(),
    )


def _size(message: Message) -> int:
    return len(message.key or b"") + len(message.value or b"")
