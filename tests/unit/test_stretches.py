"""Very many differences told by stretches: each lies in one, none is counted twice, and there are few of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.test_in_order import LONG, compared

from kafka_migration.findings import Status
from kafka_migration.verification import stretches
from kafka_migration.verification.content import judge_content
from kafka_migration.verification.differences import Kind
from kafka_migration.verification.stretches import MOST, Stretch


@given(st.sets(st.integers(0, 2_000)))
def test_every_offset_lies_in_a_stretch_and_is_counted_once(offsets: set[int]) -> None:
    found = stretches.of(offsets)
    assert sum(s.count for s in found) == len(offsets)
    assert len(found) <= MOST
    assert all(any(s.start <= at < s.end for s in found) for at in offsets)
    for one in found:
        assert {one.start, one.end - 1} <= offsets, "it begins and ends with one"


def test_neighbours_are_one_stretch_also_with_a_marker_between_them() -> None:
    assert stretches.of([5, 6, 8, 9]) == [Stretch(5, 10, 4)]
    assert stretches.of([5, 500]) == [Stretch(5, 6, 1), Stretch(500, 501, 1)]


def test_the_last_stretch_is_widened_when_there_are_too_many() -> None:
    found = stretches.of(range(0, 100_000, 1_000))
    assert found[: MOST - 1] == [Stretch(n, n + 1, 1) for n in range(0, 1_000 * (MOST - 1), 1_000)]
    assert found[-1] == Stretch(1_000 * (MOST - 1), 99_001, 100 - MOST + 1)


def test_all_differences_lie_in_stretches_and_the_finding_tells_the_widest() -> None:
    there = LONG[:100] + LONG[5_100:20_000] + [-n - 1 for n in LONG[20_000:20_003]] + LONG[20_003:]
    found = compared(LONG, there)
    assert found.stretches == {Kind.MISSING: [Stretch(100, 5_100, 5_000)], Kind.ALTERED: [Stretch(20_000, 20_003, 3)]}
    [finding] = judge_content({found.partition: found})
    assert finding.status is Status.FAIL
    assert "...; the most in t/0, offsets 100 to 5,100: 5,000 missing, t/0, offsets 20,000 to 20,003: 3 altered" in (
        finding.seen
    )


@pytest.mark.parametrize("most", [30, 100_000])
def test_repeated_ones_lie_in_stretches_of_their_own(most: int) -> None:
    """Also where more are extra than are asked for: then their ends are told no nearer than they are known."""
    there = [*LONG[:1_000], *LONG[980:1_000], *range(-60, 0), *LONG[1_000:2_000]]
    found = compared(LONG[:2_000], there, most=most)
    assert found.counts == {Kind.REPEATED: 20, Kind.EXTRA: 60}
    assert found.stretches[Kind.REPEATED] == [Stretch(2_000, 2_020, 20)]
    assert found.stretches[Kind.EXTRA] == [Stretch(2_020 if most > 60 else 2_000, 2_080, 60)]
    counted = {kind: sum(s.count for s in some) for kind, some in found.stretches.items()}
    assert counted == found.counts
