"""Two streams of one partition compared message by message, each message told by its digest.

While both go on alike nothing is kept. Where they do not, the longest sequence of messages that both have in the same
order (Hunt and Szymanski, "A fast algorithm for computing longest common subsequences", 1977) is found within a window
that grows until both go on alike again. So one message that is missing is one difference, as is each of a thousand.
It reaches no cluster.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from kafka_migration.verification import stretches
from kafka_migration.verification.comparison import DESTINATION, ORIGIN, Comparison
from kafka_migration.verification.differences import ContentResult, Difference, Kind, RangePair
from kafka_migration.verification.proved import Proved

Entry = tuple[int, bytes]
"""Offset and digest of a message."""

_WINDOW = 64  # messages of each side that are looked at first; eight times as many each time they do not meet
_RUN = 3  # equal messages in a row by which the sides are together again
_COMMON = 8  # a message that is there more often is only paired with the one of the same rank: bounds the work
_AT_ONCE = 4_096  # messages that are compared with one comparison of lists
_GAPS = 4  # times as many messages as are held of a side: differences are named then, so that memory stays bounded


class _Stream:
    """Messages of one side that wait to be compared: the first of them is the next."""

    def __init__(self) -> None:
        self._offsets: list[int] = []
        self._told: list[bytes] = []
        self._at = 0

    def __len__(self) -> int:
        return len(self._told) - self._at

    def add(self, offsets: Sequence[int], told: Sequence[bytes]) -> None:
        del self._offsets[: self._at], self._told[: self._at]
        self._at = 0
        self._offsets.extend(offsets)
        self._told.extend(told)

    def told(self, count: int, start: int = 0) -> list[bytes]:
        """The digests of the next ones."""
        return self._told[self._at + start : self._at + start + count]

    def take(self, count: int) -> list[Entry]:
        start, self._at = self._at, self._at + count
        return list(zip(self._offsets[start : self._at], self._told[start : self._at], strict=True))

    def drop(self, count: int) -> None:
        self._at += count

    @property
    def passed(self) -> int:
        """The offset of the last that was dropped or taken."""
        return self._offsets[self._at - 1]


def _alike_at_once(one: _Stream, other: _Stream) -> int:
    """How many of the next messages are equal, one by one. Many are compared at once, since most always are."""
    most = min(len(one), len(other))
    passed = 0
    while passed < most:
        mine, theirs = one.told(_AT_ONCE, passed)[: most - passed], other.told(_AT_ONCE, passed)[: most - passed]
        if mine != theirs:
            return passed + next(i for i, (a, b) in enumerate(zip(mine, theirs, strict=True)) if a != b)
        passed += len(mine)
    return passed


class InOrder(Comparison):
    """Every message of one partition, in order; `result` when nothing is wanted any more.

    `most`: messages that are held of each side while they differ; memory is some times that. A stretch that only one
    side has may be longer. A message that lies further from its place counts as missing and extra, and of more extras
    than this the later ones are not asked whether they are repeated.
    """

    def __init__(self, pair: RangePair, most: int) -> None:
        super().__init__(pair)
        self._most = most
        self._waiting = (_Stream(), _Stream())
        self._gaps: list[tuple[list[Entry], list[Entry]]] = []
        self._alone = 0  # messages in the gaps
        self._together = True
        self._again = 0  # messages that must wait before it is looked again where the sides meet
        self._extras: dict[bytes, list[int]] = {}
        self._open = pair.open_ended
        self._cut = False
        self.reached: Proved | None = None
        """How far everything is equal, without one difference; None: nothing yet."""

    def wants(self, side: int) -> bool:
        """Neither may run ahead of the other without end."""
        return super().wants(side) and len(self._waiting[side]) < self._most

    @property
    def unfinished(self) -> bool:
        return super().unfinished or (self.found.complete and any(map(len, self._waiting)))

    def read_up_to(self, side: int, left: int) -> None:
        # What the destination has behind the end of the origin's range is copied already, and compared another time.
        super().read_up_to(side, 0 if side == DESTINATION and self._is_beyond else left)

    def cut_short(self, side: int) -> None:
        if side == DESTINATION and self._open:
            self._cut = True  # whether that is behind the last copy shows when the origin has been read
            self._settle_cut()
        else:
            super().cut_short(side)

    def _settle_cut(self) -> None:
        """Of a destination that could not be read to its end: is what is in the way behind the last copy?"""
        if not self._cut or not self.found.complete:
            return
        self._pass_equal()
        if self._is_beyond:
            self._left[DESTINATION] = 0
        elif not self._left[ORIGIN] or len(self._waiting[ORIGIN]) >= self._most:
            super().cut_short(DESTINATION)

    def feed(self, side: int, messages: Sequence[Any], told: Sequence[bytes]) -> None:
        super().feed(side, messages, told)
        self._waiting[side].add([message.offset() for message in messages], told)

    @property
    def _is_beyond(self) -> bool:
        return self._open and not self._left[ORIGIN] and not self._waiting[ORIGIN]

    def advance(self) -> None:
        one, other = self._waiting
        self._pass_equal()
        while one and other and self._pass_gap():
            self._pass_equal()
        if self._is_beyond:
            self.found.destination_visible -= len(other)
            other.drop(len(other))
            self._left[DESTINATION] = 0
        elif self.found.complete:  # to what only one side has left nothing more can come
            if not one and not self._left[ORIGIN]:
                self._step_over(0, len(other))
            if not other and not self._left[DESTINATION]:
                self._step_over(len(one), 0)
        self._settle_cut()

    def result(self) -> ContentResult:
        self._name_gaps()
        return self.found

    @property
    def extras(self) -> set[bytes]:
        """Digests of what only the destination has: a message of the origin that has one of them is repeated."""
        return set(self._extras)

    def repeated(self, known: Iterable[bytes]) -> None:
        """Of the extras those that the origin has."""
        copies = {offset for told in known for offset in self._extras[told]}
        self.found.counts.update({Kind.EXTRA: -len(copies), Kind.REPEATED: len(copies)})
        self.found.counts = +self.found.counts  # without kinds that there are none of
        self._tell_stretches(copies)
        self.found.differences = [
            replace(d, kind=Kind.REPEATED) if d.kind is Kind.EXTRA and d.destination_offset in copies else d
            for d in self.found.differences
        ]

    def _pass_equal(self) -> None:
        one, other = self._waiting
        count = _alike_at_once(one, other)
        one.drop(count)
        other.drop(count)
        self.found.equal += count
        self._together = self._together or count > 0
        if count:
            self.found.destination_read = other.passed + 1
            if not self._gaps and not self.found.different:
                equal = self.found.equal
                self.reached = Proved(one.passed + 1, other.passed + 1, equal, 0, equal, equal)

    def _pass_gap(self) -> bool:
        """Step over what differs up to where both go on alike. False: more has to be read to tell."""
        one, other = self._waiting
        more_to_come = self.found.complete and any(self.wants(side) for side in (ORIGIN, DESTINATION))
        if more_to_come and len(one) + len(other) < self._again:
            return False
        longest = max(len(one), len(other))
        window = _WINDOW
        while True:
            mine, theirs = one.told(window), other.told(window)
            pairs = alike(mine, theirs)
            together = _first_run(pairs)
            if together is not None:
                self._step_through(pairs[: together + 1])
                self._again = 0
                return True
            if window >= longest:
                break
            window *= 8
        if not self.found.complete or more_to_come:
            self._again = 2 * (len(one) + len(other))
            return False
        self._again = 0
        if pairs:
            self._step_through(pairs)
        elif self._left == [0, 0]:
            self._step_over(len(one), len(other))
        elif self._left[ORIGIN] >= self._left[DESTINATION]:
            self._step_over(len(one), 0)  # the side with more to come has the longer stretch that the other has not
        else:
            self._step_over(0, len(other))
        return True

    def _step_through(self, pairs: Sequence[tuple[int, int]]) -> None:
        """To the last of these pairs; what lies between them has no equal in the same place."""
        one, other = self._waiting
        passed = (0, 0)
        for i, j in pairs:
            self._step_over(i - passed[0], j - passed[1])
            if (i, j) != pairs[-1]:
                one.drop(1)
                other.drop(1)
                self.found.destination_read = other.passed + 1
                self.found.equal += 1
                self._together = True
            passed = (i + 1, j + 1)

    def _step_over(self, on_origin: int, on_destination: int) -> None:
        if not on_origin and not on_destination:
            return
        if self._alone > _GAPS * self._most:
            self._name_gaps()
        if self._together or not self._gaps:
            self._gaps.append(([], []))
            self._together = False
        gap = self._gaps[-1]
        for lone, waiting, count in zip(gap, self._waiting, (on_origin, on_destination), strict=True):
            lone.extend(waiting.take(count))
        self._alone += on_origin + on_destination

    def _name_gaps(self) -> None:
        """Say of the messages that have no equal in their place what they are."""
        moved = _moved(self._gaps)
        arrived = set(moved.values())
        for one, other in self._gaps:
            mine = [offset for offset, _ in one if offset not in moved]
            theirs = [entry for entry in other if entry[0] not in arrived]
            found = [self._difference(Kind.MISPLACED, o, moved[o]) for o, _ in one if o in moved]
            found += [self._difference(Kind.ALTERED, o, d) for o, (d, _) in zip(mine, theirs, strict=False)]
            found += [self._difference(Kind.MISSING, o, None) for o in mine[len(theirs) :]]
            self.found.note(sorted(found, key=lambda d: d.origin_offset or 0))
            self.found.note(self._extra(theirs[len(mine) :]))
        self._gaps, self._alone = [], 0

    def _extra(self, entries: Iterable[Entry]) -> Iterator[Difference]:
        for offset, told in entries:
            if told in self._extras or len(self._extras) < self._most:
                self._extras.setdefault(told, []).append(offset)
            yield self._difference(Kind.EXTRA, None, offset)

    def _tell_stretches(self, copies: set[int]) -> None:
        """Those of the repeated ones apart from those of the other extras."""
        if not copies:
            return
        others = {offset for offsets in self._extras.values() for offset in offsets} - copies
        known = len(others) == self.found.counts[Kind.EXTRA]
        extra = stretches.of(others) if known else stretches.without(self.found.stretches[Kind.EXTRA], copies)
        told = {**self.found.stretches, Kind.EXTRA: extra, Kind.REPEATED: stretches.of(copies)}
        self.found.stretches = {kind: some for kind, some in told.items() if some}

    def _difference(self, kind: Kind, origin: int | None, destination: int | None) -> Difference:
        return Difference(kind, self.found.partition, origin, destination)


def _moved(gaps: Sequence[tuple[list[Entry], list[Entry]]]) -> dict[int, int]:
    """Of the messages alone in their place those that both sides have: by offset on the origin that of the other."""
    arrived: dict[bytes, deque[int]] = {}
    for _, other in gaps:
        for offset, told in other:
            arrived.setdefault(told, deque()).append(offset)
    return {
        offset: places.popleft() for one, _ in gaps for offset, told in one if (places := arrived.get(told, deque()))
    }


def alike(one: Sequence[bytes], other: Sequence[bytes]) -> list[tuple[int, int]]:
    """Places of equal messages, rising on both sides, as many as there can be."""
    places: dict[bytes, list[int]] = {}
    for place, told in enumerate(other):
        places.setdefault(told, []).append(place)
    ranks: dict[bytes, int] = {}
    ends: list[int] = []  # by length of a chain the lowest place at which one ends
    chains: list[_Chain] = []
    for i, told in enumerate(one):
        found = places.get(told)
        if found is None:
            continue
        if len(found) > _COMMON:
            rank = ranks.get(told, 0)
            ranks[told] = rank + 1
            found = found[rank : rank + 1]
        for j in reversed(found):
            length = bisect_left(ends, j)
            chain = _Chain(i, j, chains[length - 1] if length else None)
            if length == len(ends):
                ends.append(j)
                chains.append(chain)
            else:
                ends[length], chains[length] = j, chain
    pairs = []
    chain_ = chains[-1] if chains else None
    while chain_ is not None:
        pairs.append((chain_.i, chain_.j))
        chain_ = chain_.before
    return pairs[::-1]


class _Chain(NamedTuple):
    """A pair of places, and the pairs before it."""

    i: int
    j: int
    before: _Chain | None


def _first_run(pairs: Sequence[tuple[int, int]]) -> int | None:
    """Where `_RUN` messages in a row are equal."""
    length = 0
    for number, (i, j) in enumerate(pairs):
        length = length + 1 if number and pairs[number - 1] == (i - 1, j - 1) else 1
        if length == _RUN:
            return number - _RUN + 1
    return None
