"""Two sides of a whole topic compared key by key, in whichever partitions the messages of a key lie.

Within a key the order of its messages counts, where the origin has them in one partition; else, and of messages without
a key, each must be there as often as on the origin. Order between keys says nothing here. It reaches no cluster.

At first only a summary of every key is kept, so that memory grows with the keys and not with their messages; then the
messages of those keys that differ.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from xxhash import xxh3_128_digest

from kafka_migration.verification.differences import Kind
from kafka_migration.verification.in_order import alike

KeyDigest = bytes | None
"""Of a key. None: there is none."""


class Entry(NamedTuple):
    """Where a message is, and its digest."""

    partition: int
    offset: int
    told: bytes


class Found(NamedTuple):
    """One difference, and where it is on either side; None: it is not there."""

    kind: Kind
    origin: Entry | None
    destination: Entry | None


@dataclass(slots=True)
class _Sum:
    """All messages of a key on one side. `chain` tells their order, `total` does not. `spread`: over partitions."""

    partition: int
    spread: bool = False
    count: int = 0
    chain: bytes = b""
    total: int = 0


Sums = dict[KeyDigest, _Sum]


def digest_of(key: bytes | None) -> KeyDigest:
    return None if key is None else xxh3_128_digest(key)


def add(sums: Sums, key: KeyDigest, partition: int, told: bytes) -> None:
    """The next message of a key on a side; those of one partition come in their order."""
    one = sums.get(key)
    if one is None:
        one = sums[key] = _Sum(partition, spread=key is None)
    one.spread = one.spread or partition != one.partition
    one.count += 1
    one.chain = xxh3_128_digest(one.chain + told)
    one.total = (one.total + int.from_bytes(told, "big")) % 2**128  # a sum, not XOR: two copies must not cancel out


def differing(origin: Sums, destination: Sums) -> list[KeyDigest]:
    """The keys of which the messages are not the same on both sides."""
    return [key for key in {**origin, **destination} if not _same(origin.get(key), destination.get(key))]


def batches(keys: Iterable[KeyDigest], sums: Sequence[Sums], most: int) -> Iterator[set[KeyDigest]]:
    """The keys in parts, each with no more messages than that, or one key."""
    part: set[KeyDigest] = set()
    held = 0
    for key in keys:
        count = sum(side[key].count for side in sums if key in side)
        if part and held + count > most:
            yield part
            part, held = set(), 0
        part.add(key)
        held += count
    if part:
        yield part


def compared(key: KeyDigest, origin: Sequence[Entry], destination: Sequence[Entry]) -> list[Found]:
    """What differs between the messages of one key."""
    mine, theirs = sorted(origin), sorted(destination)
    ordered = key is not None and len({entry.partition for entry in mine}) == 1
    return list(_in_order(mine, theirs) if ordered else _as_often(mine, theirs))


@dataclass(frozen=True)
class Latest:
    """The latest message of a key in one partition. `gone`: it deletes the key."""

    entry: Entry
    gone: bool


Latests = dict[KeyDigest, dict[int, Latest]]
"""On one side, by key and partition."""


def absent(origin: Latests, destination: Latests) -> tuple[set[KeyDigest], set[KeyDigest]]:
    """Keys that the origin has not and the destination has, and the other way round; of deleted ones either may."""
    return (_lacking(origin, destination), _lacking(destination, origin))


def compared_latest(origin: Latests, destination: Latests, rewritten: Collection[KeyDigest]) -> tuple[int, list[Found]]:
    """How many keys have the same latest message on both sides, and what differs. `rewritten`: absent, and rightly so.

    A key that lies in several partitions of the origin has a latest message in each; any of them will do.
    """
    both = origin.keys() & destination.keys()
    found = [one for key in both if (one := _latest_differs(origin[key], destination[key])) is not None]
    equal = len(both) - len(found)
    lacking_here, lacking_there = absent(origin, destination)
    found += [Found(Kind.MISSING, _one_of(origin[key]), None) for key in lacking_there - set(rewritten)]
    found += [Found(Kind.EXTRA, None, _one_of(destination[key])) for key in lacking_here - set(rewritten)]
    return equal, found


def _same(one: _Sum | None, other: _Sum | None) -> bool:
    if one is None or other is None or one.count != other.count:
        return False
    if one.spread:
        return one.total == other.total
    return not other.spread and one.chain == other.chain


def _in_order(mine: Sequence[Entry], theirs: Sequence[Entry]) -> Iterator[Found]:
    """Of a key that has one partition on the origin, and should have one on the destination."""
    home = Counter(entry.partition for entry in theirs).most_common(1)
    here = [entry for entry in theirs if entry.partition == home[0][0]]
    gaps = list(_gaps(mine, here))
    lone = [entry for gap, _ in gaps for entry in gap]
    elsewhere = [entry for entry in theirs if entry.partition != home[0][0]] if home else []
    moved = _matched(lone, [entry for _, gap in gaps for entry in gap] + elsewhere)
    arrived = set(moved.values())
    yield from (Found(Kind.MISPLACED, entry, there) for entry, there in moved.items())
    more = [entry for entry in elsewhere if entry not in arrived]
    for one, other in gaps:
        left, others = [e for e in one if e not in moved], [e for e in other if e not in arrived]
        yield from (Found(Kind.ALTERED, e, there) for e, there in zip(left, others, strict=False))
        yield from (Found(Kind.MISSING, e, None) for e in left[len(others) :])
        more += others[len(left) :]
    yield from _more(more, mine)


def _as_often(mine: Sequence[Entry], theirs: Sequence[Entry]) -> Iterator[Found]:
    """Where no order can be told."""
    equal = _matched(mine, theirs)
    there = set(equal.values())
    yield from (Found(Kind.MISSING, entry, None) for entry in mine if entry not in equal)
    yield from _more([entry for entry in theirs if entry not in there], mine)


def _more(entries: Iterable[Entry], mine: Iterable[Entry]) -> Iterator[Found]:
    copies = {entry.told for entry in mine}
    yield from (Found(Kind.REPEATED if e.told in copies else Kind.EXTRA, None, e) for e in entries)


def _gaps(mine: Sequence[Entry], theirs: Sequence[Entry]) -> Iterator[tuple[Sequence[Entry], Sequence[Entry]]]:
    """What lies between messages that both have in the same order."""
    passed = (0, 0)
    ends = (len(mine), len(theirs))
    for i, j in [*alike([entry.told for entry in mine], [entry.told for entry in theirs]), ends]:
        if (i, j) != passed:
            yield mine[passed[0] : i], theirs[passed[1] : j]
        passed = (i + 1, j + 1)


def _matched(mine: Iterable[Entry], theirs: Iterable[Entry]) -> dict[Entry, Entry]:
    """Each with one that is equal, as far as there are."""
    there: dict[bytes, deque[Entry]] = {}
    for entry in theirs:
        there.setdefault(entry.told, deque()).append(entry)
    return {entry: equal.popleft() for entry in mine if (equal := there.get(entry.told))}


def _lacking(mine: Latests, theirs: Latests) -> set[KeyDigest]:
    return {key for key, latest in theirs.items() if key not in mine and not all(one.gone for one in latest.values())}


def _latest_differs(mine: Mapping[int, Latest], theirs: Mapping[int, Latest]) -> Found | None:
    known = {one.entry.told for one in mine.values()}
    strange = [one.entry for one in theirs.values() if one.entry.told not in known]
    right = [one.entry for one in theirs.values() if one.entry.told in known]
    if not right:
        return Found(Kind.ALTERED, _one_of(mine), strange[0])
    if len(mine) == 1 and len(theirs) > 1:
        others = [one.entry for number, one in theirs.items() if number != right[0].partition and not one.gone]
        return Found(Kind.MISPLACED, _one_of(mine), others[0]) if others else None
    return Found(Kind.ALTERED, _one_of(mine), strange[0]) if strange else None


def _one_of(latest: Mapping[int, Latest]) -> Entry:
    return next(iter(latest.values())).entry
