"""Streams of messages that random edits have made differ: what is found is exactly what was done, or no less."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafka_migration.offsets import TopicPartition
from kafka_migration.verification.comparison import DESTINATION, ORIGIN
from kafka_migration.verification.differences import SHOWN, ContentResult, Kind, RangePair
from kafka_migration.verification.in_order import InOrder

TP = TopicPartition("t", 0)


@dataclass(frozen=True)
class At:
    """A message as far as it matters here."""

    number: int

    def offset(self) -> int:
        return self.number


def digest_of(number: int) -> bytes:
    return blake2b(b"%d" % number, digest_size=16).digest()


def fed(one: Sequence[int], other: Sequence[int], most: int = 100_000) -> InOrder:
    """Both sides read so far, of ranges that are longer."""
    comparison = InOrder(RangePair(TP, 0, 1000, 1000, 2000), most)
    for side, numbers in ((ORIGIN, one), (DESTINATION, other)):
        for offset, number in enumerate(numbers):
            comparison.feed(side, [At(1000 * side + offset)], [digest_of(number)])
        comparison.read_up_to(side, 1000 - len(numbers))
    return comparison


def compared(one: Sequence[int], other: Sequence[int], most: int = 100_000, chunk: int = 100_000) -> ContentResult:
    """Compare two lists in which equal numbers are equal messages. Offsets are places, those there from 1,000 on."""
    comparison = InOrder(RangePair(TP, 0, len(one), 1000, 1000 + len(other)), most)
    streams = (list(enumerate(one)), list(enumerate(other, start=1000)))
    at = [0, 0]
    while wanted := [side for side in (ORIGIN, DESTINATION) if comparison.wants(side)]:
        for side in wanted:
            for offset, number in streams[side][at[side] : at[side] + chunk]:
                comparison.feed(side, [At(offset)], [digest_of(number)])
            at[side] += chunk
            comparison.read_up_to(side, max(0, len(streams[side]) - at[side]))
        comparison.advance()
    found = comparison.result()
    comparison.repeated({digest_of(number) for number in one} & comparison.extras)
    return found


def told(found: ContentResult) -> list[tuple[Kind, int | None, int | None]]:
    return [(d.kind, d.origin_offset, d.destination_offset) for d in found.differences]


WHOLE = list(range(500))
LONG = list(range(50_000))


@pytest.mark.parametrize("chunk", [1, 7, 64, 100_000])
@pytest.mark.parametrize("at", [0, 1, 250, 498, 499])
class TestOneDifference:
    def test_missing(self, at: int, chunk: int) -> None:
        found = compared(WHOLE, WHOLE[:at] + WHOLE[at + 1 :], chunk=chunk)
        assert told(found) == [(Kind.MISSING, at, None)]
        assert found.equal == 499

    def test_extra(self, at: int, chunk: int) -> None:
        assert told(compared(WHOLE, [*WHOLE[:at], -1, *WHOLE[at:]], chunk=chunk)) == [(Kind.EXTRA, None, 1000 + at)]

    def test_altered(self, at: int, chunk: int) -> None:
        found = compared(WHOLE, [*WHOLE[:at], -1, *WHOLE[at + 1 :]], chunk=chunk)
        assert told(found) == [(Kind.ALTERED, at, 1000 + at)]

    def test_repeated(self, at: int, chunk: int) -> None:
        found = compared(WHOLE, [*WHOLE[: at + 1], WHOLE[at], *WHOLE[at + 1 :]], chunk=chunk)
        assert told(found) == [(Kind.REPEATED, None, 1001 + at)]

    def test_repeated_far_away(self, at: int, chunk: int) -> None:
        there = [*WHOLE, WHOLE[at]]
        assert told(compared(WHOLE, there, most=10, chunk=chunk)) == [(Kind.REPEATED, None, 1500)]

    def test_misplaced(self, at: int, chunk: int) -> None:
        there = WHOLE[:at] + WHOLE[at + 1 :]
        there.insert((at + 250) % 500, at)
        assert told(compared(WHOLE, there, chunk=chunk)) == [(Kind.MISPLACED, at, 1000 + (at + 250) % 500)]


def test_swapped_neighbours_are_one_misplaced_message() -> None:
    found = compared(WHOLE, [*WHOLE[:10], 11, 10, *WHOLE[12:]])
    assert found.counts == {Kind.MISPLACED: 1}
    assert found.equal == 499


def test_every_second_altered_is_half_of_them() -> None:
    found = compared(WHOLE, [-n - 1 if n % 2 else n for n in WHOLE])
    assert found.counts == {Kind.ALTERED: 250}
    assert found.equal == 250
    assert len(found.differences) == SHOWN


@pytest.mark.parametrize("most", [1000, 100_000])
@pytest.mark.parametrize("length", [100, 3000, 20_000])
class TestAStretch:
    """Longer ones than are ever held, and shorter ones."""

    @pytest.mark.parametrize("at", [0, 10_000, 30_000])
    def test_missing(self, length: int, at: int, most: int) -> None:
        found = compared(LONG, LONG[:at] + LONG[at + length :], most, 500)
        assert found.counts == {Kind.MISSING: length}
        assert found.equal == 50_000 - length
        assert told(found) == [(Kind.MISSING, at + n, None) for n in range(SHOWN)]

    def test_copied_again(self, length: int, most: int) -> None:
        at = 25_000
        there = LONG[:at] + LONG[at - length : at] + LONG[at:]
        found = compared(LONG, there, most, 500)
        assert found.counts.total() == length
        assert found.counts[Kind.REPEATED] >= min(length, most)
        assert told(found) == [(Kind.REPEATED, None, 1000 + at + n) for n in range(SHOWN)]

    def test_missing_and_two_single_ones_beside_it(self, length: int, most: int) -> None:
        there = LONG[:10_000] + LONG[10_000 + length :]
        del there[5000]
        there[-1] = -1
        assert compared(LONG, there, most, 500).counts == {Kind.MISSING: length + 1, Kind.ALTERED: 1}


def test_single_messages_that_are_alike_do_not_bring_the_sides_together() -> None:
    here = [-1 if n % 10 == 0 else n for n in range(20_000)]
    found = compared(here, here[:5000] + here[8000:])
    assert found.counts == {Kind.MISSING: 3000}


def test_what_one_side_only_has_at_the_end_is_not_waited_for() -> None:
    assert compared(WHOLE, [], most=10, chunk=7).counts == {Kind.MISSING: 500}
    assert compared([], WHOLE, most=10, chunk=7).counts == {Kind.EXTRA: 500}
    assert compared(WHOLE, WHOLE[:5], most=10, chunk=7).counts == {Kind.MISSING: 495}


def test_messages_that_are_all_alike_are_counted() -> None:
    found = compared([7] * 3000, [7] * 2990, most=100, chunk=50)
    assert (found.equal, found.counts) == (2990, {Kind.MISSING: 10})


def test_other_messages_altogether_are_all_different() -> None:
    found = compared(range(5000), range(5000, 10_000), most=100, chunk=50)
    assert found.equal == 0
    assert found.counts[Kind.ALTERED] + found.counts[Kind.MISSING] == 5000
    assert found.counts[Kind.ALTERED] + found.counts[Kind.EXTRA] == 5000


def test_nothing_is_said_of_what_an_open_transaction_may_make_up_for() -> None:
    comparison = fed(WHOLE[:10], [0, 1, 2, 4, 5, 6, 99])
    comparison.cut_short(DESTINATION)
    comparison.advance()
    found = comparison.result()
    assert told(found) == [(Kind.MISSING, 3, None)], "before it both went on alike again: this is for certain"
    assert (found.equal, found.complete) == (6, False)
    assert not any(comparison.wants(side) for side in (ORIGIN, DESTINATION))


@pytest.mark.parametrize("hidden", [0, 1])
@pytest.mark.parametrize("read", [0, 2, 3])
def test_transaction_that_is_open_behind_the_last_copy_is_in_the_way_of_nothing(read: int, hidden: int) -> None:
    """Of a mirror that goes on: what it copies now is compared another time. Whichever side is read first."""
    comparison = InOrder(RangePair(TP, 0, 3 + hidden, 1000, 2000, open_ended=True), 100)

    def feed(side: int, numbers: Iterable[int], left: int) -> None:
        for n in numbers:
            comparison.feed(side, [At(1000 * side + n)], [digest_of(n)])
        comparison.read_up_to(side, left)

    feed(ORIGIN, range(read), 3 + hidden - read)
    feed(DESTINATION, range(3), 997)
    comparison.cut_short(DESTINATION)
    comparison.advance()
    if read < 3 + hidden:
        assert comparison.wants(ORIGIN)
        feed(ORIGIN, range(read, 3 + hidden), 0)
        comparison.advance()
    found = comparison.result()
    assert (found.equal, found.different, found.complete) == (3, 0, not hidden)
    assert not any(comparison.wants(side) for side in (ORIGIN, DESTINATION))


def test_destination_that_is_cut_short_is_not_waited_for_with_all_of_the_origin_in_memory() -> None:
    comparison = InOrder(RangePair(TP, 0, 1000, 1000, 2000, open_ended=True), 10)
    comparison.cut_short(DESTINATION)
    while comparison.wants(ORIGIN):
        at = comparison.found.origin_visible
        comparison.feed(ORIGIN, [At(at)], [digest_of(at)])
        comparison.read_up_to(ORIGIN, 999 - at)
        comparison.advance()
    assert (comparison.found.origin_visible, comparison.result().complete) == (10, False)


def test_neither_side_runs_ahead_of_the_other_without_end() -> None:
    comparison = fed(WHOLE[:50], WHOLE[:10], most=40)
    assert not comparison.wants(ORIGIN)
    assert comparison.wants(DESTINATION)
    comparison.advance()
    comparison.feed(DESTINATION, [At(1010)], [digest_of(10)])
    comparison.advance()
    assert comparison.wants(ORIGIN)


@pytest.mark.timeout(240)
def test_a_message_that_is_there_very_often_does_not_make_it_slow() -> None:
    here, there = [[7 if n % 2 else sign * n for n in range(2, 30_002)] for sign in (1, -1)]
    assert compared(here, there).equal == 15_000


@given(
    st.lists(st.integers(0, 12) | st.integers(100, 10_000), max_size=120),
    st.randoms(use_true_random=False),
    st.integers(0, 8),
    st.sampled_from([3, 20, 1000]),
    st.integers(1, 40),
)
def test_random_edits_are_all_accounted_for(
    origin: list[int], chance: random.Random, edits: int, most: int, chunk: int
) -> None:
    destination = edited(origin, chance, edits)
    found = compared(origin, destination, most, chunk)
    assert (found.different == 0) is (origin == destination)
    counts = found.counts
    shared = found.equal + counts[Kind.ALTERED] + counts[Kind.MISPLACED]
    assert shared + counts[Kind.MISSING] == len(origin) == found.origin_visible
    assert shared + counts[Kind.EXTRA] + counts[Kind.REPEATED] == len(destination) == found.destination_visible
    if most == 1000 and origin != destination and max(Counter(origin).values(), default=0) <= 8:
        assert found.different <= 2 * edits, "no more than what was done; a message put elsewhere may count twice"
    for kind, here, there in told(found):
        match kind:
            case Kind.MISPLACED:
                assert origin[here or 0] == destination[(there or 0) - 1000]
            case Kind.REPEATED:
                assert destination[(there or 0) - 1000] in origin
            case Kind.ALTERED:
                assert origin[here or 0] != destination[(there or 0) - 1000]


def edited(messages: Sequence[int], chance: random.Random, edits: int) -> list[int]:
    there = list(messages)
    for _ in range(edits):
        place = chance.randrange(len(there) + 1)
        match chance.choice(["missing", "extra", "altered", "repeated", "moved"]):
            case "extra":
                there.insert(place, -chance.randint(1, 1000))
            case "missing" if place < len(there):
                del there[place]
            case "altered" if place < len(there):
                there[place] = -chance.randint(1, 1000)
            case "repeated" if place < len(there):
                there.insert(chance.randrange(len(there) + 1), there[place])
            case "moved" if place < len(there):
                message = there.pop(place)
                there.insert(chance.randrange(len(there) + 1), message)
    return there
