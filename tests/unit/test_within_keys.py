"""Two sides of a topic compared key by key: what is found is what a simple look at each key's messages finds."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kafka_migration.verification.differences import Kind
from kafka_migration.verification.digest import SIZE
from kafka_migration.verification.within_keys import (
    Entry,
    Found,
    KeyDigest,
    Latest,
    Latests,
    Sums,
    absent,
    add,
    batches,
    compared,
    compared_latest,
    differing,
    digest_of,
)


@dataclass(frozen=True)
class At:
    """A message as far as it matters here. `what` None: it deletes its key."""

    key: bytes | None
    what: int | None
    partition: int = 0

    @property
    def told(self) -> bytes:
        return (repr((self.key, self.what)).encode() + b"\0" * SIZE)[:SIZE]


def summed(messages: Sequence[At]) -> Sums:
    sums: Sums = {}
    for m in messages:
        add(sums, digest_of(m.key), m.partition, m.told)
    return sums


def entries(messages: Sequence[At], key: KeyDigest) -> list[Entry]:
    return [Entry(m.partition, at, m.told) for at, m in enumerate(messages) if digest_of(m.key) == key]


def found(origin: Sequence[At], destination: Sequence[At]) -> list[Found]:
    keys = differing(summed(origin), summed(destination))
    return [one for key in keys for one in compared(key, entries(origin, key), entries(destination, key))]


def told(differences: Sequence[Found]) -> list[tuple[Kind, int | None, int | None]]:
    return sorted((f.kind, f.origin and f.origin.offset, f.destination and f.destination.offset) for f in differences)


def same(key: bytes | None, origin: Sequence[At], destination: Sequence[At]) -> bool:
    """The rule, in the plainest words that there are."""
    mine, theirs = [m for m in origin if m.key == key], [m for m in destination if m.key == key]
    if key is None or len({m.partition for m in mine}) > 1:
        return Counter(m.what for m in mine) == Counter(m.what for m in theirs)
    return [m.what for m in mine] == [m.what for m in theirs] and len({m.partition for m in theirs}) <= 1


WHOLE = [At(b"k%d" % (n % 3), n, n % 3) for n in range(30)]
OTHER = [At(m.key, m.what, m.partition % 2) for m in WHOLE]


def test_partitions_of_another_number_and_another_order_between_keys_are_no_difference() -> None:
    assert found(WHOLE, OTHER) == []
    assert found(WHOLE, sorted(OTHER, key=lambda m: m.key or b"")) == []


def test_each_kind_is_told_where_it_is() -> None:
    assert told(found(WHOLE, OTHER[:9] + OTHER[10:])) == [(Kind.MISSING, 9, None)]
    assert told(found(WHOLE, [*OTHER, At(b"k0", 99)])) == [(Kind.EXTRA, None, 30)]
    assert told(found(WHOLE, [*OTHER, OTHER[6]])) == [(Kind.REPEATED, None, 30)]
    assert told(found(WHOLE, [*OTHER[:7], At(b"k1", 99, 1), *OTHER[8:]])) == [(Kind.ALTERED, 7, 7)]
    swapped = [*OTHER[:6], OTHER[9], *OTHER[7:9], OTHER[6], *OTHER[10:]]
    [(kind, here, there)] = told(found(WHOLE, swapped))
    assert (kind, {here, there}) == (Kind.MISPLACED, {6, 9})
    assert told(found(WHOLE, [*OTHER[:6], At(b"k9", 6), *OTHER[7:]])) == [
        (Kind.EXTRA, None, 6),
        (Kind.MISSING, 6, None),
    ]


def test_message_that_lies_in_another_partition_than_its_key_is_misplaced() -> None:
    there = [*OTHER[:6], At(b"k0", 6, 1), *OTHER[7:]]
    assert told(found(WHOLE, there)) == [(Kind.MISPLACED, 6, 6)]
    assert found(WHOLE, [At(m.key, m.what, 1 - m.partition) for m in OTHER]) == [], "all of them is no difference"
    assert told(found(WHOLE, [*OTHER, At(b"k0", 6, 1)])) == [(Kind.REPEATED, None, 30)]


def test_without_a_key_or_with_one_in_several_partitions_it_is_counted() -> None:
    for key in (None, b"k"):
        here = [At(key, n % 4, n % 2) for n in range(12)]
        assert found(here, [At(m.key, m.what) for m in here[::-1]]) == []
        assert told(found(here, here[1:])) == [(Kind.MISSING, 8, None)], "the last of those that are alike"
        assert [f.kind for f in found(here, [*here, here[3]])] == [Kind.REPEATED]
        assert sorted(f.kind for f in found(here, [*here[1:], At(key, 9)])) == [Kind.EXTRA, Kind.MISSING]


def test_two_copies_do_not_cancel_out() -> None:
    here = [At(None, 1), At(None, 1)]
    assert found(here, [At(None, 2), At(None, 2)])
    assert found([], here)
    assert found(here, [])


MESSAGES = st.lists(
    st.builds(At, st.sampled_from([None, b"a", b"b", b"c"]), st.integers(0, 6) | st.integers(100, 10_000)), max_size=40
)


@settings(max_examples=300, derandomize=True)
@given(MESSAGES, st.integers(1, 3), st.integers(1, 3), st.randoms(use_true_random=False), st.integers(0, 5))
def test_random_damage_is_found_and_everything_is_accounted_for(
    messages: list[At], here: int, there: int, chance: random.Random, edits: int
) -> None:
    places = {m.key: (chance.randrange(here), chance.randrange(there)) for m in messages}
    origin = [At(m.key, m.what, places[m.key][0]) for m in messages]
    destination = damaged([At(m.key, m.what, places[m.key][1]) for m in messages], chance, edits, there)
    differences = found(origin, destination)
    for key in {m.key for m in (*origin, *destination)}:
        mine = [f for f in differences if _key_of(f, origin, destination) == key]
        assert (not mine) is same(key, origin, destination)
        ones, others = ([m for m in side if m.key == key] for side in (origin, destination))
        equal = len(ones) - sum(f.kind.on_origin for f in mine)
        assert equal >= 0
        assert equal + sum(f.kind.on_destination for f in mine) == len(others)
    for kind, one, other in differences:
        match kind:
            case Kind.MISPLACED:
                assert one is not None
                assert other is not None
                assert one.told == other.told
            case Kind.ALTERED:
                assert one is not None
                assert other is not None
                assert one.told != other.told
            case Kind.MISSING:
                assert (one is None, other is None) == (False, True)
            case Kind.REPEATED:
                assert other is not None
                assert other.told in {m.told for m in origin}
            case Kind.EXTRA:
                assert other is not None
                assert one is None


def _key_of(one: Found, origin: Sequence[At], destination: Sequence[At]) -> bytes | None:
    if one.origin is not None:
        return origin[one.origin.offset].key
    assert one.destination is not None
    return destination[one.destination.offset].key


def damaged(messages: Sequence[At], chance: random.Random, edits: int, partitions: int) -> list[At]:
    there = list(messages)
    for _ in range(edits if messages else 0):
        place = chance.randrange(len(messages))
        match chance.choice(["missing", "extra", "altered", "repeated", "moved", "other key", "other partition"]):
            case "extra":
                there.insert(place, At(chance.choice([None, b"a"]), chance.randint(20_000, 30_000)))
            case "missing" if place < len(there):
                del there[place]
            case "altered" if place < len(there):
                there[place] = At(there[place].key, chance.randint(20_000, 30_000), there[place].partition)
            case "repeated" if place < len(there):
                there.append(there[place])
            case "moved" if place < len(there):
                there.append(there.pop(place))
            case "other key" if place < len(there):
                there[place] = At(b"d", there[place].what, there[place].partition)
            case "other partition" if place < len(there):
                there[place] = At(there[place].key, there[place].what, chance.randrange(partitions))
    return there


@given(st.lists(st.sampled_from([b"a", b"b", b"c", b"d", None]), max_size=60), st.integers(1, 30))
def test_keys_come_in_parts_that_are_no_larger_than_said(keys: list[bytes | None], most: int) -> None:
    sums = summed([At(key, n) for n, key in enumerate(keys)])
    parts = list(batches(sums, (sums, {}), most))
    assert [key for part in parts for key in part if key not in sums] == []
    assert Counter(key for part in parts for key in part) == Counter(sums.keys())
    assert all(len(part) == 1 or sum(sums[key].count for key in part) <= most for part in parts)


def latest(messages: Sequence[At]) -> Latests:
    kept: Latests = {}
    for at, m in enumerate(messages):
        kept.setdefault(digest_of(m.key), {})[m.partition] = Latest(Entry(m.partition, at, m.told), m.what is None)
    return kept


def of_latest(origin: Sequence[At], destination: Sequence[At]) -> tuple[int, list[tuple[Kind, int | None, int | None]]]:
    equal, differences = compared_latest(latest(origin), latest(destination), ())
    return equal, told(differences)


@pytest.mark.parametrize("partition", [0, 1])
def test_of_the_latest_messages_of_keys_that_of_each_key_counts(partition: int) -> None:
    old, new, gone = At(b"k", 1), At(b"k", 2), At(b"k", None)
    old_there, new_there, gone_there = (At(m.key, m.what, partition) for m in (old, new, gone))
    assert of_latest([old, new], [new_there]) == (1, [])
    assert of_latest([new], [old_there, new_there]) == (1, [])
    assert of_latest([old, new], [old_there]) == (0, [(Kind.ALTERED, 1, 0)])
    assert of_latest([new], []) == (0, [(Kind.MISSING, 0, None)])
    assert of_latest([], [new_there]) == (0, [(Kind.EXTRA, None, 0)])
    assert of_latest([gone], []) == of_latest([], [old_there, gone_there]) == (0, [])
    assert of_latest([gone], [new_there]) == (0, [(Kind.ALTERED, 0, 0)])


def test_latest_message_in_another_partition_than_the_rest_of_its_key_is_misplaced() -> None:
    old, new = At(b"k", 1), At(b"k", 2)
    assert of_latest([old, new], [old, At(b"k", 2, 1)]) == (0, [(Kind.MISPLACED, 1, 0)])
    assert of_latest([old, At(b"k", 2, 1)], [new]) == (1, []), "the origin says nothing of their order"
    assert of_latest([old, At(b"k", 2, 1)], [At(b"k", 3)]) == (0, [(Kind.ALTERED, 0, 0)])


def test_key_that_is_beyond_the_end_was_rewritten_and_is_no_difference() -> None:
    here, there = latest([At(b"k", 1), At(b"m", 1)]), latest([At(b"m", 1), At(b"n", 1)])
    assert absent(here, there) == ({digest_of(b"n")}, {digest_of(b"k")})
    assert compared_latest(here, there, {digest_of(b"k"), digest_of(b"n")}) == (1, [])
