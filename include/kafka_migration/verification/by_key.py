"""The latest message of every key of one partition, on both sides: what a compacted topic promises.

The sides may have been compacted at different times, so that their offsets and their order say nothing. It reaches no
cluster. Memory grows with the keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from kafka_migration.verification.comparison import DESTINATION, ORIGIN, Comparison
from kafka_migration.verification.differences import ContentResult, Difference, Kind, RangePair

Key = bytes | None


class _Latest(NamedTuple):
    offset: int
    told: bytes
    tombstone: bool


class ByKey(Comparison):
    """One partition; `result` when both sides have been read."""

    def __init__(self, pair: RangePair) -> None:
        super().__init__(pair)
        self._latest: tuple[dict[Key, _Latest], dict[Key, _Latest]] = ({}, {})

    def feed(self, side: int, messages: Sequence[Any], told: Sequence[bytes]) -> None:
        super().feed(side, messages, told)
        latest = self._latest[side]
        for message, one in zip(messages, told, strict=True):
            latest[message.key()] = _Latest(message.offset(), one, message.value() is None)

    def advance(self) -> None:
        """Which message is the latest is known at the end."""

    def absent(self, side: int) -> set[Key]:
        """Keys that the other side has and this one has not. Of one that was deleted either may hold nothing."""
        if not self.found.complete:
            return set()
        mine, theirs = self._latest[side], self._latest[1 - side]
        return {key for key, latest in theirs.items() if key not in mine and not latest.tombstone}

    def result(self, rewritten: tuple[set[Key], set[Key]]) -> ContentResult:
        """`rewritten`: of the absent keys of each side those that it has beyond its end."""
        if not self.found.complete:
            return self.found
        one, other = self._latest
        tp = self.found.partition
        differences = [
            Difference(Kind.ALTERED, tp, latest.offset, other[key].offset)
            for key, latest in one.items()
            if key in other and latest.told != other[key].told
        ]
        self.found.equal = len(one.keys() & other.keys()) - len(differences)
        self.found.rewritten = sum(map(len, rewritten))
        missing = self.absent(DESTINATION) - rewritten[DESTINATION]
        differences += [Difference(Kind.MISSING, tp, one[key].offset, None) for key in missing]
        differences.sort(key=lambda d: d.origin_offset or 0)
        extra = sorted(other[key].offset for key in self.absent(ORIGIN) - rewritten[ORIGIN])
        self.found.note([*differences, *(Difference(Kind.EXTRA, tp, None, offset) for offset in extra)])
        return self.found
