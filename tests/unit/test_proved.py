"""What a comparison says is proved is so, whenever it is stopped; and what goes on from there finds the rest."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from fractions import Fraction
from math import comb
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.test_in_order import TP, At, digest_of

from kafka_migration.findings import Status
from kafka_migration.mirror.legs import Leg
from kafka_migration.offsets import TopicPartition
from kafka_migration.records import MemoryRecords
from kafka_migration.sides import Side
from kafka_migration.steps import copies
from kafka_migration.steps.proving import _divide
from kafka_migration.throttle import Throttle
from kafka_migration.verification.comparison import DESTINATION, ORIGIN
from kafka_migration.verification.differences import ContentResult, Difference, Kind, RangePair
from kafka_migration.verification.in_order import InOrder
from kafka_migration.verification.proved import Proved, from_json, furthest, to_json
from kafka_migration.verification.sample import BLOCK, blocks, choose, most_with_differences
from kafka_migration.verification.stretches import MOST


def begun(one: list[int], other: list[int], read: tuple[int, int], pair: RangePair) -> InOrder:
    """Compared as far as so many messages of each side were read. Offsets are places, those there from 1,000 on."""
    comparison = InOrder(pair, 100_000)
    for side, numbers in ((ORIGIN, one), (DESTINATION, other)):
        first = (pair.origin_start, pair.destination_start - 1000)[side]
        for place in range(first, read[side]):
            comparison.feed(side, [At(1000 * side + place)], [digest_of(numbers[place])])
        comparison.read_up_to(side, len(numbers) - read[side])
    comparison.advance()
    return comparison


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 10**9))
def test_what_is_proved_is_equal_on_both_sides_and_the_rest_is_found_from_there(
    here: int, there: int, seed: int
) -> None:
    chance = random.Random(seed)
    one = list(range(40))
    other = [n for n in one if chance.random() > 0.05]
    here, there = min(here, len(one)), min(there, len(other))
    whole = RangePair(TP, 0, len(one), 1000, 1000 + len(other))
    stopped = begun(one, other, (here, there), whole)
    known = stopped.reached
    if known is not None:
        assert one[: known.origin] == other[: known.destination - 1000]
        assert known.equal == known.origin == known.origin_visible == known.destination_visible
    [left] = copies.left([whole], {TP: known} if known else {})
    rest = begun(one, other, (len(one), len(other)), left).result()
    if known is not None:
        rest.goes_on(known)
    assert rest.counts[Kind.MISSING] == len(one) - len(other)
    assert rest.equal == len(other)
    assert (rest.origin_visible, rest.destination_visible) == (len(one), len(other))


def test_nothing_is_proved_behind_a_difference() -> None:
    whole = RangePair(TP, 0, 20, 1000, 1019)
    numbers = list(range(20))
    comparison = begun(numbers, [*numbers[:7], *numbers[8:]], (20, 19), whole)
    assert comparison.reached == Proved(7, 1007, 7, 0, 7, 7)
    assert comparison.result().proved(whole) is None


def test_copies_behind_the_end_of_the_origins_range_are_left_for_another_time() -> None:
    numbers = list(range(20))
    pair = RangePair(TP, 0, 12, 1000, 1020, open_ended=True)
    comparison = InOrder(pair, 100)
    comparison.feed(DESTINATION, [At(1000 + n) for n in range(20)], [digest_of(n) for n in numbers])
    comparison.read_up_to(DESTINATION, 0)
    comparison.feed(ORIGIN, [At(n) for n in range(12)], [digest_of(n) for n in numbers[:12]])
    comparison.read_up_to(ORIGIN, 0)
    comparison.advance()
    assert not comparison.unfinished
    assert not comparison.wants(DESTINATION)
    found = comparison.result()
    assert found.different == 0
    assert found.proved(pair) == Proved(12, 1012, 12, 0, 12, 12)


def test_copy_that_is_missing_at_the_end_of_the_origins_range_is_found_all_the_same() -> None:
    pair = RangePair(TP, 0, 12, 1000, 1011, open_ended=True)
    comparison = InOrder(pair, 100)
    comparison.feed(ORIGIN, [At(n) for n in range(12)], [digest_of(n) for n in range(12)])
    comparison.read_up_to(ORIGIN, 0)
    comparison.feed(DESTINATION, [At(1000 + n) for n in range(11)], [digest_of(n) for n in range(11)])
    comparison.read_up_to(DESTINATION, 0)
    comparison.advance()
    assert comparison.result().counts == {Kind.MISSING: 1}


def test_of_several_runs_that_counts_which_reached_furthest() -> None:
    other = TopicPartition("t", 1)
    near, far = Proved(5, 6, 5), Proved(9, 10, 9)
    known = furthest([{TP: near}, {TP: far, other: near}, {TP: near}])
    assert known == {TP: far, other: near}
    assert from_json(to_json(known)) == known


def test_compacted_topic_is_read_again_whole_or_not_at_all() -> None:
    pair = RangePair(TP, 0, 50, 1000, 1050, by_key=True)
    assert copies.left([pair], {TP: Proved(40, 1040, 9)}) == [pair]
    [nothing] = copies.left([pair], {TP: Proved(50, 1050, 9)})
    assert nothing.origin_start == nothing.origin_end
    assert nothing.destination_start == nothing.destination_end


def test_counts_alone_that_may_hold_repeats_prove_nothing() -> None:
    more = ContentResult(TP, origin_visible=5, destination_visible=6, equal=5, counted=True)
    more.counts[Kind.EXTRA] = 1
    assert more.verdict() is Status.FAIL
    assert more.verdict(at_least_once=True) is Status.INCONCLUSIVE, "what is there twice may make up for a loss"
    fewer = ContentResult(TP, origin_visible=6, destination_visible=5, equal=5, counted=True)
    fewer.counts[Kind.MISSING] = 1
    assert fewer.verdict(at_least_once=True) is Status.FAIL


def test_work_is_divided_by_its_size_and_no_partition_in_two() -> None:
    sizes = {TopicPartition("t", n): 1_000_000 * (n + 1) for n in range(8)}
    shares = _divide(sizes)
    assert sorted(tp for share in shares for tp in share) == sorted(sizes)
    loads = [sum(sizes[tp] for tp in share) for share in shares]
    assert max(loads) == 8_000_000, "no share is larger than the largest partition needs"
    assert _divide({TP: 10}) == [[TP]]
    assert _divide({}) == [[]], "somebody must say that there was nothing"
    assert len(_divide({TopicPartition("t", n): 10**9 for n in range(500)})) == 32


def test_blocks_cover_a_range_and_are_chosen_again_by_their_seed() -> None:
    pair = RangePair(TP, 0, 95_000, 5, 95_123)
    known = [(n, n + 5 + n // 1000) for n in range(0, 95_000, 777)]
    made = blocks(pair, known)
    assert [b.origin_start for b in made[1:]] == [b.origin_end for b in made[:-1]]
    assert [b.destination_start for b in made[1:]] == [b.destination_end for b in made[:-1]]
    assert (made[0].origin_start, made[-1].origin_end) == (0, 95_000)
    assert (made[0].destination_start, made[-1].destination_end) == (5, 95_123)
    assert all(b.origin_end - b.origin_start >= BLOCK for b in made)
    chosen = choose(made, 0.5, 3)
    assert chosen == choose(made, 0.5, 3)
    assert chosen != choose(made, 0.5, 4)
    assert len(chosen) == -(-len(made) // 2)
    assert choose(made, 1.0, 3) == made
    assert len(choose(made, 0.0001, 3)) == 1


@pytest.mark.parametrize(("total", "chosen"), [(100, 96), (100, 94), (10, 1), (1000, 300), (3000, 1), (3000, 2999)])
def test_confidence_is_that_of_a_sample_without_putting_back(total: int, chosen: int) -> None:
    most = most_with_differences(total, chosen)
    missed = [Fraction(comb(total - damaged, chosen), comb(total, chosen)) for damaged in (most, most + 1)]
    assert missed[0] >= Fraction(1, 20) > missed[1]


def test_a_sample_of_everything_leaves_nothing_open() -> None:
    assert most_with_differences(100, 100) == 0


def test_reading_is_paced_and_time_that_was_not_used_is_not_saved_up() -> None:
    clock = [0.0]
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        clock[0] += seconds

    throttle = Throttle(100.0, now=lambda: clock[0], sleep=sleep)
    throttle.spend(50)
    throttle.spend(100)
    assert waited == [0.5, 1.0]
    clock[0] += 60
    throttle.spend(100)
    assert waited == [0.5, 1.0, 1.0]


@dataclass
class Remembering:
    """Of a run what remembering needs."""

    records: MemoryRecords = field(default_factory=MemoryRecords)
    plan: Any = field(default_factory=lambda: SimpleNamespace(prefixed=False))

    def share(self, name: int | str, reached: int) -> None:
        """What a share of leg 0 has remembered on its way, or was killed with."""
        known = to_json({TP: Proved(reached, reached, reached)})
        self.records.set(f"verified/share/{name}", {"leg": 0, "counted": False, "proved": known})


@pytest.fixture
def run() -> Any:
    return Remembering()


FIRST, SECOND = (Leg(n, Side.TARGET, {TP: 0}, {TP: 0}) for n in range(2))


def test_memory_of_one_leg_says_nothing_of_another_and_counting_nothing_of_content(run: Any) -> None:
    copies.settle(run, FIRST, {TP: Proved(9, 9, 9)}, ())
    assert copies.known(run, FIRST) == {TP: Proved(9, 9, 9)}
    assert copies.known(run, SECOND) == {}
    copies.settle(run, FIRST, {TP: Proved(11, 11, 11)}, (), counted=True)
    assert copies.known(run, FIRST)[TP].origin == 9, "what was only counted was not compared"
    assert copies.known(run, FIRST, counted=True)[TP].origin == 11


def test_where_anything_was_found_nothing_is_believed_any_more(run: Any) -> None:
    """Else the next run would read on behind what the last one has found."""
    copies.share_out(run, 2)
    for name in (copies.ALONE, 0, 1):
        run.share(name, 600)
    assert copies.known(run, FIRST)[TP].origin == 600
    copies.settle(run, FIRST, {}, {TP})
    assert copies.known(run, FIRST) == {}
    assert copies.ever_proved(run, FIRST) == set()


def test_run_that_shall_read_everything_forgets_what_shares_have_remembered(run: Any) -> None:
    copies.share_out(run, 1)
    run.share(copies.ALONE, 600)
    run.share(0, 700)
    copies.settle(run, FIRST, {}, ())
    assert copies.known(run, FIRST)[TP].origin == 700
    copies.forget(run, FIRST)
    assert copies.known(run, FIRST) == {}
    assert copies.ever_proved(run, FIRST) == {TP}, "it was proved once, though it is to be again"
    run.share(0, 50)
    assert copies.known(run, FIRST)[TP].origin == 50, "who is killed goes on where it was"


def test_results_of_several_blocks_lose_no_count() -> None:
    one, other = ContentResult(TP, equal=3), ContentResult(TP, equal=4, deleted="offsets 1 to 2")
    one.note(Difference(Kind.MISSING, TP, 100 * n, None) for n in range(15))
    other.note(Difference(Kind.MISSING, TP, 10_000 + 100 * n, None) for n in range(15))
    both = one.joined(other)
    assert (both.equal, both.counts[Kind.MISSING], both.complete) == (7, 30, False)
    told = both.stretches[Kind.MISSING]
    assert sum(stretch.count for stretch in told) == 30
    assert (told[0].start, told[-1].end, len(told)) == (0, 11_401, MOST)
